"""Simulated fleets with cascades, scored by the product: 60 sites, 6 regions, weeks of history with ordinary faults."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from benchmarks.telemetry import landed
from fleet_dagster.core.windows import DAY, HOUR, Span, floor_to
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.columns import telemetry_frame
from fleet_dagster.ingest.simulator import Event, Scenario, demo_config
from fleet_dagster.ingest.simulator.faults import events_between
from fleet_dagster.ingest.simulator.fleet import SimulatedFleet
from fleet_dagster.ingest.simulator.rows import hour_rows
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import scoring_lookback
from fleet_dagster.model.yaml_file import validate_config
from fleet_dagster.nodes.anomaly_correlator import anomaly_correlator
from fleet_dagster.nodes.anomaly_scorer import anomaly_scorer
from fleet_dagster.nodes.baseline import Trained
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster.site_rows import ingest
from fleet_dagster.training import baselines_for

MONDAY = 1_767_571_200_000_000
"""2026-01-05T00:00Z; the fleet's history begins nine weeks before."""
STEP_S = 60
HISTORY: Mapping[str, float] = {"site": 2.0, "cascade": 0.5}
"""Faults per day while the baseline is learnt: nobody has a history without any."""
BACKGROUND: Mapping[str, float] = {"site": 4.0, "drift": 0.3, "dropout": 1.0}
"""Anomalies of single sites per day."""
CASCADES: Mapping[str, float] = {**BACKGROUND, "cascade": 3.0}
N_SITES, N_REGIONS = 60, 6
WEEK = 7 * DAY
N_WEEKS = 3
SPAN = Span(MONDAY, MONDAY + N_WEEKS * WEEK)
"""What is judged."""


@dataclass(frozen=True)
class CascadeWeeks:
    """A simulated fleet from its tenth week on, on which `faults` are planted per day."""

    seed: int
    faults: Mapping[str, float]
    history: Mapping[str, float] = field(default_factory=lambda: dict(HISTORY))

    @cached_property
    def config(self) -> FleetConfig:
        """The fleet: chains of five sites that depend on each other, two in each region."""
        content = demo_config(
            "cascades",
            "thermoelectric",
            n_sites=N_SITES,
            n_regions=N_REGIONS,
            start_date="2025-11-03",
        )
        return validate_config({**content, "interval_s": STEP_S}, source="benchmark")

    @cached_property
    def fleet(self) -> Fleet:
        """The fleet with its dependences."""
        return Fleet.of(self.config)

    @cached_property
    def fleet_without_graph(self) -> Fleet:
        """The same fleet, of which nobody has said what depends on what."""
        bare = [m.model_copy(update={"depends_on": ()}) for m in self.config.region_mappings]
        return Fleet.of(self.config.model_copy(update={"region_mappings": tuple(bare)}))

    @cached_property
    def trained(self) -> Trained:
        """The baseline of the first Monday; the later ones keep it, for learning takes longer than judging."""
        first = baselines_for(self.fleet, self.read, Span(MONDAY, MONDAY + DAY))
        return Trained(*(_every_monday(rows) for rows in (first.baseline, first.baseline_model)))

    def events(self, span: Span) -> tuple[Event, ...]:
        """Return the planted faults that touch a span."""
        own = self._simulated(span.start)
        return events_between(own.scenario, own.topology, own.models, span.start, span.end)

    def anomalies(self) -> pd.DataFrame:
        """Return the anomalous rows of all days, as the product's nodes score them."""
        found = []
        for day in SPAN.days():
            rows = self._scores(day)
            found.append(rows[rows["is_anomalous"].to_numpy(np.bool_)])
        return pd.concat(found, ignore_index=True)

    def _scores(self, day: Span) -> pd.DataFrame:
        """Return a day's anomaly scores by the nodes that they need."""
        block = day.widen(before=scoring_lookback(self.fleet))
        assignment = region_mapper(self.fleet, block)
        rows = ingest(self.fleet, self.read, assignment, self.trained.baseline, block).site_kpi
        return anomaly_scorer(self.fleet, rows, assignment, self.trained.baseline_model, day)

    def incidents(self, anomalies: pd.DataFrame, *, with_graph: bool) -> pd.DataFrame:
        """Return the correlator's rows."""
        fleet = self.fleet if with_graph else self.fleet_without_graph
        return anomaly_correlator(fleet, anomalies, self.trained.baseline_model, SPAN)

    def read(self, span: Span) -> pd.DataFrame:
        """Return the landed snapshots of a span."""
        hours = range(floor_to(span.start, HOUR) // HOUR, -(-span.end // HOUR))
        parts = [self._hour(hour) for hour in hours]
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        inside = (rows["timestamp_us"] >= span.start) & (rows["timestamp_us"] < span.end)
        own = {name: column[inside] for name, column in rows.items()}
        sites = self._calm.topology.sites
        return telemetry_frame(landed(sites, own, batch=own["timestamp_us"] // DAY))

    def _hour(self, hour: int) -> dict[str, np.ndarray]:
        own = self._simulated(hour * HOUR)
        grid = own.hour(hour, self.events(Span(hour * HOUR, (hour + 1) * HOUR)))
        return hour_rows(own, grid, hour, with_malformed=False)

    def _simulated(self, instant: int) -> SimulatedFleet:
        return self._calm if instant < MONDAY else self._judged

    @cached_property
    def _calm(self) -> SimulatedFleet:
        return SimulatedFleet(self.config, self._scenario)

    @cached_property
    def _judged(self) -> SimulatedFleet:
        return SimulatedFleet(self.config, replace(self._scenario, faults=dict(self.faults)))

    @property
    def _scenario(self) -> Scenario:
        return Scenario(
            seed=self.seed,
            kind="thermoelectric",
            n_sites=N_SITES,
            n_regions=N_REGIONS,
            step_s=STEP_S,
            noise="t5",
            faults=dict(self.history),
        )


def _every_monday(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a training day once for each week that is judged."""
    copies = []
    for week in range(N_WEEKS):
        moved = frames.microseconds(rows["window_start"]) + week * WEEK
        copies.append(rows.assign(window_start=frames.stamps(moved)))
    return pd.concat(copies, ignore_index=True)
