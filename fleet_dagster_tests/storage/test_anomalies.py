from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.core.windows import DAY, HOUR, MINUTE
from fleet_dagster.storage.anomalies import open_incidents
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.cli.cases import installation
from fleet_dagster_tests.fleets import MIDNIGHT, NOON
from fleet_dagster_tests.incidents import change, record, stamp


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with installation(tmp_path).store() as opened:
        yield opened


def ids(store: Store, at: int = NOON + HOUR) -> list[str]:
    return [i.incident_id for i in open_incidents(store, "plant", at)]


def test_an_incident_is_open_from_its_opening_until_it_closes(store: Store) -> None:
    record(store, change("a", NOON), change("a", NOON + 10 * MINUTE, "closed"))
    assert ids(store, NOON) == []
    assert ids(store, NOON + MINUTE) == ["a"]
    assert ids(store, NOON + 10 * MINUTE) == ["a"]
    assert ids(store, NOON + 11 * MINUTE) == []


def test_an_incident_is_shown_as_of_its_newest_change(store: Store) -> None:
    grown = change("a", NOON + MINUTE, "changed", sites=["S1", "S2"], severity="critical")
    record(store, change("a", NOON), grown)
    (found,) = open_incidents(store, "plant", NOON + HOUR)
    assert (found.sites, found.severity) == (("S1", "S2"), "critical")
    assert (found.since, found.changed) == (stamp(NOON - 4 * MINUTE), stamp(NOON + MINUTE))


def test_an_incident_that_was_merged_or_goes_on_under_another_id_is_listed_once(
    store: Store,
) -> None:
    record(
        store,
        change("a", NOON),
        change("b", NOON),
        change("b", NOON + MINUTE, "merged", merged_into="a"),
        change("c", MIDNIGHT + DAY, continues="a"),
    )
    assert ids(store) == ["a"]
    assert ids(store, MIDNIGHT + DAY + MINUTE) == ["c"]


def test_the_worst_and_largest_come_first(store: Store) -> None:
    record(
        store,
        change("a", NOON),
        change("b", NOON, sites=["S1", "S2"]),
        change("c", NOON, severity="critical"),
        change("d", NOON, severity="info"),
    )
    assert ids(store) == ["c", "b", "a", "d"]


def test_other_fleets_and_silence_have_none(store: Store) -> None:
    assert ids(store) == []
    record(store, change("a", NOON, fleet="other"))
    assert ids(store) == []
