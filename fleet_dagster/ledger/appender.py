"""The appender: follows the commit log of fleet_kpi, and records every row, restatement and removal, in order and once.

A batch of entries, its tiles, its checkpoint and the appender's place in the stream are one transaction: whoever is killed
half-way has written nothing. The leases of the stream's cursor let one appender of a fleet write at a time.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from fleet_dagster.core.windows import Span, iso, union
from fleet_dagster.ledger.entries import (
    MATERIALIZATION,
    RETENTION,
    KpiEntry,
    RareEntry,
    Rows,
    numbered,
)
from fleet_dagster.ledger.keystore import Keys, KeyStore, verifiers
from fleet_dagster.ledger.log import Batch, Head, Log
from fleet_dagster.ledger.note import Checkpoint, Note
from fleet_dagster.ledger.rotation import rotation_entry
from fleet_dagster.ledger.signing import signed
from fleet_dagster.ledger.trust import newest_problem
from fleet_dagster.model.config import FleetConfig, content_digest
from fleet_dagster.model.errors import LedgerError, StreamError
from fleet_dagster.model.streams import STREAMS
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.history import EXPIRE, Entry
from fleet_dagster.storage.imprints import altered
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.deliveries import Delivery
from fleet_dagster.streams.subscription import Subscription, subscribe

STREAM = STREAMS[str(FLEET_KPI.stream)]
CONSUMER = "ledger"
BATCH_ROWS = 50_000
"""Rows of a batch, about: so many are held in memory, and signed together."""
COMMITS = 100
"""Commits that one entry tells of: an entry of a tiled log has less than 64 KiB."""
PATIENCE_S = 60.0
"""How long to wait for another appender of the same fleet to end."""
POLL_S = 0.2
Progress = Callable[[int, int], None]
"""Told how many entries of the commit log are recorded, and how many there are in all."""

_Newest = dict[int, tuple[int, int]]
"""Number and revision of the newest row that is recorded of a window, by the window."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What an appender did."""

    origin: str
    size: int
    """Entries of the log after it."""
    n_entries: int
    """Entries that it appended."""
    n_rows: int
    """Of these, rows of windows."""
    n_missed: int = 0
    """Entries of the commit log whose rows expired before they were recorded."""


@dataclass(slots=True)
class _Draft:
    """A batch in the making."""

    head: Head
    rows: list[KpiEntry] = field(default_factory=list)
    rare: list[RareEntry] = field(default_factory=list)
    commits: list[dict[str, Any]] = field(default_factory=list)  # Any: what JSON can hold
    n_missed: int = 0


class Appender:
    """Appends to one fleet's ledger while nobody else does. `checkpoint` is called between its steps, for tests that kill it."""

    def __init__(
        self,
        store: Store,
        config: FleetConfig,
        subscription: Subscription,
        *,
        checkpoint: Callable[[str], None] = lambda _step: None,
    ) -> None:
        self.store, self.config, self.subscription = store, config, subscription
        self.checkpoint = checkpoint
        self.log = Log(store.control, config.name)
        self.keystore = KeyStore.of(store, config)

    @cached_property
    def keys(self) -> Keys:
        """The keys in force."""
        return self.keystore.in_force(self.log)

    def run(self, progress: Progress = lambda _done, _total: None) -> Appended:
        """Record what was committed since the last time; returns what that was."""
        keys = self.keys
        head = first = self._begun(keys)
        n_rows = n_missed = 0
        behind, _ = self.store.history.size(
            FLEET_KPI.name, self.config.name, after=self.subscription.cursor.position
        )
        done = 0
        for deliveries in _batches(self.subscription.pending()):
            draft = self._draft(head, deliveries)
            batch = self.log.prepare(head, self._leaves(draft))
            head = self._write(batch, keys, deliveries[-1])
            n_rows, n_missed = n_rows + len(draft.rows), n_missed + draft.n_missed
            done += len({d.seq for d in deliveries})
            progress(done, max(behind, done))
        return Appended(head.origin, head.size, head.size - first.size, n_rows, n_missed)

    def rotate(self) -> Appended:
        """Hand the log over to new keys; cut off half-way, the next run finishes it."""
        old = self.keys
        new = self.keystore.successors()
        head = self._begun(old)
        entry = rotation_entry(self.config.name, old, new)
        batch = self.log.prepare(head, numbered([entry], head.size))
        note = self._signed(batch, (*new, *old))
        with self.store.control.transaction() as tx:
            self.subscription.confirm(tx)
            self.log.append(tx, batch, note)
        self.checkpoint("rotated")
        del self.keys
        self.keystore.in_force(self.log)
        return Appended(head.origin, batch.size, 1, 0)

    def _begun(self, keys: Keys) -> Head:
        """Return the head of the log, if it is what these keys signed last: tiles that were changed must not be signed again."""
        head = self.log.begin(self.keystore.origin)
        problem = newest_problem(self.log, verifiers(keys), head)
        if problem:
            raise LedgerError(
                f"ledger {head.origin!r}",
                problem,
                f"Nothing was recorded. Put the keys at {self.keystore.place} back if they are not those of the ledger; "
                f"otherwise `fleet verify {self.config.name}` tells what was changed",
            )
        return head

    def _write(self, batch: Batch, keys: Keys, last: Delivery) -> Head:
        """Write a batch with its checkpoint, and the place in the stream, in one transaction."""
        note = self._signed(batch, keys) if batch.leaves else None
        self.checkpoint("signed")

        def append(tx: sa.Connection) -> None:
            self.log.append(tx, batch, note)
            self.checkpoint("appended")

        try:
            self.subscription.done(last, also=append)
        except sa.exc.IntegrityError:  # its words hold all the rows
            raise LedgerError(
                f"ledger {batch.head.origin!r}",
                f"something that belongs behind its {batch.head.size} entries is stored already",
                f"Nothing was recorded. `fleet verify {self.config.name}` tells what was changed",
            ) from None
        self.checkpoint("committed")
        return Head(batch.head.origin, batch.size)

    @staticmethod
    def _signed(batch: Batch, keys: Keys) -> Note:
        checkpoint = Checkpoint(batch.head.origin, batch.size, batch.root)
        return signed(checkpoint, keys, time=now_us() // 1_000_000)

    def _draft(self, head: Head, deliveries: Sequence[Delivery]) -> _Draft:
        draft = _Draft(head)
        windows = Span(min(d.span.start for d in deliveries), max(d.span.end for d in deliveries))
        # Not of all between them: where an old day is restated beside today's rows, those would be all that there are.
        spans = union([d.span for d in deliveries])
        known: _Newest = {
            row.window_start: (row.number, row.revision)
            for span in spans
            for row in self.log.known_rows(span)
        }
        log, fleet = self.store.history.entries, self.config.name
        replaced = [
            e for k in ("restate", EXPIRE) for e in log(FLEET_KPI.name, fleet, windows, kind=k)
        ]
        for delivery in deliveries:
            if delivery.kind == "expire":
                draft.rare.append(self._removal(delivery))
            elif delivery.kind == "missed":
                draft.n_missed += 1
            else:
                self._add_rows(
                    draft, delivery, known, [r for r in replaced if r.seq <= delivery.seq]
                )
        return draft

    def _add_rows(
        self, draft: _Draft, delivery: Delivery, known: _Newest, replaced: Sequence[Entry]
    ) -> None:
        first = draft.head.size + len(draft.rows)
        spans = [r.span for r in replaced if r.span.overlaps(delivery.span)]
        for row in Rows(delivery.rows):
            revision = sum(s.start <= row.window_start < s.end for s in spans)
            before, newest = known.get(row.window_start, (None, -1))
            # The stream is read again, then; what an edited row is worth is for a verification to say.
            if revision <= newest:
                continue
            known[row.window_start] = (draft.head.size + len(draft.rows), revision)
            draft.rows.append(KpiEntry(self.config.name, row, revision, before))
        last = draft.head.size + len(draft.rows) - 1
        if last < first:
            return
        entry = delivery.piece.entry
        draft.commits.append(
            {
                "seq": entry.seq,
                "kind": delivery.kind,
                "recorded_at": iso(entry.recorded_at),
                "run_id": entry.run_id,
                "inputs": entry.inputs,
                "landing": entry.landing,
                "imprint": entry.imprint,
                "first": first,
                "last": last,
            }
        )

    def _leaves(self, draft: _Draft) -> list[Any]:
        entries: list[KpiEntry | RareEntry] = [*draft.rows]
        # Not the alerts: where they go may be secret, and digests of what is short can be guessed.
        configuration = content_digest(self.config.model_dump(mode="json", exclude={"alerts"}))
        for first in range(0, len(draft.commits), COMMITS):
            commits = draft.commits[first : first + COMMITS]
            documents = self.store.history.imprints.documents({c["imprint"] for c in commits})
            _refuse_altered(documents)
            content = {
                "commits": commits,
                "imprints": {digest: json.loads(text) for digest, text in documents.items()},
                "configuration": configuration,
            }
            entries.append(RareEntry(self.config.name, MATERIALIZATION, content))
        return numbered([*entries, *draft.rare], draft.head.size)

    def _removal(self, delivery: Delivery) -> RareEntry:
        entry = delivery.piece.entry
        return RareEntry(
            self.config.name,
            RETENTION,
            {
                "seq": entry.seq,
                "recorded_at": iso(entry.recorded_at),
                "from": iso(entry.span.start),
                "to": iso(entry.span.end),
                "n_rows": entry.n_rows,
            },
        )


def _refuse_altered(documents: Mapping[str, str]) -> None:
    for digest in altered(documents):
        raise LedgerError(
            f"imprint {digest}",
            "its document in the control database is not the one that its digest was taken of",
            "Nothing was recorded. Put the row of table imprints back from a copy, then run the same again",
        )


@contextmanager
def appending(
    store: Store,
    config: FleetConfig,
    *,
    patience_s: float = PATIENCE_S,
    checkpoint: Callable[[str], None] = lambda _step: None,
) -> Iterator[Appender]:
    """Be the one who appends to a fleet's ledger, once nobody else is.

    Raises
    ------
    LedgerError
        There are no keys. Nobody who lacks them is registered as a consumer: commits would be kept for it for ever.
    StreamError
        Another process appends to it, and did not end in time.
    """
    KeyStore.of(store, config).load()
    with ExitStack() as held:
        subscription = _subscribed(store, config, held, time.monotonic() + patience_s)
        yield Appender(store, config, subscription, checkpoint=checkpoint)


def _subscribed(
    store: Store, config: FleetConfig, held: ExitStack, deadline: float
) -> Subscription:
    while True:
        following = subscribe(store, config, STREAM, CONSUMER, as_committed=True)
        try:
            return held.enter_context(following)
        except StreamError:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_S)


def _batches(deliveries: Iterator[Delivery]) -> Iterator[list[Delivery]]:
    """Group deliveries into batches of about as many rows as are recorded together; removals end one, for they come last in it."""
    batch: list[Delivery] = []
    n_rows = 0
    for delivery in deliveries:
        is_over = n_rows >= BATCH_ROWS or (
            delivery.kind != "expire" and any(d.kind == "expire" for d in batch[-1:])
        )
        if is_over:
            yield batch
            batch, n_rows = [], 0
        batch.append(delivery)
        n_rows += delivery.rows.num_rows
    if batch:
        yield batch
