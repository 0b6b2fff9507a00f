"""What a fleet's keeper tells of its windows: a backlog when it begins and ends, and a line about the rest once a minute."""

import time

from fleet_dagster.core.windows import SECOND, Span, iso
from fleet_dagster.live.events import Event, Figure, Kind, Round, Tell, lag_words, span_words
from fleet_dagster.live.work import FEW, Work, n_windows
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.refresh.due import CURRENT

SUMMARY_S = 60.0
"""A summary of the windows closed is given so often at most, in time that passes [s]."""
PROGRESS_S = 5.0
"""How catching up goes is told so often at most [s]."""
_VIOLATIONS_SHOWN = 3


class Summary:
    """Tells how closing one fleet's windows goes."""

    def __init__(self, config: FleetConfig, tell: Tell) -> None:
        self.config, self.tell = config, tell
        self._reason = ""
        self._is_behind = False
        self._given_at = -SUMMARY_S
        self._said_at = 0.0
        self._done: list[Round] = []

    def nothing(self, work: Work) -> None:
        """Say why nothing is owed, where that is for long."""
        if work.reason not in ("", CURRENT, self._reason):
            self.tell(Event(Kind.WAITING, self.config.name, work.reason))
        self._reason = work.reason
        self._caught_up()

    def begins(self, work: Work, batch: Span, *, n_behind: int, n_owed: int) -> None:
        """Say what a batch is about that is more than the newest windows."""
        figures = {"n_behind": n_behind, "n_owed": n_owed}
        if n_behind > FEW:
            if self._is_behind and time.monotonic() - self._said_at < PROGRESS_S:
                return
            self._is_behind, self._said_at = True, time.monotonic()
            text = f"{n_behind} windows behind, catching up: {span_words(batch)}"
            self.tell(Event(Kind.BEHIND, self.config.name, text, figures))
            return
        self._caught_up()
        if n_windows([batch], work.interval) > FEW:
            text = f"{n_owed} windows are no longer current: {span_words(batch)}"
            self.tell(Event(Kind.RESTATING, self.config.name, text, figures))

    def ended(self, done: Round) -> None:
        """Take a round into account; tells of those since the last time, if that is a minute ago."""
        if done.violations:
            text = f"{span_words(done.span)}: rows do not fit their definition and were not written: {'; '.join(done.violations[:_VIOLATIONS_SHOWN])}"
            self.tell(Event(Kind.TROUBLE, self.config.name, text))
        self._done.append(done)
        now = time.monotonic()
        if now - self._given_at < SUMMARY_S or done.span.end < done.closed:
            return
        self.tell(self._words())
        self._given_at, self._done = now, []

    def _words(self) -> Event:
        interval = self.config.interval_s * SECOND
        n = n_windows([r.span for r in self._done], interval)
        n_restated = n_windows(
            [s for r in self._done for o in r.outcomes if o.table is FLEET_KPI for s in o.restated],
            interval,
        )
        last, slowest = self._done[-1], max(r.duration_s for r in self._done)
        restated = f", {n_restated} of them restated" if n_restated else ""
        text = (
            f"{n} window{'s' if n > 1 else ''} closed{restated}, until {iso(last.span.end)}; its rows stood {lag_words(last.ended - last.span.end)} "
            f"after its end, a round took {slowest:.1f} s at most"
        )
        figures: dict[str, Figure] = {
            "windows": n,
            "windows_restated": n_restated,
            "window_end": iso(last.span.end),
            "lag_s": round(last.lag_s, 3),
            "n_behind": last.n_behind,
            "longest_round_s": round(slowest, 3),
        }
        return Event(Kind.CLOSED, self.config.name, text, figures)

    def _caught_up(self) -> None:
        if self._is_behind:
            self.tell(Event(Kind.CAUGHT_UP, self.config.name, "has caught up"))
        self._is_behind = False
