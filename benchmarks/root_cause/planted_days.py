"""Days on which faults of one kind are planted and nothing else, evaluated by the product."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from benchmarks.root_cause.simulated import SimulatedTelemetry, heavy_tailed, thermoelectric
from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.ingest.simulator import Event
from fleet_dagster.ingest.simulator.faults import events_between, events_of_day
from fleet_dagster.ingest.simulator.fleet import SimulatedFleet
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.nodes.baseline import Trained
from fleet_dagster.pipeline import Evaluation, evaluate_landed
from fleet_dagster.training import Samples, train

MONDAY = 1_767_571_200_000_000
"""2026-01-05T00:00Z: the day on which faults begin, and a training day."""
INTERVAL = MINUTE
N_SITES, N_REGIONS = 24, 3
RATES: Mapping[str, float] = {
    "site": 6.0,
    "cascade": 3.0,
    "region": 1.5,
    "storm": 1.5,
    "drift": 1.5,
    "dropout": 6.0,
}
"""Faults per day, of a kind that is planted alone."""
HISTORY: Mapping[str, float] = {"site": 1.0, "cascade": 0.25}
"""Faults per day while the baseline is learnt: nobody has a history without any."""
MARGIN = 10 * INTERVAL
"""An incident may open so long after its fault is over."""


@dataclass(frozen=True)
class PlantedFleet:
    """A simulated fleet with `history_days` days of history before the day on which faults are planted."""

    seed: int
    history_days: int = 35
    n_sites: int = N_SITES
    n_regions: int = N_REGIONS

    @cached_property
    def config(self) -> FleetConfig:
        """The fleet."""
        since = pd.Timestamp(MONDAY - self.history_days * DAY, unit="us").date()
        return thermoelectric(
            self.n_sites, self.n_regions, start_date=str(since), interval_s=INTERVAL // 1_000_000
        )

    @cached_property
    def fleet(self) -> Fleet:
        """The fleet with its dependences."""
        return Fleet.of(self.config)

    @cached_property
    def trained(self) -> Trained:
        """The baseline in force from Monday on, learnt from a history with a few faults."""
        own = self._simulated
        scenario = replace(own.scenario, faults=dict(HISTORY))
        before = MONDAY - self.history_days * DAY
        past = events_between(scenario, own.topology, own.models, before, MONDAY)
        history = SimulatedTelemetry(own, [event for event in past if event.end_us <= MONDAY])
        return train(self.fleet, history.read, MONDAY, Samples())

    def events(self, kind: str) -> list[Event]:
        """Return the faults of a kind that begin on the day."""
        own = self._simulated
        scenario = replace(own.scenario, faults={kind: RATES[kind]})
        return events_of_day(scenario, own.topology, own.models, MONDAY // DAY)

    def evaluate(self, events: list[Event]) -> Evaluation:
        """Evaluate from the day's begin until its faults are over; nothing is known of what happened before it."""
        end = max([MONDAY + DAY, *(event.end_us + MARGIN + INTERVAL for event in events)])
        span = Span(MONDAY, end).to_whole(HOUR)
        return evaluate_landed(self.fleet, self.telemetry(events).read, span, self.trained)

    def telemetry(self, events: list[Event]) -> SimulatedTelemetry:
        """Return what the fleet sends with exactly these faults."""
        return SimulatedTelemetry(self._simulated, events)

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites by the number that events use."""
        return self._simulated.topology.sites

    @cached_property
    def _simulated(self) -> SimulatedFleet:
        return heavy_tailed(self.config, self.seed)
