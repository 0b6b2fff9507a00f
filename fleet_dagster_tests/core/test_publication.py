"""Ingestion modes: which site-windows are published, case by case."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fleet_dagster.core.publication import (
    DEVIATION_ONLY,
    DOWNSAMPLE_HEALTHY,
    FULL,
    HEALTHY_EVERY,
    HEARTBEAT_EVERY,
    PUBLISHED,
    STORM,
    Sight,
    dispositions,
    is_beyond,
    is_changed,
    mode_of,
    turns_of,
)
from fleet_dagster.model.tables import DISPOSITIONS

NAN = np.float32(np.nan)
MODES = [FULL, DOWNSAMPLE_HEALTHY, DEVIATION_ONLY, STORM]
FLAGS = ("is_stale", "is_online", "is_changed", "is_deviating", "is_panel")
SITES = [f"S-{i:04d}" for i in range(1000)]


@pytest.mark.parametrize(
    ("n_sites", "mode"),
    [
        (0, FULL),
        (1, FULL),
        (19, FULL),
        (20, FULL),
        (50, FULL),
        (51, DOWNSAMPLE_HEALTHY),
        (200, DOWNSAMPLE_HEALTHY),
        (201, DEVIATION_ONLY),
        (1000, DEVIATION_ONLY),
    ],
)
def test_the_mode_follows_the_number_of_sites(n_sites: int, mode: int) -> None:
    assert mode_of(n_sites) == mode


def decide(mode: int, *, has_turn: bool = False, **seen: bool) -> str:
    """Return what becomes of one site-window; it is online, unless told otherwise, and nothing else."""
    flags = {name: np.array([[seen.get(name, name == "is_online")]]) for name in FLAGS}
    turn = np.array([0 if has_turn else 1])
    code = dispositions(Sight(**flags), np.array([mode], np.int8), turn, np.array([0]))
    return DISPOSITIONS[int(code[0, 0])]


NOT_ONLINE, CHANGED = {"is_online": False}, {"is_changed": True}


@pytest.mark.parametrize("seen", [{}, NOT_ONLINE, CHANGED, {"is_deviating": True}])
def test_small_fleets_publish_everything(seen: dict[str, bool]) -> None:
    assert decide(FULL, **seen) == "full"


@pytest.mark.parametrize("mode", [DOWNSAMPLE_HEALTHY, DEVIATION_ONLY])
@pytest.mark.parametrize("has_turn", [False, True])
@pytest.mark.parametrize("seen", [NOT_ONLINE, CHANGED])
def test_sites_not_online_or_newly_changed_are_published_in_every_window(
    mode: int, *, has_turn: bool, seen: dict[str, bool]
) -> None:
    assert decide(mode, has_turn=has_turn, **seen) == "deviating"


def test_healthy_sites_wait_for_their_turn() -> None:
    assert decide(DOWNSAMPLE_HEALTHY) == "quiet"
    assert decide(DOWNSAMPLE_HEALTHY, has_turn=True) == "downsampled"
    assert decide(DEVIATION_ONLY) == "quiet"
    assert decide(DEVIATION_ONLY, has_turn=True) == "heartbeat"


def test_deviation_from_the_baseline_counts_in_large_fleets_only() -> None:
    assert decide(DEVIATION_ONLY, is_deviating=True) == "deviating"
    assert decide(DEVIATION_ONLY, is_deviating=True, has_turn=True) == "deviating"
    assert decide(DOWNSAMPLE_HEALTHY, is_deviating=True) == "quiet"


def test_a_storm_publishes_the_panel_and_nobody_else() -> None:
    everything = {**NOT_ONLINE, **CHANGED, "is_deviating": True, "has_turn": True}
    assert decide(STORM, is_panel=True) == "sampled"
    assert decide(STORM, **everything) == "sampled_out"
    assert decide(DEVIATION_ONLY, is_panel=True) == "quiet"


@pytest.mark.parametrize("mode", MODES)
def test_stale_sites_are_published_in_no_mode(mode: int) -> None:
    everything = {**NOT_ONLINE, **CHANGED, "is_deviating": True, "is_panel": True}
    assert decide(mode, is_stale=True, has_turn=True, **everything) == "stale"


def test_what_is_published_is_what_the_table_says() -> None:
    published = dict(zip(DISPOSITIONS, PUBLISHED.tolist(), strict=True))
    assert {name for name, is_published in published.items() if not is_published} == {
        "quiet",
        "sampled_out",
        "stale",
    }


def calm(n_sites: int, n_windows: int) -> Sight:
    """Return sites that are online and do nothing."""
    never = np.zeros((n_sites, n_windows), dtype=np.bool_)
    return Sight(
        is_stale=never, is_online=~never, is_changed=never, is_deviating=never, is_panel=never
    )


def published_when_calm(mode: int, first: int, n_windows: int) -> NDArray[np.bool_]:
    windows = first + np.arange(n_windows)
    modes = np.full(n_windows, mode, dtype=np.int8)
    return PUBLISHED[dispositions(calm(1000, n_windows), modes, turns_of("plant", SITES), windows)]


@pytest.mark.parametrize(
    ("mode", "every"), [(DOWNSAMPLE_HEALTHY, HEALTHY_EVERY), (DEVIATION_ONLY, HEARTBEAT_EVERY)]
)
def test_each_healthy_site_has_its_turn_exactly_every_so_many_windows(
    mode: int, every: int
) -> None:
    found = published_when_calm(mode, first=29_000_003, n_windows=6 * every)
    assert (found.sum(axis=1) == 6).all()
    assert (found[:, :-every] == found[:, every:]).all()


@pytest.mark.parametrize(
    ("mode", "every"), [(DOWNSAMPLE_HEALTHY, HEALTHY_EVERY), (DEVIATION_ONLY, HEARTBEAT_EVERY)]
)
def test_turns_are_spread_evenly_over_the_windows(mode: int, every: int) -> None:
    counts = published_when_calm(mode, first=0, n_windows=every).sum(axis=0)
    # A thousand sites dealt out by hash: within four standard deviations of an even share.
    share = 1000 / every
    assert np.abs(counts - share).max() < 4 * np.sqrt(share * (1 - 1 / every))


def test_turns_belong_to_the_fleet_and_the_site_alone() -> None:
    turns = turns_of("plant", SITES)
    assert turns_of("plant", SITES[::-1]).tolist() == turns[::-1].tolist()
    assert turns_of("plant", SITES[5:6])[0] == turns[5]
    assert turns_of("mill", SITES).tolist() != turns.tolist()
    assert turns_of("plant", []).size == 0


def test_the_turn_of_a_window_is_its_number_since_1970_whatever_span_is_asked_for() -> None:
    whole = published_when_calm(DEVIATION_ONLY, first=100, n_windows=30)
    part = published_when_calm(DEVIATION_ONLY, first=117, n_windows=4)
    assert (whole[:, 17:21] == part).all()


@given(st.data())
def test_every_combination_is_decided_as_the_table_of_modes_says(data: st.DataObject) -> None:
    flags = {name: data.draw(st.booleans(), label=name) for name in FLAGS}
    mode, has_turn = data.draw(st.sampled_from(MODES)), data.draw(st.booleans())
    found = decide(mode, has_turn=has_turn, **flags)
    notable = flags["is_changed"] or not flags["is_online"]
    if flags["is_stale"]:
        expected = "stale"
    elif mode == FULL:
        expected = "full"
    elif mode == STORM:
        expected = "sampled" if flags["is_panel"] else "sampled_out"
    elif notable or (mode == DEVIATION_ONLY and flags["is_deviating"]):
        expected = "deviating"
    elif has_turn:
        expected = "downsampled" if mode == DOWNSAMPLE_HEALTHY else "heartbeat"
    else:
        expected = "quiet"
    assert found == expected


def test_windows_of_several_modes_are_decided_each_by_its_own() -> None:
    turns, windows = np.array([1]), np.arange(10, 14)
    found = dispositions(calm(1, 4), np.array(MODES, np.int8), turns, windows)
    assert [DISPOSITIONS[code] for code in found[0]] == [
        "full",
        "downsampled",
        "quiet",
        "sampled_out",
    ]


def beyond(kpi: float, centre: float, scale: float, sigma: float = 3.0) -> bool:
    values, middle, spread = (np.array(v, dtype=np.float32) for v in ([[kpi]], [centre], [scale]))
    return bool(is_beyond([values], [middle], [spread], sigma)[0, 0])


def test_exactly_the_threshold_is_not_beyond_it() -> None:
    assert not beyond(0.5 + 3 * 0.125, centre=0.5, scale=0.125)
    assert not beyond(0.5 - 3 * 0.125, centre=0.5, scale=0.125)
    assert beyond(0.5 + 3 * 0.125 + 2**-20, centre=0.5, scale=0.125)
    assert beyond(0.5 - 3 * 0.125 - 2**-20, centre=0.5, scale=0.125)


def test_a_kpi_that_never_moved_is_beyond_as_soon_as_it_does() -> None:
    assert not beyond(0.5, centre=0.5, scale=0.0)
    assert beyond(0.5 + 2**-20, centre=0.5, scale=0.0)


def test_a_kpi_without_a_baseline_is_beyond_when_it_is_present() -> None:
    assert beyond(0.5, centre=np.nan, scale=np.nan)
    assert beyond(0.5, centre=0.5, scale=np.nan)
    assert not beyond(np.nan, centre=np.nan, scale=np.nan)
    assert not beyond(np.nan, centre=0.5, scale=0.1)


def test_one_kpi_of_several_beyond_is_enough() -> None:
    kpis = [np.array([[0.5, 0.9, 0.5]], np.float32), np.array([[0.5, 0.5, NAN]], np.float32)]
    ends = [np.array([0.5], np.float32)] * 2, [np.array([0.1], np.float32)] * 2
    assert is_beyond(kpis, *ends, 3.0).tolist() == [[False, True, False]]


def test_a_fleet_without_kpis_has_nothing_beyond() -> None:
    assert is_beyond([], [], [], 3.0).size == 0


def test_a_status_is_changed_where_it_is_not_that_of_the_window_before() -> None:
    status = np.array([[0, 0, 1, 1, 3, 0]], dtype=np.int8)
    assert is_changed(status).tolist() == [[False, True, False, True, True]]
    assert is_changed(status[:, :1]).shape == (1, 0)


def test_every_disposition_can_be_reached() -> None:
    seen = itertools.product([False, True], repeat=len(FLAGS))
    found = {
        decide(mode, has_turn=turn, **dict(zip(FLAGS, flags, strict=True)))
        for flags in seen
        for mode in MODES
        for turn in (False, True)
    }
    assert found == set(DISPOSITIONS)
