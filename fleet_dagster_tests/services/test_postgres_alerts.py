"""Alerts in a control database on PostgreSQL: what holds on SQLite holds here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.storage.store import Store
from fleet_dagster_tests.alerting import test_passes
from fleet_dagster_tests.receivers import HttpReceiver, http_receiver

pytestmark = pytest.mark.services


@pytest.fixture
def store(control_url: str, tmp_path: Path) -> Iterator[Store]:
    with Store.of(str(tmp_path / "lake"), control_url) as opened:
        yield opened


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as running:
        yield running


def test_an_incident_is_told_once_and_so_is_its_end(store: Store, receiver: HttpReceiver) -> None:
    test_passes.test_a_crash_after_recording_tells_nobody_twice(store, receiver)


def test_what_was_missed_is_sent_once_and_in_order(store: Store, receiver: HttpReceiver) -> None:
    test_passes.test_a_receiver_that_is_down_for_an_hour_gets_what_it_missed_once_and_in_order(
        store, receiver
    )


def test_a_subject_that_comes_back_gets_an_alert_of_its_own(
    store: Store, receiver: HttpReceiver
) -> None:
    test_passes.test_a_flapping_region_does_not_page_every_minute(store, receiver, 70, 7)


def test_labels_and_silences_are_kept(store: Store, receiver: HttpReceiver) -> None:
    test_passes.test_what_somebody_says_is_kept_as_a_label_of_the_incident(store, receiver)


def test_the_end_of_what_people_know_of_is_told_after_a_silence(
    store: Store, receiver: HttpReceiver
) -> None:
    test_passes.test_the_end_of_what_people_know_of_is_told_after_a_silence(store, receiver)
