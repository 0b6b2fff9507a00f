"""Q8: how often healthy members of a group are flagged, and how often a shifted one is found."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from fleet_dagster.core.ranking import Z_FACTOR, exceeds, long_run_mad, modified_z_scores

SEEDS = (11, 23, 47)
SIZES = (3, 5, 10, 30, 100)
SIGMAS = (2.0, 2.5, 3.0, 3.5)
MEMBERS = 1_000_000
"""Members judged per seed and size: at 3.5 sigma the standard error is about 0.002 points."""
SHIFT, SHIFT_SIGMA, LEAST_FOUND = 6.0, 3.5, 94.0
SHIFTED_SIZES = (8, 10, 30, 100)
SHIFTED_GROUPS = 50_000
HISTORY_MEMBERS = 400_000


@dataclass(frozen=True, slots=True)
class FalseFlags:
    """Share of healthy members flagged [%]."""

    n: int
    sigma: float
    known: float
    """With the group's true long-run MAD."""
    learnt: float
    """With the long-run MAD that a baseline would learn from a history of its own."""

    @property
    def limit(self) -> float:
        """1.2 times the Gaussian share, and 0.05 points [%]."""
        return 1.2 * 100 * 2 * float(norm.sf(self.sigma)) + 0.05

    @property
    def is_met(self) -> bool:
        """Whether the target, which knows the long-run MAD, is met."""
        return self.known <= self.limit


def false_flags(
    sizes: Sequence[int] = SIZES, seeds: Sequence[int] = SEEDS, members: int = MEMBERS
) -> Iterator[FalseFlags]:
    """Yield the share of healthy members flagged in each size, at each threshold."""
    for n in sizes:
        counts = np.zeros((2, len(SIGMAS)))
        for seed in seeds:
            rng = np.random.default_rng([seed, n])
            learnt = long_run_mad(rng.standard_normal((HISTORY_MEMBERS // n, n)))
            groups = rng.standard_normal((members // n, n))
            for row, mad in enumerate((Z_FACTOR, learnt)):
                z = modified_z_scores(groups, mad)
                counts[row] += [100 * np.mean(exceeds(z, sigma)) / len(seeds) for sigma in SIGMAS]
        for sigma, known, own in zip(SIGMAS, *counts, strict=True):
            yield FalseFlags(n, sigma, float(known), float(own))


def found_shifts(
    sizes: Sequence[int] = SHIFTED_SIZES,
    seeds: Sequence[int] = SEEDS,
    n_groups: int = SHIFTED_GROUPS,
) -> Iterator[tuple[int, float]]:
    """Yield, for each size, how often a member shifted by 6 sigma is flagged at 3.5 [%]."""
    for n in sizes:
        shares = []
        for seed in seeds:
            groups = np.random.default_rng([seed, n]).standard_normal((n_groups, n))
            groups[:, 0] += SHIFT
            z = modified_z_scores(groups, Z_FACTOR)[:, 0]
            shares.append(100 * float(np.mean(exceeds(z, SHIFT_SIGMA))))
        yield n, float(np.mean(shares))


def q8() -> str:
    """Return the tables of Q8 as Markdown."""
    lines = [
        f"Seeds {', '.join(map(str, SEEDS))}; {MEMBERS:,} members per seed and size. False flags in %, target: at most",
        "1.2 x the Gaussian share + 0.05 points with the long-run MAD known.",
        "",
        "| n | sigma | long-run MAD known | learnt from history | target | met |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {f.n} | {f.sigma} | {f.known:.3f} | {f.learnt:.3f} | {f.limit:.3f} | {'yes' if f.is_met else 'no'} |"
        for f in false_flags()
    ]
    lines += [
        "",
        f"A member shifted by {SHIFT:g} sigma, found at {SHIFT_SIGMA}; target: at least {LEAST_FOUND:g} %.",
        "",
        "| n | found % | met |",
        "|---|---|---|",
    ]
    for n, found in found_shifts():
        lines.append(f"| {n} | {found:.1f} | {'yes' if found >= LEAST_FOUND else 'no'} |")
    return "\n".join(lines)
