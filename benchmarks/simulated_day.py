"""A simulated fleet with planted faults as the nodes see it: landed snapshots of any span, simulated when they are asked for."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from benchmarks.telemetry import NAME, START, START_DATE, landed
from fleet_dagster.core.windows import DAY, HOUR, SECOND, Span, floor_to
from fleet_dagster.frames.columns import telemetry_frame
from fleet_dagster.ingest.simulator import Event, Kind, Scenario, demo_config
from fleet_dagster.ingest.simulator.faults import events_between
from fleet_dagster.ingest.simulator.fleet import SimulatedFleet
from fleet_dagster.ingest.simulator.noise import NoiseKind
from fleet_dagster.ingest.simulator.rows import Rows, hour_rows
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.yaml_file import validate_config

STEP_S = 300
"""One snapshot, and one step of the AR(1) noise, a window."""
FAULTS = {"site": 60.0, "cascade": 6.0, "region": 1.0, "drift": 3.0, "dropout": 6.0}
"""Planted faults per day, on average."""
TODAY = Span(START + 32 * DAY, START + 33 * DAY)
"""The day that is evaluated, a Monday; its baseline learns from the 28 days that end a day before."""
N_REGIONS = 8


@dataclass(frozen=True)
class SimulatedDay:
    """A simulated fleet, its scenario, and its telemetry."""

    kind: Kind
    n_sites: int
    noise: NoiseKind
    seed: int
    faults: dict[str, float] = field(default_factory=lambda: dict(FAULTS))

    @property
    def scenario(self) -> Scenario:
        """What is simulated."""
        return Scenario(
            seed=self.seed,
            kind=self.kind,
            n_sites=self.n_sites,
            n_regions=N_REGIONS,
            step_s=STEP_S,
            noise=self.noise,
            faults=self.faults,
        )

    @cached_property
    def config(self) -> FleetConfig:
        """The fleet, its windows as long as the step of its snapshots."""
        content = demo_config(
            NAME, self.kind, n_sites=self.n_sites, n_regions=N_REGIONS, start_date=START_DATE
        )
        own = {"interval_s": STEP_S, "staleness_threshold_s": 2 * STEP_S}
        return validate_config({**content, **own}, source="benchmark")

    @property
    def without_faults(self) -> "SimulatedDay":
        """The same fleet with the same noise, on which nothing is planted."""
        return replace(self, faults={})

    def read(self, span: Span) -> pd.DataFrame:
        """Return the landed snapshots of a span; spans asked for in order are cheaper."""
        hours = range(floor_to(span.start, HOUR) // HOUR, -(-span.end // HOUR))
        parts = [self._hour(hour) for hour in hours]
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        stamp = rows["timestamp_us"]
        inside = (stamp >= span.start) & (stamp < span.end)
        own = {name: column[inside] for name, column in rows.items()}
        sites = self._simulated.topology.sites
        return telemetry_frame(landed(sites, own, batch=own["timestamp_us"] // DAY))

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """Every planted fault up to the end of the day."""
        own = self._simulated
        return events_between(self.scenario, own.topology, own.models, START, TODAY.end)

    @cached_property
    def _simulated(self) -> SimulatedFleet:
        return SimulatedFleet(self.config, self.scenario)

    def _hour(self, hour: int) -> Rows:
        grid = self._simulated.hour(hour, self.events)
        return hour_rows(self._simulated, grid, hour, with_malformed=False)

    def first_whole_window(self, event: Event, site: int) -> int | None:
        """Return the start of the first window that a fault lasts through on a site; None if there is none today [us]."""
        onset = event.onsets_us[event.sites.index(site)]
        interval = STEP_S * SECOND
        start = -(-onset // interval) * interval
        is_today = TODAY.start <= start and start + interval <= min(TODAY.end, event.end_us)
        return start if is_today else None
