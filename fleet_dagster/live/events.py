"""What a live engine says: events with words for people and figures for machines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fleet_dagster.core.windows import HOUR, MINUTE, SECOND, Span, iso
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.refresh.refresh import Outcome

Figure = int | float | str


class Kind(StrEnum):
    """What an event is about."""

    STARTED = "started"
    ENDED = "ended"
    WAITING = "waiting"
    CLOSED = "closed"
    BEHIND = "behind"
    CAUGHT_UP = "caught_up"
    RESTATING = "restating"
    TROUBLE = "trouble"
    RECOVERED = "recovered"
    LEFT_OUT = "left_out"
    TRAINED = "trained"
    COMPACTED = "compacted"
    REPORTED = "reported"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; `fleet` is empty where it is about all of them."""

    kind: Kind
    fleet: str
    text: str
    figures: Mapping[str, Figure] = field(default_factory=dict)

    def __str__(self) -> str:
        """Say it in one line."""
        about = f"fleet {self.fleet}: " if self.fleet else ""
        return f"{about}{' '.join(self.text.split())}"


Tell = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Round:
    """One batch of windows brought up to date."""

    span: Span
    outcomes: tuple[Outcome, ...]
    duration_s: float
    closed: int
    """End of the newest window that had closed when the round began [us]."""
    ended: int
    """When the round ended, by the engine's clock [us]."""
    n_behind: int
    """Closed windows that had never been computed when the round began."""
    n_owed: int
    """Windows that were owed then, those to restate among them."""

    @property
    def lag_s(self) -> float:
        """Time from the end of the round's newest window until its rows stood [s]."""
        return (self.ended - self.span.end) / 1e6

    @property
    def violations(self) -> tuple[str, ...]:
        """What is wrong with rows that were not written."""
        return tuple(f"{o.table.name}: {v}" for o in self.outcomes for v in o.violations)


Listener = Callable[[FleetConfig, Round], None]
"""Is told of each round, in the thread that makes rounds: it must be quick."""


def span_words(span: Span) -> str:
    """Name a span for people, its day once: `2026-11-23 12:00:00 to 12:30:00`."""
    start, end = (iso(t).replace("T", " ").removesuffix("Z") for t in (span.start, span.end))
    return f"{start} to {end[11:] if start[:10] == end[:10] else end}"


def lag_words(us: int) -> str:
    """Say how long a stretch of time is."""
    minutes, minutes_of_an_hour = us // MINUTE, HOUR // MINUTE
    if not minutes:
        return f"{us / SECOND:.1f} s"
    hours, rest = divmod(minutes, minutes_of_an_hour)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"
