"""What messages say: who, how bad, what, since when, and what to do next."""

from collections.abc import Iterator, Sequence

from fleet_dagster.alerting.telling import Message
from fleet_dagster.core.windows import MINUTE, SECOND, floor_to, iso
from fleet_dagster.model.alerts import Severity
from fleet_dagster.model.tables import SEVERITIES
from fleet_dagster.storage.alerts import Alert
from fleet_dagster.storage.notifications import Notification

MOST_NAMED = 5
"""Sites, regions and candidates that are named."""
MOST_LISTED = 20
"""Alerts of a group that are listed."""
_SUMMARIES = {
    "incident": "incidents of single sites",
    "region": "regions in bad health",
    "outlier": "persistent outliers",
    "storm": "storms",
    "stale": "stale: fleet or regions",
    "run": "failed runs",
    "slot": "AI slots without answers",
}


def written(message: Message, *, number: int, at: int) -> Notification:
    """Return a message in words, numbered and queued at an instant [us]."""
    alerts = message.alerts
    lines = _one(alerts[0], message.kind) if len(alerts) == 1 else _several(alerts, message.kind)
    fleet = alerts[0].fleet
    return Notification(
        fleet=fleet,
        destination=message.destination,
        kind=message.kind,
        severity=worst(alerts),
        alert_ids=tuple(a.alert_id for a in alerts),
        title=f"[{fleet}] {_what(message)}",
        body="\n".join([*lines, "", f"Message {number} of fleet {fleet}."]),
        created_at=at,
        notification_id=number,
    )


def worst(alerts: Sequence[Alert]) -> Severity:
    """Return the worst severity of some alerts."""
    return max((a.severity for a in alerts), key=SEVERITIES.index)


def described(alert: Alert) -> list[str]:
    """Return what is known of an alert, line by line."""
    detail = alert.detail
    since = int(detail.get("since", alert.first_at))
    lines = [f"Since {instant(since)}."]
    if alert.rule == "incident":
        lines += _of_incident(alert)
    lines += [str(detail[name]) for name in ("why", "error") if detail.get(name)]
    if detail.get("worst_site"):
        lines.append(f"Worst site: {detail['worst_site']}.")
    if detail.get("run_id"):
        lines.append(f"Run {detail['run_id']}.")
    return lines


def named(names: Sequence[str]) -> str:
    """Name a few, and say how many more there are."""
    first = ", ".join(names[:MOST_NAMED])
    rest = len(names) - MOST_NAMED
    return f"{first} and {rest} more" if rest > 0 else first


def instant(us: int) -> str:
    """Show an instant to the second."""
    return iso(floor_to(us, SECOND))


def _what(message: Message) -> str:
    alerts = message.alerts
    many = f"{len(alerts)} {_SUMMARIES[alerts[0].rule]}"
    what = alerts[0].headline if len(alerts) == 1 else many
    word = {"opened": worst(alerts), "over": "was over when found", "resolved": "resolved"}
    return f"{word[message.kind]}: {what}"


def _one(alert: Alert, kind: str) -> Iterator[str]:
    yield f"{alert.headline}."
    yield f"Fleet {alert.fleet}, severity {alert.severity}, alert {alert.alert_id}."
    yield from described(alert)
    if kind != "opened":
        yield _ended(alert)
        return
    yield ""
    yield from _next_steps(alert)


def _several(alerts: Sequence[Alert], kind: str) -> Iterator[str]:
    for alert in alerts[:MOST_LISTED]:
        since = instant(int(alert.detail.get("since", alert.first_at)))
        tail = _ended(alert) if kind != "opened" else f"Since {since}."
        yield f"- alert {alert.alert_id}: {alert.headline}. {tail}"
    if len(alerts) > MOST_LISTED:
        yield f"- and {len(alerts) - MOST_LISTED} more: fleet alerts list {alerts[0].fleet}"
    if kind == "opened":
        yield ""
        yield from _next_steps(alerts[0])


def _ended(alert: Alert) -> str:
    started = int(alert.detail.get("since", alert.first_at))
    minutes = max(0, alert.changed_at - started) // MINUTE
    words = f"Over since {instant(alert.changed_at)}, after {minutes:,} minutes."
    if alert.detail.get("withdrawn"):
        return f"{words} Late telemetry has shown that there was no incident."
    return words


def _of_incident(alert: Alert) -> Iterator[str]:
    detail = alert.detail
    sites, regions = detail["sites"], detail["regions"]
    yield f"Pattern: {detail['pattern']}. Sites ({len(sites)}): {named(sites)}."
    yield f"Regions ({len(regions)}): {named(regions)}."
    if detail["root_cause_site"]:
        kpi = f", {detail['root_cause_kpi']}" if detail["root_cause_kpi"] else ""
        yield f"Root cause: site {detail['root_cause_site']}{kpi}."
    else:
        yield f"Root cause: undetermined; candidates: {named(detail['candidates']) or 'none'}."
    yield f"Confidence: {detail['confidence']:.0%}."


def _next_steps(alert: Alert) -> Iterator[str]:
    fleet, site = alert.fleet, _site_of(alert)
    look = f"fleet status {fleet} --site {site}" if site else f"fleet status {fleet}"
    own = {
        "slot": f"fleet slots test {fleet} {alert.detail.get('slot', '')}",
        "storm": f"fleet storm status {fleet}",
    }
    yield f"Look: {own.get(alert.rule, look)}"
    yield f"Say that you are on it: fleet alerts ack {alert.alert_id} --by NAME"


def _site_of(alert: Alert) -> str | None:
    detail = alert.detail
    wanted = [
        detail.get("root_cause_site"),
        *detail.get("candidates", []),
        *detail["sites"],
        detail.get("worst_site"),
    ]
    return next((str(site) for site in wanted if site), None)
