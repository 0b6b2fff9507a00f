"""How far back each statistic with memory reads: the one table of lookbacks.

A row of a window depends on telemetry no older than these say; ranges are widened by them before anything is computed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fleet_dagster.model.features import MAX_REACH, reach_of
from fleet_dagster.model.fleet import DAY, Fleet

PERSISTENCE_WINDOWS = 5
"""Windows that `is_persistent_outlier` looks at, the current one included."""
PERSISTENCE_MINIMUM = 3
"""Outlier windows among them that make an outlier persistent."""
STACKED_WINDOWS = 5
"""Windows that one vector of the anomaly score holds, the current one included."""
SMOOTHED_WINDOWS = 10
"""Windows that the anomaly score's error is smoothed over, the current one included."""
ONSET_WINDOWS = 30
"""Windows before the current one among which the onset of a deviation is searched."""
WARM_UP_WINDOWS = STACKED_WINDOWS - 1 + SMOOTHED_WINDOWS - 1
"""Windows before the current one that an anomaly score reads."""
SCORING_WINDOWS = WARM_UP_WINDOWS + ONSET_WINDOWS
"""Windows before the current one that a row of the anomaly score reads, its onset included."""
INCIDENT_WINDOWS = 10
"""Alarms that begin within so many windows may belong together; an incident ends after so many windows without alarm."""
INCIDENT_HISTORY_DAYS = 2
"""A day's incidents are those found since so many days before it began. One more day is read: yesterday's names are
those found since a day earlier, and a row says which of them it continues."""
TRAINING_DAYS = 29
"""A baseline learns from days that begin no earlier than this before its training day."""


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


def ingest_lookback(fleet: Fleet, start: int, end: int) -> int:
    """Return how far before [start, end) site rows read: the window before, and what that one may carry [us]."""
    return fleet.interval + carry_lookback(fleet, start - fleet.interval, end)


def persistence_lookback(fleet: Fleet) -> int:
    """Return how far before a window its persistent outlier flag reads: whole windows [us]."""
    return (PERSISTENCE_WINDOWS - 1) * fleet.interval


def scoring_lookback(fleet: Fleet) -> int:
    """Return how far before a window its anomaly score and the onset of its deviation read: whole windows [us]."""
    return SCORING_WINDOWS * fleet.interval


def incident_lookback(_fleet: Fleet, start: int, _end: int) -> int:
    """Return how far before `start` incidents read anomalies: three days before its UTC day began [us]."""
    return (INCIDENT_HISTORY_DAYS + 1) * DAY + start % DAY


def feature_windows(fleet: Fleet, start: int, end: int) -> int:
    """Return how many windows before [start, end) the inputs of the fleet's AI models read [us]."""
    runs = fleet.settings_runs(start, end)
    slots = (slot for run in runs for slot in run.version.settings.ai_models if slot.active)
    return max((reach_of(slot.features) for slot in slots), default=0)


def inference_lookback(fleet: Fleet) -> int:
    """Return how far before a window its AI answers may read site rows, those of the scores they are fed included [us]."""
    return (MAX_REACH + WARM_UP_WINDOWS) * fleet.interval


@dataclass(frozen=True, slots=True)
class Lookback:
    """One statistic with memory: what it is, and how far before a span it reads [us]."""

    statistic: str
    reads: str
    before: Callable[[Fleet, int, int], int]


LOOKBACKS: Mapping[str, Lookback] = {
    "carried_values": Lookback(
        "last values of a fresh but silent site", "site_telemetry", carry_lookback
    ),
    "newly_changed": Lookback(
        "status of the window before, which may itself be carried",
        "site_telemetry",
        ingest_lookback,
    ),
    "persistent_outlier": Lookback(
        "outlier in 3 of the last 5 windows",
        "site_kpi",
        lambda fleet, _s, _e: persistence_lookback(fleet),
    ),
    "anomaly_score": Lookback(
        "stacked windows, the smoothing of their error, and the search for its onset",
        "site_kpi",
        lambda fleet, _s, _e: scoring_lookback(fleet),
    ),
    "incidents": Lookback(
        "alarms of three days, by which incidents are found, named and continued",
        "anomaly_score",
        incident_lookback,
    ),
    "ai_features": Lookback(
        "lags and summaries that models are fed",
        "site_kpi",
        lambda fleet, start, end: feature_windows(fleet, start, end) * fleet.interval,
    ),
}
"""Every lookback but that of baselines, which learn from days before their own: see `TRAINING_DAYS`."""
