"""When a storm begins and ends, decided from what each window shows (SPEC section 5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.model.storms import StormEpisode

SMALLEST_FLEET = 20
"""Sites below which a fleet has no storms."""
FEWEST_SITES, SHARE_IN, SHARE_OUT = 5, 0.20, 0.05
"""Sites that make a window eventful: at least so many, and this share; below the last one it is calm."""
RATE_IN, RATE_OUT = 5.0, 2.0
"""Messages of a window, over their long-run median, that flood it; below the last one it is calm."""
FLOODED_WINDOWS, CALM_WINDOWS = 2, 5
"""Flooded windows in a row that begin a storm; calm ones that end it."""
HEARD_ONE_IN = 4
"""A window says something once one site in so many, of those heard of around it, is heard of."""
LOOK_BACK = CALM_WINDOWS
"""Windows before the first one judged that must be known."""
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Activity:
    """What consecutive windows show; arrays of shape (n_windows,)."""

    starts: Counts
    interval: int
    n_sites: Counts
    """Registered sites."""
    n_moved: Counts
    """Sites whose status changed, or that raised a fault, since the window before; silence is no status."""
    n_messages: Counts
    """Snapshots, duplicates included."""
    usual_messages: NDArray[np.float64]
    """Median of the baseline; NaN before there is one."""
    n_fresh: Counts
    """Sites heard of lately."""

    @property
    def is_heard(self) -> NDArray[np.bool_]:
        """Which windows enough sites are heard of in, compared with the best of them: telemetry may be late."""
        return np.asarray(HEARD_ONE_IN * self.n_fresh >= self.n_fresh.max(initial=0))

    @property
    def is_eventful(self) -> NDArray[np.bool_]:
        """Which windows saw max(5 sites, 20 %) change status or raise a fault."""
        least = np.maximum(FEWEST_SITES, SHARE_IN * self.n_sites)
        return np.asarray(self.n_moved >= least - _ROUNDING)

    @property
    def is_flooded(self) -> NDArray[np.bool_]:
        """Which windows have at least 5 times the usual messages; none where that is not known."""
        return np.asarray(self.n_messages >= RATE_IN * self._usual)

    @property
    def is_calm(self) -> NDArray[np.bool_]:
        """Which windows have less than 5 % of the sites on the move and less than twice the usual messages."""
        few = self.n_moved < SHARE_OUT * self.n_sites - _ROUNDING
        return np.asarray((few | (self.n_moved == 0)) & (self.n_messages < RATE_OUT * self._usual))

    @property
    def _usual(self) -> NDArray[np.float64]:
        known = np.isfinite(self.usual_messages) & (self.usual_messages > 0)
        return np.where(known, self.usual_messages, np.inf)


_ROUNDING = 1e-9


def judge(
    activity: Activity,
    storm: StormEpisode | None,
    *,
    since: int,
) -> list[StormEpisode]:
    """Decide which episodes begin and end in the windows shown.

    Parameters
    ----------
    activity : Activity
        Consecutive windows, from `LOOK_BACK` before `since` on.
    storm : StormEpisode or None
        The episode that goes on when the first window begins.
    since : int
        Start of the first window to judge. [us]

    Returns
    -------
    list of StormEpisode
        Episodes that began or ended, in order of time: the first may be the given one, now ended, the last may be open.

    Notes
    -----
    A storm begins with the window that shows it, and ends after the fifth calm one. A window of which little has been
    heard yet neither counts as calm nor breaks a run of calm ones.
    """
    changed: list[StormEpisode] = []
    given = storm
    calm_run = flooded_run = 0
    flags = zip(
        activity.starts.tolist(),
        activity.is_eventful.tolist(),
        activity.is_flooded.tolist(),
        activity.is_calm.tolist(),
        activity.is_heard.tolist(),
        (activity.n_sites >= SMALLEST_FLEET).tolist(),
        strict=True,
    )
    for start, is_eventful, is_flooded, is_calm, is_heard, is_large in flags:
        flooded_run = flooded_run + 1 if is_flooded else 0
        is_inside = storm is not None and start >= storm.start
        if is_heard:
            calm_run = calm_run + 1 if is_calm and is_inside else 0
        if start < since:
            continue
        if storm is None and is_large and (is_eventful or flooded_run >= FLOODED_WINDOWS):
            cause = "sites changed status" if is_eventful else "flood of messages"
            storm = StormEpisode.of(start, cause=cause)
            calm_run = 0
        elif storm is not None and calm_run >= CALM_WINDOWS:
            changed.append(replace(storm, end=start + activity.interval))
            storm, calm_run, flooded_run = None, 0, 0
    return [*changed, storm] if storm is not None and storm != given else changed


def placed(
    episodes: Sequence[StormEpisode],
    storm: StormEpisode | None,
    first_free: Callable[[int], int],
) -> list[StormEpisode]:
    """Move the beginnings and ends of episodes to windows not yet written, so that nothing written changes.

    Parameters
    ----------
    episodes : sequence of StormEpisode
        What `judge` found.
    storm : StormEpisode or None
        The episode that went on; its beginning is recorded and stays.
    first_free : callable
        Returns the start of the first window, from an instant on, that is not written or no longer current. [us]

    Returns
    -------
    list of StormEpisode
        Those of them that hold any window; a storm that was over before anything could be shed is left out.
    """
    found = []
    for episode in episodes:
        is_known = storm is not None and episode.start == storm.start
        start = episode.start if is_known else first_free(episode.start)
        end = episode.end if episode.is_open else first_free(episode.end)
        if episode.is_open or start < episode.end:
            found.append(StormEpisode.of(start, end, cause=episode.cause))
    return found
