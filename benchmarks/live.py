"""P5 and R6: the live engine at work on 1,000 sites, while another process lands telemetry as it would arrive.

`python -m benchmarks.live --hours 24 --speed 10` is R6; `--prepared FOLDER` takes a copy of history that was prepared before.
"""

import argparse
import json
import multiprocessing
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from multiprocessing.synchronize import Event as Stop
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.everything import HISTORY_STEP_S, LARGE, LEARNT_STEP_S, learnt, span_of
from benchmarks.report import Figure, Result
from benchmarks.telemetry import NAME, START, Workload, landed_hours, landed_repeatedly
from fleet_dagster.anomaly_history import with_history
from fleet_dagster.core.windows import DAY, HOUR, SECOND, Span
from fleet_dagster.live.engine import Engine
from fleet_dagster.live.events import Event, Round
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import (
    FLEET_KPI,
    REGIONAL_HEALTH,
    SITE_KPI,
    SITE_RANKING,
    derived_tables,
)
from fleet_dagster.refresh.currency import Currency
from fleet_dagster.refresh.due import owed
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage import changes
from fleet_dagster.storage.store import Store

WORK = replace(LARGE, step_s=30)
WINDOW = 30 * SECOND
LEAD = 2 * HOUR
"""Time before the engine starts whose windows are computed already."""
WAIT_S = 1.0
"""How long after its end a window is closed, in time that passes [s]."""
SAMPLE_S = 5.0
P5_SPEED, P5_WINDOWS = 5.0, 60
MOST_S, MOST_LAG = 2.0, 3
_SPAWN = multiprocessing.get_context("spawn")
Client = Callable[[Path, Stop], Mapping[int, float]]
"""Follows an engine's installation until told to stop; tells when it was pushed each window, by its end [us], on the wall [s]."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A clock that began at an instant [us] when the wall's showed `began` [s], and goes faster than that."""

    start: int
    began: float
    speed: float

    def __call__(self) -> int:
        """Tell the simulated instant [us]."""
        return self.start + round((time.time() - self.began) * self.speed * 1e6)

    def wall(self, instant: int) -> float:
        """Return when the wall's clock shows a simulated instant [s]."""
        return self.began + (instant - self.start) / 1e6 / self.speed


@dataclass(frozen=True, slots=True)
class Lived:
    """What an engine did: its rounds, and its memory and open files over time."""

    rounds: Sequence[Mapping[str, Any]]  # Any: JSON
    events: Sequence[str]
    seconds: Sequence[float]
    mib: Sequence[float]
    files: Sequence[int]
    pushed: Mapping[int, float]

    def lags(self) -> list[float]:
        """Return how many windows had closed after a round's newest when its rows stood."""
        return [(r["ended"] - r["end"] - r["wait"]) / WINDOW for r in self.rounds]

    def readable_s(self, speed: float) -> list[float]:
        """Return for each round how long after its newest window was closed its rows stood, in time that passes [s]."""
        return [(r["ended"] - r["end"] - r["wait"]) / 1e6 / speed for r in self.rounds]


def p5(client: Client | None = None) -> Result:
    """Measure from a window's closing until its rows stand, and with a client until they were pushed to it."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        prepare(home)
        start = span_of(1).start + LEAD
        lived = live(home, Span(start, start + P5_WINDOWS * WINDOW), P5_SPEED, client=client)
    times = lived.readable_s(P5_SPEED)
    figures = [_within("window closed → rows readable", times)]
    if client is not None:
        ends = {r["end"]: r["closed_wall"] for r in lived.rounds}
        pushed = [wall - ends[end] for end, wall in lived.pushed.items() if end in ends]
        figures.append(_within("window closed → rows readable and pushed", pushed))
    return Result(
        "live, 1,000 sites",
        f"`fleet live`'s engine on 1,000 sites and 20 regions, windows of 30 s, {P5_WINDOWS} windows at {P5_SPEED:g} x speed "
        f"(one every {30 / P5_SPEED:g} s); another process lands each window's snapshots at its end. 28 days of history are in "
        f"place. A window is closed {WAIT_S:g} s after its end; the figure is p95 from there until the last of its tables is written.",
        tuple(figures),
    )


def _within(work: str, times: Sequence[float]) -> Figure:
    p95 = float(np.percentile(times, 95))
    told = f"p95 {p95:.2f} s (median {np.median(times):.2f} s, at most {max(times):.2f} s)"
    return Figure(work, told, f"{MOST_S:g} s", f"{p95 / MOST_S:.2f}", "≤ 1", p95 <= MOST_S)


def prepare(home: Path) -> None:
    """Land 28 days of history and the lead, train the baselines, and compute the lead."""
    history = Workload(WORK.n_sites, WORK.n_regions, HISTORY_STEP_S)
    dense = replace(WORK, step_s=LEARNT_STEP_S)
    measured = span_of(1)
    past = list(Span(START, measured.start).days())
    batches = chain(
        landed_repeatedly(history, past),
        *(landed_hours(dense, part) for part in learnt(1)),
        landed_hours(WORK, Span(measured.start, measured.start + LEAD)),
    )
    with Store.at(home) as store:
        store.registry.apply(WORK.config)
        for i, rows in enumerate(batches):
            _land(store, f"b{i}", rows)
        refresh = Refresh(store, WORK.config)
        refresh.baselines(measured)
        before = with_history(store.registry.fleet(WORK.config), measured)
        refresh.anomaly_scorer(Span(before.start, measured.start))


def compute_lead(home: Path, start: int) -> None:
    """Compute the lead; what an engine would owe of the week before is taken for computed, which would take it an hour."""
    lead = Span(start - LEAD, start)
    with Store.at(home) as store:
        currency = Currency(store.registry.fleet(WORK.config), store.history)
        landing, week = store.history.landing_version(NAME), Span(start - 8 * DAY, lead.start)
        with store.control.transaction() as tx:
            for table in (SITE_KPI, FLEET_KPI, REGIONAL_HEALTH, SITE_RANKING):
                pieces = currency.pieces(table, week, landing=landing)
                store.history.coverage.cover(tx, table.name, NAME, pieces)
        Refresh(store, WORK.config).windows(lead)


def live(home: Path, span: Span, speed: float, *, client: Client | None = None) -> Lived:
    """Let an engine keep the fleet current while telemetry of a span arrives, at a speed."""
    compute_lead(home, span.start)
    log, stop = home / "rounds.jsonl", _SPAWN.Event()
    rate = Rate(span.start, time.time() + 8.0, speed)
    wait = WAIT_S * speed
    engine = _SPAWN.Process(target=_keep, args=(home, rate, wait, log, stop))
    feeder = _SPAWN.Process(target=_feed, args=(home, rate, span))
    pushed: dict[int, float] = {}
    following = threading.Thread(target=lambda: pushed.update(client(home, stop) if client else {}))
    for one in (engine, feeder, following):
        one.start()
    samples = _watch(engine.pid or 0, rate, span.end + round(wait * SECOND) + 2 * WINDOW)
    _wait_until_current(home, span.end)
    stop.set()
    for one in (engine, feeder, following):
        one.join()
    said = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    rounds = [line for line in said if "end" in line and line["end"] <= span.end]
    return Lived(rounds, [x["said"] for x in said if "said" in x], *samples, pushed)


def _keep(home: Path, rate: Rate, wait_s: float, log: Path, stop: Stop) -> None:
    with log.open("a", encoding="utf-8", buffering=1) as out:

        def note(_config: FleetConfig, done: Round) -> None:
            told = {
                "end": done.span.end,
                "windows": (done.span.end - done.span.start) // WINDOW,
                "ended": done.ended,
                "wait": round(wait_s * SECOND),
                "closed_wall": rate.wall(done.span.end + round(wait_s * SECOND)),
                "took": done.duration_s,
                "behind": done.n_behind,
            }
            out.write(json.dumps(told) + "\n")

        def tell(event: Event) -> None:
            out.write(json.dumps({"said": str(event)}) + "\n")

        engine = Engine(
            lambda: Store.at(home),
            lambda: {NAME: WORK.config},
            tell,
            wait_s=wait_s,
            clock=rate,
            listeners=[note],
            compact_every=round(HOUR / rate.speed),
        )
        stopping = threading.Event()

        def pass_on() -> None:
            stop.wait()
            stopping.set()

        threading.Thread(target=pass_on, daemon=True).start()
        engine.run(stopping)


def _feed(home: Path, rate: Rate, span: Span) -> None:
    """Land each window's snapshots when it ends; they are made beforehand, an hour at a time."""
    with Store.at(home) as store:
        for hour in span.steps(HOUR):
            (rows,) = landed_hours(WORK, hour)
            stamps = rows.column("timestamp").cast("int64").to_numpy()
            for window in hour.steps(WINDOW):
                own = np.flatnonzero((stamps >= window.start) & (stamps < window.end))
                time.sleep(max(0.0, rate.wall(window.end) - time.time()))
                _land(store, f"w{window.start}", rows.take(own))


def _land(store: Store, name: str, rows: Any) -> None:  # Any: a table
    store.landing.append(
        NAME, rows, batch_id=name, idempotency_key=name, source="benchmark", historical=False
    )


def _watch(pid: int, rate: Rate, until: int) -> tuple[list[float], list[float], list[int]]:
    """Sample the memory and the open files of a process until an instant."""
    process, seconds, mib, files = psutil.Process(pid), [], [], []
    while rate() < until:
        seconds.append(time.time() - rate.began)
        mib.append(process.memory_info().rss / 2**20)
        files.append(process.num_fds())
        time.sleep(SAMPLE_S)
    return seconds, mib, files


def _wait_until_current(home: Path, now: int) -> None:
    with Store.at(home) as store:
        while owed(store, WORK.config, now).spans:
            time.sleep(0.5)


def r6(prepared: Path | None, hours: float, speed: float) -> None:
    """Simulate some hours, then ask the schedule what is left, and compare with a quiet serial run; print what was seen."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "prepared"
        if prepared is None:
            prepare(base)
        else:
            shutil.copytree(prepared, base)
        home, quiet = Path(folder) / "home", Path(folder) / "quiet"
        shutil.copytree(base, home)
        start = span_of(1).start + LEAD
        span = Span(start, start + round(hours * HOUR))
        lived = live(home, span, speed)
        lags, n = lived.lags(), len(lived.rounds)
        _say(
            f"{hours:g} h at {speed:g} x: {n} rounds, {sum(r['windows'] for r in lived.rounds)} windows"
        )
        _say(
            f"lag in windows: median {np.median(lags):.2f}, p95 {np.percentile(lags, 95):.2f}, at most {max(lags):.2f} (target ≤ {MOST_LAG})"
        )
        took = [r["took"] for r in lived.rounds]
        _say(
            f"round: median {np.median(took):.2f} s, p95 {np.percentile(took, 95):.2f} s, at most {max(took):.2f} s"
        )
        for what, values in (("memory [MiB]", lived.mib), ("open files", lived.files)):
            late = len(values) // 4
            slope = np.polyfit(lived.seconds[late:], values[late:], 1)[0] * 3600 / speed
            _say(
                f"{what}: {values[late]:.0f} after a quarter, {values[-1]:.0f} at the end, {max(values):.0f} at most, {slope:+.1f} per simulated hour"
            )
        for text in lived.events:
            _say(f"  {text}")
        _settle(home, base, quiet, Span(start - LEAD, span.end))


def _settle(home: Path, base: Path, quiet: Path, span: Span) -> None:
    with Store.at(home) as store:
        _say(f"the schedule owes: {owed(store, WORK.config, span.end).spans or 'nothing'}")
        before = store.history.last_number()
        written = sum(o.rows_written for o in Refresh(store, WORK.config).windows(span))
        _say(
            f"its run over the span: {written} rows written, {store.history.last_number() - before} writes"
        )
        shutil.copytree(base, quiet)
        compute_lead(quiet, span.start + LEAD)
        with Store.at(quiet) as other:
            for i, rows in enumerate(landed_hours(WORK, Span(span.start + LEAD, span.end))):
                _land(other, f"q{i}", rows)
            Refresh(other, WORK.config).windows(span)
            currency = Currency(store.registry.fleet(WORK.config), store.history)
            n_rows = n_windows = 0
            for table in derived_tables():
                found, expected = (
                    changes.plain(table, s.lake.read(table, NAME, span)) for s in (store, other)
                )
                n_rows += expected.num_rows
                differ = changes.changed_windows(table, expected, found, currency.grain(table))
                n_windows += len(differ)
                if differ or found.num_rows != expected.num_rows:
                    _say(
                        f"  {table.name}: {found.num_rows:,} rows against {expected.num_rows:,}, {differ[:3]}"
                    )
            _say(f"beside a quiet serial run: {n_windows} spans differ, {n_rows:,} rows compared")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a program's output


def main() -> None:
    """Run R6 for as long as asked."""
    parser = argparse.ArgumentParser(description="Keep 1,000 sites live in simulated time.")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--prepared", type=Path)
    asked = parser.parse_args()
    r6(asked.prepared, asked.hours, asked.speed)


if __name__ == "__main__":
    main()
