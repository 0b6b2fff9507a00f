"""Whether a node was unusually slow, or beyond one of its thresholds (SPEC section 13)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.ranking import Z_FACTOR
from fleet_dagster.core.robust import row_median, row_median_and_mad
from fleet_dagster.model.node_report import Judgement, NodeReport
from fleet_dagster.model.streamsight import NodeThresholds

MIN_REPORTS = 12
"""With fewer reports to compare with, nothing is judged."""
MIN_LOG_MAD = Z_FACTOR * float(np.log(2.0)) / 5.0
"""Smallest spread of log durations that is believed, so that twice as slow scores 5 at most: the work of a node is
a few milliseconds at times, and a machine has other things to do."""
NOTICEABLE_S = 1.0
"""A refresh that took less than this longer than usual is not a warning, however high its score. [s]"""


def slowness(past_s: NDArray[np.float64], latest_s: float) -> float | None:
    """Score how unusually long a node took, against its own past.

    Parameters
    ----------
    past_s : ndarray, shape (n_reports,)
        Durations for each window of earlier reports. [s]
    latest_s : float
        That of the newest, which is not among them. [s]

    Returns
    -------
    float or None
        Modified Z-score of its logarithm, negative where it was quicker; None with fewer than 12 earlier reports.
        [scaled MADs]

    Notes
    -----
    M = 0.6745 (ln x - median(ln past)) / MAD(ln past), the MAD at least 0.0935: twice as slow then scores 5 at most.
    Durations below a microsecond count as one.

    References
    ----------
    Iglewicz, B. and Hoaglin, D. C., "How to Detect and Handle Outliers", ASQC Basic References in Quality Control, vol. 16,
    1993, ISBN 0-87389-247-X.

    Examples
    --------
    >>> round(slowness(np.full(12, 0.5), 1.0), 6)
    5.0
    """
    if past_s.size < MIN_REPORTS:
        return None
    median, mad = row_median_and_mad(_log(past_s)[None, :])
    deviation = float(_log(np.array([latest_s]))[0] - median[0])
    return Z_FACTOR * deviation / max(float(mad[0]), MIN_LOG_MAD)


def judge(report: NodeReport, past_s: NDArray[np.float64], thresholds: NodeThresholds) -> Judgement:
    """Judge a node's report by its thresholds.

    Parameters
    ----------
    report : NodeReport
        What the node did.
    past_s : ndarray, shape (n_reports,)
        Durations for each window of comparable earlier reports. [s]
    thresholds : NodeThresholds
        Beyond what a report is a warning.

    Returns
    -------
    Judgement
        The score, and each breach in words.
    """
    score = slowness(past_s, report.window_s)
    return Judgement(
        score,
        (*_slow(report, past_s, score, thresholds.anomaly_score), *_beyond(report, thresholds)),
    )


def _slow(
    report: NodeReport, past_s: NDArray[np.float64], score: float | None, limit: float
) -> Iterator[str]:
    if score is None or score <= limit:
        return
    usual_s = float(row_median(past_s[None, :])[0])
    if (report.window_s - usual_s) * report.windows < NOTICEABLE_S:
        return
    yield (
        f"took {_time(report.window_s)} a window, usual are {_time(usual_s)} "
        f"(anomaly score {score:.1f}, threshold {limit:g})"
    )


def _beyond(report: NodeReport, thresholds: NodeThresholds) -> Iterator[str]:
    longest, oldest = thresholds.max_window_duration_s, thresholds.max_lag_s
    if longest is not None and report.window_s > longest:
        yield f"took {report.window_s:.3g} s a window (max_window_duration_s {longest:g})"
    if oldest is not None and report.lag_s is not None and report.lag_s > oldest:
        yield f"its newest window ended {report.lag_s:.0f} s ago (max_lag_s {oldest:g})"
    share_pct = 100.0 * report.quarantined / max(1, report.rows_in)
    if share_pct > thresholds.max_quarantined_pct:
        yield (
            f"{share_pct:.1f} % of {report.rows_in:,} snapshots could not be used "
            f"(max_quarantined_pct {thresholds.max_quarantined_pct:g})"
        )


def _log(durations_s: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(durations_s, 1e-6))


def _time(duration_s: float) -> str:
    """Say a duration as people read it: without an exponent, from minutes down to microseconds [s]."""
    return f"{duration_s:.3g} s" if duration_s >= 1 else f"{1e3 * duration_s:.3g} ms"
