"""Simulated fleets with planted faults and their truth: deterministic, and the same however a span is cut."""

from fleet_dagster.ingest.simulator.faults import Event
from fleet_dagster.ingest.simulator.plants import KINDS, Kind
from fleet_dagster.ingest.simulator.rows import MALFORMED
from fleet_dagster.ingest.simulator.scenario import (
    DEMO_FAULTS,
    FAULT_KINDS,
    Scenario,
    demo_config,
    demo_scenario,
)
from fleet_dagster.ingest.simulator.simulate import Simulated, Truth, plain, simulate, site_ids

__all__ = [
    "DEMO_FAULTS",
    "FAULT_KINDS",
    "KINDS",
    "MALFORMED",
    "Event",
    "Kind",
    "Scenario",
    "Simulated",
    "Truth",
    "demo_config",
    "demo_scenario",
    "plain",
    "simulate",
    "site_ids",
]
