"""The rows of fleet_kpi held against the newest entries of their windows, one to one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fleet_dagster.core.windows import DAY, Span, union
from fleet_dagster.ledger.entries import Rows, read_entry
from fleet_dagster.ledger.findings import Finding
from fleet_dagster.ledger.walk import Walk
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage import changes
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
            rows = list(Rows(changes.by_key(FLEET_KPI, changes.plain(FLEET_KPI, found))))
            pending = self._pending(span)
            for row in rows:
                known = self.walk.newest.get(row.window_start)
                left.discard(row.window_start)
                if known is not None and known[1] == row.digest:
                    continue
                if _within(pending, row.window_start):
                    self.n_pending += 1
                elif known is None:
                    self._find(
                        "row_without_entry",
                        "the row is in fleet_kpi, but no entry records it",
                        None,
                        row.window_start,
                    )
                else:
                    problem = "the row in fleet_kpi is not the one that the entry records"
                    self._find("row_edited", problem, known[0], row.window_start)
            yield min(first + DAYS, len(days)), len(days)
        self._without_rows(sorted(left))

    def _without_rows(self, windows: Sequence[int]) -> None:
        """Judge the windows that have entries but no row: removed in time, about to be recorded so, or gone."""
        if not windows:
            return
        removals = [_removal(one.number, one.leaf.entry) for one in self.walk.removals]
        pending = self._pending(Span(windows[0], windows[-1] + 1))
        for window in windows:
            number, _ = self.walk.newest[window]
            if any(n > number and s.start <= window < s.end for n, s in removals):
                self.n_expired += 1
            elif _within(pending, window):
                self.n_pending += 1
            else:
                problem = "it records a row that is not in fleet_kpi, and nothing says that its retention was over"
                self._find("entry_without_row", problem, number, window)

    def _pending(self, span: Span) -> list[Span]:
        """Return what was written or removed since the ledger was brought up to date, or is just being so."""
        fleet = self.walk.log.fleet
        entries = self.store.history.entries(FLEET_KPI.name, fleet, span, after=self.position)
        going = self.store.door.intents.under_way(FLEET_KPI.name, fleet)
        return union([*(e.span for e in entries), *going])

    def _find(self, kind: str, problem: str, number: int | None, window: int) -> None:
        self.findings.append(Finding(kind, problem, number, window))  # type: ignore[arg-type]


def _removal(number: int, entry: bytes) -> tuple[int, Span]:
    content = read_entry(entry)
    return number, Span(_us(content["from"]), _us(content["to"]))


def _us(stamp: str) -> int:
    return int(np.datetime64(stamp.removesuffix("Z"), "us").astype(np.int64))


def _within(spans: Sequence[Span], instant: int) -> bool:
    return any(s.start <= instant < s.end for s in spans)
