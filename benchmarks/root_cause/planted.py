"""Planted faults of every kind, each kind alone: what is found of them, how soon, and what is told."""

import multiprocessing
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from benchmarks.root_cause.findings import Finding, Judged, judge
from benchmarks.root_cause.planted_days import INTERVAL, MARGIN, RATES, PlantedFleet
from fleet_dagster.core.windows import DAY

SEEDS = tuple(range(101, 121))
PROCESSES = 2
WHOLE_SHAPES = ("site", "cascade")
"""Kinds whose shapes are told apart."""
ROOTLESS = ("region", "storm")
TEXT = """\
{n} seeds; 24 sites in 3 regions (profile small: anomalous from 0.7), windows of 60 s, noise of heavy tails, five weeks of
history with 1.25 faults a day, no storm episode recorded. Each kind is planted alone on one day, and judged until its
faults are over.

- Found: one incident holds at least half of the fault's sites and opens between its start and 10 windows after its end.
  Of those that it finds only after the end, the sudden end was told.
- Delay: windows from the first onset to the window in which the incident opened, 0 being that of the onset.
- Root right: the incident, as last told, names the site where the fault began; of those found.
- Precision: of the incidents that opened, those in the time of a fault that touches at least half of their sites. A seed's
  noise is the same for every kind, so the same chance incidents of one site count against each.
- Dropouts make a site offline and are no anomaly of its KPIs: none should be found, and any incident is false."""


def planted(seeds: Sequence[int] = SEEDS) -> str:
    """Return the tables of planted faults as Markdown."""
    return tables(judged_seeds(seeds))


def judged_seeds(seeds: Sequence[int] = SEEDS) -> list[dict[str, Judged]]:
    """Judge every kind in the fleet of each seed."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        return list(pool.map(judged, seeds))


def judged(seed: int) -> dict[str, Judged]:
    """Plant each kind on its own day of one fleet, and judge what the product tells."""
    own = PlantedFleet(seed)
    return {kind: judged_kind(own, kind) for kind in RATES}


def judged_kind(own: PlantedFleet, kind: str) -> Judged:
    """Plant one kind, and judge what the product tells."""
    events = own.events(kind)
    rows = own.evaluate(events).fleet_correlation
    return judge(events, own.sites, rows, interval=INTERVAL, margin=MARGIN)


def tables(seeds: Sequence[dict[str, Judged]]) -> str:
    """Return what became of each kind and shape, and what was told of those without a root."""
    lines = [
        TEXT.format(n=len(seeds)),
        "",
        "| kind | shape | planted | found % | before its end % | delay, median | delay, 90 % | root right % | incidents | precision % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in RATES:
        own = [day[kind] for day in seeds]
        found = findings_of(own)
        n, n_true = sum(j.n_incidents for j in own), sum(j.n_true for j in own)
        lines.append(f"| {kind} | all | {_cells(kind, found)} | {n} | {_share(n_true, n)} |")
        if kind in WHOLE_SHAPES:
            for shape in sorted({f.shape for f in found}):
                of_shape = [f for f in found if f.shape == shape]
                lines.append(f"| {kind} | {shape} | {_cells(kind, of_shape)} | | |")
    told = [f"- {kind}: {_told(seeds, kind)}." for kind in ("cascade", *ROOTLESS)]
    return "\n".join(
        [*lines, "", "Patterns of those found, as last told:", "", *told, "", _drifts(seeds)]
    )


def findings_of(days: Iterable[Judged]) -> list[Finding]:
    """Join the findings of several days."""
    return [finding for day in days for finding in day.findings]


def recall(findings: Sequence[Finding]) -> float:
    """Return the share of faults that were found."""
    return sum(f.incident is not None for f in findings) / max(1, len(findings))


def root_accuracy(findings: Sequence[Finding]) -> float:
    """Return the share of the found faults whose origin is named."""
    n_found = sum(f.incident is not None for f in findings)
    return sum(f.is_root_right for f in findings) / max(1, n_found)


def _cells(kind: str, findings: Sequence[Finding]) -> str:
    hits = [f for f in findings if f.incident is not None]
    delays = np.array([f.delay for f in hits])
    middle, late = np.quantile(delays, [0.5, 0.9]) if hits else (np.nan, np.nan)
    right = "" if kind in ROOTLESS else _share(sum(f.is_root_right for f in hits), len(hits))
    found = _share(len(hits), len(findings))
    soon = _share(sum(f.is_before_end for f in findings), len(findings))
    return f"{len(findings)} | {found} | {soon} | {_number(middle)} | {_number(late)} | {right}"


def _told(seeds: Sequence[dict[str, Judged]], kind: str) -> str:
    hits = [f.incident for f in findings_of(day[kind] for day in seeds) if f.incident is not None]
    shapes = Counter(i.pattern for i in hits)
    named = ", ".join(f"{pattern} {n}" for pattern, n in shapes.most_common())
    return f"{named or 'none'}; root undetermined {sum(i.root is None for i in hits)}"


def _drifts(seeds: Sequence[dict[str, Judged]]) -> str:
    drifts = findings_of(day["drift"] for day in seeds)
    a_day = sum(f.delay <= DAY / INTERVAL for f in drifts)
    return f"Drifts last one to five days and reach their size at the end: {a_day} of {len(drifts)} are told within 24 h."


def _share(n: int, of: int) -> str:
    return f"{100 * n / of:.1f}" if of else "-"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.0f}"
