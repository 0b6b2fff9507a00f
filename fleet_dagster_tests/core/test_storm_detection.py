"""When storms begin and end: exact thresholds, hysteresis, and a plain state machine to compare with."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.core.storm_detection import (
    CALM_WINDOWS,
    LOOK_BACK,
    Activity,
    judge,
    placed,
)
from fleet_dagster.core.windows import MINUTE
from fleet_dagster.model.storms import FOREVER, StormEpisode, overlapping
from fleet_dagster_tests.fleets import NOON

USUAL = 100


def at(window: int) -> int:
    """Return the start of a window, counted from noon."""
    return NOON + window * MINUTE


def activity(
    moved: Sequence[int],
    messages: Sequence[int] | None = None,
    *,
    n_sites: int = 100,
    usual: float = USUAL,
    first: int = 0,
    fresh: Sequence[int] | None = None,
) -> Activity:
    n = len(moved)
    return Activity(
        starts=NOON + (first + np.arange(n, dtype=np.int64)) * MINUTE,
        interval=MINUTE,
        n_sites=np.full(n, n_sites),
        n_moved=np.array(moved, dtype=np.int64),
        n_messages=np.array(messages if messages is not None else [USUAL] * n, dtype=np.int64),
        usual_messages=np.full(n, usual),
        n_fresh=np.full(n, n_sites) if fresh is None else np.array(fresh, dtype=np.int64),
    )


def spans(episodes: Sequence[StormEpisode]) -> list[tuple[int, int | None]]:
    """Return the first window of each episode, and the first after it."""
    return [
        ((e.start - NOON) // MINUTE, None if e.is_open else (e.end - NOON) // MINUTE)
        for e in episodes
    ]


def judged(seen: Activity, **given: Any) -> list[tuple[int, int | None]]:
    return spans(judge(seen, given.pop("storm", None), since=given.pop("since", NOON), **given))


@pytest.mark.parametrize(
    ("n_sites", "n_moved", "begins"),
    [
        (20, 4, False),
        (20, 5, True),
        (25, 5, True),
        (26, 5, False),
        (26, 6, True),
        (100, 19, False),
        (100, 20, True),
        (1000, 199, False),
        (1000, 200, True),
    ],
)
def test_a_fifth_of_the_sites_and_five_at_least_begin_a_storm(
    n_sites: int, n_moved: int, *, begins: bool
) -> None:
    found = judged(activity([0, n_moved], n_sites=n_sites))
    assert found == ([(1, None)] if begins else [])


def test_fleets_of_nineteen_have_no_storms() -> None:
    assert judged(activity([19, 19], [9999, 9999], n_sites=19)) == []
    assert judged(activity([20, 20], [9999, 9999], n_sites=20)) == [(0, None)]


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ([500], []),
        ([500, 500], [(1, None)]),
        ([499, 500, 499, 500], []),
        ([500, 499, 500, 500], [(3, None)]),
    ],
)
def test_five_times_the_usual_messages_in_two_windows_running_begin_a_storm(
    messages: list[int], found: list[tuple[int, None]]
) -> None:
    assert judged(activity([0] * len(messages), messages)) == found


def test_the_first_flooded_window_may_lie_before_those_to_judge() -> None:
    seen = activity([0] * 3, [USUAL, 500, 500])
    assert judged(seen, since=at(2)) == [(2, None)]


def test_an_eventful_window_before_those_to_judge_begins_nothing() -> None:
    assert judged(activity([50, 0, 0]), since=at(1)) == []


@pytest.mark.parametrize("usual", [np.nan, 0.0])
def test_without_a_baseline_messages_say_nothing(usual: float) -> None:
    flood = activity([0] * 4, [10**6] * 4, usual=usual)
    assert judged(flood) == []
    moved = activity([20, 0, 0, 0, 0, 0], [10**6] * 6, usual=usual)
    assert judged(moved) == [(0, 6)]


def test_a_storm_ends_after_five_calm_windows() -> None:
    assert judged(activity([20, *[0] * 4])) == [(0, None)]
    assert judged(activity([20, *[0] * 5])) == [(0, 6)]


@pytest.mark.parametrize(
    ("n_sites", "n_moved", "is_calm"),
    [(100, 4, True), (100, 5, False), (20, 0, True), (20, 1, False), (21, 1, True)],
)
def test_below_five_percent_is_calm(n_sites: int, n_moved: int, *, is_calm: bool) -> None:
    seen = activity([20, *[n_moved] * CALM_WINDOWS], n_sites=n_sites)
    assert judged(seen) == [(0, 6 if is_calm else None)]


@pytest.mark.parametrize(("messages", "is_calm"), [(199, True), (200, False)])
def test_below_twice_the_usual_messages_is_calm(messages: int, *, is_calm: bool) -> None:
    seen = activity([20, *[0] * CALM_WINDOWS], [USUAL, *[messages] * CALM_WINDOWS])
    assert judged(seen) == [(0, 6 if is_calm else None)]


def test_between_the_thresholds_a_storm_goes_on_but_none_begins() -> None:
    restless = [10] * 20  # 10 %: neither eventful nor calm
    assert judged(activity(restless)) == []
    assert judged(activity([20, *restless])) == [(0, None)]


def test_a_restless_window_starts_the_count_of_calm_ones_anew() -> None:
    assert judged(activity([20, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0])) == [(0, 11)]


def test_two_storms_back_to_back_are_two_episodes() -> None:
    found = judged(activity([20, *[0] * 5, 30, *[0] * 5]))
    assert found == [(0, 6), (6, 12)]


def test_a_flood_that_ended_one_storm_ago_does_not_count_for_the_next() -> None:
    messages = [500, 500, *[USUAL] * 5, 500, USUAL]
    assert judged(activity([0] * 9, messages)) == [(1, 7)]


def free_from(window: int) -> Callable[[int], int]:
    """Return what finds the first window not yet written, where all before one are."""
    return lambda instant: max(instant, at(window))


def test_a_storm_begins_no_earlier_than_the_first_window_not_yet_written() -> None:
    assert spans(placed([StormEpisode.of(at(0))], None, free_from(2))) == [(2, None)]
    assert spans(placed([StormEpisode.of(at(3))], None, free_from(2))) == [(3, None)]


def test_a_storm_ends_no_earlier_than_the_first_window_not_yet_written() -> None:
    storm, ended = StormEpisode.of(at(-10)), StormEpisode.of(at(-10), at(5))
    assert spans(placed([ended], storm, free_from(8))) == [(-10, 8)]
    assert spans(placed([ended], storm, free_from(3))) == [(-10, 5)]


def test_a_storm_over_before_anything_could_be_shed_is_none() -> None:
    assert placed([StormEpisode.of(at(0), at(6))], None, free_from(6)) == []
    assert spans(placed([StormEpisode.of(at(0), at(6))], None, free_from(5))) == [(5, 6)]


def test_written_windows_never_make_two_episodes_overlap() -> None:
    storm = StormEpisode.of(at(-10))
    raw = judge(activity([0] * 5 + [30] * 2), storm, since=NOON)
    found = placed(raw, storm, free_from(9))
    assert spans(found) == [(-10, 9), (9, None)]
    assert overlapping(found) is None


def test_windows_of_which_little_is_heard_neither_calm_a_storm_nor_stir_it() -> None:
    fresh = [100, 100, 100, 24, 24, 100, 100, 100]
    assert judged(activity([20, *[0] * 7], fresh=fresh)) == [(0, 8)]
    assert judged(activity([20, *[0] * 6], fresh=fresh[:7])) == [(0, None)]
    assert judged(activity([20, *[0] * 5], fresh=[100, 100, 100, 25, 25, 100])) == [(0, 6)]


def test_a_storm_that_goes_on_unchanged_is_not_told_again() -> None:
    assert judged(activity([20, 0, 20]), storm=StormEpisode.of(at(-3))) == []


def test_calm_windows_before_those_to_judge_count_for_a_storm_that_goes_on() -> None:
    storm = StormEpisode.of(at(-10))
    seen = activity([0] * (LOOK_BACK + 1), first=-LOOK_BACK)
    assert judged(seen, storm=storm) == [(-10, 1)]


def test_calm_windows_before_a_storm_begins_do_not_count() -> None:
    storm = StormEpisode.of(at(3))
    assert judged(activity([0] * 7), storm=storm) == []
    assert judged(activity([0] * 8), storm=storm) == [(3, 8)]


def test_the_cause_says_what_was_seen() -> None:
    (moved,) = judge(activity([20]), None, since=NOON)
    (flooded,) = judge(activity([0, 0], [500, 500]), None, since=NOON)
    assert moved.cause == "sites changed status"
    assert flooded.cause == "flood of messages"


def test_nothing_seen_decides_nothing() -> None:
    assert judged(activity([])) == []


def naive(seen: Activity, storm: StormEpisode | None, since: int) -> list[Any]:
    """Return (start, end) of the episodes that begin or end, by looking back at the last windows of each one in turn."""
    start = None if storm is None else storm.start
    quiet_from, found = (
        0,
        [],
    )  # windows before `quiet_from` have been used up by an episode that ended
    for i, begin in enumerate(seen.starts.tolist()):
        if begin < since:
            continue
        n, moved = int(seen.n_sites[i]), int(seen.n_moved[i])
        if start is None:
            eventful = 5 * moved >= n and moved >= 5
            flooded = i > quiet_from and all(is_flooded(seen, j) for j in (i - 1, i))
            if n >= 20 and (eventful or flooded):
                start = begin
                found.append((start, FOREVER))
        else:
            inside = [j for j in range(quiet_from, i + 1) if seen.starts[j] >= start]
            last = inside[-5:]
            if len(last) == 5 and all(is_calm(seen, j) for j in last):
                end = begin + seen.interval
                found = [(s, e) for s, e in found if s != start] + [(start, end)]
                start, quiet_from = None, i + 1
    return found


def is_flooded(seen: Activity, i: int) -> bool:
    return bool(seen.usual_messages[i] > 0 and seen.n_messages[i] >= 5 * seen.usual_messages[i])


def is_calm(seen: Activity, i: int) -> bool:
    moved, usual = int(seen.n_moved[i]), float(seen.usual_messages[i])
    few = moved == 0 or 20 * moved < seen.n_sites[i]
    return bool(few and not (usual > 0 and seen.n_messages[i] >= 2 * usual))


@given(st.data())
def test_episodes_equal_those_of_a_plain_state_machine(data: st.DataObject) -> None:
    n_sites = data.draw(st.sampled_from([19, 20, 21, 40]))
    # A coin that seldom falls on its edge would hardly ever see five calm windows.
    level = st.sampled_from([0, 0, 0, 0, 1, 2, 4, 5, n_sites])
    moved = data.draw(st.lists(level, max_size=30))
    rate = st.sampled_from([0, 100, 100, 199, 200, 499, 500])
    messages = data.draw(st.lists(rate, min_size=len(moved), max_size=len(moved)))
    usual = data.draw(st.sampled_from([np.nan, 0.0, 100.0]))
    seen = activity(moved, messages, n_sites=n_sites, usual=usual)
    storm = data.draw(st.sampled_from([None, StormEpisode.of(at(-9)), StormEpisode.of(at(3))]))
    since = at(data.draw(st.integers(0, 6)))
    found = judge(seen, storm, since=since)
    assert [(e.start, e.end) for e in found] == naive(seen, storm, since)
    assert overlapping(found) is None


@given(st.lists(st.sampled_from([0, 0, 0, 4, 5, 30]), min_size=1, max_size=40))
def test_judging_window_by_window_finds_what_judging_all_at_once_finds(moved: list[int]) -> None:
    whole = judge(activity(moved), None, since=NOON)
    episodes: dict[int, StormEpisode] = {}
    for i in range(len(moved)):
        first = max(0, i - LOOK_BACK)
        last = max(episodes.values(), key=lambda e: e.start, default=None)
        current = last if last is not None and last.is_open else None
        # What an ended storm has used up is not looked at again.
        start = first if last is None or last.is_open else max(first, (last.end - NOON) // MINUTE)
        seen = activity(moved[start : i + 1], first=start)
        episodes |= {e.start: e for e in judge(seen, current, since=at(i))}
    assert sorted(episodes.values(), key=lambda e: e.start) == whole
