"""The ledger: a history of fleet KPIs that cannot be rewritten silently."""
