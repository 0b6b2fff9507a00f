"""E4: what a storm's panel says of a fleet's health, against the fleet itself.

Populations are made up, one for each episode, and so is the panel, by the episode's name. Here the estimator alone is
measured, on many episodes; `benchmarks/storm_nodes.py` measures the nodes around it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.panel import draw_panel
from fleet_dagster.core.storm_design import Population
from fleet_dagster.core.storm_estimate import storm_means
from fleet_dagster.ingest.simulator.noise import NoiseKind

SEEDS = (11, 23, 47)
SIZES = (200, 500, 1000)
EPISODES = 1_700
"""Of each seed, size and population: 5,100 in all, so that a coverage has a standard error of 0.3 points."""
COVERAGE_PCT = (93.0, 97.0)
LARGEST_BIAS = 0.05
Z_95 = 1.959963984540054
_KPI_SHARE = 0.5
Grid = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sites:
    """How a made-up population is drawn."""

    title: str
    region_shares: tuple[float, ...]
    noise: NoiseKind = "gaussian"
    share_not_online: float = 0.4
    effect: float = 0.12
    """By how much each worse status lowers the goodness of KPIs. [1]"""
    typical: float = 0.75
    """Goodness of the KPIs of a site that is online. [1]"""
    share_missing: float = 0.0
    share_stale: float = 0.03
    share_critical: float = 0.0


POPULATIONS = (
    Sites("Gaussian, 4 regions", (1, 1, 1, 1)),
    Sites("Gaussian, one region, status without effect", (1,), effect=0.0),
    Sites("t5, 16 regions", (1,) * 16, "t5"),
    Sites("t5, 8 regions, 5 % not online", (1,) * 8, "t5", share_not_online=0.05),
    Sites(
        "t5, unequal regions, 5 % critical, 10 % without the KPI, 20 % stale",
        (8, 4, 2, 1, 0.5, 0.5),
        "t5",
        share_missing=0.1,
        share_stale=0.2,
        share_critical=0.05,
    ),
    Sites("t5, 4 regions, 80 % not online", (1, 1, 1, 1), "t5", share_not_online=0.8),
    Sites(
        "skewed: most sites at the best goodness, 5 % not online far below it",
        (1, 1, 1, 1),
        share_not_online=0.05,
        effect=0.25,
        typical=1.05,
    ),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the episodes of one size and population came to."""

    n_sites: int
    title: str
    coverage_pct: float
    by_seed_pct: tuple[float, ...]
    bias: float
    """Mean error, over the root mean square of the standard errors."""
    spread: float
    """Root mean square of the standard errors, over the standard deviation of the errors."""

    @property
    def is_met(self) -> bool:
        """Whether coverage and bias are as asked for."""
        low, high = COVERAGE_PCT
        return low <= self.coverage_pct <= high and abs(self.bias) <= LARGEST_BIAS


def figures(
    n_sites: int, sites: Sites, *, seeds: Sequence[int] = SEEDS, episodes: int = EPISODES
) -> Figures:
    """Measure one size and population."""
    found = [np.array(list(_errors(n_sites, sites, seed, episodes))) for seed in seeds]
    hits = [100 * float(np.mean(np.abs(e[:, 0]) <= Z_95 * e[:, 1])) for e in found]
    error, stderr = np.concatenate(found).T
    typical = float(np.sqrt(np.mean(stderr**2)))
    return Figures(
        n_sites,
        sites.title,
        float(np.mean(hits)),
        tuple(hits),
        float(error.mean()) / typical,
        typical / float(error.std()),
    )


def _errors(n_sites: int, sites: Sites, seed: int, episodes: int) -> Iterator[tuple[float, float]]:
    """Yield the error of the fleet's mean and its standard error, one pair an episode."""
    rng = np.random.default_rng([seed, n_sites, *sites.title.encode()])
    region = regions_of(n_sites, sites.region_shares)
    names, ids = [f"R-{r:02d}" for r in region], [f"S-{i:04d}" for i in range(n_sites)]
    weight = (1 + np.arange(n_sites) * 7 % 5) / 8.0
    for episode in range(episodes):
        is_critical = rng.random(n_sites) < sites.share_critical
        panel = draw_panel(
            "bench", f"{seed}-{episode}", site_ids=ids, regions=names, is_critical=is_critical
        )
        status = statuses(rng, n_sites, sites.share_not_online)
        is_fresh = rng.random(n_sites) >= sites.share_stale
        value = _values(rng, sites, region, status)
        people = Population(
            weight, region, len(sites.region_shares), status[:, None], is_fresh[:, None]
        )
        found = storm_means([np.where(panel.is_read, value, np.nan)[:, None]], people, panel)
        own = is_fresh & ~np.isnan(value)
        error = float(found.means[0][-1, 0]) - float(np.average(value[own], weights=weight[own]))
        yield error, float(found.stderr[-1, 0])


def regions_of(n_sites: int, shares: Sequence[float]) -> Codes:
    """Return each site's region: runs of neighbouring sites of the given shares."""
    edges = np.cumsum(shares) / np.sum(shares) * n_sites
    return np.searchsorted(np.rint(edges), np.arange(n_sites), side="right")


def statuses(rng: np.random.Generator, n_sites: int, share_not_online: float) -> NDArray[np.int8]:
    """Draw statuses: of those not online most are degraded, fewer faulted, some offline."""
    worse = rng.choice([1, 2, 3], n_sites, p=[0.55, 0.35, 0.1])
    return np.where(rng.random(n_sites) < share_not_online, worse, 0).astype(np.int8)


def _values(
    rng: np.random.Generator, sites: Sites, region: Codes, status: NDArray[np.int8]
) -> Grid:
    """Draw what the KPIs add to each site's health, NaN where they are missing."""
    n = region.size
    own = rng.standard_normal(n) if sites.noise == "gaussian" else rng.standard_t(5, n)
    shared = rng.normal(0.0, 0.05, len(sites.region_shares))[region]
    goodness = np.clip(sites.typical - sites.effect * status + shared + 0.08 * own, 0.0, 1.0)
    return np.where(rng.random(n) < sites.share_missing, np.nan, _KPI_SHARE * goodness)


def e4() -> str:
    """Return the tables of E4 as Markdown."""
    low, high = COVERAGE_PCT
    lines = [
        f"Seeds {', '.join(map(str, SEEDS))}; {EPISODES * len(SEEDS):,} independent episodes for each row; weights 1 to 5.",
        f"Coverage of mean +- 1.96 standard errors, target {low:g} to {high:g} %; mean error in standard errors, target at",
        f"most {LARGEST_BIAS:g}. The last column is how large the standard error is, over what the errors' own deviation is.",
        "",
        "| sites | population | coverage % | by seed | mean error | met | standard error / deviation |",
        "|---|---|---|---|---|---|---|",
    ]
    for sites in POPULATIONS:
        lines += [_row(figures(n_sites, sites)) for n_sites in SIZES]
    return "\n".join(lines)


def _row(f: Figures) -> str:
    seeds = ", ".join(f"{hit:.1f}" for hit in f.by_seed_pct)
    met = "yes" if f.is_met else "no"
    return (
        f"| {f.n_sites} | {f.title} | {f.coverage_pct:.1f} | {seeds} | {f.bias:+.3f} | {met} "
        f"| {f.spread:.3f} |"
    )
