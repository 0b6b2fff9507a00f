"""E4 through all nodes: the same telemetry evaluated with a storm in every window, and without one."""

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fleet_dagster.ingest.simulator.noise import innovations
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.yaml_file import validate_config
from fleet_dagster.pipeline import Evaluation, evaluate

SEEDS = (11, 23, 47)
SIZES = (200, 500, 1000)
EPISODES = 400
"""Windows of each seed, each an episode of its own."""
Z_95 = 1.959963984540054
START = pd.Timestamp("2026-03-02T00:00Z")
INTERVAL_S = 60
N_KPIS = 4
SHARE_NOT_ONLINE, SHARE_SILENT = 0.4, 0.03
_N_REGIONS = 6
_COUNTS = ["sites_online", "sites_degraded", "sites_faulted", "sites_offline"]


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """What the episodes of one fleet size came to."""

    n_sites: int
    n_episodes: int
    n_rows: int
    n_differing: int
    """Rows of the fleet and its regions whose status counts are not those of the full run."""
    coverage_pct: float
    bias: float
    largest_change: float
    """Of the uptime and fault parts."""


def through_the_nodes(n_sites: int) -> NodeFigures:
    """Evaluate every seed's telemetry twice, and compare."""
    pairs = [
        (_evaluated(n_sites, seed, in_storm=False), _evaluated(n_sites, seed, in_storm=True))
        for seed in SEEDS
    ]
    rows = [
        (getattr(full, table), getattr(storm, table))
        for full, storm in pairs
        for table in ("fleet_kpi", "region_kpi")
    ]
    error, stderr = (np.concatenate(column) for column in zip(*map(_errors, pairs), strict=True))
    parts = ["uptime_part", "fault_part"]
    return NodeFigures(
        n_sites=n_sites,
        n_episodes=error.size,
        n_rows=sum(len(a) for a, _ in rows),
        n_differing=sum(int((a[_COUNTS] != b[_COUNTS]).any(axis=1).sum()) for a, b in rows),
        coverage_pct=100 * float(np.mean(np.abs(error) <= Z_95 * stderr)),
        bias=float(error.mean() / np.sqrt(np.mean(stderr**2))),
        largest_change=max(float((a[parts] - b[parts]).abs().max().max()) for a, b in rows),
    )


def _errors(pair: tuple[Evaluation, Evaluation]) -> tuple[np.ndarray, np.ndarray]:
    full, storm = (run.fleet_kpi for run in pair)
    error = storm["fleet_health"].to_numpy() - full["fleet_health"].to_numpy()
    return error, storm["health_stderr"].to_numpy()


def _evaluated(n_sites: int, seed: int, *, in_storm: bool) -> Evaluation:
    starts = [START + pd.Timedelta(seconds=INTERVAL_S * i) for i in range(EPISODES + 1)]
    storms = list(itertools.pairwise(starts)) if in_storm else []
    return evaluate(
        _config(n_sites), _telemetry(n_sites, seed), starts[0], starts[-1], storms=storms
    )


def _config(n_sites: int) -> FleetConfig:
    content = {
        "name": "bench",
        "profile": "medium" if n_sites <= 200 else "large",  # noqa: PLR2004 - the profile's limit
        "interval_s": INTERVAL_S,
        "start_date": "2026-01-01",
        "kpis": [{"name": f"kpi_{k}", "unit": "1", "lo": 0.0, "hi": 1.0} for k in range(N_KPIS)],
        "region_mappings": [
            {
                "site_id": f"S-{i:04d}",
                "region_id": f"R-{i * _N_REGIONS // n_sites}",
                "weight": float(1 + i * 7 % 5),
                "critical": i % 40 == 0,
            }
            for i in range(n_sites)
        ],
    }
    return validate_config(content, source="benchmark")


def _telemetry(n_sites: int, seed: int) -> pd.DataFrame:
    """Draw one snapshot per site and window, some of them silent, worse statuses with worse KPIs."""
    rng = np.random.default_rng([seed, n_sites])
    shape = (EPISODES, n_sites)
    status = np.where(
        rng.random(shape) < SHARE_NOT_ONLINE, rng.choice([1, 2, 3], shape, p=[0.55, 0.35, 0.1]), 0
    )
    level = 0.75 - 0.12 * status + rng.normal(0, 0.05, (1, n_sites))
    kpis = level[..., None] + 0.1 * innovations(rng, (*shape, N_KPIS), "t5")
    window, site = np.nonzero(rng.random(shape) >= SHARE_SILENT)
    columns = {
        "site_id": np.array([f"S-{i:04d}" for i in range(n_sites)], dtype=object)[site],
        "timestamp": START + pd.to_timedelta(window * INTERVAL_S + 5, unit="s"),
        "status": status[window, site],
        "uptime_pct": rng.uniform(80, 100, shape)[window, site],
        "fault_count": rng.poisson(0.5 * status)[window, site],
        **{f"kpi_{k}": kpis[window, site, k] for k in range(N_KPIS)},
    }
    return pd.DataFrame(columns)


def e4_nodes() -> str:
    """Return the table of E4 through the nodes as Markdown."""
    lines = [
        f"Seeds {', '.join(map(str, SEEDS))}, {EPISODES} windows each: the same telemetry with one episode a window, and without.",
        "Rows differing: fleet and region rows whose status counts differ, target 0. With so few episodes a coverage has a",
        "standard error of 0.6 points, a mean error one of 0.03.",
        "",
        "| sites | episodes | rows differing | coverage of fleet health % | mean error | largest change of uptime and fault parts |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_row(through_the_nodes(n)) for n in SIZES)])


def _row(f: NodeFigures) -> str:
    return (
        f"| {f.n_sites} | {f.n_episodes} | {f.n_differing} of {f.n_rows} | {f.coverage_pct:.1f} | {f.bias:+.3f} "
        f"| {f.largest_change:.1g} |"
    )
