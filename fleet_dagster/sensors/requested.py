"""Partitions that a sensor has requested and whose windows are not current yet: when to ask again, and when to stop."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet_dagster.core.windows import Span, gaps, union

TRIES = 3
"""Requests for the same windows after which a partition is left alone: its runs do not make them current."""


@dataclass(frozen=True, slots=True)
class Request:
    """Windows of a partition that are not current, and how often they were requested."""

    spans: tuple[Span, ...]
    attempt: int = 0
    """0 while they wait for a run to end before they are requested at all."""


Requested = Mapping[str, Request]
"""What is not current yet, by partition key."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What a tick does about windows that are not current, partition by partition."""

    after: Requested
    """All of them, as the next tick is to know them."""
    now: tuple[str, ...] = ()
    """Partitions to request."""
    waiting: tuple[str, ...] = ()
    """Partitions that a run is at."""
    given_up: tuple[str, ...] = ()
    """Partitions that were requested often enough."""


def ask(
    stale: Mapping[str, Sequence[Span]],
    before: Requested,
    *,
    busy: Collection[str],
    news: Sequence[Span] = (),
) -> Asking:
    """Decide which partitions with stale windows to request; what is no longer stale is forgotten.

    Stale windows stay known until they are current, so that a run that fails is asked for again. New windows, or `news`
    in them (telemetry or settings), begin the count anew: the next run may fare better.
    """
    known = {k: _known(tuple(spans), before.get(k), news) for k, spans in stale.items()}
    waiting = tuple(k for k in known if k in busy)
    given_up = tuple(k for k, r in known.items() if k not in busy and r.attempt >= TRIES)
    now = tuple(k for k in known if k not in waiting and k not in given_up)
    after = {k: Request(r.spans, r.attempt + 1) if k in now else r for k, r in known.items()}
    return Asking(after, now, waiting, given_up)


def spans_of(requested: Requested) -> list[Span]:
    """Return all windows that are known not to be current, in order of time."""
    return union([span for one in requested.values() for span in one.spans])


def waiting_words(asking: Asking) -> list[str]:
    """Say what waits, and what is not asked for any more."""
    said = []
    if asking.waiting:
        said.append(f"Waiting for runs and the schedule at {', '.join(sorted(asking.waiting))}.")
    if asking.given_up:
        said.append(
            f"Requested {TRIES} times and still not current, so not asked for again before something new touches them: "
            f"{', '.join(sorted(asking.given_up))}. See why their runs fail, then run these partitions by hand."
        )
    return said


def as_json(requested: Requested) -> dict[str, Any]:  # Any: JSON
    """Return requests as a cursor keeps them."""
    return {k: [r.attempt, [[s.start, s.end] for s in r.spans]] for k, r in requested.items()}


def from_json(kept: Any) -> Requested:  # Any: JSON
    """Read requests back; raises ValueError, TypeError or AttributeError where they are none."""
    return {
        str(key): Request(tuple(Span(int(s), int(e)) for s, e in spans), int(attempt))
        for key, (attempt, spans) in kept.items()
    }


def _known(spans: tuple[Span, ...], earlier: Request | None, news: Sequence[Span]) -> Request:
    """Return the windows with the attempts made for them; the earlier windows stand while they hold these."""
    if earlier is None or any(gaps(s, list(earlier.spans)) for s in spans):
        return Request(spans)
    if any(s.overlaps(new) for s in spans for new in news):
        return Request(spans)
    return earlier
