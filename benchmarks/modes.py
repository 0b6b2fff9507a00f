"""E3: downsample_healthy and deviation_only against full, on simulated days with planted faults."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.naive_rollup import largest_difference
from benchmarks.simulated_day import FAULTS, STEP_S, TODAY, SimulatedDay
from fleet_dagster.core.windows import HOUR, SECOND, Span
from fleet_dagster.frames.columns import microseconds
from fleet_dagster.ingest.simulator import Kind
from fleet_dagster.ingest.simulator.noise import NoiseKind
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import CENTRE_NAMES, KPI_NAMES, SCALE_NAMES
from fleet_dagster.nodes.baseline import Trained
from fleet_dagster.nodes.fleet_aggregator import fleet_aggregator
from fleet_dagster.nodes.performance_comparator import performance_comparator
from fleet_dagster.pipeline import Evaluation, evaluate_landed
from fleet_dagster.training import baselines_for

SEEDS = (11, 23, 47)
SIZES = (200, 1000)
KINDS: tuple[Kind, ...] = ("mixed", "thermoelectric")
"""Mixed sites differ most: solar ones rest all night, so that one median does not describe their day."""
NOISES: tuple[NoiseKind, ...] = ("gaussian", "t5")
LEAST_DISPLACEMENT = 4.0
MOST_QUIET_PCT = 25.0
_HEADINGS = (
    "kind",
    "sites",
    "noise",
    "mode",
    "rollup rows differing",
    "largest difference from a naive rollup",
    "ranks differing",
    "quiet published %",
    "faults published (by KPIs)",
    "met",
    "rank rows of full",
    "rank bytes of full",
)
Flags = NDArray[np.bool_]
Grid = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one or several days came to; counts add up."""

    n_differing: int
    """Rows of fleet_kpi and region_kpi that are not those of the full run."""
    oracle: float
    """Largest difference of fleet health from a naive rollup."""
    n_quiet: int
    n_quiet_published: int
    n_faults: int
    """Faults planted on a site that day."""
    n_displaced: int
    """Those of at least 4 scaled MADs in their first whole window."""
    n_published: int
    """Those of them that are published in it."""
    n_by_kpis: int
    """Those of them that lie beyond 3 scaled MADs of the baseline, whatever their status says."""
    rank_rows: int
    full_rank_rows: int
    rank_bytes: int
    full_rank_bytes: int
    n_ranks_differing: int

    def __add__(self, other: "Figures") -> "Figures":
        """Add the counts of other days."""
        own = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Figures)}
        return Figures(**{**own, "oracle": max(self.oracle, other.oracle)})

    @property
    def quiet_pct(self) -> float:
        """Share of the site-windows without a planted fault that are published."""
        return 100 * self.n_quiet_published / self.n_quiet

    @property
    def is_met(self) -> bool:
        """Whether everything is as asked for."""
        same = self.n_differing == 0 == self.n_ranks_differing
        return same and self.quiet_pct <= MOST_QUIET_PCT and self.n_published == self.n_displaced


def figures_of(day: SimulatedDay) -> Figures:
    """Measure one day."""
    fleet = Fleet.of(day.config)
    trained = baselines_for(fleet, day.read, TODAY)
    found = evaluate_landed(fleet, day.read, TODAY, trained)
    calm = evaluate_landed(fleet, day.without_faults.read, TODAY, trained)
    in_full = _in_full(found)
    ranks, full_ranks = _ranks(found, found.site_kpi), _ranks(found, in_full)
    rollup = fleet_aggregator(fleet, in_full, found.site_assignment, found.anomaly_score, TODAY)
    everything_published = Trained(trained.baseline.iloc[:0], trained.baseline_model)
    unbaselined = evaluate_landed(fleet, day.read, TODAY, everything_published)
    fault = _faulty(day)
    published = _grid(found, "published").astype(np.bool_)
    return Figures(
        n_differing=_differing(found.fleet_kpi, rollup.fleet_kpi)
        + _differing(found.region_kpi, rollup.region_kpi)
        + _differing(found.fleet_kpi, unbaselined.fleet_kpi)
        + _differing(found.region_kpi, unbaselined.region_kpi)
        + _differing(found.anomaly_score, unbaselined.anomaly_score),
        oracle=largest_difference(day, found.fleet_kpi),
        n_quiet=int((~fault).sum()),
        n_quiet_published=int((published & ~fault).sum()),
        rank_rows=len(ranks),
        full_rank_rows=len(full_ranks),
        rank_bytes=_parquet_bytes(ranks),
        full_rank_bytes=_parquet_bytes(full_ranks),
        n_ranks_differing=_ranks_differing(ranks, full_ranks),
        **_faults_found(day, found, calm, published),
    )


def _in_full(found: Evaluation) -> pd.DataFrame:
    """Return the site rows as the mode `full` would publish them."""
    rows = found.site_kpi
    is_fresh = rows["last_seen"].notna()
    names = rows["disposition"].cat.add_categories(
        [c for c in ("full", "stale") if c not in rows["disposition"].cat.categories]
    )
    return rows.assign(published=is_fresh, disposition=names.where(~is_fresh, "full"))


def _ranks(found: Evaluation, site_rows: pd.DataFrame) -> pd.DataFrame:
    """Rank all of the day but its first hour, whose persistence would look further back."""
    span = Span(TODAY.start + HOUR, TODAY.end)
    return performance_comparator(
        found.fleet, site_rows, found.site_assignment, found.baseline, span
    )


def _ranks_differing(ranks: pd.DataFrame, full: pd.DataFrame) -> int:
    """Count the published ranks that the full run ranks otherwise, or not at all."""
    key = ["window_start", "site_id"]
    names = [name for name in ranks.columns if name != "day"]
    left, right = (_plain(frame[names]).set_index(key).sort_index() for frame in (ranks, full))
    return _differing(left.reset_index(), right.loc[left.index].reset_index())


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with names and lists as texts: pandas finds no list equal to itself."""
    lists = [n for n in frame.columns if isinstance(frame[n].dtype, pd.ArrowDtype)]
    names = [n for n in frame.columns if isinstance(frame[n].dtype, pd.CategoricalDtype)]
    texts = {n: frame[n].astype(object).map(str, na_action="ignore") for n in lists}
    return frame.assign(**texts).astype(dict.fromkeys(names, "str"))


def _differing(a: pd.DataFrame, b: pd.DataFrame) -> int:
    """Count the rows of which any value differs, bit for bit but for NaN."""
    a, b = _plain(a).reset_index(drop=True), _plain(b).reset_index(drop=True)
    if a.shape != b.shape:
        return max(len(a), len(b))
    same = (a == b).fillna(False).to_numpy(np.bool_) | (a.isna() & b.isna()).to_numpy()
    return int((~same).any(axis=1).sum())


def _parquet_bytes(frame: pd.DataFrame) -> int:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(_plain(frame), preserve_index=False), sink)
    return int(sink.getvalue().size)


def _grid(found: Evaluation, column: str) -> Grid:
    """Return a column of the site rows, shape (n_windows, n_sites): every site has a row in every window."""
    n_sites = len(found.fleet.sites)
    return found.site_kpi[column].to_numpy(np.float64, na_value=np.nan).reshape(-1, n_sites)


def _faulty(day: SimulatedDay) -> Flags:
    """Tell which site-windows a planted fault touches, shape (n_windows, n_sites)."""
    starts = TODAY.starts(STEP_S * SECOND)
    out = np.zeros((starts.size, day.n_sites), dtype=np.bool_)
    for event in day.events:
        for site, onset in zip(event.sites, event.onsets_us, strict=True):
            out[:, site] |= (starts + STEP_S * SECOND > onset) & (starts < event.end_us)
    return out


def _faults_found(
    day: SimulatedDay, found: Evaluation, calm: Evaluation, published: Flags
) -> dict[str, int]:
    window, site = np.array(list(_first_windows(day)), dtype=np.int64).reshape(-1, 2).T
    is_displaced, is_beyond = (
        np.zeros(window.size, dtype=np.bool_),
        np.zeros(window.size, dtype=np.bool_),
    )
    rows = _baseline_in_force(found)
    for kpi, centre, scale in zip(KPI_NAMES, CENTRE_NAMES, SCALE_NAMES, strict=True):
        seen, usual = _grid(found, kpi)[window, site], _grid(calm, kpi)[window, site]
        spread = rows[scale].to_numpy(np.float64)[site]
        is_displaced |= np.abs(seen - usual) >= LEAST_DISPLACEMENT * spread
        is_beyond |= np.abs(seen - rows[centre].to_numpy(np.float64)[site]) > 3 * spread
    return {
        "n_faults": window.size,
        "n_displaced": int(is_displaced.sum()),
        "n_published": int((is_displaced & published[window, site]).sum()),
        "n_by_kpis": int((is_displaced & is_beyond).sum()),
    }


def _baseline_in_force(found: Evaluation) -> pd.DataFrame:
    """Return each site's baseline of that day, in the order of the site axis."""
    rows = _plain(found.baseline)
    own = rows[(rows["scope"] == "site") & (microseconds(rows["window_start"]) == TODAY.start)]
    names = [site.site_id for site in found.fleet.sites]
    in_order: pd.DataFrame = own.set_index("scope_id", verify_integrity=True).loc[names]
    return in_order


def _first_windows(day: SimulatedDay) -> Iterator[tuple[int, int]]:
    """Yield the number of the first whole window, and the site, of each fault planted on a site that day."""
    for event in day.events:
        for site in event.sites:
            start = day.first_whole_window(event, site)
            if start is not None and event.kpis:
                yield (start - TODAY.start) // (STEP_S * SECOND), site


def e3() -> str:
    """Return the tables of E3 as Markdown."""
    lines = [
        f"Seeds {', '.join(map(str, SEEDS))} together; days of {STEP_S} s windows with one snapshot each, AR(1) noise of phi 0.9 per",
        f"window, baseline trained on 28 days; planted per day: {_listed(FAULTS)}.",
        "Rows differing: rollups against those of the same sites all published, and against those without a baseline; ranks",
        f"against the same ranks in full. Quiet: site-windows without a planted fault, target at most {MOST_QUIET_PCT:g} % published.",
        f"Faults: those of at least {LEAST_DISPLACEMENT:g} scaled MADs in their first whole window, all to be published in it; in brackets",
        "how many of them their KPIs alone would show (beyond 3 scaled MADs). `mixed` has a quarter solar sites, whose baseline",
        "is that of their night: half of what they do by day is published.",
        "",
        f"| {' | '.join(_HEADINGS)} |",
        "|---" * len(_HEADINGS) + "|",
    ]
    cases = itertools.product(KINDS, SIZES, NOISES)
    lines.extend(_row(*case, measured(*case)) for case in cases)
    return "\n".join(lines)


def measured(kind: Kind, n_sites: int, noise: NoiseKind, seeds: Sequence[int] = SEEDS) -> Figures:
    """Measure the days of several seeds."""
    days = [figures_of(SimulatedDay(kind, n_sites, noise, seed)) for seed in seeds]
    total = days[0]
    for day in days[1:]:
        total += day
    return total


def _row(kind: Kind, n_sites: int, noise: NoiseKind, f: Figures) -> str:
    mode = "downsample_healthy" if n_sites == SIZES[0] else "deviation_only"
    return (
        f"| {kind} | {n_sites} | {noise} | {mode} | {f.n_differing} | {f.oracle:.1g} | {f.n_ranks_differing} | {f.quiet_pct:.1f} "
        f"| {f.n_published} of {f.n_displaced}, of {f.n_faults} planted ({f.n_by_kpis}) | {'yes' if f.is_met else 'no'} "
        f"| {f.rank_rows:,} of {f.full_rank_rows:,}: {100 * f.rank_rows / f.full_rank_rows:.0f} % "
        f"| {100 * f.rank_bytes / f.full_rank_bytes:.0f} % of {f.full_rank_bytes / 1e6:.1f} MB |"
    )


def _listed(faults: dict[str, float]) -> str:
    return ", ".join(f"{n:g} {kind}" for kind, n in faults.items())
