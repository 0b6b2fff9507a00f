"""Passes over real tables: what people are told, and what they are not."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fleet_dagster.alerting.conditions import RunOutcome
from fleet_dagster.alerting.passes import CONSUMER, STREAM, Alerting, Pass, View
from fleet_dagster.core.windows import DAY, MINUTE, SECOND, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import LeaseError, StreamError
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.storage.acknowledged import acknowledged_incidents
from fleet_dagster.storage.alerts import Acknowledgement, Alert, Alerts
from fleet_dagster.storage.control.schema import leases
from fleet_dagster.storage.notifications import Notification, Notifications
from fleet_dagster.storage.silences import Silence, Silences
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.subscription import held_alone
from fleet_dagster_tests.alert_rows import (
    NAME,
    REGIONS,
    SITES,
    answers,
    fleet,
    incident,
    incidents,
    kpis,
    minute,
    rankings,
    regions,
)
from fleet_dagster_tests.incidents import stamp
from fleet_dagster_tests.installations import new_home
from fleet_dagster_tests.receivers import HttpReceiver, http_receiver, mailbox

FOUR = "Simultaneous incident: 4 sites in 4 regions"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.at(new_home(tmp_path / "home")) as opened:
        yield opened


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as running:
        yield running


def to(receiver: HttpReceiver, **changes: Any) -> FleetConfig:
    return fleet(("ops", receiver.url()), **changes)


def run(store: Store, config: FleetConfig, at: float, *runs: RunOutcome) -> Pass:
    """Make a pass at a minute."""
    return Alerting(store, config, {}).run(minute(at), runs)


def listed(store: Store) -> list[Alert]:
    return Alerts(store.control).listed(NAME, everything=True)


def waiting(store: Store) -> list[Notification]:
    return Notifications(store.control).waiting(NAME)


def open_incident(store: Store, config: FleetConfig) -> None:
    """Open an incident of four sites in minute 1, and make a pass in minute 5."""
    incidents(store, incident(1), since=0, until=5)
    run(store, config, 5)


def close_incident(store: Store) -> None:
    """Close it in minute 20, and let time pass until minute 60."""
    over = incident(20, phase="closed", onset=stamp(minute(-4)))
    incidents(store, over, since=5, until=60)


def test_an_incident_of_200_sites_sends_one_notification_and_its_resolution_one_more(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver, n_sites=200)
    for now in range(0, 100, 10):
        is_bad = 10 <= now < 40
        band = "critical" if is_bad else "healthy"
        regions(store, dict.fromkeys(REGIONS, [band] * 10), since=now)
        odd = SITES if is_bad else ()
        rankings(store, odd, since=now, until=now + 10, sites=SITES)
        told = {
            10: [incident(12, sites=SITES[:40]), incident(14, phase="changed", sites=SITES)],
            40: [incident(48, phase="closed", sites=SITES)],
        }
        incidents(store, *told.get(now, []), since=now, until=now + 10)
        run(store, config, now + 10)
    what = "Simultaneous incident: 200 sites in 16 regions"
    assert receiver.titles == [f"[plant] critical: {what}", f"[plant] resolved: {what}"]
    message = receiver.got[0]["message"]
    for words in (
        "Fleet plant, severity critical, alert ",
        "Since 2026-01-05T00:09:00Z.",
        "Sites (200): S-000, S-001, S-002, S-003, S-004 and 195 more.",
        "Regions (16): R-00, R-01, R-02, R-03, R-04 and 11 more.",
        "Root cause: site S-000, temp.",
        "Confidence: 80%.",
        "fleet status plant --site S-000",
    ):
        assert words in message
    assert re.search(r"fleet alerts ack \d+ --by NAME", message)
    rules = [a.rule for a in listed(store)]
    assert (rules.count("region"), rules.count("outlier"), rules.count("incident")) == (16, 200, 1)
    hanging = {a.parent_id for a in listed(store) if a.rule != "incident"}
    assert hanging == {a.alert_id for a in listed(store) if a.rule == "incident"}


def test_what_still_is_wrong_when_an_incident_ends_speaks_up(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    incidents(store, incident(1), since=0, until=20)
    regions(store, {"R-00": ["critical"] * 20, "R-01": ["critical"] * 20})
    run(store, config, 20)
    incidents(store, incident(25, phase="closed"), since=20, until=40)
    regions(store, {"R-00": ["critical"] * 20, "R-01": ["healthy"] * 20}, since=20)
    run(store, config, 40)
    assert receiver.titles == [
        f"[plant] critical: {FOUR}",
        f"[plant] resolved: {FOUR}",
        "[plant] critical: Region R-00 is critical (health 0.30)",
    ]


def test_regions_that_open_together_are_one_message(store: Store, receiver: HttpReceiver) -> None:
    bands = dict.fromkeys(REGIONS[:7], ["critical"] * 6)
    regions(store, bands)
    run(store, to(receiver), 6)
    assert receiver.titles == ["[plant] critical: 7 regions in bad health"]
    assert receiver.got[0]["message"].count("- alert ") == 7


@pytest.mark.parametrize(
    ("half_period", "n_sent"),
    [
        (1, 1),
        (20, 2),
        *(pytest.param(*more, marks=pytest.mark.slow) for more in [(2, 1), (12, 1), (70, 7)]),
    ],
)
def test_a_flapping_region_does_not_page_every_minute(
    store: Store, receiver: HttpReceiver, half_period: int, n_sent: int
) -> None:
    """Critical and healthy in turns for a day, looked at every hour: how often somebody hears of it."""
    config, n_minutes = to(receiver), 1440
    bands = ["critical" if i // half_period % 2 == 0 else "healthy" for i in range(n_minutes)]
    for now in range(0, n_minutes, 60):
        regions(store, {"R-00": bands[now : now + 60]}, since=now)
        run(store, config, now + 60)
    assert len(receiver.got) == n_sent
    regions(store, {"R-00": ["healthy"] * 300}, since=n_minutes)
    run(store, config, n_minutes + 300)
    assert {a.state for a in listed(store)} == {"resolved"}
    assert receiver.titles[-1].startswith("[plant] resolved: Region R-00")


def test_a_receiver_that_is_down_for_an_hour_gets_what_it_missed_once_and_in_order(
    store: Store, receiver: HttpReceiver
) -> None:
    with http_receiver() as other:
        config = fleet(("ops", receiver.url()), ("other", other.url()))
        receiver.down()
        for now in range(0, 60, 5):
            first = now // 10 * 2
            phase = "opened" if now % 10 == 0 else "closed"
            row = incident(now, f"i{first}", phase, sites=SITES[first : first + 2])
            incidents(store, row, since=now, until=now + 5)
            run(store, config, now + 5)
        assert receiver.got == []
        missed = [m.title for m in waiting(store) if m.destination == "ops"]
        assert len(missed) == 11
        assert other.titles == missed
        receiver.up()
        run(store, config, 75)
        run(store, config, 76)
        run(store, config, 200)
        assert receiver.titles[: len(missed)] == missed
        assert receiver.titles == other.titles
        assert waiting(store) == []


def test_attempts_are_made_less_and_less_often_and_given_up_after_a_week(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    receiver.status = 503
    open_incident(store, config)
    first = waiting(store)[0]
    waits = []
    for _ in range(8):
        before = waiting(store)[0]
        assert (
            run(store, config, (before.next_try_at - 1 - minute(0)) / MINUTE).delivered.n_sent == 0
        )
        assert waiting(store)[0] == before
        Alerting(store, config, {}).run(before.next_try_at)
        waits.append((waiting(store)[0].next_try_at - before.next_try_at) // SECOND)
    assert waits == [60, 120, 240, 480, 600, 600, 600, 600]
    assert "error=503" in str(waiting(store)[0].error)
    receiver.status = 200
    done = Alerting(store, config, {}).run(first.created_at + 7 * DAY)
    assert done.delivered.n_given_up == 1
    assert (receiver.got, waiting(store)) == ([], [])
    (kept,) = Notifications(store.control).of_alert(NAME, first.alert_ids[0])
    assert (kept.state, kept.ended_at) == ("given_up", first.created_at + 7 * DAY)


def queue(store: Store, *titles: str) -> None:
    """Queue messages to one destination."""
    book = Notifications(store.control)
    with store.control.transaction() as tx:
        ids = book.number(tx, len(titles))
        queued = [
            Notification(
                NAME, "ops", "opened", "critical", (1,), t, t, minute(0), notification_id=n
            )
            for n, t in zip(ids, titles, strict=True)
        ]
        book.queue(tx, queued)


def test_a_message_that_is_refused_while_others_are_accepted_is_set_aside(
    store: Store, receiver: HttpReceiver
) -> None:
    """Two that are too long for their receiver, say: those behind them wait an hour, not a week, and keep their order."""
    config, now = to(receiver), minute(0)
    receiver.refused = ("bad",)
    queue(store, "bad 1", "bad 2", "good 3", "good 4", "bad 5", "good 6")
    for n in range(10):
        assert (n, receiver.titles) == (n, [])
        Alerting(store, config, {}).run(now)
        now = waiting(store)[0].next_try_at if waiting(store) else now
    given_up = {m.title for m in Notifications(store.control).of_alert(NAME, 1) if m.error}
    assert given_up == {"bad 1", "bad 2"}
    while waiting(store):
        now = waiting(store)[0].next_try_at
        Alerting(store, config, {}).run(now)
    assert receiver.titles == ["good 3", "good 4", "good 6"]
    states = [(m.title, m.state) for m in Notifications(store.control).of_alert(NAME, 1)]
    assert states == [
        (t, "given_up" if t.startswith("bad") else "sent")
        for t in ("bad 1", "bad 2", "good 3", "good 4", "bad 5", "good 6")
    ]
    assert now - minute(0) < 3 * 60 * MINUTE


def test_what_is_refused_while_all_else_is_too_waits(store: Store, receiver: HttpReceiver) -> None:
    """A receiver that is out of order answers as well: nothing is set aside until something is accepted."""
    config, now = to(receiver), minute(0)
    receiver.status = 500
    queue(store, "one", "two")
    for _ in range(20):
        Alerting(store, config, {}).run(now)
        now = waiting(store)[0].next_try_at
    assert len(waiting(store)) == 2
    receiver.status = 200
    Alerting(store, config, {}).run(now)
    assert receiver.titles == ["one", "two"]


def test_a_receiver_that_hangs_holds_up_no_other(store: Store, receiver: HttpReceiver) -> None:
    with http_receiver() as slow:
        slow.patience.clear()
        config = fleet(("slow", f"{slow.url()}?rto=0.3"), ("ops", receiver.url()))
        open_incident(store, config)
        assert receiver.titles == [f"[plant] critical: {FOUR}"]
        assert [m.destination for m in waiting(store)] == ["slow"]


def test_mail_says_what_is_wrong(store: Store) -> None:
    with mailbox() as box:
        open_incident(store, fleet(("crew", box.url())))
        (mail,) = box.got
    assert mail["subject"] == f"[plant] critical: {FOUR}"
    body = mail.get_body(("plain",))
    assert body is not None
    assert "Root cause: site S-000, temp." in body.get_content()
    assert "fleet alerts ack 1 --by NAME" in body.get_content()


class CrashError(Exception):
    """The process ends here."""


def crash_at(store: Store, config: FleetConfig, step: str, at: float) -> None:
    def checkpoint(reached: str) -> None:
        if reached == step:
            raise CrashError

    with pytest.raises(CrashError):
        Alerting(store, config, {}, checkpoint).run(minute(at))


def test_a_crash_between_sending_and_recording_sends_again_under_the_same_number(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    incidents(store, incident(1), since=0, until=5)
    crash_at(store, config, "sent", 5)
    run(store, config, 6)
    first, second = receiver.got
    assert first["message"] == second["message"]
    assert "Message 1 of fleet plant." in first["message"]
    assert waiting(store) == []


def test_a_crash_after_recording_tells_nobody_twice(store: Store, receiver: HttpReceiver) -> None:
    config = to(receiver)
    incidents(store, incident(1), since=0, until=5)
    crash_at(store, config, "recorded", 5)
    run(store, config, 5)
    close_incident(store)
    crash_at(store, config, "recorded", 60)
    run(store, config, 60)
    run(store, config, 61)
    assert receiver.titles == [f"[plant] critical: {FOUR}", f"[plant] resolved: {FOUR}"]
    assert len(listed(store)) == 1


def test_months_of_imported_incidents_are_recorded_as_over_and_not_sent(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    for day in range(0, 90, 3):
        first = day * 1440
        rows = [incident(first + 60, f"i{day}"), incident(first + 90, f"i{day}", "closed")]
        incidents(store, *rows, since=first, until=first + 3 * 1440)
    kpis(store, 90 * 1440, since=90 * 1440 - 60)
    done = run(store, config, 90 * 1440 + 5)
    assert (len(listed(store)), {a.state for a in listed(store)}) == (30, {"resolved"})
    assert (receiver.got, waiting(store), done.opened) == ([], [], ())
    incidents(store, incident(90 * 1440 + 5, "new"), since=90 * 1440, until=90 * 1440 + 10)
    run(store, config, 90 * 1440 + 10)
    assert receiver.titles == [f"[plant] critical: {FOUR}"]


def test_an_incident_that_goes_on_under_another_id_and_takes_others_in_is_told_of_once(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    open_incident(store, config)
    rows = [
        incident(6, "i2", sites=["S-000"]),
        incident(8, "i2", "merged", sites=["S-000"], merged_into="i1"),
        incident(10, "i3", "changed", continues="i1"),
    ]
    incidents(store, *rows, since=5, until=12)
    run(store, config, 12)
    incidents(store, incident(14, "i3", "closed"), since=12, until=40)
    run(store, config, 40)
    assert receiver.titles == [f"[plant] critical: {FOUR}", f"[plant] resolved: {FOUR}"]
    (alert,) = listed(store)
    assert alert.detail["incident_ids"] == ["i1", "i2", "i3"]


def test_two_incidents_that_turn_out_to_be_one_end_with_one_message(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    rows = [incident(1, "i1", sites=SITES[:2]), incident(1, "i2", sites=SITES[2:4])]
    incidents(store, *rows, since=0, until=5)
    run(store, config, 5)
    merged = incident(6, "i2", "merged", sites=SITES[2:4], merged_into="i1")
    incidents(store, merged, incident(6, "i1", "changed"), since=5, until=10)
    run(store, config, 10)
    assert len(receiver.got) == 2
    incidents(store, incident(12, "i1", "closed"), since=10, until=40)
    run(store, config, 40)
    assert receiver.titles[2:] == [f"[plant] resolved: {FOUR}"]


def test_an_incident_that_late_telemetry_withdraws_is_resolved_and_says_so(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    open_incident(store, config)
    incidents(store, since=0, until=20)
    run(store, config, 20)
    incidents(store, since=20, until=40)
    run(store, config, 40)
    assert receiver.titles[1:] == [f"[plant] resolved: {FOUR}"]
    assert "Late telemetry has shown that there was no incident." in receiver.got[1]["message"]


def test_a_lone_site_is_told_of_when_its_incident_lasts(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    short = [incident(1, "i1", sites=["S-000"]), incident(20, "i1", "closed", sites=["S-000"])]
    incidents(store, *short, incident(5, "i2", sites=["S-001"]), since=0, until=30)
    run(store, config, 30)
    assert receiver.got == []
    incidents(store, since=30, until=40)
    run(store, config, 40)
    assert receiver.titles == ["[plant] warning: Isolated incident: site S-001 in region R-01"]


def test_an_incident_of_the_same_sites_soon_after_is_the_same_trouble(
    store: Store, receiver: HttpReceiver
) -> None:
    """Every 25 minutes anew: each time the alert must be over for longer, until it stays open."""
    config = to(receiver)
    for n in range(20):
        at = 25 * n
        rows = [incident(at, f"i{n}"), incident(at + 12, f"i{n}", "closed")]
        incidents(store, *rows, since=at, until=at + 25)
        run(store, config, at + 25)
    assert len(receiver.got) <= 6
    assert {a.subject for a in listed(store)} == {"i0"}


def test_what_was_over_when_it_was_found_is_one_message(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    incidents(store, incident(1), incident(20, phase="closed"), since=0, until=60)
    run(store, config, 60)
    assert receiver.titles == [f"[plant] was over when found: {FOUR}"]


def silence(store: Store, *, since: float, until: float, **changes: Any) -> Silence:
    wanted = {"rule": None, "subject": "*", **changes}
    one = Silence(
        NAME, starts_at=minute(since), ends_at=minute(until), reason="x", created_by="y", **wanted
    )
    return Silences(store.control).begin(one)


def test_a_silenced_alert_is_sent_when_the_silence_ends_and_it_is_still_open(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    silence(store, since=0, until=30, rule="incident")
    open_incident(store, config)
    assert (receiver.got, [a.state for a in listed(store)]) == ([], ["open"])
    run(store, config, 30)
    assert receiver.titles == [f"[plant] critical: {FOUR}"]


def test_the_end_of_what_people_know_of_is_told_after_a_silence(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    open_incident(store, config)
    silence(store, since=6, until=90)
    close_incident(store)
    run(store, config, 60)
    run(store, config, 70)
    assert len(receiver.got) == 1
    run(store, config, 90)
    run(store, config, 91)
    assert receiver.titles[1:] == [f"[plant] resolved: {FOUR}"]


def test_what_begins_and_ends_in_a_silence_is_recorded_only(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    one = silence(store, since=0, until=90, subject="i*")
    open_incident(store, config)
    close_incident(store)
    run(store, config, 60)
    Silences(store.control).end(one.silence_id, at=minute(61), by="z")
    run(store, config, 62)
    assert (receiver.got, len(listed(store))) == ([], 1)


def test_silences_of_other_rules_and_subjects_hold_nothing_back(
    store: Store, receiver: HttpReceiver
) -> None:
    silence(store, since=0, until=90, subject="x*")
    silence(store, since=0, until=90, rule="region")
    silence(store, since=-60, until=0)
    open_incident(store, to(receiver))
    assert len(receiver.got) == 1


def test_what_somebody_says_is_kept_as_a_label_of_the_incident(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    open_incident(store, config)
    alerts = Alerts(store.control)
    alerts.acknowledge(1, Acknowledgement("ann", "looking"), at=minute(6))
    said = alerts.acknowledge(1, Acknowledgement("bob", None, "fault", "S-001"), at=minute(9))
    assert said is not None
    assert (said.shown_state, said.note, said.truth) == ("acknowledged", "looking", "fault")
    close_incident(store)
    run(store, config, 60)
    assert receiver.titles[1:] == [f"[plant] resolved: {FOUR}"]
    span = Span(minute(0), minute(90))
    (label,) = acknowledged_incidents(store, NAME, span)
    assert (label.incident_ids, label.sites) == (("i1",), SITES[:4])
    assert label.span == Span(minute(-4), minute(21))
    assert (label.truth, label.cause, label.by) == ("fault", "S-001", "bob")
    assert acknowledged_incidents(store, NAME, Span(minute(30), minute(90))) == []


def test_a_region_nobody_reports_from_is_stale_and_not_in_bad_health(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver, rules={"stale": {"open_after_minutes": 0}})
    kpis(store, 10)
    regions(store, {"R-00": ["silent"] * 10, "R-01": ["healthy"] * 10})
    run(store, config, 10)
    assert receiver.titles == ["[plant] critical: No site of region R-00 reports"]


@pytest.mark.parametrize("stale", [True, False])
def test_a_region_without_sites_is_neither(
    store: Store, receiver: HttpReceiver, *, stale: bool
) -> None:
    """Such as `unmapped`, of which there is a row in every window."""
    kpis(store, 10)
    regions(store, {"unmapped": ["empty"] * 10})
    run(store, to(receiver, rules={"stale": {"enabled": stale}}), 10)
    assert (receiver.got, listed(store)) == ([], [])


def test_a_fleet_whose_windows_stop_is_stale_until_they_go_on(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver, rules={"stale": {"open_after_minutes": 0}})
    assert run(store, config, 0).opened == ()
    kpis(store, 10)
    run(store, config, 39)
    assert receiver.got == []
    run(store, config, 41)
    assert receiver.titles == ["[plant] critical: The newest window of the fleet is 31 minutes old"]
    assert "Telemetry has stopped" in receiver.got[0]["message"]
    kpis(store, 45, since=10)
    run(store, config, 46)
    run(store, config, 52)
    assert receiver.titles[1:] == [
        "[plant] resolved: The newest window of the fleet is 31 minutes old"
    ]


def test_a_fleet_whose_history_is_finished_is_not_stale(
    store: Store, receiver: HttpReceiver
) -> None:
    given = to(receiver, rules={"stale": {"open_after_minutes": 0}})
    config = given.model_copy(update={"end_date": given.start_date})
    kpis(store, 10)
    incidents(store, incident(1), since=0, until=10)
    run(store, config, 60 * 1440)
    assert receiver.titles == [f"[plant] critical: {FOUR}"]


def test_a_storm_is_told_of_and_so_is_its_end(store: Store, receiver: HttpReceiver) -> None:
    config = to(receiver)
    store.storms.record(NAME, [StormEpisode.of(minute(3), cause="test")], by="monitor")
    for now in range(0, 60, 10):
        kpis(store, now + 10, since=now)
        run(store, config, now + 10)
        if now == 20:
            store.storms.end(NAME, minute(15), by="monitor")
    titles = [t.split(":")[0] for t in receiver.titles]
    assert titles == ["[plant] warning", "[plant] resolved"]
    assert len(listed(store)) == 1


def outcome(at: float, error: str | None = None, *, run_id: str = "r1") -> RunOutcome:
    return RunOutcome(run_id, "plant_windows", "2026-01-05", minute(at), error)


def test_a_failed_run_is_told_of_unless_a_later_one_makes_up_for_it_at_once(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    failed, later = outcome(0, "ValueError: no such column"), outcome(30, run_id="r2")
    run(store, config, 1, failed)
    run(store, config, 4, failed, outcome(3, run_id="r3"))
    run(store, config, 12, failed, outcome(3, run_id="r3"))
    assert receiver.got == []
    again = outcome(15, "ValueError: no such column", run_id="r4")
    run(store, config, 16, again)
    run(store, config, 21, again)
    assert receiver.titles == ["[plant] warning: A run of plant_windows 2026-01-05 failed"]
    assert "ValueError: no such column" in receiver.got[0]["message"]
    for now in (31, 32, 33):
        run(store, config, now, again, later)
    assert receiver.titles[1:] == ["[plant] resolved: A run of plant_windows 2026-01-05 failed"]


def test_a_slot_that_does_not_answer_is_told_of_until_it_does(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    answers(store, {0: "failed", 1: "ok"}, since=0, until=20)
    run(store, config, 20)
    assert receiver.titles == ["[plant] warning: Slot 0 (m0): 2 of 2 without an answer"]
    assert "fleet slots test plant 0" in receiver.got[0]["message"]
    answers(store, {0: "ok", 1: "ok"}, since=20, until=60)
    run(store, config, 60)
    assert receiver.titles[1:] == ["[plant] resolved: Slot 0 (m0): 2 of 2 without an answer"]


def test_an_outlier_that_falls_silent_is_resolved(store: Store, receiver: HttpReceiver) -> None:
    config = to(receiver)
    rankings(store, ["S-001"], since=0, until=20)
    run(store, config, 20)
    assert "Site S-001 is a persistent outlier" in receiver.titles[0]
    rankings(store, [], since=20, until=80, sites=["S-000"])
    run(store, config, 80)
    assert "resolved" in receiver.titles[1]


def test_a_site_that_does_better_than_all_others_needs_nobody(
    store: Store, receiver: HttpReceiver
) -> None:
    rankings(store, ["S-001"], since=0, until=20, z=5.0)
    run(store, to(receiver), 20)
    assert (receiver.got, listed(store)) == ([], [])


def test_a_destination_hears_of_what_it_wants_only(store: Store) -> None:
    with http_receiver() as worst, http_receiver() as regional:
        given = fleet(("worst", worst.url()), ("regional", regional.url()))
        first, second = given.alerts.destinations
        chosen = (
            first.model_copy(update={"minimum_severity": "critical"}),
            second.model_copy(update={"rules": ("region",)}),
        )
        alerts = given.alerts.model_copy(update={"destinations": chosen})
        config = given.model_copy(update={"alerts": alerts})
        incidents(store, incident(1), since=0, until=10)
        rankings(store, ["S-030"], since=0, until=20, sites=SITES[:40])
        regions(store, {"R-00": ["critical"] * 10})
        run(store, config, 20)
        assert worst.titles == [f"[plant] critical: {FOUR}"]
        assert regional.titles == ["[plant] critical: Region R-00 is critical (health 0.30)"]


def test_without_destinations_alerts_are_recorded_and_listed(store: Store) -> None:
    open_incident(store, fleet())
    assert [a.headline for a in Alerts(store.control).listed(NAME)] == [FOUR]
    assert waiting(store) == []


def test_a_rule_that_is_switched_off_says_nothing(store: Store, receiver: HttpReceiver) -> None:
    open_incident(store, to(receiver, rules={"incident": {"enabled": False}}))
    assert (receiver.got, listed(store)) == ([], [])


def test_an_alert_is_sent_nowhere_twice_and_a_new_destination_hears_of_open_ones(
    store: Store, receiver: HttpReceiver
) -> None:
    open_incident(store, to(receiver))
    with http_receiver() as other:
        config = fleet(("ops", receiver.url()), ("other", other.url()))
        run(store, config, 6)
        run(store, config, 7)
        assert (len(receiver.got), len(other.got)) == (1, 1)


def test_passes_of_one_fleet_go_one_at_a_time(store: Store, receiver: HttpReceiver) -> None:
    config = to(receiver)
    with held_alone(store, config, STREAM, CONSUMER), pytest.raises(StreamError, match="alerting"):
        run(store, config, 0)


def test_a_pass_that_lost_its_lease_records_nothing(store: Store, receiver: HttpReceiver) -> None:
    """Another host went on meanwhile: what this one found is old, and would be told twice."""
    config = to(receiver)
    incidents(store, incident(1), since=0, until=5)

    def taken_over(step: str) -> None:
        if step == "judged":
            with store.control.transaction() as tx:
                tx.execute(sa.delete(leases))
            run(store, config, 5)

    with pytest.raises(LeaseError):
        Alerting(store, config, {}, taken_over).run(minute(5))
    run(store, config, 6)
    assert [a.state for a in listed(store)] == ["open"]
    assert receiver.titles == [f"[plant] critical: {FOUR}"]


def test_alerts_of_long_ago_are_not_read_in_every_pass(store: Store) -> None:
    """A table without any window, as that of AI answers may be, is no reason to look back at all time."""
    config = fleet()
    regions(store, dict.fromkeys(REGIONS, ["critical"] * 30), since=0)
    run(store, config, 30)
    regions(store, dict.fromkeys(REGIONS, ["healthy"] * 60), since=30)
    run(store, config, 90)
    assert {a.state for a in listed(store)} == {"resolved"}
    later = round(6 * DAY / MINUTE)
    incidents(store, since=later - 1, until=later)
    rankings(store, (), since=later - 1, until=later)
    regions(store, {region: ["healthy"] for region in REGIONS}, since=later - 1)
    kpis(store, later, since=later - 1)
    view = View(store, config, minute(later))
    view.see(None, ())
    assert view.before == {}


def test_no_secret_of_an_address_is_told_or_recorded(store: Store, receiver: HttpReceiver) -> None:
    receiver.status = 500
    secrets = ("passw0rd", "tokentoken", "querysecret", "headersecret")
    url = (
        f"json://user:passw0rd@127.0.0.1:{receiver.port}/tokentoken"
        "?:key=querysecret&+X-Key=headersecret"
    )
    config = fleet(("ops", url), ("bad", "nonsense://tokentoken"), ("unset", "env:NOT_SET"))
    done = Alerting(store, config, {}).run(minute(0))
    open_incident(store, config)
    told = [str(done), *(str(m) for m in waiting(store)), str(config), repr(config.alerts)]
    assert len(waiting(store)) == 3
    assert not [s for s in secrets if any(s in words for words in told)]
    errors = {m.destination: str(m.error) for m in waiting(store)}
    assert "error=500" in errors["ops"]
    assert "does not understand" in errors["bad"]
    assert "NOT_SET is not set" in errors["unset"]
    assert len(set(errors.values())) == 3


def test_an_address_is_read_from_the_environment(store: Store, receiver: HttpReceiver) -> None:
    config = fleet(("ops", "env:WHERE"))
    incidents(store, incident(1), since=0, until=5)
    Alerting(store, config, {"WHERE": receiver.url()}).run(minute(5))
    assert receiver.titles == [f"[plant] critical: {FOUR}"]


def test_the_same_rows_and_clock_give_the_same_messages(tmp_path: Path) -> None:
    told = []
    for name in ("one", "two"):
        with Store.at(new_home(tmp_path / name)) as store, http_receiver() as receiver:
            config = to(receiver)
            open_incident(store, config)
            regions(store, {"R-05": ["critical"] * 10})
            run(store, config, 10)
            told.append(receiver.got)
    assert told[0] == told[1]


def test_who_wants_the_worst_only_hears_of_an_incident_when_it_gets_worse(
    store: Store, receiver: HttpReceiver
) -> None:
    given = to(receiver)
    (ops,) = given.alerts.destinations
    worst = (ops.model_copy(update={"minimum_severity": "critical"}),)
    alerts = given.alerts.model_copy(update={"destinations": worst})
    config = given.model_copy(update={"alerts": alerts})
    incidents(store, incident(1, severity="warning"), since=0, until=5)
    run(store, config, 5)
    assert receiver.got == []
    incidents(store, incident(7, phase="changed"), since=5, until=10)
    run(store, config, 10)
    run(store, config, 11)
    assert receiver.titles == [f"[plant] critical: {FOUR}"]


def test_rows_that_are_restated_move_the_end_of_an_incident(
    store: Store, receiver: HttpReceiver
) -> None:
    """It closed at minute 8, late telemetry says that it went on until minute 30."""
    config = to(receiver)
    incidents(store, incident(1), incident(8, phase="closed"), since=0, until=10)
    run(store, config, 10)
    incidents(store, incident(1), since=0, until=10)
    run(store, config, 11)
    incidents(store, incident(30, phase="closed"), since=10, until=31)
    run(store, config, 31)
    assert receiver.titles == [f"[plant] critical: {FOUR}"]
    incidents(store, since=31, until=60)
    run(store, config, 60)
    assert receiver.titles[1:] == [f"[plant] resolved: {FOUR}"]
    (alert,) = listed(store)
    assert alert.changed_at == minute(31)


def test_what_a_rule_has_left_open_when_it_is_switched_off_ends_without_a_word(
    store: Store, receiver: HttpReceiver
) -> None:
    open_incident(store, to(receiver))
    run(store, to(receiver, rules={"incident": {"enabled": False}}), 6)
    assert (len(receiver.got), [a.state for a in listed(store)]) == (1, ["resolved"])


def test_a_region_or_a_storm_that_is_there_no_more_is_over(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    store.storms.record(NAME, [StormEpisode.of(minute(3), cause="test")], by="operator")
    kpis(store, 10)
    regions(store, {"R-00": ["critical"] * 10, "R-01": ["healthy"] * 10})
    run(store, config, 10)
    assert len(receiver.got) == 2
    store.storms.forget(NAME, minute(3))
    for now in (10, 60):
        kpis(store, now + 50, since=now)
        regions(store, {"R-01": ["healthy"] * 50}, since=now)
        run(store, config, now + 50)
    assert sorted(t.split(":")[0] for t in receiver.titles[2:]) == ["[plant] resolved"] * 2


def test_a_failed_run_that_nobody_makes_up_for_is_left_alone_after_a_week(
    store: Store, receiver: HttpReceiver
) -> None:
    config = to(receiver)
    run(store, config, 0, outcome(0, "x"))
    run(store, config, 10)
    run(store, config, 7 * 1440 + 10)
    assert (len(receiver.got), [a.state for a in listed(store)]) == (1, ["resolved"])


def test_a_destination_that_is_gone_from_the_file_keeps_its_messages_for_a_week(
    store: Store, receiver: HttpReceiver
) -> None:
    receiver.down()
    open_incident(store, to(receiver))
    assert run(store, fleet(), 10).delivered.problems
    assert "not in the fleet's configuration any more" in str(waiting(store)[0].error)


def test_undetermined_causes_are_told_with_candidates(store: Store, receiver: HttpReceiver) -> None:
    row = incident(1, root_cause_site=None, root_cause_kpi=None)
    incidents(store, row, since=0, until=5)
    run(store, to(receiver), 5)
    words = "Root cause: undetermined; candidates: S-000, S-001, S-002, S-003."
    assert words in receiver.got[0]["message"]
