"""Versions of the hot settings: what stands when, once per content, all or nothing, one writer at a time."""

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, SECOND
from fleet_dagster.model.config import FleetConfig, HotSettings
from fleet_dagster.model.edits import move_site, set_values, unmap_site
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.fleet import BEGINNING
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.store import Store
from fleet_dagster.storage.versions import Edit
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import MIDNIGHT, NOON, SITES

FIRST = fleets.config()
N_WINDOWS = 8
FILES = [fleets.config(min_good_pct=float(n), outlier_sigma=1.0 + n) for n in range(3)]


def moving(site: str, region: str, **changes: Any) -> Edit:
    return lambda settings, at: move_site(settings, site, region, at=at, **changes)


def unmapping(site: str) -> Edit:
    return lambda settings, _at: unmap_site(settings, site)


def setting(**values: object) -> Edit:
    wanted = {name: str(value) for name, value in values.items()}
    return lambda settings, _at: set_values(settings, wanted, FIRST.kpi_names)


def settings_at(store: Store, instant: int, config: FleetConfig = FIRST) -> HotSettings:
    return store.registry.fleet(config).settings_at(instant)


def edit(store: Store, change: Edit, start: int | None, config: FleetConfig = FIRST) -> int:
    """Record an edit; returns how many versions that made."""
    return len(store.registry.edit(config, change, source="test", valid_from=start))


def test_the_first_settings_hold_since_ever_whatever_is_asked(store: Store) -> None:
    assert store.registry.apply(FIRST, valid_from=NOON)
    assert settings_at(store, MIDNIGHT - 1000 * DAY) == FIRST.hot
    assert [one.valid_from for one in store.registry.versions("plant")] == [BEGINNING]


def test_a_content_is_applied_once_though_an_edit_was_made_since(store: Store) -> None:
    store.registry.apply(FIRST)
    assert edit(store, setting(outlier_sigma=2), NOON) == 1
    assert not store.registry.apply(FIRST)
    assert settings_at(store, NOON).outlier_sigma == 2


def test_an_edited_file_replaces_the_edits_from_its_own_start_on(store: Store) -> None:
    store.registry.apply(FIRST)
    edit(store, setting(outlier_sigma=2), NOON)
    assert store.registry.apply(fleets.config(min_good_pct=10), valid_from=NOON + HOUR)
    assert settings_at(store, NOON).outlier_sigma == 2
    later = settings_at(store, NOON + HOUR)
    assert (later.outlier_sigma, later.min_good_pct) == (3, 10)


def test_a_file_that_goes_back_to_an_older_content_is_applied_again(store: Store) -> None:
    for config in (FIRST, FILES[1], FIRST):
        assert store.registry.apply(config)
    assert [one.digest for one in store.registry.versions("plant")] == [
        FIRST.hot.digest,
        FILES[1].hot.digest,
        FIRST.hot.digest,
    ]


def test_a_file_reaching_further_back_stands_from_there_on_for_good(store: Store) -> None:
    store.registry.apply(FIRST)
    store.registry.apply(FILES[1], valid_from=NOON)
    edit(store, setting(outlier_sigma=9), NOON + HOUR)
    assert not store.registry.apply(FILES[1], valid_from=NOON + HOUR)
    assert store.registry.apply(FILES[1], valid_from=NOON - HOUR)
    assert settings_at(store, NOON - 2 * HOUR) == FIRST.hot
    for instant in (NOON - HOUR, NOON, NOON + DAY):
        assert settings_at(store, instant) == FILES[1].hot
    shown = [one.is_in_force for one in store.registry.history("plant")]
    assert shown == [True, False, False, True]


def test_an_edit_reaching_back_is_made_in_every_version_from_there_on(store: Store) -> None:
    store.registry.apply(FIRST)
    store.registry.apply(FILES[1], valid_from=NOON)
    store.registry.apply(FILES[2], valid_from=NOON + HOUR)
    assert edit(store, moving("S-01", "R-9"), NOON - HOUR) == 3
    versions = store.registry.versions("plant")
    assert [one.version_no for one in versions] == [1, 2, 3, 4, 5, 6]
    assert [one.valid_from for one in versions[3:]] == [NOON - HOUR, NOON, NOON + HOUR]
    assert settings_at(store, NOON - 2 * HOUR) == FIRST.hot
    for instant, content in zip((NOON - HOUR, NOON, NOON + HOUR), (FIRST, *FILES[1:]), strict=True):
        assert settings_at(store, instant) == move_site(content.hot, "S-01", "R-9", at=instant)


def test_an_edit_that_breaks_a_rule_anywhere_changes_nothing(store: Store) -> None:
    """In the later version another site depends on the one to be unmapped."""
    store.registry.apply(FIRST)
    edit(store, moving("S-02", "R-1", depends_on=("S-01",)), NOON)
    with pytest.raises(ConfigError, match=r"'S-02' depends_on 'S-01'.*Add it or fix the name"):
        edit(store, unmapping("S-01"), NOON - HOUR)
    assert len(store.registry.versions("plant")) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (setting(outlier_sigma=-1), "outlier_sigma: found -1, expected at least 0"),
        (setting(staleness_threshold_s=2.5), "staleness_threshold_s: found 2.5"),
        (setting(outlier_sigma="nan"), "a finite number"),
        (setting(uptime_weight=0.9), "at most 1 is allowed"),
        (moving("S-01", "unmapped"), "reserved"),
        (moving("S-01", "R-0", weight=-1.0), "weight: found -1"),
        (moving("S-01", "R-0", depends_on=("S-99",)), "not another mapped site"),
        (moving("no good'", "R-0"), "site_id"),
    ],
)
def test_an_edit_is_refused_with_the_reason(store: Store, change: Edit, words: str) -> None:
    store.registry.apply(FIRST)
    with pytest.raises(ConfigError, match=words):
        edit(store, change, NOON)
    assert len(store.registry.versions("plant")) == 1


def test_an_edit_cannot_make_the_fleet_larger_than_its_profile(store: Store) -> None:
    sites = [{"site_id": f"T-{i}", "region_id": "r"} for i in range(50)]
    full = fleets.config(region_mappings=sites)
    store.registry.apply(full)
    with pytest.raises(ConfigError, match="'small' allows 50"):
        edit(store, moving("T-50", "r"), NOON, full)
    assert len(store.registry.fleet(full).sites) == 50


def test_an_edit_that_changes_nothing_makes_no_version(store: Store) -> None:
    store.registry.apply(FIRST)
    assert edit(store, setting(outlier_sigma=3), NOON) == 0
    assert edit(store, moving("S-01", "R-0"), NOON) == 0
    assert edit(store, unmapping("X"), NOON) == 0
    assert len(store.registry.versions("plant")) == 1


def test_an_edit_of_a_fleet_without_settings_puts_its_own_in_force_first(store: Store) -> None:
    assert edit(store, setting(outlier_sigma=2), NOON) == 1
    assert settings_at(store, NOON - MINUTE) == FIRST.hot
    assert not store.registry.apply(FIRST)


def test_an_instant_is_rounded_up_to_a_window(store: Store) -> None:
    store.registry.apply(FIRST)
    edit(store, setting(outlier_sigma=2), NOON + SECOND)
    assert store.registry.versions("plant")[-1].valid_from == NOON + MINUTE
    before = now_us()
    edit(store, setting(outlier_sigma=1), None)
    start = store.registry.versions("plant")[-1].valid_from
    assert start % MINUTE == 0
    assert before <= start <= now_us() + MINUTE


def test_a_site_is_registered_from_the_window_that_first_maps_it(store: Store) -> None:
    store.registry.apply(FIRST)
    edit(store, moving("S-09", "R-0"), NOON + SECOND)
    edit(store, moving("S-10", "R-0"), NOON - HOUR)
    found = {site.site_id: site.active_from for site in store.registry.fleet(FIRST).sites}
    assert found["S-09"] == NOON + MINUTE
    assert found["S-10"] == NOON - HOUR
    assert found["S-01"] == BEGINNING


def test_history_tells_what_each_version_changed(store: Store) -> None:
    store.registry.apply(FIRST, source="plant.yaml")
    edit(store, moving("S-01", "R-1"), NOON)
    edit(store, setting(outlier_sigma=2), NOON - HOUR)
    history = store.registry.history("plant")
    assert [[str(c) for c in one.changes] for one in history] == [
        [],
        ["site S-01, region: R-0 → R-1"],
        ["outlier_sigma: 3 → 2"],
        ["outlier_sigma: 3 → 2"],
    ]
    assert [one.version.source for one in history] == ["plant.yaml", "test", "test", "test"]
    assert [one.is_in_force for one in history] == [True, False, True, True]
    assert len({one.version.digest for one in history}) == 4


def test_edits_made_at_once_are_all_there_in_the_end(store: Store) -> None:
    store.registry.apply(FIRST)
    changes = [moving(site, "R-9") for site in SITES[:6]]
    threads = [threading.Thread(target=edit, args=(store, change, NOON)) for change in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [v.version_no for v in store.registry.versions("plant")] == list(range(1, 8))
    assert {m.region_id for m in settings_at(store, NOON).region_mappings} == {"R-9"}


def dated(start: int, region: str = "R-1", **changes: Any) -> FleetConfig:
    """Return the first configuration, whose S-01 lies in another region from an instant on."""
    moved = {"site_id": "S-01", "region_id": region, "valid_from": fleets.utc(start).isoformat()}
    mappings = [*fleets.content()["region_mappings"], moved]
    return fleets.config(region_mappings=mappings, **changes)


def region_at(store: Store, instant: int) -> str:
    fleet = store.registry.fleet(FIRST)
    rows = fleet.settings_at(instant).region_mappings
    return [m for m in rows if m.site_id == "S-01" and _holds(m.valid_from, instant)][-1].region_id


def _holds(valid_from: Any, instant: int) -> bool:
    return valid_from is None or valid_from <= fleets.utc(instant)


def test_a_mapping_that_a_file_dates_in_the_past_holds_from_its_date_on(store: Store) -> None:
    store.registry.apply(FIRST)
    edit(store, setting(outlier_sigma=2), NOON + HOUR)
    assert store.registry.apply(dated(NOON + SECOND, min_good_pct=10))
    assert [region_at(store, NOON + n * MINUTE) for n in (0, 1)] == ["R-0", "R-1"]
    past = settings_at(store, NOON + 2 * HOUR)
    assert (past.outlier_sigma, past.min_good_pct) == (2, 80)
    newest = settings_at(store, now_us() + MINUTE)
    assert (newest.outlier_sigma, newest.min_good_pct) == (3, 10)
    assert not store.registry.apply(dated(NOON + SECOND, min_good_pct=10))


def test_a_date_that_a_file_changes_gives_back_the_windows_between(store: Store) -> None:
    store.registry.apply(FIRST)
    store.registry.apply(dated(NOON))
    store.registry.apply(dated(NOON + HOUR))
    assert [region_at(store, NOON + n * HOUR) for n in (-1, 0, 1)] == ["R-0", "R-0", "R-1"]
    store.registry.apply(FIRST)
    assert region_at(store, NOON + HOUR) == "R-0"


def test_a_file_applied_from_an_instant_does_not_reach_behind_it(store: Store) -> None:
    store.registry.apply(FIRST)
    store.registry.apply(dated(NOON), valid_from=NOON + HOUR)
    assert [region_at(store, NOON + n * HOUR) for n in (0, 1)] == ["R-0", "R-1"]


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Return a store for many fleets, one for each example."""
    with Store.at(tmp_path_factory.mktemp("settings") / "home") as opened:
        yield opened


NUMBERS = itertools.count()
Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["file", "move", "unmap", "set"]),
        st.integers(0, 2),
        st.integers(0, N_WINDOWS - 1),
    ),
    max_size=8,
)


@given(steps=STEPS)
def test_settings_in_force_are_those_of_a_replay_window_by_window(
    lasting: Store, steps: list[Step]
) -> None:
    """The replay keeps the settings of every single window, and changes them one by one."""
    name = f"replayed_{next(NUMBERS)}"
    configs = [FleetConfig.model_validate({**c.model_dump(), "name": name}) for c in FILES]
    lasting.registry.apply(configs[0])
    windows = [configs[0].hot] * N_WINDOWS
    applied = (configs[0].hot.digest, -1)
    for kind, which, at in steps:
        start = NOON + at * MINUTE
        if kind == "file":
            content = configs[which].hot
            if applied[0] != content.digest or at < applied[1]:
                windows[at:] = [content] * (N_WINDOWS - at)
                applied = (content.digest, at)
            lasting.registry.apply(configs[which], valid_from=start)
            continue
        change: Callable[[HotSettings, int], HotSettings] = {
            "move": moving(SITES[which], f"M-{at % 2}"),
            "unmap": unmapping(SITES[which]),
            "set": setting(deviation_sigma=10 + which),
        }[kind]
        edit(lasting, change, start, configs[0])
        windows[at:] = [change(one, start) for one in windows[at:]]
    fleet = lasting.registry.fleet(configs[0])
    assert [fleet.settings_at(NOON + n * MINUTE) for n in range(N_WINDOWS)] == windows
    numbers = [one.version_no for one in lasting.registry.versions(name)]
    assert numbers == list(range(1, len(numbers) + 1))
