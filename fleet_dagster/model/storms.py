"""Storm episodes: recorded stretches of windows in which a fleet's KPIs are read for a sample of its sites only."""

import datetime as dt
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from fleet_dagster.model.errors import StormError

FOREVER = 2**62
"""Stands for the end of an episode that goes on [us]."""
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class StormEpisode:
    """One recorded storm: the windows that start in [start, end) are ingested in storm mode [us]."""

    episode_id: str
    start: int
    end: int = FOREVER
    cause: str = ""

    @classmethod
    def of(cls, start: int, end: int = FOREVER, *, cause: str = "") -> "StormEpisode":
        """Return an episode named after its start, so that whoever records it gives it the same name.

        Parameters
        ----------
        start, end : int
            Start of the first window, and of the first one after. [us]
        cause : str, optional
            Why it was recorded.

        Returns
        -------
        StormEpisode
            The episode.
        """
        stamp = EPOCH + dt.timedelta(microseconds=start)
        return cls(f"storm-{stamp:%Y%m%dT%H%M%SZ}", start, end, cause)

    @property
    def is_open(self) -> bool:
        """Whether the storm goes on."""
        return self.end == FOREVER


def overlapping(episodes: Sequence[StormEpisode]) -> tuple[StormEpisode, StormEpisode] | None:
    """Return two episodes that share a window, if any do.

    Parameters
    ----------
    episodes : sequence of StormEpisode
        Episodes of one fleet, in any order.

    Returns
    -------
    (StormEpisode, StormEpisode) or None
        The earlier and the later of the first such pair.
    """
    ordered = sorted(episodes, key=lambda e: (e.start, e.end))
    pairs = itertools.pairwise(ordered)
    return next(((a, b) for a, b in pairs if b.start < a.end), None)


def refuse_overlaps(
    fleet: str, episodes: Sequence[StormEpisode], recorded: Sequence[StormEpisode] = ()
) -> None:
    """Refuse episodes of which two share a window.

    Parameters
    ----------
    fleet : str
        Name of the fleet.
    episodes : sequence of StormEpisode
        Its episodes, in any order.
    recorded : sequence of StormEpisode, optional
        Episodes that stand already, with which none of the others may share a window either.

    Raises
    ------
    StormError
        Two overlap.
    """
    shared = overlapping([*episodes, *recorded])
    if shared is None:
        return
    first, second = shared
    other, proposed = (second, first) if second in recorded else (first, second)
    advice = "End that one first" if other.is_open else "Name other instants"
    raise StormError(
        fleet,
        f"{proposed.episode_id} would overlap {other.episode_id}, which {_lasting(other)}",
        f"{advice}, or remove it: `fleet storm forget {fleet} {other.episode_id}`",
    )


def _lasting(episode: StormEpisode) -> str:
    if episode.is_open:
        return (
            f"is on since {EPOCH + dt.timedelta(microseconds=episode.start):%Y-%m-%d %H:%M:%S} UTC"
        )
    return f"lasts until {EPOCH + dt.timedelta(microseconds=episode.end):%Y-%m-%d %H:%M:%S} UTC"
