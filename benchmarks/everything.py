"""P2 and P3: all nodes and all writes of whole days, beside a scan of the same telemetry.

Each run is a process of its own on a fresh copy of the storage, so that its memory is its own and nothing stands yet.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from statistics import median

from benchmarks import yardsticks
from benchmarks.ingest import clock
from benchmarks.report import Figure, Result, ratios, seconds
from benchmarks.telemetry import NAME, START, Workload, landed_hours, landed_repeatedly
from fleet_dagster.anomaly_history import with_history
from fleet_dagster.core.sampling import sample_hours, training_day_in_force, training_span
from fleet_dagster.core.windows import DAY, MINUTE, Span, union
from fleet_dagster.model.tables import SITE_KPI, SITE_RANKING, SITE_TELEMETRY, Table
from fleet_dagster.refresh.refresh import Outcome, Refresh
from fleet_dagster.storage.store import Store

HISTORY_DAYS, HISTORY_STEP_S = 28, 600
LEARNT_STEP_S, LEAD = 30, 15 * MINUTE
"""Of the hours that baselines learn from: as dense as the windows, and begun a little earlier."""
PAIRS = 5
MOST_SCANS = {"full": 10.0, "deviation_only": 6.0}
MOST_MIB = 1_536.0
ANY_DEVIATION = 1e-9
"""Threshold at which every site-window deviates and is published, as in full mode, which a fleet of this size never is in."""
MOST_TIME, MOST_MEMORY = 7.3, 1.1
LARGE = Workload(n_sites=1_000, n_regions=20, step_s=10)
GROWING = Workload(n_sites=250, n_regions=10, step_s=10)
LONG_DAYS, GROWTH_PAIRS = 7, 3
_PROJECT = Path(__file__).parents[1]
HISTORY = (
    f"{HISTORY_DAYS} days of history at one snapshot per {HISTORY_STEP_S} s and site (one simulated day, repeated), in the hours that baselines "
    f"learn from one per {LEARNT_STEP_S} s, are in place and the baseline is "
    "trained, both outside the clock; each run is a process of its own on a fresh copy of the storage."
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of all nodes: its duration, and its memory with and without what the imports take."""

    duration_s: float
    peak_mib: float
    imports_mib: float
    rows_written: int
    rank_rows: int
    rank_bytes: int
    site_windows: int


def p2() -> Result:
    """Measure a day of the large profile, as it is published and with every site published."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "prepared"
        land(home, LARGE, days=1)
        homes = {"full": home.with_name("full"), "deviation_only": home.with_name("deviating")}
        for mode, own in homes.items():
            settle(home, own, LARGE, days=1, is_full=mode == "full")
        files = _telemetry(home, days=1)
        scans: list[float] = []
        runs: dict[str, list[Run]] = {mode: [] for mode in homes}
        with yardsticks.connect() as database:
            yardsticks.scan(database, files)
            for _ in range(PAIRS):
                scans.append(clock(lambda: yardsticks.scan(database, files)))
                for mode, own in homes.items():
                    runs[mode].append(run_all(own, LARGE, days=1))
    full, quiet = runs["full"][0], runs["deviation_only"][0]
    saved = (1 - quiet.rank_rows / full.rank_rows, 1 - quiet.rank_bytes / full.rank_bytes)
    return Result(
        "all nodes and all writes, a day of 1,000 sites",
        f"24 h of 1,000 sites at 10 s, windows of 30 s, large profile, `Refresh.everything`. Full mode, in which a fleet of this "
        f"size never is, is stood for by a threshold that every site exceeds: {full.rows_written:,} rows written, "
        f"{quiet.rows_written:,} in deviation_only. That saves {saved[0]:.1%} of the rank rows ({quiet.rank_rows:,} of "
        f"{full.rank_rows:,}) and {saved[1]:.1%} of the volume of `site_ranking_stream`; {quiet.rank_rows / quiet.site_windows:.1%} "
        f"of the site-windows are published. {HISTORY} {PAIRS} interleaved rounds.",
        (
            *(_in_scans(mode, own, scans) for mode, own in runs.items()),
            *(_peak(mode, own) for mode, own in runs.items()),
        ),
    )


def _in_scans(mode: str, runs: Sequence[Run], scans: Sequence[float]) -> Figure:
    times, most = [r.duration_s for r in runs], MOST_SCANS[mode]
    ratio = median(ratios(times, scans))
    return Figure(
        f"8.64 M snapshots → 2.88 M site-windows, all nodes and writes, {mode}",
        seconds(times),
        f"DuckDB scan {seconds(scans)}",
        f"{ratio:.1f}",
        f"≤ {most:g}",
        ratio <= most,
    )


def _peak(mode: str, runs: Sequence[Run]) -> Figure:
    peak, imports = median([r.peak_mib for r in runs]), median([r.imports_mib for r in runs])
    return Figure(
        f"peak resident memory, {mode}",
        f"{peak:.0f} MiB ({imports:.0f} MiB after the imports)",
        "1.5 GiB",
        f"{peak / MOST_MIB:.2f}",
        "≤ 1",
        peak <= MOST_MIB,
    )


def p3() -> Result:
    """Measure how cost grows from one day to seven."""
    with tempfile.TemporaryDirectory() as folder:
        landed, home = Path(folder) / "landed", Path(folder) / "prepared"
        land(landed, GROWING, days=LONG_DAYS)
        settle(landed, home, GROWING, days=LONG_DAYS)
        pairs = [
            (run_all(home, GROWING, days=1), run_all(home, GROWING, days=LONG_DAYS))
            for _ in range(GROWTH_PAIRS)
        ]
    short, long = zip(*pairs, strict=True)
    slower = median(ratios([r.duration_s for r in long], [r.duration_s for r in short]))
    larger = median(ratios([r.peak_mib for r in long], [r.peak_mib for r in short]))
    return Result(
        f"growth: {LONG_DAYS} days ÷ 1 day",
        f"As P2 with {GROWING.n_sites} sites, so that it takes minutes. {HISTORY} {GROWTH_PAIRS} interleaved pairs.",
        (
            Figure(
                f"time of {LONG_DAYS} days",
                seconds([r.duration_s for r in long]),
                f"1 day {seconds([r.duration_s for r in short])}",
                f"{slower:.2f}",
                f"≤ {MOST_TIME}",
                slower <= MOST_TIME,
            ),
            Figure(
                f"peak resident memory of {LONG_DAYS} days",
                f"{median([r.peak_mib for r in long]):.0f} MiB",
                f"1 day {median([r.peak_mib for r in short]):.0f} MiB",
                f"{larger:.2f}",
                f"≤ {MOST_MEMORY}",
                larger <= MOST_MEMORY,
            ),
        ),
    )


def span_of(days: int) -> Span:
    """Return the days that are measured: those after the history."""
    start = START + HISTORY_DAYS * DAY
    return Span(start, start + days * DAY)


def land(home: Path, work: Workload, *, days: int) -> None:
    """Land the history and the days to be measured."""
    history = Workload(work.n_sites, work.n_regions, HISTORY_STEP_S)
    config = work.config
    with Store.at(home) as store:
        store.registry.apply(config)
        past = list(Span(START, START + HISTORY_DAYS * DAY).days())
        batches = chain(
            landed_repeatedly(history, past),
            *(landed_hours(replace(work, step_s=LEARNT_STEP_S), part) for part in learnt(days)),
            landed_hours(work, span_of(days)),
        )
        for i, rows in enumerate(batches):
            name = f"batch-{i}"
            store.landing.append(
                NAME,
                rows,
                batch_id=name,
                idempotency_key=name,
                source="benchmark",
                historical=False,
            )


def learnt(days: int) -> list[Span]:
    """Return the hours before the measured days that their baselines learn from, with a lead: without them nothing is scored."""
    history = Span(START, START + HISTORY_DAYS * DAY)
    trained = {training_day_in_force(START, day.start) for day in span_of(days).days()}
    hours = [h for day in trained if day for h in sample_hours(NAME, training_span(day))]
    return union([hour.widen(before=LEAD).clip(history) for hour in hours])


def settle(landed: Path, home: Path, work: Workload, *, days: int, is_full: bool = False) -> None:
    """Copy what was landed, train the baselines that govern the days to be measured, and score those that incidents look back at."""
    _copy(landed, home)
    config = work.config
    with Store.at(home) as store:
        if is_full:
            everyone = config.model_copy(update={"deviation_sigma": ANY_DEVIATION})
            store.registry.apply(everyone, valid_from=0)
        refresh, measured = Refresh(store, config), span_of(days)
        refresh.baselines(measured)
        before = with_history(store.registry.fleet(config), measured)
        refresh.anomaly_scorer(Span(before.start, measured.start))


def _copy(prepared: Path, home: Path) -> None:
    """Copy an installation, its files by hard links: they are never written again."""
    shutil.copytree(prepared / "lake", home / "lake", copy_function=os.link)
    for file in prepared.glob("control.db*"):
        shutil.copy2(file, home)


def run_all(prepared: Path, work: Workload, *, days: int) -> Run:
    """Run all nodes over the measured days in a process of its own, on a fresh copy."""
    home = prepared.with_name("run")
    _copy(prepared, home)
    try:
        command = [sys.executable, "-m", "benchmarks.everything"]
        given = json.dumps([str(home), work.n_sites, work.n_regions, work.step_s, days])
        done = subprocess.run(  # noqa: S603 - own command
            [*command, given], check=True, stdout=subprocess.PIPE, text=True, cwd=_PROJECT
        )
        return Run(**json.loads(done.stdout))
    finally:
        shutil.rmtree(home)


def _telemetry(home: Path, *, days: int) -> list[Path]:
    first = span_of(days).start // DAY
    with Store.at(home) as store:
        known = store.lake.open(SITE_TELEMETRY).get_add_actions(flatten=True)
    wanted = {str(day) for day in _dates(range(first, first + days))}
    rows = zip(known["path"].to_pylist(), known["partition.day"].to_pylist(), strict=True)
    root = home / "lake" / SITE_TELEMETRY.name
    return [root / path for path, day in rows if str(day) in wanted]


def _dates(days: range) -> list[str]:
    return [time.strftime("%Y-%m-%d", time.gmtime(day * 86_400)) for day in days]


def _peak_mib() -> float:
    """Return the most memory that this program has held; `ru_maxrss` would also count the one that started it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError as error:
        msg = "peak memory is read from /proc/self/status, which this system lacks. Run P2 and P3 on Linux"
        raise RuntimeError(msg) from error
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _written(outcomes: Sequence[Outcome], table: Table) -> int:
    return sum(o.rows_written for o in outcomes if o.table is table)


def _main() -> None:
    home, n_sites, n_regions, step_s, days = json.loads(sys.argv[1])
    config = Workload(n_sites, n_regions, step_s).config
    imports_mib = _peak_mib()
    with Store.at(Path(home)) as store:
        began = time.perf_counter()
        outcomes = Refresh(store, config).everything(span_of(days))
        duration_s = time.perf_counter() - began
        ranks = store.lake.open(SITE_RANKING).get_add_actions(flatten=True)
        rank_bytes = sum(ranks["size_bytes"].to_pylist())
    wrong = [v for o in outcomes for v in o.violations]
    if wrong:
        raise RuntimeError(wrong[0])
    written = sum(o.rows_written for o in outcomes)
    json.dump(
        {
            "duration_s": duration_s,
            "peak_mib": _peak_mib(),
            "imports_mib": imports_mib,
            "rows_written": written,
            "rank_rows": _written(outcomes, SITE_RANKING),
            "rank_bytes": rank_bytes,
            "site_windows": _written(outcomes, SITE_KPI),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    _main()
