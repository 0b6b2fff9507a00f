"""Records that nobody needs for ever: alerts that are over, messages that were sent, silences, and what consumers missed."""

import sqlalchemy as sa

from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import alerts, missed, notifications, silences

KEPT_DAYS = 365
"""How long such a record is kept, once what it tells of is over."""
_OLD = {
    # What people said of an incident labels its sites and windows, in copies that outlive the rows too: that is kept.
    alerts: (
        alerts.c.resolved_at,
        sa.or_(alerts.c.rule != "incident", alerts.c.acked_at.is_(None)),
        ~alerts.c.owed,
    ),
    notifications: (notifications.c.ended_at, notifications.c.state != "queued"),
    silences: (silences.c.ends_at,),
    missed: (missed.c.recorded_at,),
}
"""When each was over, and what else must be so."""


def old_records(control: Control, fleet: str, before: int) -> dict[str, int]:
    """Return how many records of a fleet were over before an instant [us], by table."""
    with control.reading() as tx:
        return {
            table.name: int(
                tx.execute(
                    sa.select(sa.func.count())
                    .select_from(table)
                    .where(*_which(table, fleet, before))
                ).scalar_one()
            )
            for table in _OLD
        }


def forget_records(control: Control, fleet: str, before: int) -> dict[str, int]:
    """Remove those records; returns how many, by table."""
    with control.transaction() as tx:
        return {
            table.name: int(
                tx.execute(sa.delete(table).where(*_which(table, fleet, before))).rowcount
            )
            for table in _OLD
        }


def _which(table: sa.Table, fleet: str, before: int) -> list[sa.ColumnElement[bool]]:
    over, *rest = _OLD[table]
    return [table.c.fleet == fleet, over < before, *rest]
