"""How far back each statistic with memory reads: the one table of lookbacks.

A row of a window depends on telemetry no older than these say; ranges are widened by them before anything is computed.
"""

from fleet_dagster.model.fleet import Fleet

PERSISTENCE_WINDOWS = 5
"""Windows that `is_persistent_outlier` looks at, the current one included."""
PERSISTENCE_MINIMUM = 3
"""Outlier windows among them that make an outlier persistent."""


def carry_lookback(fleet: Fleet, start: int, end: int) -> int:
    """Return how far before [start, end) a fresh site's last reduced values may stem from: whole windows [us].

    Parameters
    ----------
    fleet : Fleet
        The fleet; its staleness threshold may change within the span.
    start, end : int
        The span. [us]

    Returns
    -------
    int
        Whole windows. [us]

    Notes
    -----
    A site is fresh at a window's end while its last snapshot is at most the staleness threshold old, and that
    snapshot's whole window is reduced.
    """
    threshold = (
        max(run.version.settings.staleness_threshold_s for run in fleet.settings_runs(start, end))
        * 1_000_000
    )
    windows = max(0, -(-(threshold - fleet.interval) // fleet.interval))
    return windows * fleet.interval


def persistence_lookback(fleet: Fleet) -> int:
    """Return how far before a window its persistent outlier flag reads: whole windows [us]."""
    return (PERSISTENCE_WINDOWS - 1) * fleet.interval
