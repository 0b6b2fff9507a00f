from collections.abc import Iterator
from typing import Any

import pytest

from fleet_dagster.alerting.passes import CONSUMER, STREAM, Alerting
from fleet_dagster.core.windows import MINUTE
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.storage.alerts import Alert, Alerts
from fleet_dagster.storage.operator_actions import actions_of
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.subscription import held_alone
from fleet_dagster_tests import alert_rows as rows
from fleet_dagster_tests.dashboard.serving import Served, eventually, served

OWN = {"X-Fleet-Request": "1"}
PATH = "/api/fleets/plant/incidents/i1/acknowledge"


@pytest.fixture
def config() -> FleetConfig:
    return rows.fleet(n_sites=4)


@pytest.fixture
def operator(store_of_minutes: Store, config: FleetConfig) -> Iterator[Served]:
    """Serve a fleet with an open incident of four sites, to an operator."""
    store = store_of_minutes
    rows.kpis(store, 60)
    rows.incidents(store, rows.incident(50), since=0, until=60)
    with served(store, config) as running:
        yield running.as_("operator")


def _incident(running: Served) -> Any:  # Any: JSON
    def found() -> Any:  # Any: JSON
        answer = running.get("/api/fleets/plant/snapshot")
        return answer.json["snapshot"]["incidents"][0] if answer.status == 200 else None

    return eventually(found)


def _alert(store: Store) -> Alert:
    (alert,) = [
        a for a in Alerts(store.control).listed("plant", everything=True) if a.rule == "incident"
    ]
    return alert


def test_an_incident_without_an_alert_can_be_acknowledged_and_everybody_sees_it(
    operator: Served,
) -> None:
    assert _incident(operator)["acknowledgement"] is None
    body = {"truth": "fault", "note": "the pump", "cause": "S-001"}
    answer = operator.post(PATH, body, **OWN)
    assert answer.status == 200
    assert answer.json["acknowledgement"]["by"] == "somebody"
    shown = eventually(lambda: _incident(operator)["acknowledgement"])
    assert (shown["truth"], shown["note"]) == ("fault", "the pump")
    alert = _alert(operator.store)
    assert (alert.shown_state, alert.cause) == ("acknowledged", "S-001")
    (action,) = actions_of(operator.store.control, "plant")
    assert (action.done_by, action.action, action.subject) == ("somebody", "acknowledge", "i1")
    assert operator.get("/api/fleets/plant/actions").json[0]["detail"] == body


def test_a_pass_goes_on_with_what_was_acknowledged_before_it_and_tells_nobody(
    operator: Served, config: FleetConfig
) -> None:
    operator.post(PATH, {"truth": "maintenance"}, **OWN)
    Alerting(operator.store, config).run(rows.minute(61))
    alert = _alert(operator.store)
    assert (alert.state, alert.truth, alert.told) == ("open", "maintenance", ())
    closed = rows.incident(61, phase="closed")
    rows.incidents(operator.store, closed, since=60, until=80)
    Alerting(operator.store, config).run(rows.minute(81))
    assert (_alert(operator.store).state, _alert(operator.store).truth) == (
        "resolved",
        "maintenance",
    )


def test_an_alert_that_waits_for_its_incident_to_last_is_opened_by_who_acknowledges_it(
    operator: Served, config: FleetConfig
) -> None:
    lone = rows.incident(61, "lone", sites=rows.SITES[1:2])
    rows.incidents(operator.store, lone, since=60, until=62)
    Alerting(operator.store, config).run(rows.minute(62))
    path = PATH.replace("i1", "lone")
    assert operator.post(path, {"note": "known"}, **OWN).status == 200
    rows.incidents(
        operator.store,
        rows.incident(63, "lone", "closed", sites=rows.SITES[1:2]),
        since=62,
        until=120,
    )
    Alerting(operator.store, config).run(rows.minute(121))
    (alert,) = [
        a
        for a in Alerts(operator.store.control).listed("plant", everything=True)
        if a.subject == "lone"
    ]
    assert (alert.state, alert.note) == ("resolved", "known")


def test_while_a_pass_takes_long_only_incidents_with_an_alert_can_be_acknowledged(
    operator: Served, config: FleetConfig
) -> None:
    with held_alone(operator.store, config, STREAM, CONSUMER):
        answer = operator.post(PATH, {}, **OWN)
        assert (answer.status, "another process" in answer.json["error"]) == (409, True)
    assert operator.post(PATH, {}, **OWN).status == 200
    with held_alone(operator.store, config, STREAM, CONSUMER):
        assert operator.post(PATH, {"truth": "fault"}, **OWN).status == 200
    assert _alert(operator.store).truth == "fault"


def test_what_cannot_be_said_of_an_incident_is_refused_in_words(operator: Served) -> None:
    for body, status, words in (
        ({"truth": "planned"}, 400, "fault, maintenance, false_alarm, unknown"),
        ({"cause": "S-199"}, 400, "no site of the incident"),
        ({"note": "x" * 5000}, 400, "4,000 characters"),
        ({"by": "me"}, 400, "expected truth, note, cause"),
    ):
        answer = operator.post(PATH, body, **OWN)
        assert answer.status == status
        assert words in answer.json["error"]
    assert operator.post(PATH.replace("i1", "i9"), {}, **OWN).status == 404
    assert actions_of(operator.store.control) == []


def test_a_viewer_may_change_nothing(operator: Served) -> None:
    answer = operator.as_("viewer").post(PATH, {}, **OWN)
    assert (answer.status, "operator" in answer.json["error"]) == (403, True)
    assert Alerts(operator.store.control).listed("plant", everything=True) == []


def test_other_sites_pages_can_change_nothing(operator: Served) -> None:
    assert operator.post(PATH, {}).status == 403
    foreign = operator.post(PATH, {}, **OWN, Origin="https://evil.example")
    assert (foreign.status, "another site" in foreign.json["error"]) == (403, True)
    assert operator.post(PATH, {}, **OWN, Sec_Fetch_Site="cross-site").status == 403
    own = operator.post(PATH, {}, **OWN, Origin=f"http://127.0.0.1:{operator.port}")
    assert own.status == 200


def test_long_and_odd_bodies_are_refused(operator: Served) -> None:
    assert operator.post(PATH, {"note": "x" * 20_000}, **OWN).status == 413
    for body in (b"[1]", b"{", b"[" * 10_000, b"\xff"):
        assert operator.ask("POST", PATH, body, **OWN).status == 400


def test_an_operator_ends_the_storm_that_is_on(operator: Served, config: FleetConfig) -> None:
    storms = operator.store.storms
    storms.record("plant", [StormEpisode.of(rows.minute(30))], by="test")
    assert operator.post("/api/fleets/plant/storms/storm-x/end", {}, **OWN).status == 404
    (open_one,) = [s for s in storms.recorded("plant") if s.episode.is_open]
    path = f"/api/fleets/plant/storms/{open_one.episode.episode_id}/end"
    assert operator.as_("viewer").post(path, {}, **OWN).status == 403
    assert operator.post(path, {}, **OWN).status == 200
    (ended,) = storms.recorded("plant")
    assert (ended.episode.is_open, ended.ended_by) == (False, "somebody")
    assert ended.episode.end % (config.interval_s * 1_000_000) == 0
    assert actions_of(operator.store.control)[0].action == "end_storm"
    assert ended.episode.end > rows.minute(30) + MINUTE
