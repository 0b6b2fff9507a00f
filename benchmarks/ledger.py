"""P6: a ledger of a million windows, checked from its stored bytes to the rows, and appended to."""

import hashlib
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.ingest import clock
from benchmarks.report import Figure, Result, ratios, seconds
from benchmarks.two_years import (
    N_WINDOWS,
    WHOLE,
    WINDOW,
    config_of_two_years,
    write_windows,
)
from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.ledger.appender import appending
from fleet_dagster.ledger.entries import KpiEntry, Row, Rows, numbered
from fleet_dagster.ledger.keystore import KeyStore, verifiers
from fleet_dagster.ledger.log import PAGE, Log
from fleet_dagster.ledger.merkle import Frontier, leaf_hashes
from fleet_dagster.ledger.note import Checkpoint
from fleet_dagster.ledger.signing import signed
from fleet_dagster.ledger.trust import unsigned_by
from fleet_dagster.ledger.verify import Verification
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage.store import Store

ROUNDS, N_APPENDS = 5, 200
MONTH = 30 * DAY
TARGET_RATIO, TARGET_MS = 2.0, 5.0


def p6() -> Result:
    """Measure what a ledger of two years costs."""
    with tempfile.TemporaryDirectory() as folder, Store.at(Path(folder) / "home") as store:
        config, rng = config_of_two_years(), np.random.default_rng(5)
        keystore = KeyStore.of(store, config)
        keystore.create()
        write_windows(store, config, WHOLE.steps(MONTH), rng)
        recorded = clock(partial(_append, store, config))
        log = Log(store.control, config.name)
        entries = [stored.leaf.entry for stored in log.entries()]
        bare, merkle = [], []
        for _ in range(ROUNDS):
            bare.append(clock(partial(_bare, entries)))
            merkle.append(clock(partial(_merkle, entries)))
        n_bytes = sum(map(len, entries))
        del entries
        canonical = clock(partial(_canonical, store, config))
        phases = _phases(store, config)
        appends = _appends(log, config, keystore)
        rounds = _rounds(store, config, rng)
        n_checkpoints, per_signature = _signatures(log, keystore)
        size = log.head()
        file_mb = (Path(folder) / "home" / "control.db").stat().st_size / 1e6
    ratio = median(ratios(merkle, bare))
    ms = 1000 * median(appends)
    plain = partial(Figure, yardstick="", ratio="", target="", is_met=None)
    return Result(
        "ledger: a million windows",
        f"{N_WINDOWS:,} windows of random health, {n_bytes / N_WINDOWS:.0f} bytes each on average, recorded in batches of 50,000 rows with a checkpoint each "
        f"({n_checkpoints} checkpoints, {0 if size is None else size.size:,} entries at the end), {file_mb:,.0f} MB of SQLite. The Merkle check computes leaves' "
        "hashes and the root over stored bytes that are in memory, in pages as `fleet verify` does; bare is SHA-256 of each of the "
        "same. One window is appended by computing tiles and root, signing with Ed25519 and ML-DSA-44, and one transaction (fsync) "
        "with entry, tiles and checkpoint.",
        (
            Figure(
                f"Merkle check of {N_WINDOWS:,} leaves",
                seconds(merkle),
                f"bare SHA-256 {seconds(bare)}",
                f"{ratio:.2f}",
                f"≤ {TARGET_RATIO:.0f}",
                ratio <= TARGET_RATIO,
            ),
            Figure(
                f"append and sign one window at that size ({N_APPENDS} times)",
                f"{ms:.2f} ms ({1000 * min(appends):.2f} to {1000 * max(appends):.2f})",
                "",
                "",
                f"≤ {TARGET_MS:.0f} ms",
                ms <= TARGET_MS,
            ),
            plain(
                "a round of the appender for one window, commit log and lake read", seconds(rounds)
            ),
            plain(
                "record all from the start",
                f"{recorded:.1f} s, {N_WINDOWS / recorded:,.0f} windows/s",
            ),
            plain("canonical JSON and digests of all rows", f"{canonical:.1f} s"),
            *(plain(f"`fleet verify`: {name}", f"{s:.1f} s") for name, s in phases.items()),
            plain("both signatures of one checkpoint", f"{1000 * per_signature:.2f} ms"),
        ),
    )


def _append(store: Store, config: FleetConfig) -> None:
    with appending(store, config) as appender:
        appender.run()


def _bare(entries: Sequence[bytes]) -> None:
    sha256 = hashlib.sha256
    for first in range(0, len(entries), PAGE):
        [sha256(entry).digest() for entry in entries[first : first + PAGE]]


def _merkle(entries: Sequence[bytes]) -> None:
    frontier = Frontier()
    for first in range(0, len(entries), PAGE):
        frontier.extend(leaf_hashes(entries[first : first + PAGE]))
    frontier.root()


def _canonical(store: Store, config: FleetConfig) -> None:
    for part in WHOLE.steps(MONTH):
        for row in Rows(store.lake.read(FLEET_KPI, config.name, part)):
            _ = row.digest


def _phases(store: Store, config: FleetConfig) -> dict[str, float]:
    """Return how long each part of a verification took [s]."""
    spent: dict[str, float] = defaultdict(float)
    last = time.perf_counter()

    def progress(what: str, _done: int, _total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        spent[what] += now - last
        last = now

    report = Verification.of(store, config, progress=progress).run()
    if report.verdict != "unwitnessed":
        raise RuntimeError(report)
    names = {
        "entries": "stored entries, read and hashed, each looked at",
        "checkpoints": "checkpoints, their signatures and roots",
        "days": "rows of fleet_kpi against their entries",
    }
    return {names[what]: s for what, s in spent.items()}


def _appends(log: Log, config: FleetConfig, keystore: KeyStore) -> list[float]:
    """Return how long one window took, each time [s]; what is appended is not in fleet_kpi, and undone by nobody."""
    keys, times = keystore.load(), []
    newest = next(iter(log.known_rows(Span(WHOLE.end - WINDOW, WHOLE.end))))
    content = next(log.entries(newest.number, newest.number + 1)).leaf.entry
    row = content[content.index(b'"row":') + 6 : content.rindex(b',"supersedes"')].decode()
    for number in range(N_APPENDS):
        started = time.perf_counter()
        head = log.head()
        if head is None:
            raise RuntimeError(head)
        entry = KpiEntry(config.name, Row(WHOLE.end + number * WINDOW, row), 0, None)
        batch = log.prepare(head, numbered([entry], head.size))
        note = signed(Checkpoint(head.origin, batch.size, batch.root), keys, time=number)
        with log.control.transaction() as tx:
            log.append(tx, batch, note)
        times.append(time.perf_counter() - started)
    return times


def _rounds(store: Store, config: FleetConfig, rng: np.random.Generator) -> list[float]:
    """Return how long the appender took for one more window, each time [s]."""
    times = []
    for number in range(ROUNDS):
        start = WHOLE.end + (N_APPENDS + number) * WINDOW
        write_windows(store, config, [Span(start, start + WINDOW)], rng)
        with appending(store, config) as appender:
            times.append(clock(appender.run))
    return times


def _signatures(log: Log, keystore: KeyStore) -> tuple[int, float]:
    notes = [stored.note() for stored in log.checkpoints()]
    keys = verifiers(keystore.load())
    spent = clock(lambda: [unsigned_by(note, keys) for note in notes])
    return len(notes), spent / len(notes)
