"""Alerts as recorded: what was wrong, since when, who was told, and what people said about it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

from fleet_dagster.model.alerts import RuleName, Severity, Truth
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import alert_progress, alerts

State = Literal["pending", "open", "resolved"]
Key = tuple[str, str]
"""Rule and subject: of one key, one alert is active at most."""
_LONGEST_SUBJECT, _LONGEST_HEADLINE = 256, 512
_SAID = ("acked_at", "acked_by", "note", "truth", "cause")
"""Columns that people write, and passes never do."""


Also = Callable[[sa.Connection], None]


def nothing(_tx: sa.Connection) -> None:
    """Do nothing else in a transaction."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that needs somebody, from its first sign until it is over. Instants in microseconds, of event time."""

    fleet: str
    rule: RuleName
    subject: str
    state: State
    severity: Severity
    headline: str
    detail: Mapping[str, Any]  # Any: JSON
    """What is known of it: `incident_ids`, `sites`, `regions`, `since` and whatever its rule adds."""
    is_present: bool
    """Whether it was so at the last sign."""
    changed_at: int
    """When that last changed."""
    hold_us: int
    """How long it must be so before the alert opens."""
    patience_us: int
    """How long it must be over before the alert is resolved."""
    first_at: int
    held_us: int = 0
    """How long it had been so before `changed_at`, while it was pending."""
    opened_at: int | None = None
    resolved_at: int | None = None
    parent_id: int | None = None
    """Incident's alert below which it hangs."""
    is_muted: bool = False
    """Whether it is never sent: it was over long before it was found, or while it was silenced."""
    told: tuple[str, ...] = ()
    """Destinations that were sent its opening."""
    owed: bool = False
    """Whether its end has not been sent to them yet, since it is silenced."""
    alert_id: int = 0
    """0 until it is recorded."""
    acked_at: int | None = None
    """Wall clock."""
    acked_by: str | None = None
    note: str | None = None
    truth: Truth | None = None
    cause: str | None = None

    @property
    def key(self) -> Key:
        """Rule and subject."""
        return self.rule, self.subject

    @property
    def is_active(self) -> bool:
        """Whether it is not resolved."""
        return self.state != "resolved"

    @property
    def shown_state(self) -> str:
        """State as people see it."""
        return "acknowledged" if self.state == "open" and self.acked_at else self.state


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a person says about an alert."""

    by: str
    note: str | None = None
    truth: Truth | None = None
    cause: str | None = None


@dataclass(slots=True)
class AlertChanges:
    """What a pass changes: alerts to insert (with their numbers), to update and to remove, and how far rules were judged."""

    inserted: list[Alert] = field(default_factory=list)
    updated: list[Alert] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    judged: dict[str, int] = field(default_factory=dict)


class Alerts:
    """Reads and writes alerts in the control database."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def current(self, fleet: str, *, resolved_since: int) -> list[Alert]:
        """Return a fleet's active alerts, those resolved since an instant [us], and those whose end is owed."""
        here, a = alerts.c.fleet == fleet, alerts.c
        wanted = sa.or_(a.active.is_not(None), a.owed, a.resolved_at >= resolved_since)
        return self._read(sa.select(alerts).where(here, wanted))

    def listed(self, fleet: str | None = None, *, everything: bool = False) -> list[Alert]:
        """Return open alerts, of all fleets or one, or with `everything` all that were ever opened; the newest last."""
        query = sa.select(alerts).where(alerts.c.state != "pending")
        if fleet is not None:
            query = query.where(alerts.c.fleet == fleet)
        if not everything:
            query = query.where(alerts.c.state == "open")
        return self._read(query)

    def find(self, alert_id: int) -> Alert | None:
        """Return one alert."""
        found = self._read(sa.select(alerts).where(alerts.c.alert_id == alert_id))
        return found[0] if found else None

    def acknowledged(self, fleet: str, rule: RuleName) -> list[Alert]:
        """Return the alerts of a rule about which somebody has said something."""
        here = (alerts.c.fleet == fleet, alerts.c.rule == rule, alerts.c.acked_at.is_not(None))
        return self._read(sa.select(alerts).where(*here))

    def acknowledge(
        self, alert_id: int, said: Acknowledgement, *, at: int, also: Also = nothing
    ) -> Alert | None:
        """Record what a person says; what was said before and is not said again is kept. None where there is no such alert.

        In the same transaction, do `also`.
        """
        given = {"note": said.note, "truth": said.truth, "cause": said.cause}
        values = {name: value for name, value in given.items() if value is not None}
        with self.control.transaction() as tx:
            tx.execute(
                sa.update(alerts)
                .where(alerts.c.alert_id == alert_id)
                .values(acked_at=at, acked_by=said.by, **values)
            )
            also(tx)
        return self.find(alert_id)

    def judged_through(self, fleet: str) -> dict[str, int]:
        """Return until when each rule has been judged [us]."""
        query = sa.select(alert_progress).where(alert_progress.c.fleet == fleet)
        with self.control.reading() as tx:
            return {r.rule: int(r.judged_through) for r in tx.execute(query)}

    def number(self, tx: sa.Connection, count: int) -> list[int]:
        """Return numbers for new alerts."""
        return list(self.control.next_numbers(tx, "alerts", count)) if count else []

    def write(self, tx: sa.Connection, fleet: str, changes: AlertChanges) -> None:
        """Write what a pass changed; what people said meanwhile is left alone."""
        if changes.dropped:
            tx.execute(sa.delete(alerts).where(alerts.c.alert_id.in_(changes.dropped)))
        for one in changes.updated:  # first: a subject's old alert makes room for its new one
            values = {n: v for n, v in _row(one).items() if n not in _SAID and n != "alert_id"}
            tx.execute(sa.update(alerts).where(alerts.c.alert_id == one.alert_id).values(**values))
        if changes.inserted:
            tx.execute(sa.insert(alerts), [_row(one) for one in changes.inserted])
        for rule, until in changes.judged.items():
            here = (alert_progress.c.fleet == fleet, alert_progress.c.rule == rule)
            tx.execute(sa.delete(alert_progress).where(*here))
            row = {"fleet": fleet, "rule": rule, "judged_through": until}
            tx.execute(sa.insert(alert_progress), [row])

    def _read(self, query: sa.Select[Any]) -> list[Alert]:  # Any: columns of a table
        with self.control.reading() as tx:
            return [_alert(row) for row in tx.execute(query.order_by(alerts.c.alert_id)).mappings()]


def fitting_subject(subject: str) -> str:
    """Return a subject as it is recorded."""
    return subject[:_LONGEST_SUBJECT]


def _alert(row: sa.RowMapping) -> Alert:
    values = {name: row[name] for name in Alert.__dataclass_fields__}
    told = tuple(json.loads(row["told"]))
    return Alert(**{**values, "detail": json.loads(row["detail"]), "told": told})


def _row(alert: Alert) -> dict[str, object]:
    values: dict[str, object] = {n: getattr(alert, n) for n in Alert.__dataclass_fields__}
    return {
        **values,
        "active": 1 if alert.is_active else None,
        "headline": alert.headline[:_LONGEST_HEADLINE],
        "detail": json.dumps(dict(alert.detail), sort_keys=True),
        "told": json.dumps(list(alert.told)),
    }
