import datetime as dt
import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, SECOND
from fleet_dagster.model.config import HotSettings
from fleet_dagster.model.fleet import BEGINNING, ConfigVersion, Fleet, Site
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import MIDNIGHT, NOON


def settings(min_good_pct: float) -> HotSettings:
    return fleets.config(min_good_pct=min_good_pct).hot


def changing(*instants: int) -> Fleet:
    """Return a fleet whose version i (by min_good_pct) is in force from instant i on."""
    versions = [ConfigVersion(BEGINNING, settings(0))]
    versions += [ConfigVersion(at, settings(i)) for i, at in enumerate(instants, start=1)]
    return replace(fleets.fleet(), versions=tuple(versions))


def as_of(fleet: Fleet, instant: int) -> float:
    (run,) = fleet.settings_runs(instant, instant + fleet.interval)
    return run.version.settings.min_good_pct


@given(
    st.lists(st.integers(0, 10 * MINUTE), max_size=6).map(sorted),
    st.integers(-2, 12),
    st.integers(1, 12),
)
def test_settings_take_effect_with_the_next_window(
    changes: list[int], first: int, n_windows: int
) -> None:
    fleet = changing(*[NOON + c for c in changes])
    start = NOON + first * MINUTE
    runs = list(fleet.settings_runs(start, start + n_windows * MINUTE))
    assert [runs[0].start, runs[-1].end] == [start, start + n_windows * MINUTE]
    assert all(a.end == b.start for a, b in itertools.pairwise(runs))
    for run in runs:
        for window in range(run.start, run.end, MINUTE):
            expected = sum(NOON + c <= window for c in changes)
            assert run.version.settings.min_good_pct == expected


def test_a_change_inside_a_window_waits_for_the_next() -> None:
    fleet = changing(NOON + 1)
    assert as_of(fleet, NOON) == 0
    assert as_of(fleet, NOON + MINUTE) == 1


def test_a_change_at_a_windows_start_holds_in_it() -> None:
    assert as_of(changing(NOON), NOON) == 1


def test_the_first_version_holds_since_ever() -> None:
    late = replace(fleets.fleet(), versions=(ConfigVersion(NOON, settings(5)),))
    assert as_of(late, NOON - DAY) == 5


def test_versions_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="in order of valid_from"):
        changing(NOON, NOON - 1)


def test_a_fleet_without_settings_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one configuration version"):
        replace(fleets.fleet(), versions=())


@pytest.mark.parametrize(
    ("date", "zone", "expected"),
    [
        ("2026-03-29", "Europe/Berlin", "2026-03-28T23:00:00+00:00"),
        ("2026-03-30", "Europe/Berlin", "2026-03-29T22:00:00+00:00"),
        ("2026-10-25", "Europe/Berlin", "2026-10-24T22:00:00+00:00"),
        ("2026-10-26", "Europe/Berlin", "2026-10-25T23:00:00+00:00"),
        ("2026-01-01", "Asia/Kathmandu", "2025-12-31T18:15:00+00:00"),
        ("2026-01-01", "UTC", "2026-01-01T00:00:00+00:00"),
    ],
)
def test_a_fleet_starts_at_local_midnight(date: str, zone: str, expected: str) -> None:
    start = fleets.fleet(start_date=date, timezone=zone).start
    assert dt.datetime.fromtimestamp(start / 1e6, tz=dt.UTC).isoformat() == expected


def test_sites_stand_in_the_order_of_their_mappings_then_of_their_telemetry() -> None:
    fleet = Fleet.of(fleets.config(2, 1), {"Z": NOON, "S-01": NOON, "A": NOON})
    assert [s.site_id for s in fleet.sites] == ["S-01", "S-02", "Z", "A"]
    assert fleet.site_numbers == {"S-01": 0, "S-02": 1, "Z": 2, "A": 3}


def test_pieces_are_cut_at_days_and_changes() -> None:
    fleet = changing(NOON + 30 * SECOND)
    pieces = list(fleet.pieces(MIDNIGHT, MIDNIGHT + DAY + HOUR))
    cuts = [MIDNIGHT, NOON + MINUTE, MIDNIGHT + DAY, MIDNIGHT + DAY + HOUR]
    assert [(start, end) for start, end, _ in pieces] == list(itertools.pairwise(cuts))


def test_a_pieces_digest_does_not_depend_on_the_span_asked_for() -> None:
    fleet = changing(NOON)
    whole = list(fleet.pieces(MIDNIGHT, MIDNIGHT + DAY))
    (part,) = fleet.pieces(NOON + HOUR, NOON + 2 * HOUR)
    assert part[2] == whole[1][2] != whole[0][2]


def test_a_site_registered_later_leaves_earlier_days_as_they_are() -> None:
    before = fleets.fleet()
    late = Site("S-99", len(before.sites), active_from=NOON + DAY)
    after = replace(before, sites=(*before.sites, late))
    old, new = (
        [digest for *_, digest in fleet.pieces(MIDNIGHT, MIDNIGHT + 3 * DAY)]
        for fleet in (before, after)
    )
    assert old[0] == new[0]
    assert old[1] != new[1]
    assert old[2] != new[2]


def test_the_settings_of_an_instant_within_a_window_are_that_windows() -> None:
    fleet = fleets.fleet()
    later = fleet.versions[0].settings.model_copy(update={"outlier_sigma": 9.0})
    changed = Fleet(fleet.config, (*fleet.versions, ConfigVersion(NOON + 1, later)), fleet.sites)
    assert changed.settings_at(NOON + MINUTE - 1) == fleet.versions[0].settings
    assert changed.settings_at(NOON + MINUTE + 1).outlier_sigma == 9.0
