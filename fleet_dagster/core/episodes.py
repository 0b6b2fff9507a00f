"""Alarms of sites as episodes: from their first window to their last, and since when they deviate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.alarms import ALARM_MINIMUM, ALARM_WINDOWS
from fleet_dagster.model.lookbacks import INCIDENT_WINDOWS

DECIMALS = 9
"""Decisions are taken on values rounded to 1e-9."""


@dataclass(frozen=True, slots=True)
class Anomalies:
    """Anomalous rows, in order of window, site and domain; arrays over the rows, windows counted since 1970."""

    window: NDArray[np.int64]
    site: NDArray[np.int64]
    """Place on the site axis."""
    domain: NDArray[np.int64]
    """Number of the domain."""
    ratio: NDArray[np.float64]
    """Error over its level, E/U. [1]"""
    onset: NDArray[np.int64]
    """Window in which the deviation began."""
    shares: NDArray[np.float64]
    """Share of each KPI in the squared error, shape (n_rows, n_kpis). [1]"""

    def since(self, first: int, end: int) -> "Anomalies":
        """Return the rows of the windows from `first` to before `end`."""
        rows = slice(*np.searchsorted(self.window, [first, end]).tolist())
        return Anomalies(*(getattr(self, name)[rows] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Episodes:
    """Alarms of sites, each from its first window to its last, in order of start and site; arrays over the episodes."""

    site: NDArray[np.int64]
    start: NDArray[np.int64]
    """First window in alarm."""
    last: NDArray[np.int64]
    """Last window in alarm, as far as the rows tell."""
    onset: NDArray[np.int64]
    """Window in which the deviation began, as told when the alarm began."""
    of_row: NDArray[np.int64]
    """Episode of each row; -1 for rows that belong to none."""


def episodes_of(anomalies: Anomalies) -> Episodes:
    """Find the episodes in which sites are in alarm.

    Parameters
    ----------
    anomalies : Anomalies
        Anomalous rows.

    Returns
    -------
    Episodes
        A site is in alarm where at least 3 of its last 4 windows are anomalous in any domain. Alarms of a site no more than
        10 windows apart are one episode. Its onset is that of its strongest row so far when the alarm begins, and later
        than the site's last alarm before. Rows from 3 windows before an episode to its end belong to it.
    """
    site, window = _cells(anomalies)
    begin, end, owner = _alarms(site, window)
    is_new = np.ones(owner.size, dtype=bool)
    is_new[1:] = (owner[1:] != owner[:-1]) | (begin[1:] - end[:-1] > INCIDENT_WINDOWS)
    first = np.flatnonzero(is_new)
    last = end[np.append(first[1:], owner.size) - 1] if first.size else end[:0]
    order = np.lexsort((owner[first], begin[first]))
    sites, starts, ends = owner[first][order], begin[first][order], last[order]
    of_row = _episode_of_rows(anomalies, sites, starts, ends)
    onset = _onsets(anomalies, of_row, sites=sites, starts=starts, ends=ends)
    return Episodes(site=sites, start=starts, last=ends, onset=onset, of_row=of_row)


def peaks_of(anomalies: Anomalies, episodes: Episodes) -> NDArray[np.bool_]:
    """Find the rows in which an episode deviates more than in all its rows before.

    Parameters
    ----------
    anomalies : Anomalies
        Anomalous rows.
    episodes : Episodes
        Their episodes.

    Returns
    -------
    ndarray, shape (n_rows,)
        True for an episode's first row, and for each row beyond all before it.
    """
    order = np.argsort(episodes.of_row, kind="stable")
    cuts = np.flatnonzero(np.diff(episodes.of_row[order])) + 1
    is_peak = np.zeros(order.size, dtype=bool)
    for rows in np.split(order, cuts):
        if rows.size and episodes.of_row[rows[0]] >= 0:
            highest = np.maximum.accumulate(anomalies.ratio[rows])
            is_peak[rows[0]] = True
            is_peak[rows[1:]] = highest[1:] > highest[:-1]
    return is_peak


def _cells(anomalies: Anomalies) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sites and windows in which any domain is anomalous, in order of site and window."""
    pairs = np.unique(np.stack([anomalies.site, anomalies.window], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _alarms(
    site: NDArray[np.int64], window: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return first and last window and site of the stretches that three close anomalies hold in alarm."""
    ahead = ALARM_MINIMUM - 1
    n = max(0, site.size - ahead)
    close = (site[ahead:] == site[:n]) & (window[ahead:] - window[:n] < ALARM_WINDOWS)
    at = np.flatnonzero(close)
    # In order of site and window ends never fall back, so neighbours tell where an episode breaks.
    return window[at + ahead], window[at] + ALARM_WINDOWS - 1, site[at]


def _episode_of_rows(
    anomalies: Anomalies,
    sites: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> NDArray[np.int64]:
    if not sites.size:
        return np.full(anomalies.window.size, -1, dtype=np.int64)
    base = int(min(anomalies.window[0], starts.min())) - ALARM_WINDOWS
    width = int(max(anomalies.window[-1], ends.max())) - base + 1
    order = np.lexsort((starts, sites))
    keys = sites[order] * width + (starts[order] - (ALARM_WINDOWS - 1) - base)
    row_keys = anomalies.site * width + (anomalies.window - base)
    place = np.searchsorted(keys, row_keys, side="right") - 1
    found = order[np.maximum(place, 0)]
    inside = (place >= 0) & (sites[found] == anomalies.site) & (anomalies.window <= ends[found])
    return np.where(inside, found, -1)


def _onsets(
    anomalies: Anomalies,
    of_row: NDArray[np.int64],
    *,
    sites: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> NDArray[np.int64]:
    onset = starts.copy()
    if not onset.size:
        return onset
    rows = np.flatnonzero((of_row >= 0) & (anomalies.window <= starts[np.maximum(of_row, 0)]))
    strength = np.round(anomalies.ratio[rows], DECIMALS)
    # The strongest row comes last and stays; of equal ones the earliest window, then the first domain.
    order = np.lexsort((-anomalies.domain[rows], -anomalies.window[rows], strength))
    onset[of_row[rows[order]]] = anomalies.onset[rows[order]]
    by_site = np.lexsort((starts, sites))
    same = sites[by_site][1:] == sites[by_site][:-1]
    earlier, later = by_site[:-1][same], by_site[1:][same]
    onset[later] = np.maximum(onset[later], ends[earlier] + 1)
    return onset
