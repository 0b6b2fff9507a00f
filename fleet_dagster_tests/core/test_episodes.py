"""Alarms as episodes, by hand and against a plain state machine."""

import numpy as np

from fleet_dagster.core.alarms import alarms
from fleet_dagster.core.episodes import Anomalies, episodes_of, peaks_of
from fleet_dagster.model.lookbacks import INCIDENT_WINDOWS


def rows(*cells: tuple[int, int], ratio: list[float] | None = None) -> Anomalies:
    """Return one row per site and window, each with its own window as onset."""
    site, window = (np.array(c, dtype=np.int64) for c in zip(*cells, strict=True))
    order = np.lexsort((site, window))
    strength = np.ones(site.size) if ratio is None else np.array(ratio)
    return Anomalies(
        window=window[order],
        site=site[order],
        domain=np.zeros(site.size, dtype=np.int64),
        ratio=strength[order],
        onset=window[order],
        shares=np.zeros((site.size, 0)),
    )


def test_an_episode_lasts_while_three_of_four_windows_are_anomalous() -> None:
    found = episodes_of(rows(*((0, w) for w in (5, 6, 8, 9))))
    assert (found.start.tolist(), found.last.tolist()) == ([8], [9])
    assert found.of_row.tolist() == [0, 0, 0, 0]


def test_alarms_at_most_ten_windows_apart_are_one_episode() -> None:
    for gap, n in ((INCIDENT_WINDOWS, 1), (INCIDENT_WINDOWS + 1, 2)):
        first, last = (0, 1, 2), 3  # in alarm in windows 2 and 3
        again = last + gap
        found = episodes_of(rows(*((0, w) for w in (*first, again - 2, again - 1, again))))
        assert found.site.size == n


def test_the_onset_is_that_of_the_strongest_row_when_the_alarm_begins() -> None:
    cells = rows((0, 5), (0, 6), (0, 7), (0, 8), ratio=[1.5, 3.0, 2.0, 9.0])
    assert episodes_of(cells).onset.tolist() == [6]


def test_an_onset_is_later_than_the_alarm_before() -> None:
    early = rows(*((0, w) for w in (0, 1, 2, 30, 31, 32)))
    backdated = Anomalies(
        early.window, early.site, early.domain, early.ratio, early.onset * 0, early.shares
    )
    assert episodes_of(backdated).onset.tolist() == [0, 4]


def test_peaks_are_the_rows_beyond_all_before_them() -> None:
    cells = rows((0, 5), (0, 6), (0, 7), (0, 8), (0, 9), ratio=[2.0, 2.0, 3.0, 2.5, 4.0])
    assert peaks_of(cells, episodes_of(cells)).tolist() == [True, False, True, False, True]


def test_without_rows_or_alarms_there_are_no_episodes() -> None:
    nothing = rows((0, 1)).since(5, 9)
    assert episodes_of(nothing).site.size == 0
    assert episodes_of(rows((0, 1), (1, 1))).of_row.tolist() == [-1, -1]


def test_episodes_are_the_alarms_of_a_grid() -> None:
    rng = np.random.default_rng(17)
    grid = rng.random((4, 400)) < np.repeat([[0.15], [0.4], [0.7], [0.95]], 400, axis=1)
    site, window = np.nonzero(grid)
    found = episodes_of(rows(*zip(site.tolist(), window.tolist(), strict=True)))
    expected = sorted((s, *e) for s in range(4) for e in _runs(alarms(grid[s])))
    kept = zip(found.site, found.start, np.minimum(found.last, 399), strict=True)
    assert sorted((int(s), int(a), int(b)) for s, a, b in kept) == expected


def _runs(is_alarm: np.ndarray) -> list[tuple[int, int]]:
    """Return first and last window of each run of alarms, runs close to each other as one."""
    runs: list[list[int]] = []
    for window in np.flatnonzero(is_alarm).tolist():
        if runs and window - runs[-1][1] <= INCIDENT_WINDOWS:
            runs[-1][1] = window
        else:
            runs.append([window, window])
    return [(a, b) for a, b in runs]
