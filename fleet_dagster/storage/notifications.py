"""Messages to people: queued with what they tell of, in order for each destination, until they are sent or given up."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from fleet_dagster.model.alerts import Severity
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import notifications

Kind = Literal["opened", "over", "resolved"]
"""`over` tells at once of what had opened and was over when it was found."""
Outcome = Literal["queued", "sent", "given_up"]
_LONGEST_ERROR, _LONGEST_TITLE = 512, 512


@dataclass(frozen=True, slots=True)
class Notification:
    """One message for one destination. Instants in microseconds of the wall clock."""

    fleet: str
    destination: str
    kind: Kind
    severity: Severity
    alert_ids: tuple[int, ...]
    title: str
    body: str
    created_at: int
    state: Outcome = "queued"
    attempts: int = 0
    next_try_at: int = 0
    ended_at: int | None = None
    """When it was sent, or given up."""
    error: str | None = None
    """Why it was not sent at the last attempt; no address is in it."""
    notification_id: int = 0
    """Names it in the message itself too: two with the same number are one message, sent twice across a crash."""


class Notifications:
    """Reads and writes messages in the control database."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def number(self, tx: sa.Connection, count: int) -> list[int]:
        """Return numbers for new messages."""
        return list(self.control.next_numbers(tx, "notifications", count)) if count else []

    def queue(self, tx: sa.Connection, messages: Sequence[Notification]) -> None:
        """Queue messages, within the transaction that records what they tell of."""
        if messages:
            tx.execute(sa.insert(notifications), [_row(m) for m in messages])

    def waiting(self, fleet: str) -> list[Notification]:
        """Return the messages that were neither sent nor given up, in order."""
        here = (notifications.c.fleet == fleet, notifications.c.state == "queued")
        return self._read(sa.select(notifications).where(*here))

    def of_alert(self, fleet: str, alert_id: int) -> list[Notification]:
        """Return every message that tells of an alert."""
        found = self._read(sa.select(notifications).where(notifications.c.fleet == fleet))
        return [m for m in found if alert_id in m.alert_ids]

    def sent(self, message: Notification, *, at: int) -> None:
        """Record that a message was accepted by its receiver."""
        self._update(message, state="sent", attempts=message.attempts + 1, ended_at=at, error=None)

    def failed(self, message: Notification, error: str, *, next_try_at: int) -> None:
        """Record that a message was not accepted, and when to try again."""
        self._update(
            message,
            attempts=message.attempts + 1,
            next_try_at=next_try_at,
            error=error[:_LONGEST_ERROR],
        )

    def given_up(self, message: Notification, *, at: int) -> None:
        """Record that a message is not tried any more."""
        self._update(message, state="given_up", ended_at=at)

    def _update(self, message: Notification, **values: object) -> None:
        here = notifications.c.notification_id == message.notification_id
        with self.control.transaction() as tx:
            tx.execute(sa.update(notifications).where(here).values(**values))

    def _read(self, query: sa.Select[tuple[object, ...]]) -> list[Notification]:
        with self.control.reading() as tx:
            rows = tx.execute(query.order_by(notifications.c.notification_id)).mappings()
            return [_notification(row) for row in rows]


def _notification(row: sa.RowMapping) -> Notification:
    values = {name: row[name] for name in Notification.__dataclass_fields__}
    return Notification(**{**values, "alert_ids": tuple(json.loads(row["alert_ids"]))})


def _row(message: Notification) -> dict[str, object]:
    values: dict[str, object] = {n: getattr(message, n) for n in Notification.__dataclass_fields__}
    ids = json.dumps(list(message.alert_ids))
    return {**values, "alert_ids": ids, "title": message.title[:_LONGEST_TITLE]}
