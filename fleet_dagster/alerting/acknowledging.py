"""Acknowledging an incident, whether or not a pass has made an alert of it yet."""

from collections.abc import Sequence
from dataclasses import replace

from fleet_dagster.alerting.book import Book
from fleet_dagster.alerting.incidents import follow
from fleet_dagster.alerting.passes import CONSUMER, STREAM
from fleet_dagster.alerting.rows import Rows
from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import StreamError
from fleet_dagster.model.tables import FLEET_CORRELATION
from fleet_dagster.storage.alerts import Acknowledgement, Alert, AlertChanges, Alerts, Also, nothing
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.subscription import held_alone

LOOKED_BACK = 2 * DAY
"""How old the newest row of an incident may be that has no alert yet: somebody reads of it and acts [us]."""


def acknowledge_incident(
    store: Store,
    config: FleetConfig,
    incident_id: str,
    said: Acknowledgement,
    *,
    at: int,
    also: Also = nothing,
) -> Alert | None:
    """Record what a person says of an incident, and in the same transaction do `also`; None where there is no such incident.

    One that has no alert gets it now, and one whose alert waits for it to last is opened: somebody is on it. Nobody is sent
    either. A pass that is at work is waited for, except where the alert is open or over already.

    Raises
    ------
    StreamError
        A pass takes too long; nothing was recorded.
    """
    alerts = Alerts(store.control)
    known = _of_incident(alerts.current(config.name, resolved_since=0), incident_id)
    if known is None or known.state == "pending":
        known = _opened(store, config, incident_id, known)
    if known is None:
        return None
    return alerts.acknowledge(known.alert_id, said, at=at, also=also)


def incident_sites(store: Store, config: FleetConfig, incident_id: str) -> Sequence[str] | None:
    """Return the sites of an incident; None where there is no such incident."""
    stored = Alerts(store.control).current(config.name, resolved_since=0)
    known = _of_incident(stored, incident_id)
    if known is not None:
        return list(known.detail["sites"])
    for life in Rows(store, config.name).incidents(_looked_at(store, config.name)):
        if incident_id in life.ids:
            return sorted(life.sites)
    return None


def _opened(
    store: Store, config: FleetConfig, incident_id: str, pending: Alert | None
) -> Alert | None:
    """Return an incident's alert, opened now, with no pass beside it."""
    try:
        with held_alone(store, config, STREAM, CONSUMER):
            return _written(store, config, incident_id)
    except StreamError:
        if pending is None:
            raise
        return pending


def _written(store: Store, config: FleetConfig, incident_id: str) -> Alert | None:
    fleet, alerts = config.name, Alerts(store.control)
    lives = Rows(store, fleet).incidents(_looked_at(store, fleet))
    own = [life for life in lives if incident_id in life.ids]
    everything = alerts.current(fleet, resolved_since=0)
    stored = [a for a in everything if a.rule == "incident"]
    book = Book(fleet, config.alerts, stored)
    follow(book, own)
    for alert in [a for a in book.active.values() if _is_about(a, incident_id)]:
        book.open_now(alert.key)
    clock = store.history.coverage.newest_end(FLEET_CORRELATION.name, fleet) or 0
    book.advance({"incident": clock})
    changed = [a for a in (*book.over, *book.active.values()) if a not in stored]
    with store.control.transaction() as tx:
        numbers = iter(alerts.number(tx, sum(not a.alert_id for a in changed)))
        numbered = [a if a.alert_id else replace(a, alert_id=next(numbers)) for a in changed]
        changes = AlertChanges(
            inserted=[n for a, n in zip(changed, numbered, strict=True) if not a.alert_id],
            updated=[a for a in changed if a.alert_id],
            dropped=[a.alert_id for a in book.dropped],
        )
        alerts.write(tx, fleet, changes)
    return _of_incident([*numbered, *stored], incident_id)


def _looked_at(store: Store, fleet: str) -> Span:
    end = store.history.coverage.newest_end(FLEET_CORRELATION.name, fleet) or 0
    return Span(max(0, end - LOOKED_BACK), end)


def _of_incident(alerts: Sequence[Alert], incident_id: str) -> Alert | None:
    """Return the alert of an incident: the active one, else the newest."""
    own = [a for a in alerts if _is_about(a, incident_id)]
    return max(own, key=lambda a: (a.is_active, a.alert_id), default=None)


def _is_about(alert: Alert, incident_id: str) -> bool:
    return alert.rule == "incident" and incident_id in alert.detail["incident_ids"]
