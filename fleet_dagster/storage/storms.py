"""Recorded storm episodes: who began and ended them, and when; no two of one fleet overlap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from fleet_dagster.core.windows import Span, iso
from fleet_dagster.model.errors import StormError
from fleet_dagster.model.storms import FOREVER, StormEpisode, refuse_overlaps
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import storm_episodes

HELD = "operator, held"
"""Who begins an episode that only an operator may end."""


@dataclass(frozen=True, slots=True)
class RecordedStorm:
    """One episode, with who recorded it."""

    episode: StormEpisode
    started_by: str
    ended_by: str
    recorded_at: int


class Storms:
    """Reads and writes storm episodes in the control database."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def recorded(self, fleet: str, span: Span | None = None) -> list[RecordedStorm]:
        """Return a fleet's episodes in order of time: all, or those that touch a span."""
        with self.control.reading() as tx:
            found = read_storms(tx, fleet)
        return [r for r in found if span is None or _span(r.episode).overlaps(span)]

    def is_held(self, fleet: str) -> bool:
        """Tell whether the episode that goes on may be ended by an operator only."""
        return any(r.episode.is_open and r.started_by == HELD for r in self.recorded(fleet))

    def open(self, fleet: str) -> StormEpisode | None:
        """Return the episode that goes on, if any."""
        return next((r.episode for r in self.recorded(fleet) if r.episode.is_open), None)

    def record(
        self, fleet: str, episodes: Sequence[StormEpisode], *, by: str
    ) -> list[StormEpisode]:
        """Record episodes, all or none; those recorded before, with the same bounds, are left as they are.

        Raises
        ------
        StormError
            One overlaps another; nothing was recorded.
        """
        with self.control.transaction() as tx:
            self.control.serialize(tx, "registry")
            known = [r.episode for r in read_storms(tx, fleet)]
            bounds = {(e.start, e.end) for e in known}
            fresh = [e for e in episodes if (e.start, e.end) not in bounds]
            refuse_overlaps(fleet, fresh, known)
            if fresh:
                tx.execute(sa.insert(storm_episodes), [_row(fleet, e, by) for e in fresh])
        return fresh

    def end(
        self,
        fleet: str,
        at: int,
        *,
        by: str,
        also: Callable[[sa.Connection], None] = lambda _tx: None,
    ) -> StormEpisode:
        """End the episode that goes on before the window that starts at an instant [us]; in the same transaction, do `also`.

        Raises
        ------
        StormError
            None goes on, or it began later.
        """
        here = storm_episodes.c.fleet == fleet
        with self.control.transaction() as tx:
            self.control.serialize(tx, "registry")
            current = next((r.episode for r in read_storms(tx, fleet) if r.episode.is_open), None)
            if current is None:
                raise StormError(fleet, "no storm is on", "See `fleet storm status`")
            if at <= current.start:
                raise StormError(
                    fleet,
                    f"{current.episode_id} cannot end at or before its start",
                    f"Name an instant after {iso(current.start)}, or remove it: `fleet storm forget`",
                )
            tx.execute(
                sa.update(storm_episodes)
                .where(here, storm_episodes.c.window_start == current.start)
                .values(window_end=at, ended_by=by[:64])
            )
            also(tx)
        return StormEpisode.of(current.start, at, cause=current.cause)

    def forget(self, fleet: str, start: int) -> bool:
        """Remove the episode that starts at an instant, recorded by mistake [us]; tells whether there was one."""
        with self.control.transaction() as tx:
            self.control.serialize(tx, "registry")
            here = (storm_episodes.c.fleet == fleet, storm_episodes.c.window_start == start)
            return tx.execute(sa.delete(storm_episodes).where(*here)).rowcount > 0


def read_storms(tx: sa.Connection, fleet: str) -> list[RecordedStorm]:
    """Return a fleet's episodes in order of time, as one transaction sees them."""
    query = sa.select(storm_episodes).where(storm_episodes.c.fleet == fleet)
    return [
        RecordedStorm(
            StormEpisode.of(
                r.window_start, FOREVER if r.window_end is None else r.window_end, cause=r.cause
            ),
            r.started_by,
            r.ended_by,
            r.recorded_at,
        )
        for r in tx.execute(query.order_by(storm_episodes.c.window_start))
    ]


def _row(fleet: str, episode: StormEpisode, by: str) -> dict[str, object]:
    return {
        "fleet": fleet,
        "window_start": episode.start,
        "window_end": None if episode.is_open else episode.end,
        "cause": episode.cause[:512],
        "started_by": by,
        "ended_by": "" if episode.is_open else by,
        "recorded_at": now_us(),
    }


def _span(episode: StormEpisode) -> Span:
    return Span(episode.start, episode.end)
