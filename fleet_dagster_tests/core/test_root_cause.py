"""Where an incident began: graphs and onsets small enough to see the answer."""

import numpy as np

from fleet_dagster.core.neighbourhood import neighbourhood
from fleet_dagster.core.root_cause import Origin, origin_of


def origin(edges: list[tuple[int, int]], onsets: list[int]) -> Origin:
    n = len(onsets)
    place = neighbourhood(np.zeros(n, dtype=np.int64), edges, np.zeros(n))
    return origin_of(place.hops, np.array(onsets))


def test_the_site_upstream_is_blamed_although_it_was_noticed_later() -> None:
    found = origin([(0, 1), (1, 2)], [12, 10, 11])
    assert found.order.tolist() == [0, 1, 2]
    assert found.is_determined
    assert found.explained == 1.0


def test_a_root_that_explains_the_others_is_preferred_to_an_earlier_stranger() -> None:
    found = origin([(0, 1), (0, 2)], [10, 11, 12, 8])
    assert found.order[:2].tolist() == [0, 3]


def test_of_two_roots_that_explain_as_much_the_earlier_is_blamed() -> None:
    found = origin([(0, 2), (1, 3)], [10, 9, 12, 12])
    assert found.order[:2].tolist() == [1, 0]
    assert found.is_determined


def test_without_a_graph_the_earliest_is_blamed_and_a_tie_leaves_it_open() -> None:
    assert origin([], [12, 10, 11]).order.tolist() == [1, 2, 0]
    assert origin([], [12, 10, 11]).is_determined
    assert not origin([], [10, 12, 10]).is_determined
    assert origin([], [10, 12, 10]).order.tolist() == [0, 2, 1]


def test_sites_that_depend_on_each_other_are_roots_together() -> None:
    found = origin([(0, 1), (1, 0), (1, 2)], [11, 10, 9])
    assert found.order.tolist() == [1, 0, 2]


def test_dependence_over_a_quiet_site_counts() -> None:
    place = neighbourhood(np.zeros(3, dtype=np.int64), [(0, 1), (1, 2)], np.zeros(3))
    alarmed = place.hops[np.ix_([0, 2], [0, 2])]
    assert origin_of(alarmed, np.array([11, 10])).order.tolist() == [0, 1]


def test_one_site_alone_is_its_own_origin() -> None:
    found = origin([], [5])
    assert found.is_determined
    assert found.explained == 0.0
