from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from fleet_dagster.core.windows import DAY
from fleet_dagster.storage.alerts import Alert, AlertChanges, Alerts
from fleet_dagster.storage.control.schema import missed
from fleet_dagster.storage.notifications import Notification, Notifications
from fleet_dagster.storage.records import KEPT_DAYS
from fleet_dagster.storage.silences import Silence, Silences
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.retention import Retention
from fleet_dagster_tests import installations as at

NOW = at.FIRST + 800 * DAY
OLD, YOUNG = NOW - KEPT_DAYS * DAY - 1, NOW - KEPT_DAYS * DAY
ALERT = Alert(
    fleet=at.NAME,
    rule="incident",
    subject="i1",
    state="resolved",
    severity="critical",
    headline="four sites",
    detail={"sites": ["a"]},
    is_present=False,
    changed_at=OLD,
    hold_us=0,
    patience_us=0,
    first_at=OLD,
    opened_at=OLD,
    resolved_at=OLD,
)
MESSAGE = Notification(at.NAME, "ops", "opened", "critical", (1,), "t", "b", OLD, ended_at=OLD)
SILENCE = Silence(at.NAME, None, "*", OLD - DAY, OLD, "work", "ann")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.at(at.new_home(tmp_path / "home")) as opened:
        yield opened


def record(store: Store, *alerts: Alert) -> None:
    """Record alerts, numbered as they come."""
    numbered = [replace(a, alert_id=n) for n, a in enumerate(alerts, start=1)]
    with store.control.transaction() as tx:
        Alerts(store.control).write(tx, at.NAME, AlertChanges(inserted=numbered))


def queue(store: Store, *messages: Notification) -> None:
    """Record messages, numbered as they come."""
    numbered = [replace(m, notification_id=n) for n, m in enumerate(messages, start=1)]
    with store.control.transaction() as tx:
        Notifications(store.control).queue(tx, numbered)


def forgotten(store: Store, *, dry_run: bool = False) -> dict[str, int | None]:
    """Run retention; returns the records that it removed."""
    done = Retention(store, at.plant(), NOW).run(dry_run=dry_run)
    return {one.table: one.n_rows for one in done if one.n_rows and one.kept_days == KEPT_DAYS}


def test_alerts_that_were_over_a_year_ago_go_and_labels_stay(store: Store) -> None:
    """What people said of an incident labels training sets, which are kept without end."""
    said = replace(ALERT, acked_at=OLD, acked_by="ann")
    record(
        store,
        ALERT,
        replace(ALERT, resolved_at=YOUNG),
        replace(said, truth="fault"),
        replace(ALERT, state="open", resolved_at=None),
        replace(said, rule="region"),
        replace(ALERT, owed=True),
        replace(ALERT, fleet="other"),
    )
    assert forgotten(store, dry_run=True) == {"alerts": 2}
    assert forgotten(store) == {"alerts": 2}
    left = [a.alert_id for a in Alerts(store.control).listed(everything=True)]
    assert left == [2, 3, 4, 6, 7]
    assert forgotten(store) == {}


def test_messages_that_were_sent_or_given_up_a_year_ago_go(store: Store) -> None:
    queue(
        store,
        replace(MESSAGE, state="sent"),
        replace(MESSAGE, state="given_up"),
        replace(MESSAGE, state="sent", ended_at=YOUNG),
        replace(MESSAGE, ended_at=None),
    )
    assert forgotten(store) == {"notifications": 2}
    kept = Notifications(store.control).of_alert(at.NAME, 1)
    assert [m.notification_id for m in kept] == [3, 4]


def test_silences_and_what_was_missed_a_year_ago_go(store: Store) -> None:
    silences = Silences(store.control)
    silences.begin(SILENCE)
    silences.begin(replace(SILENCE, ends_at=YOUNG))
    row = {"fleet": at.NAME, "stream": "s", "consumer": "c", "window_end": 1, "n_entries": 1}
    with store.control.transaction() as tx:
        tx.execute(
            sa.insert(missed),
            [
                {**row, "window_start": 0, "recorded_at": OLD},
                {**row, "window_start": 1, "recorded_at": YOUNG},
            ],
        )
    assert forgotten(store) == {"silences": 1, "missed": 1}
    assert [s.silence_id for s in silences.at(YOUNG - 1)] == [2]
    assert [m.recorded_at for m in store.cursors.missed(at.NAME)] == [YOUNG]
