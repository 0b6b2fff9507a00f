"""Who is told of what now: what hangs below an incident, is silenced or was over long ago says nothing of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fleet_dagster.model.alerts import AlertSettings, Destination
from fleet_dagster.model.tables import SEVERITIES
from fleet_dagster.storage.alerts import Alert
from fleet_dagster.storage.notifications import Kind
from fleet_dagster.storage.silences import Silence

ORDER: tuple[Kind, ...] = ("resolved", "over", "opened")
"""Order of the messages of a pass: what comes back at once ends before it begins."""
HANGING = ("region", "outlier", "stale")
"""Rules whose alerts hang below an incident of their site or region."""


@dataclass(frozen=True, slots=True)
class Message:
    """Alerts that one destination is told of together."""

    destination: str
    kind: Kind
    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """An alert as it stands afterwards, and who is to be told what of it."""

    alert: Alert
    kind: Kind | None = None
    to: tuple[str, ...] = ()


def tell(
    alert: Alert,
    incidents: Sequence[Alert],
    settings: AlertSettings,
    silences: Sequence[Silence],
    *,
    at: int,
) -> Told:
    """Decide who is told of an alert at an instant of the wall clock [us], given the incidents' alerts of the pass."""
    if alert.state == "pending" or alert.is_muted:
        return Told(replace(alert, owed=False))
    is_silent = any(s.holds(alert.rule, alert.subject, at) for s in silences)
    if alert.state == "resolved":
        return _end_told(alert, incidents, settings, is_silent=is_silent)
    parent = parent_of(alert, incidents)
    is_ending = parent is None and alert.parent_id is not None and not alert.is_present
    if is_silent or is_ending or (alert.acked_at and not alert.told):
        return Told(alert if parent is None else replace(alert, parent_id=parent.alert_id))
    aware = () if parent is None else _interested(settings, parent)
    to = tuple(n for n in _interested(settings, alert) if n not in (*alert.told, *aware))
    parent_id = None if parent is None else parent.alert_id
    return Told(replace(alert, parent_id=parent_id, told=(*alert.told, *to)), "opened", to)


def parent_of(alert: Alert, incidents: Sequence[Alert]) -> Alert | None:
    """Return the open incident's alert that an alert hangs below; of one that is over, also an incident that is."""
    for one in incidents:
        ends = one.resolved_at if one.resolved_at is not None else alert.changed_at
        is_meanwhile = one.state == "open" or (
            one.state == "resolved" and not alert.is_active and ends >= (alert.opened_at or 0)
        )
        if is_meanwhile and not one.is_muted and _holds(one, alert):
            return one
    return None


def grouped(told: Sequence[Told]) -> list[Message]:
    """Put what is told into messages: incidents of several sites one by one, all else by rule."""
    parts: dict[tuple[str, int, str, str], list[Alert]] = {}
    for one in told:
        own = str(one.alert.alert_id) if stands_alone(one.alert) else ""
        for name in one.to if one.kind else ():
            key = (name, ORDER.index(one.kind or "opened"), one.alert.rule, own)
            parts.setdefault(key, []).append(one.alert)
    return [
        Message(name, ORDER[kind], tuple(alerts))
        for (name, kind, _, _), alerts in sorted(
            parts.items(), key=lambda p: (p[0][0], p[0][1], p[1][0].alert_id)
        )
    ]


def stands_alone(alert: Alert) -> bool:
    """Tell whether an alert is told in a message of its own."""
    return alert.rule == "incident" and len(alert.detail["sites"]) > 1


def _end_told(
    alert: Alert, incidents: Sequence[Alert], settings: AlertSettings, *, is_silent: bool
) -> Told:
    if alert.told:
        to = tuple(d.name for d in settings.destinations if d.name in alert.told)
        return (
            Told(replace(alert, owed=True))
            if is_silent
            else Told(replace(alert, owed=False), "resolved", to)
        )
    unheard = (
        is_silent or alert.acked_at or alert.parent_id is not None or "belongs_to" in alert.detail
    )
    if unheard or parent_of(alert, incidents) is not None:
        return Told(replace(alert, is_muted=True, owed=False))
    to = _interested(settings, alert)
    return Told(replace(alert, told=to, owed=False), "over", to)


def _interested(settings: AlertSettings, alert: Alert) -> tuple[str, ...]:
    return tuple(d.name for d in settings.destinations if _wants(d, alert))


def _wants(destination: Destination, alert: Alert) -> bool:
    least = SEVERITIES.index(destination.minimum_severity)
    return alert.rule in destination.rules and SEVERITIES.index(alert.severity) >= least


def _holds(incident: Alert, alert: Alert) -> bool:
    """Tell whether an alert's site or region belongs to an incident."""
    if alert.rule not in HANGING:
        return False
    sites: Mapping[str, object] = dict.fromkeys(incident.detail["sites"])
    if alert.detail["sites"]:
        return all(site in sites for site in alert.detail["sites"])
    own = alert.detail["regions"]
    return bool(own) and len(sites) > 1 and set(own) <= set(incident.detail["regions"])
