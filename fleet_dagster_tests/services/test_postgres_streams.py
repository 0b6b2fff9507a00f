"""Streams and retention with a control database on PostgreSQL: what holds on SQLite holds here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.storage.store import Store
from fleet_dagster.streams import deliveries
from fleet_dagster_tests.streams import test_records, test_retention
from fleet_dagster_tests.streams.test_state_machine import Streams

pytestmark = pytest.mark.services


@pytest.fixture
def store(control_url: str, tmp_path: Path) -> Iterator[Store]:
    with Store.of(str(tmp_path / "lake"), control_url) as opened:
        yield opened


def test_every_step_of_the_model_in_one_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Append, restate, read in part, crash, rewind, merge, expire and write again: the state machine's steps, in one order."""
    monkeypatch.setattr(deliveries, "PIECE_ROWS", 5)
    machine = Streams(store)
    for n in range(8):
        machine.write(number=0, first=3 * n, n=3, health=0.5)
    machine.consume("slow", n=2, crashes=False)
    machine.write(number=1, first=0, n=12, health=0.2)
    machine.drain("fast")
    machine.merge()
    machine.write(number=0, first=3, n=2, health=0.9)
    machine.consume("fast", n=1, crashes=True)
    machine.consume("slow", n=5, crashes=True)
    machine.drain("slow")
    machine.drain("fast")
    machine.merge()
    machine.rewind("slow", share=0.3)
    machine.consume("slow", n=4, crashes=False)
    machine.expire(0)
    machine.write(number=0, first=0, n=6, health=0.9)
    machine.write(number=0, first=6, n=6, health=0.9)
    machine.merge()
    machine.drain("slow")
    machine.rewind("fast", share=0.0)
    machine.drain("fast")
    machine.expire(1)
    machine.expire(0)
    machine.drain("fast")
    machine.drain("slow")
    machine.merge()
    machine.the_table_stands_as_written()


def test_retention_finds_what_is_due_and_tells_who_missed_it(store: Store) -> None:
    test_retention.test_a_rehearsal_says_the_same_and_changes_nothing(store)


def test_retention_counts_from_the_last_writing(store: Store) -> None:
    test_retention.test_a_day_goes_when_its_windows_and_its_writing_are_old(store)


def test_old_records_go_and_labels_stay(store: Store) -> None:
    test_records.test_alerts_that_were_over_a_year_ago_go_and_labels_stay(store)
