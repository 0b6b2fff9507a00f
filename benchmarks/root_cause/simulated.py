"""A simulated fleet's telemetry as it lands, hour by hour, with exactly the planted faults that are given."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from benchmarks.telemetry import landed
from fleet_dagster.core.windows import DAY, HOUR, Span, floor_to
from fleet_dagster.frames.columns import telemetry_frame
from fleet_dagster.ingest.simulator import Event, Scenario, demo_config
from fleet_dagster.ingest.simulator.fleet import SimulatedFleet
from fleet_dagster.ingest.simulator.rows import hour_rows
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.yaml_file import validate_config

STALENESS_S = 120
"""The default; a site that sends once in a longer window would be stale at the window's end."""


@dataclass(frozen=True)
class SimulatedTelemetry:
    """Snapshots of a fleet on which `events` are planted, whatever faults its scenario speaks of."""

    simulated: SimulatedFleet
    events: Sequence[Event] = field(default=(), repr=False)

    def read(self, span: Span) -> pd.DataFrame:
        """Return the landed snapshots of a span; a batch is a day."""
        hours = range(floor_to(span.start, HOUR) // HOUR, -(-span.end // HOUR))
        parts = [
            hour_rows(
                self.simulated, self.simulated.hour(hour, self.events), hour, with_malformed=False
            )
            for hour in hours
        ]
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        inside = (rows["timestamp_us"] >= span.start) & (rows["timestamp_us"] < span.end)
        own = {name: column[inside] for name, column in rows.items()}
        sites = self.simulated.topology.sites
        return telemetry_frame(landed(sites, own, batch=own["timestamp_us"] // DAY))


def thermoelectric(
    n_sites: int, n_regions: int, *, start_date: str, interval_s: int
) -> FleetConfig:
    """Return a fleet of chains of five sites that depend on each other, in the smallest profile that it fits."""
    content = demo_config(
        "simulated", "thermoelectric", n_sites=n_sites, n_regions=n_regions, start_date=start_date
    )
    fresh_s = max(STALENESS_S, 2 * interval_s)
    settings = {"interval_s": interval_s, "staleness_threshold_s": fresh_s}
    return validate_config({**content, **settings}, source="benchmark")


def heavy_tailed(config: FleetConfig, seed: int) -> SimulatedFleet:
    """Return a simulation of a fleet that sends once per window, with noise of heavy tails."""
    sites = config.region_mappings
    scenario = Scenario(
        seed=seed,
        kind="thermoelectric",
        n_sites=len(sites),
        n_regions=len({site.region_id for site in sites}),
        step_s=config.interval_s,
        noise="t5",
    )
    return SimulatedFleet(config, scenario)
