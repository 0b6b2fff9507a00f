"""What people have said that incidents turned out to be: labels, with the sites and the time they hold for."""

from dataclasses import dataclass

from fleet_dagster.core.windows import Span
from fleet_dagster.model.alerts import Truth
from fleet_dagster.storage.alerts import Alert, Alerts
from fleet_dagster.storage.store import Store


@dataclass(frozen=True, slots=True)
class AcknowledgedIncident:
    """An incident that somebody has looked at."""

    incident_ids: tuple[str, ...]
    """All ids it had: at midnight, or by merging, it may have got another."""
    span: Span
    """From the onset of its first site to its end; one that goes on ends with the span that was asked for."""
    sites: tuple[str, ...]
    truth: Truth
    """`unknown` where it was acknowledged without saying."""
    cause: str | None
    """Site at which it began, if somebody said so."""
    note: str | None
    by: str
    acknowledged_at: int
    """Wall clock. [us]"""


def acknowledged_incidents(store: Store, fleet: str, span: Span) -> list[AcknowledgedIncident]:
    """Return the incidents that touch a span and that somebody has acknowledged, in order of onset."""
    found = [_labelled(a, span) for a in Alerts(store.control).acknowledged(fleet, "incident")]
    touching = [one for one in found if one is not None and one.span.overlaps(span)]
    return sorted(touching, key=lambda one: (one.span.start, one.incident_ids))


def _labelled(alert: Alert, span: Span) -> AcknowledgedIncident | None:
    start = int(alert.detail["since"])
    end = span.end if alert.is_present else alert.changed_at
    if end <= start:
        return None
    return AcknowledgedIncident(
        incident_ids=tuple(alert.detail["incident_ids"]),
        span=Span(start, end),
        sites=tuple(alert.detail["sites"]),
        truth=alert.truth or "unknown",
        cause=alert.cause,
        note=alert.note,
        by=str(alert.acked_by),
        acknowledged_at=int(alert.acked_at or 0),
    )
