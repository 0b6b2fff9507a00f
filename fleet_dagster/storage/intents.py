"""Intents: writes about to happen, and what becomes of those whose writer is gone.

An intent is in the control database before anything is in the lake, and leaves it in the transaction that logs the write.
An open intent without a living writer is finished if its main commit is in the lake, and undone if it is not.
"""

import json
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from fleet_dagster.core.windows import Span
from fleet_dagster.model.errors import LeaseError
from fleet_dagster.model.tables import SITE_TELEMETRY, TABLES, superseded
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import commit_log, intents, landing_batches
from fleet_dagster.storage.coverage import Covered
from fleet_dagster.storage.history import EXPIRE, Entry, History
from fleet_dagster.storage.lake import Lake
from fleet_dagster.storage.leases import Leases

Batch = dict[str, str | int | bool]
"""A row of the landing books."""
DOUBTFUL = "doubtful"
"""Inputs of windows whose rows were written against a lost lease: no inputs have this digest."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A write about to happen, as it is kept in the control database."""

    intent_id: str
    table: str
    fleet: str
    holder: str
    lake_version: int
    entries: tuple[Entry, ...]
    covered: tuple[Covered, ...]
    supersedes: bool
    commits: bool
    """Whether there is anything to write to the table itself."""
    batch: Batch | None = None

    @property
    def expires(self) -> bool:
        """Whether it removes rows whose retention is over."""
        return any(e.kind == EXPIRE for e in self.entries)

    @classmethod
    def load(cls, payload: str) -> "Intent":
        """Read an intent back."""
        content = json.loads(payload)
        content["entries"] = tuple(
            Entry(**{**e, "span": Span(**e["span"])}) for e in content["entries"]
        )
        content["covered"] = tuple(
            Covered(**{**c, "span": Span(**c["span"])}) for c in content["covered"]
        )
        return cls(**content)


class Intents:
    """Opens, closes and recovers intents."""

    def __init__(self, control: Control, lake: Lake, history: History, leases: Leases) -> None:
        self.control, self.lake, self.history, self.leases = control, lake, history, leases

    def open(self, intent: Intent) -> None:
        """Record that a write is about to happen, if its writer still has the leases for it."""
        row = {
            "intent_id": intent.intent_id,
            "table_name": intent.table,
            "fleet": intent.fleet,
            "holder": intent.holder,
            "lake_version": intent.lake_version,
            "payload": json.dumps(asdict(intent)),
            "created_at": now_us(),
        }
        with self.control.transaction() as tx:
            self.leases.confirm(tx, intent.holder)
            tx.execute(sa.insert(intents), [row])

    def close(self, intent: Intent) -> None:
        """Log a write that is in the lake.

        Raises
        ------
        LeaseError
            Its writer was held to be gone and the intent was undone; what it wrote since has been taken back.
        """
        if not self._log(intent) and not self._was_logged(intent):
            self._take_back(intent)
            raise LeaseError.lost(intent.holder)

    def recover(self, table: str | None = None, fleet: str | None = None) -> int:
        """Finish or undo the open intents whose writers are gone; returns how many."""
        query = sa.select(intents.c.intent_id, intents.c.holder)
        if table is not None:
            query = query.where(intents.c.table_name == table, intents.c.fleet == fleet)
        with self.control.reading() as tx:
            rows = tx.execute(query.order_by(intents.c.created_at)).all()
        abandoned = [row for row in rows if not self.leases.is_alive(row.holder)]
        return sum(self._recover_one(row.intent_id) for row in abandoned)

    def expiring(self, table: str, fleet: str) -> list[Span]:
        """Return the days of a table that are being removed, their removal not yet being logged."""
        found = self._open(table, fleet)
        return [e.span for intent in found if intent.expires for e in intent.entries]

    def under_way(self, table: str, fleet: str) -> list[Span]:
        """Return the windows of a table that are being written or removed, that not yet being logged."""
        return [e.span for intent in self._open(table, fleet) for e in intent.entries]

    def restating(self, table: str, fleet: str, span: Span) -> list[Entry]:
        """Return the restatements of a span's windows that are under way: their rows may be there, not being logged yet."""
        found = [e for intent in self._open(table, fleet) for e in intent.entries]
        return [e for e in found if e.kind == "restate" and e.span.overlaps(span)]

    def _open(self, table: str, fleet: str) -> list[Intent]:
        query = sa.select(intents.c.payload).where(
            intents.c.table_name == table, intents.c.fleet == fleet
        )
        with self.control.reading() as tx:
            return [Intent.load(row.payload) for row in tx.execute(query)]

    def _recover_one(self, intent_id: str) -> bool:
        """Reconcile one intent, unless somebody else did while we waited for it."""
        with self.leases.hold([f"intent/{intent_id}"]):
            with self.control.reading() as tx:
                query = sa.select(intents.c.payload).where(intents.c.intent_id == intent_id)
                payload = tx.execute(query).scalar()
            if payload is not None:
                self._reconcile(Intent.load(payload))
        return payload is not None

    def _reconcile(self, intent: Intent) -> None:
        table = TABLES[intent.table]
        is_there = not intent.commits or self.lake.has_commit(
            table, intent.intent_id, after=intent.lake_version
        )
        if is_there:
            self._log(intent)
            return
        self._forget_superseded(intent)
        with self.control.transaction() as tx:
            tx.execute(sa.delete(intents).where(intents.c.intent_id == intent.intent_id))

    def _log(self, intent: Intent) -> bool:
        """Log the write and remove its intent in one transaction; False where there is no such intent any more."""
        version = self.lake.version(TABLES[intent.table])
        with self.control.transaction() as tx:
            mine = sa.delete(intents).where(intents.c.intent_id == intent.intent_id)
            if tx.execute(mine.returning(intents.c.intent_id)).first() is None:
                return False
            self._record(tx, intent)
            self.history.note_lake_version(tx, intent.table, version)
            if intent.batch is not None:
                tx.execute(sa.insert(landing_batches), [intent.batch])
        return True

    def _record(self, tx: sa.Connection, intent: Intent) -> None:
        """Log what was written or removed, with what stands since; and which consumers had not read what was removed."""
        coverage, table = self.history.coverage, TABLES[intent.table]
        if intent.expires:
            for entry in intent.entries:
                self.history.cursors.record_missed(tx, table, intent.fleet, entry.span)
                coverage.uncover(tx, table.name, intent.fleet, entry.span)
        self.history.record(tx, intent.entries)
        coverage.cover(tx, table.name, intent.fleet, intent.covered)

    def _was_logged(self, intent: Intent) -> bool:
        query = sa.select(commit_log.c.seq).where(commit_log.c.intent_id == intent.intent_id)
        with self.control.reading() as tx:
            return tx.execute(query.limit(1)).first() is not None

    def _take_back(self, intent: Intent) -> None:
        """Make what an undone intent wrote count for nothing: snapshots are removed, windows stand as to be computed.

        What was removed cannot be brought back: it is logged after all.
        """
        if intent.expires:
            with self.control.transaction() as tx:
                self._record(tx, intent)
            return
        if intent.batch is not None:
            predicate = f"fleet = '{intent.fleet}' AND batch_id = '{intent.batch['batch_id']}'"
            self.lake.delete(SITE_TELEMETRY, predicate, intent.intent_id)
            return
        self._forget_superseded(intent)
        doubtful = [Covered(entry.span, 0, DOUBTFUL) for entry in intent.entries]
        with self.control.transaction() as tx:
            self.history.coverage.cover(tx, intent.table, intent.fleet, doubtful)

    def _forget_superseded(self, intent: Intent) -> None:
        if intent.supersedes:
            predicate = f"fleet = '{intent.fleet}' AND intent_id = '{intent.intent_id}'"
            self.lake.delete(superseded(TABLES[intent.table]), predicate, intent.intent_id)
