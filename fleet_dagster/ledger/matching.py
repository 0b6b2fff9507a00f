"""The rows of fleet_kpi held against the newest entries of their windows, one to one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import pyarrow as pa

from fleet_dagster.core.windows import DAY, Span, floor_to, union
from fleet_dagster.ledger.entries import Row, Rows
from fleet_dagster.ledger.findings import Finding, Kind
from fleet_dagster.ledger.walk import Walk
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage import changes
from fleet_dagster.storage.history import EXPIRE, Entry
from fleet_dagster.storage.store import Store

DAYS = 30
"""Days that are read at once."""


@dataclass(slots=True)
class Matching:
    """What the comparison found."""

    store: Store
    walk: Walk
    position: int
    """Number of the last entry of the commit log that the ledger holds."""
    n_pending: int = 0
    n_expired: int = 0
    findings: list[Finding] = field(default_factory=list)

    def run(self) -> Iterator[tuple[int, int]]:
        """Compare; yields how many days were compared, and how many there are."""
        fleet, left = self.walk.log.fleet, set(self.walk.newest)
        days = sorted(self.store.lake.days(FLEET_KPI, fleet))
        for first in range(0, len(days), DAYS):
            part = days[first : first + DAYS]
            span = Span(part[0], part[-1] + DAY)
            found = self.store.lake.read(FLEET_KPI, fleet, span)
            rows = _readable(changes.by_key(FLEET_KPI, changes.plain(FLEET_KPI, found)))
            pending, before = self._pending(span), None
            for row in rows:
                left.discard(row.window_start)
                if row.window_start == before:
                    problem = "fleet_kpi has a second row of the window"
                    self._find("row_without_entry", problem, None, row.window_start)
                else:
                    self._hold_against(row, pending)
                before = row.window_start
            yield min(first + DAYS, len(days)), len(days)
        self._without_rows(sorted(left))

    def _hold_against(self, row: Row, pending: "_Pending") -> None:
        """Hold a row against the newest entry of its window."""
        window = row.window_start
        known = self.walk.newest.get(window)
        if known is not None and known[1] == row.digest:
            return
        revision = self.walk.revisions.get(window, 0)
        if pending.replaces(window, None if known is None else revision):
            self.n_pending += 1
        elif known is None:
            problem = "the row is in fleet_kpi, but no entry records it"
            self._find("row_without_entry", problem, None, window)
        else:
            problem = "the row in fleet_kpi is not the one that the entry records"
            self._find("row_edited", problem, known[0], window)

    def _without_rows(self, windows: Sequence[int]) -> None:
        """Judge the windows that have entries but no row: removed in time, about to be recorded so, or gone."""
        if not windows:
            return
        removed = _newest_removals(self.walk.removals)
        pending = self._pending(Span(windows[0], windows[-1] + 1))
        for window in windows:
            number, _ = self.walk.newest[window]
            if removed.get(floor_to(window, DAY), -1) > number:
                self.n_expired += 1
            elif pending.removes(window, self.walk.revisions.get(window, 0)):
                self.n_pending += 1
            else:
                problem = "it records a row that is not in fleet_kpi, and nothing says that its retention was over"
                self._find("entry_without_row", problem, number, window)

    def _pending(self, span: Span) -> "_Pending":
        """Return what was written or removed since the ledger was brought up to date, or is just being so."""
        fleet, log = self.walk.log.fleet, self.store.history.entries
        going = self.store.door.intents.under_way(FLEET_KPI.name, fleet)
        found = [e for k in ("restate", EXPIRE) for e in log(FLEET_KPI.name, fleet, span, kind=k)]
        since = log(FLEET_KPI.name, fleet, span, after=self.position)
        changes = sorted(found, key=attrgetter("seq"))
        removed = next((e.seq for e in changes if e.kind == EXPIRE), None)
        again = []
        if removed is not None:
            again = log(FLEET_KPI.name, fleet, span, after=removed, kind="append")
        return _Pending(union([e.span for e in since]), going, changes, again)

    def _find(self, kind: Kind, problem: str, number: int | None, window: int) -> None:
        self.findings.append(Finding(kind, problem, number, window))


@dataclass(frozen=True, slots=True)
class _Pending:
    """What the commit log says of some windows, and the ledger does not say yet.

    Where a window has an entry, the appender's place in the stream does not count: whoever sets it back must not make an edited
    row look like one that is about to be recorded. Only a restatement, or a removal, that the entry's revision does not count
    lets a row differ from it.
    """

    new: list[Span]
    """What was committed since the appender was last at work."""
    going: list[Span]
    """What is just being written or removed."""
    changes: list[Entry]
    """All restatements and removals, in the order of commit."""
    again: list[Entry]
    """What was written since the first of these removals."""

    def replaces(self, window: int, revision: int | None) -> bool:
        """Tell whether a window's row may differ from that of its newest entry, of this revision; None where it has none."""
        if revision is None:
            return _within([*self.new, *self.going], window)
        since = self._since(window, revision)
        if not since or since[-1].kind != EXPIRE:
            return bool(since) or _within(self.going, window)
        newest = since[-1].seq
        return _within([*(e.span for e in self.again if e.seq > newest), *self.going], window)

    def removes(self, window: int, revision: int) -> bool:
        """Tell whether a window may have no row any more, though it has an entry of this revision."""
        gone = any(e.kind == EXPIRE for e in self._since(window, revision))
        return gone or _within(self.going, window)

    def _since(self, window: int, revision: int) -> list[Entry]:
        return [e for e in self.changes if e.span.start <= window < e.span.end][revision:]


def _newest_removals(removals: Sequence[tuple[int, Span]]) -> dict[int, int]:
    """Return the number of the newest entry that records the removal of each UTC day: days are removed as a whole."""
    return {
        day.start: number
        for number, span in removals
        for day in span.days()
        if day.end - day.start == DAY
    }


def _readable(rows: pa.Table) -> list[Row]:
    """Return rows as entries hold them; one that no entry could hold, such as one with a number that is none, has no content."""
    try:
        return list(Rows(rows))
    except ValueError:
        pass
    found: list[Row] = []
    for at, start in enumerate(rows.column("window_start").cast(pa.int64()).to_pylist()):
        try:
            found += Rows(rows.slice(at, 1))
        except ValueError:
            found.append(Row(start, ""))
    return found


def _within(spans: Sequence[Span], instant: int) -> bool:
    return any(s.start <= instant < s.end for s in spans)
