"""Fleets in a storm: snapshots minute by minute, of which a third changes status in rough minutes."""

from collections.abc import Container, Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from fleet_dagster.core.windows import MINUTE, SECOND
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at


def storm_fleet(n_sites: int, **changes: Any) -> FleetConfig:
    """Return a fleet with windows of a minute."""
    return at.plant(**{"n_sites": n_sites, "n_regions": 2, "interval_s": 60, **changes})


def feed(
    store: Store,
    config: FleetConfig,
    start: int,
    minutes: Iterable[int],
    *,
    rough: Iterable[int],
) -> None:
    """Land one snapshot of each site in each of the minutes after `start` [us]."""
    listed, chosen = list(minutes), set(rough)
    if listed:
        rows = snapshots(config, start, listed, rough=chosen)
        at.land(store, config, rows, batch_id=f"minutes-{listed[0]}-{listed[-1]}")


def snapshots(
    config: FleetConfig,
    start: int,
    minutes: Iterable[int],
    *,
    rough: Container[int],
    every: int = MINUTE,
    after: int = 10 * SECOND,
) -> pa.Table:
    """Return one snapshot of each site in each minute, or window, somewhat after it begins, received at once."""
    sites = [m.site_id for m in config.region_mappings]
    columns: dict[str, list[Any]] = {"site_id": [], "timestamp": [], "status": []}
    for n in minutes:
        columns["site_id"] += sites
        columns["timestamp"] += [_text(start + n * every + after)] * len(sites)
        columns["status"] += [str(_status(i, n, rough)) for i in range(len(sites))]
    n_rows = len(columns["site_id"])
    noise = np.random.default_rng(7).normal(0.6, 0.05, (n_rows, len(config.kpis)))
    return pa.table(
        {
            **columns,
            "uptime_pct": ["99"] * n_rows,
            "fault_count": ["0"] * n_rows,
            "received_at": columns["timestamp"],
            **{
                kpi.name: [str(kpi.lo + x * (kpi.hi - kpi.lo)) for x in noise[:, k]]
                for k, kpi in enumerate(config.kpis)
            },
        }
    )


def of_minutes(began: StormEpisode, ended: StormEpisode, *, start: int, n: int) -> list[str]:
    """Return the ingestion modes of the first minutes of a small fleet with one storm."""
    inside = range((began.start - start) // MINUTE, (ended.end - start) // MINUTE)
    return ["storm" if i in inside else "full" for i in range(n)]


def _status(site: int, minute: int, rough: Container[int]) -> int:
    """Return a status that flips every minute for a third of the sites while it is rough, and is 0 otherwise."""
    return minute % 2 if minute in rough and site % 3 == 0 else 0


def _text(instant: int) -> str:
    return str(np.datetime64(instant, "us")) + "Z"
