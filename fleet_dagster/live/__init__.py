"""The live engine: keeps fleets current, window by window, without Dagster."""
