"""Merging: entries of the commit log about neighbouring windows of a settled day become one, once nobody needs them apart.

Entries of windows that were ever restated stay as they are, as does everything that a consumer has not read: a merged entry
takes the number of its newest part, so that whoever goes on from any number on meets each window again, and misses none.
"""

import hashlib
from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from fleet_dagster.core.windows import DAY, Span, floor_to
from fleet_dagster.model.tables import BASELINES, Table
from fleet_dagster.storage.control.schema import commit_log
from fleet_dagster.storage.history import EXPIRE, Entry, History

_FAR = 2**62


def merge_log(history: History, table: Table, fleet: str) -> int:
    """Merge the entries of a computed table's settled days; returns how many became part of others.

    Entries of baselines stay: their digests are inputs of what they govern.
    """
    if table in BASELINES:
        return 0
    settled = history.coverage.settled_through(fleet, table.name) or 0
    positions = (
        [c.position for c in history.cursors.of(fleet, table.stream)] if table.stream else []
    )
    read_by_all = min(positions, default=_FAR)
    n_merged = 0
    for day in _scattered(history, table, fleet, floor_to(settled, DAY)):
        for run in _runs(history.entries(table.name, fleet, day), read_by_all):
            _replace(history, run)
            n_merged += len(run) - 1
    return n_merged


def _scattered(history: History, table: Table, fleet: str, until: int) -> list[Span]:
    """Return the days before an instant that more than one entry is about."""
    log = commit_log.c
    day = log.window_start // DAY
    query = (
        sa.select(day.label("day"))
        .where(log.table_name == table.name, log.fleet == fleet, log.window_end <= until)
        .where(log.kind == "append")
        .group_by(day)
        .having(sa.func.count() > 1)
        .order_by(day)
    )
    with history.control.reading() as tx:
        return [Span(int(row.day) * DAY, (int(row.day) + 1) * DAY) for row in tx.execute(query)]


def _runs(entries: Sequence[Entry], read_by_all: int) -> Iterator[list[Entry]]:
    """Yield the entries of a day that may become one, in order of time, two or more at once."""
    restated = [e.span for e in entries if e.kind == "restate"]
    expiries = [e.seq for e in entries if e.kind == EXPIRE]
    free = [
        e
        for e in entries
        if e.kind == "append"
        and (e.seq <= read_by_all or any(e.seq < seq for seq in expiries))
        and not any(e.span.overlaps(s) for s in restated)
    ]
    run: list[Entry] = []
    for entry in sorted(free, key=lambda e: (_n_before(expiries, e), e.span)):
        if run and not _goes_on(run[-1], entry, expiries):
            if len(run) > 1:
                yield run
            run = []
        run.append(entry)
    if len(run) > 1:
        yield run


def _goes_on(last: Entry, entry: Entry, expiries: Sequence[int]) -> bool:
    return (
        last.span.end == entry.span.start
        and last.inputs == entry.inputs
        and _n_before(expiries, last) == _n_before(expiries, entry)
    )


def _n_before(expiries: Sequence[int], entry: Entry) -> int:
    """Return how often the day had expired when an entry was written."""
    return sum(seq < entry.seq for seq in expiries)


def _replace(history: History, run: Sequence[Entry]) -> None:
    newest = max(run, key=lambda e: e.seq)
    digests = "".join(e.digest for e in run).encode()
    values = {
        "window_start": run[0].span.start,
        "window_end": run[-1].span.end,
        "n_rows": sum(e.n_rows for e in run),
        "digest": hashlib.sha256(digests).hexdigest()[:32],
        "landing": min(e.landing for e in run),
        "recorded_at": max(e.recorded_at for e in run),
        "imprint": newest.imprint if len({e.imprint for e in run}) == 1 else "",
    }
    seqs = [e.seq for e in run if e.seq != newest.seq]
    with history.control.transaction() as tx:
        history.control.serialize(tx, "commit_log")
        for first in range(0, len(seqs), 500):
            part = seqs[first : first + 500]
            tx.execute(sa.delete(commit_log).where(commit_log.c.seq.in_(part)))
        tx.execute(sa.update(commit_log).where(commit_log.c.seq == newest.seq).values(**values))
