"""Scenarios that tests share: small fleets, their telemetry from listed seeds, and how to compare tables."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fleet_dagster.core.windows import HOUR, MINUTE, SECOND
from fleet_dagster.frames.columns import empty_frame, telemetry_frame
from fleet_dagster.ingest.snapshots import landed_table
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import BASELINE

MIDNIGHT = 1_767_571_200_000_000
"""2026-01-05T00:00Z, a Monday."""
NOON = MIDNIGHT + 12 * HOUR
KPIS: tuple[dict[str, Any], ...] = (
    {"name": "output_kw", "unit": "kW", "lo": 0.0, "hi": 512.0, "direction": "higher"},
    {"name": "vibration", "unit": "mm/s", "lo": 0.0, "hi": 10.0, "direction": "lower"},
    {
        "name": "bearing_c",
        "unit": "degC",
        "lo": 20.0,
        "hi": 120.0,
        "direction": "band",
        "target_lo": 50.0,
        "target_hi": 80.0,
        "domain": "thermal",
    },
)
UNTRAINED = empty_frame(BASELINE)
"""No baseline at all."""
SITES = ("S-01", "S-02", "S-03", "S-04", "S-05", "S-06", "S-07", "S-08", "S-09", "S-10")


def content(n_sites: int = 6, n_regions: int = 2, **changes: Any) -> dict[str, Any]:
    """Return a small fleet's configuration, as a YAML file would hold it."""
    mappings = [
        {"site_id": site, "region_id": f"R-{i % n_regions}", "weight": 1.0 + i % 3}
        for i, site in enumerate(SITES[:n_sites])
    ]
    return {
        "name": "plant",
        "kpis": [dict(kpi) for kpi in KPIS],
        "region_mappings": mappings,
        "start_date": "2026-01-01",
        **changes,
    }


def config(n_sites: int = 6, n_regions: int = 2, **changes: Any) -> FleetConfig:
    """Return a small fleet's configuration."""
    return FleetConfig.model_validate(content(n_sites, n_regions, **changes))


def fleet(n_sites: int = 6, n_regions: int = 2, **changes: Any) -> Fleet:
    """Return a small fleet with one version of its settings."""
    return Fleet.of(config(n_sites, n_regions, **changes))


def utc(us: int | NDArray[np.int64]) -> Any:  # Any: one time stamp, or an index of them
    """Return instants as pandas time stamps."""
    return pd.to_datetime(us, unit="us", utc=True)


def telemetry(
    sites: tuple[str, ...],
    start: int,
    end: int,
    *,
    seed: int,
    step: int = 20 * SECOND,
    dropouts: bool = True,
    malformed: bool = False,
) -> pd.DataFrame:
    """Return snapshots with duplicates, silent stretches, NaN and shuffled rows, from a seed."""
    rng = np.random.default_rng(seed)
    stamps = np.arange(start, end, step, dtype=np.int64)
    site, stamp = (a.ravel() for a in np.meshgrid(np.arange(len(sites)), stamps, indexing="ij"))
    rows = np.arange(site.size)
    if dropouts:
        block = (stamp - start) // (4 * MINUTE)
        is_silent = rng.random((len(sites), int(block.max(initial=0)) + 1)) < 0.15
        rows = rows[~is_silent[site, block]]
    again = rng.choice(rows, size=rows.size // 20, replace=False)
    rows = rng.permutation(np.concatenate([rows, again]))
    n = rows.size
    frame = pd.DataFrame(
        {
            "site_id": np.array(sites, dtype=object)[site[rows]],
            "timestamp": utc(stamp[rows]),
            "status": rng.choice([0, 1, 2], n, p=[0.9, 0.07, 0.03]),
            "uptime_pct": rng.uniform(80, 100, n).round(2),
            "fault_count": rng.poisson(0.3, n),
            "quality": rng.choice([0, 1, 2], n, p=[0.9, 0.05, 0.05]),
            "sequence": rng.integers(0, 3, n),
            "output_kw": rng.normal(300, 60, n) - 15.0 * site[rows],
            "vibration": rng.gamma(4, 0.8, n),
            "bearing_c": rng.normal(65, 12, n),
        }
    )
    for name in ("output_kw", "vibration", "bearing_c"):
        frame.loc[rng.random(n) < 0.05, name] = np.nan
    return _with_malformed(frame, rng) if malformed else frame


def _with_malformed(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    frame = frame.astype({"output_kw": object, "site_id": object})
    chosen = rng.choice(len(frame), size=max(4, len(frame) // 50), replace=False)
    third = len(chosen) // 3
    frame.loc[chosen[:third], "output_kw"] = np.inf
    frame.loc[chosen[third : 2 * third], "uptime_pct"] = 140.0
    frame.loc[chosen[2 * third :], "site_id"] = ""
    return frame


def landed(
    settings: FleetConfig, frame: pd.DataFrame, *, received_at: int = NOON + 1000 * HOUR
) -> pd.DataFrame:
    """Land a frame of snapshots of registered sites as one batch of history."""
    return telemetry_frame(
        landed_table(
            settings,
            pa.Table.from_pandas(frame, preserve_index=False),
            batch_id="b1",
            received_at_us=received_at,
            historical=True,
            admit=lambda seen: {site for site, _ in seen},
        )
    )


def assert_same_rows(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Assert that two tables hold the same values bit for bit, whatever the encoding of their names."""
    pd.testing.assert_frame_equal(
        plain(left), plain(right), check_exact=True, check_dtype=False, check_categorical=False
    )


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with categories and lists spelled out and rows counted from 0."""
    spelled = {
        name: spelled_out(frame[name])
        for name in frame.columns
        if not pd.api.types.is_numeric_dtype(frame[name])
        and not pd.api.types.is_datetime64_any_dtype(frame[name])
    }
    return frame.assign(**spelled).reset_index(drop=True)


_SEQUENCES = (list, tuple, np.ndarray)


def spelled_out(column: "pd.Series[Any]") -> "pd.Series[Any]":  # Any: names or lists
    """Return names as text and lists as tuples, nothing as None."""
    known = column.dropna()
    if len(known) and isinstance(known.iloc[0], _SEQUENCES):
        tuples = [tuple(v) if isinstance(v, _SEQUENCES) else None for v in column]
        return pd.Series(tuples, index=column.index, dtype=object)
    if not len(known):
        return pd.Series(None, index=column.index, dtype=object)
    return column.astype("str").where(column.notna(), None).astype(object)
