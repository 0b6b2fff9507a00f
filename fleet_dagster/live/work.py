"""What is owed of one fleet, brought up to date batch by batch: the newest windows first, a backlog in order of time."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fleet_dagster.core.windows import HOUR, SECOND, Span, floor_to, gaps
from fleet_dagster.live.events import Round
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import FleetError
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.refresh.due import Ask
from fleet_dagster.refresh.refresh import Outcome
from fleet_dagster.storage.clock import Clock
from fleet_dagster.storage.store import Store

FEW = 3
"""Windows that are computed at once without a word; more than that never computed is a backlog."""
LONGEST_BATCH = HOUR
"""Time that is computed at once, so that what closes meanwhile need not wait for long [us]."""
ASIDE_S, LONGEST_ASIDE_S = 0.5, 30.0
"""How long a batch that failed is left aside, the first time and at most; each time twice as long [s]."""
Do = Callable[[Span], list[Outcome]]


@dataclass(slots=True)
class Aside:
    """A batch that failed: until when it is left aside, and for how long."""

    span: Span
    until: float
    pause: float


@dataclass
class Work:
    """One kind of work on one fleet: who is asked what is owed, and what does it.

    A window is closed `wait` after its end [us], so that telemetry on its way is in. A batch that fails is left aside for a
    while: what one damaged day holds up is that day.
    """

    store: Store
    config: FleetConfig
    clock: Clock
    ask: Ask
    do: Do
    wait: int
    reason: str = ""
    """Why nothing was owed when it was last asked."""
    aside: list[Aside] = field(default_factory=list)
    seen: int = 0
    """End of the newest window that had closed when it was last asked what is owed [us]."""

    @property
    def interval(self) -> int:
        """Length of a window [us]."""
        return self.config.interval_s * SECOND

    def closed(self) -> int:
        """Return the end of the newest window that is closed [us]."""
        return floor_to(self.clock() - self.wait, self.interval)

    def next_closing(self) -> int:
        """Return when the next window is closed, after those that were seen [us]."""
        return self.seen + self.interval + self.wait

    def tried_again_at(self) -> float:
        """Return when something left aside is tried again, by the monotonic clock [s]."""
        return min((a.until for a in self.aside), default=math.inf)

    def owed(self) -> list[Span]:
        """Return what is owed and not left aside, in order of time."""
        self.seen = self.closed()
        found = self.ask(self.store, self.config, self.seen)
        self.reason = found.reason
        self.aside = [a for a in self.aside if any(a.span.overlaps(s) for s in found.spans)]
        left = [a.span for a in self.aside if a.until > time.monotonic()]
        return [part for span in found.spans for part in gaps(span, left)]

    def behind(self, owed: Sequence[Span]) -> int:
        """Count the closed windows that were never computed, of those that are owed."""
        newest = self.store.history.coverage.newest_end(FLEET_KPI.name, self.config.name)
        first = owed[0].start if owed else self.seen
        return max(0, self.seen - max(first, newest or 0)) // self.interval

    def round(self, batch: Span, *, n_behind: int, n_owed: int) -> Round:
        """Bring a batch up to date; one that fails is left aside.

        Raises
        ------
        FleetError, OSError
            What kept it from being done.
        """
        began = time.monotonic()
        try:
            outcomes = tuple(self.do(batch))
        except (FleetError, OSError):
            self.leave_aside(batch)
            raise
        took = time.monotonic() - began
        done = Round(batch, outcomes, took, self.seen, self.clock(), n_behind, n_owed)
        if done.violations:
            self.leave_aside(batch)
        else:
            self.aside = [a for a in self.aside if gaps(a.span, [batch])]
        return done

    def leave_aside(self, batch: Span) -> None:
        """Leave a batch aside for a while, longer each time."""
        before = max((a.pause for a in self.aside if a.span.overlaps(batch)), default=0.0)
        pause = min(max(ASIDE_S, 2 * before), LONGEST_ASIDE_S)
        self.aside = [a for a in self.aside if not a.span.overlaps(batch)]
        self.aside.append(Aside(batch, time.monotonic() + pause, pause))


def next_batch(owed: Sequence[Span], interval: int) -> Span:
    """Choose what to do first: the newest windows where these are few, else the oldest, an hour of the clock at most."""
    newest = owed[-1]
    if newest.end - newest.start <= FEW * interval:
        return newest
    first = owed[0]
    return Span(first.start, min(first.end, floor_to(first.start, HOUR) + LONGEST_BATCH))


def n_windows(spans: Sequence[Span], interval: int) -> int:
    """Count the windows of some spans."""
    return sum((s.end - s.start) // interval for s in spans)
