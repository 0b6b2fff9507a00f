"""Silences: spans of the wall clock in which some alerts of a fleet are recorded but not sent."""

import fnmatch
from dataclasses import dataclass

import sqlalchemy as sa

from fleet_dagster.model.alerts import RuleName
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import silences


@dataclass(frozen=True, slots=True)
class Silence:
    """One silence; instants in microseconds of the wall clock."""

    fleet: str
    rule: RuleName | None
    """None for all rules."""
    subject: str
    """Pattern of subjects, with `*` and `?`."""
    starts_at: int
    ends_at: int
    reason: str
    created_by: str
    ended_by: str | None = None
    """Who ended it before its time."""
    silence_id: int = 0

    def holds(self, rule: str, subject: str, at: int) -> bool:
        """Tell whether an alert is silenced at an instant [us]."""
        return (
            self.starts_at <= at < self.ends_at
            and self.rule in (None, rule)
            and fnmatch.fnmatchcase(subject, self.subject)
        )


class Silences:
    """Reads and writes silences in the control database."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def begin(self, silence: Silence) -> Silence:
        """Record a silence; returns it with its number."""
        row: dict[str, object] = {n: getattr(silence, n) for n in Silence.__dataclass_fields__}
        with self.control.transaction() as tx:
            (number,) = self.control.next_numbers(tx, "silences")
            tx.execute(sa.insert(silences), [{**row, "silence_id": number}])
        return self._read(sa.select(silences).where(silences.c.silence_id == number))[0]

    def end(self, silence_id: int, *, at: int, by: str) -> Silence | None:
        """End a silence that goes on; None where there is none of that number."""
        here = (silences.c.silence_id == silence_id, silences.c.ends_at > at)
        with self.control.transaction() as tx:
            done = tx.execute(sa.update(silences).where(*here).values(ends_at=at, ended_by=by))
        if not done.rowcount:
            return None
        return self._read(sa.select(silences).where(silences.c.silence_id == silence_id))[0]

    def at(self, instant: int, fleet: str | None = None) -> list[Silence]:
        """Return the silences that hold at an instant [us], of all fleets or one."""
        query = sa.select(silences).where(
            silences.c.starts_at <= instant, silences.c.ends_at > instant
        )
        return self._read(query if fleet is None else query.where(silences.c.fleet == fleet))

    def _read(self, query: sa.Select[tuple[object, ...]]) -> list[Silence]:
        with self.control.reading() as tx:
            rows = tx.execute(query.order_by(silences.c.silence_id)).mappings()
            return [Silence(**{n: r[n] for n in Silence.__dataclass_fields__}) for r in rows]
