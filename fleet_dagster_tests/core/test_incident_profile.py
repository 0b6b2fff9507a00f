"""Shape, severity and confidence of incidents that fit on a line."""

import math

import numpy as np
import pytest

from fleet_dagster.core.confidence import LONE_OPEN, Evidence, confidence_of
from fleet_dagster.core.incident_profile import (
    Extent,
    dominant_domain,
    pattern_of,
    severity_of,
)
from fleet_dagster.core.neighbourhood import (
    cosines,
    linked_by_dependence,
    linked_by_region,
    linked_by_signature,
    neighbourhood,
)
from fleet_dagster.core.root_cause import Origin
from fleet_dagster.core.significance import LEVELS, Recent, significant_groups


def pattern(onsets: list[int], regions: list[int], explained: float = 0.0) -> str:
    n = len(onsets)
    extent = Extent(np.array(onsets), np.array(regions), n_fleet=20, n_region=6)
    return pattern_of(extent, Origin(np.arange(n), is_determined=True, explained=explained))


def test_the_pattern_follows_from_span_regions_and_share_of_the_fleet() -> None:
    assert pattern([5], [0]) == "isolated"
    assert pattern([5, 5], [0, 1]) == "simultaneous"
    assert pattern([5, 7, 9, 11], [0, 0, 0, 0]) == "cascade"
    assert pattern([5, 6], [0, 1], explained=1.0) == "cascade"
    assert pattern([5, 5, 5], [0, 0, 0]) == "regional"
    assert pattern([5, 5], [0, 0]) == "simultaneous"
    assert pattern([5] * 10, [0] * 5 + [1] * 5) == "fleet_wide"


def test_severity_grows_with_size_and_one_site_is_never_critical() -> None:
    assert severity_of(1, 3.9) == "info"
    assert severity_of(1, 24.0) == "warning"
    assert severity_of(2, 2.0) == "warning"
    assert severity_of(6, 2.0) == "critical"


def test_the_domain_is_the_one_that_deviates_most_at_half_of_the_sites() -> None:
    assert dominant_domain(np.array([[2.0, 0.0, 3.0], [2.0, 1.5, 4.0]])) == 2
    assert dominant_domain(np.array([[2.0, 0.0], [2.0, 0.0], [2.0, 5.0]])) == 0
    assert dominant_domain(np.array([[2.0]])) == 0


def told(n_sites: int, ratio: float, n_windows: int, *, p: float = math.nan, over: bool) -> float:
    return confidence_of(Evidence(n_sites, ratio, p, n_windows, is_over=over))


def test_confidence_grows_with_the_evidence_and_stays_between_0_and_1() -> None:
    sure, doubtful = (told(4, 2.0, 30, p=p, over=False) for p in (1e-9, 1e-2))
    assert 0 < doubtful < sure < 1
    assert 0 < told(1, 1.4, 5, over=False) < told(1, 2.8, 5, over=False) < 1
    assert 0 < told(1, 1.4, 5, over=False) < told(1, 1.4, 20, over=False) < 1
    assert 0 < told(3, 1.0, 30, over=False) < 1


def test_a_lone_alarm_that_soon_ends_was_chance_and_one_that_lasts_a_fault() -> None:
    assert told(1, 1.7, 15, over=True) < 0.2 < told(1, 1.7, 15, over=False)
    assert told(1, 1.7, 45, over=True) > 0.95


def test_the_confidence_of_a_lone_site_by_hand() -> None:
    weights = (LONE_OPEN[name] for name in ("intercept", "log2_peak_ratio", "log2_n_windows"))
    total = np.dot(list(weights), (1.0, 1.0, 3.0))  # twice its level, eight windows
    assert told(1, 2.0, 8, over=False) == pytest.approx(1 / (1 + math.exp(-total)))


def test_sites_are_linked_over_one_silent_site_and_not_over_two() -> None:
    place = neighbourhood(np.array([0, 0, 1, 1]), [(0, 1), (1, 2), (2, 3)], np.zeros(4))
    linked = linked_by_dependence(place, np.array([0, 2, 3]))
    assert linked.astype(int).tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
    assert linked_by_region(place, np.array([0, 1, 2]))[0].tolist() == [True, True, False]


def test_signatures_are_alike_beyond_a_cosine_of_seven_tenths() -> None:
    signatures = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 2.0]])
    assert cosines(signatures)[0].tolist() == pytest.approx([1.0, math.sqrt(0.5), 0.0, 0.0])
    assert linked_by_signature(signatures)[0].tolist() == [True, True, False, False]


def test_the_p_value_is_the_chance_times_the_groups_and_spans_of_a_day() -> None:
    place = neighbourhood(np.zeros(3, dtype=np.int64), [], np.full(3, 3e-3))
    pair = Recent(
        site=np.array([0, 1]),
        is_new=np.array([True, True]),
        owner=np.array([-1, -1]),
        signature=np.zeros((2, 1)),
    )
    p = 1 - math.exp(-3e-3 / 6)  # ten minutes of an alarm every two weeks
    chance = 3 * p**2 * (1 - p) + p**3
    (found,) = significant_groups(LEVELS[1], place, pair, windows_per_h=60)
    assert found.p_value == pytest.approx(2 * 144 * chance)  # a region and the fleet, ten minutes
    often = neighbourhood(np.zeros(3, dtype=np.int64), [], np.full(3, 3e-2))
    assert not significant_groups(LEVELS[1], often, pair, windows_per_h=60)
