"""How a fleet's ledger stands, told from a few rows: what a glance shows, not what a verification proves."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from fleet_dagster.ledger.appender import CONSUMER, STREAM
from fleet_dagster.ledger.entries import KEY_ROTATION
from fleet_dagster.ledger.keystore import KeyStore, verifiers
from fleet_dagster.ledger.log import Log, StoredCheckpoint
from fleet_dagster.ledger.note import Checkpoint
from fleet_dagster.ledger.policy import policy_of
from fleet_dagster.ledger.trust import Trust, newest_problem
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage.status import instant
from fleet_dagster.storage.store import Store


@dataclass(frozen=True, slots=True)
class WitnessState:
    """How far a witness has come."""

    name: str
    size: int
    """Entries of the newest checkpoint that it has vouched for; 0 where it has for none."""
    n_behind: int
    """Entries that it has not vouched for."""


@dataclass(frozen=True, slots=True)
class LedgerState:
    """How a ledger stands. Instants are UTC."""

    fleet: str
    origin: str
    has_keys: bool
    size: int = 0
    root: str = ""
    """Root of the newest checkpoint, in hexadecimal."""
    checkpoint_at: dt.datetime | None = None
    n_pending: int = 0
    """Entries of the commit log that are not recorded yet."""
    witnesses: Sequence[WitnessState] = ()
    n_needed: int = 0
    """Witnesses that must have vouched."""
    witnessed_size: int = 0
    """Entries for which so many have."""

    @property
    def has_begun(self) -> bool:
        """Whether it is to be kept: one that has lost its keys is, and cannot be."""
        return self.has_keys or self.size > 0

    @property
    def is_witnessed(self) -> bool:
        """Whether as many as are needed have vouched for all of it."""
        return self.n_needed > 0 and self.witnessed_size == self.size


def ledger_state(store: Store, config: FleetConfig) -> LedgerState:
    """Look at a fleet's ledger."""
    log, keystore = Log(store.control, config.name), KeyStore.of(store, config)
    cursor = store.cursors.find(config.name, STREAM.name, CONSUMER)
    position = 0 if cursor is None else cursor.position
    n_pending, _ = store.history.size(FLEET_KPI.name, config.name, after=position)
    head, newest = log.head(), log.newest_checkpoint()
    size = 0 if head is None else head.size
    vouched, settings = log.vouched_by(), config.ledger
    return LedgerState(
        config.name,
        keystore.origin if head is None else head.origin,
        keystore.is_there(),
        size,
        "" if newest is None else _root(newest),
        None if newest is None else instant(newest.created_at),
        n_pending,
        tuple(
            WitnessState(w.name, vouched.get(w.name, 0), size - vouched.get(w.name, 0))
            for w in settings.witnesses
        ),
        settings.n_needed,
        _witnessed(log, config, keystore) if settings.n_needed else 0,
    )


def checkpoint_problem(store: Store, config: FleetConfig) -> str:
    """Return what is wrong with the newest checkpoint, as far as the stored tree and the keys tell; empty if nothing is."""
    log, keystore = Log(store.control, config.name), KeyStore.of(store, config)
    try:
        return newest_problem(log, verifiers(keystore.in_force(log)))
    except ValueError as error:  # a LedgerError, or an entry that cannot be read
        return str(error)


def _root(stored: StoredCheckpoint) -> str:
    try:
        return Checkpoint.parse(stored.note().text).root.hex()
    except LedgerError:  # a verification says what is wrong with it
        return ""


def _witnessed(log: Log, config: FleetConfig, keystore: KeyStore) -> int:
    """Return the size of the newest checkpoint that enough witnesses have vouched for, if it is the log's own."""
    settings = config.ledger
    stored = log.newest_vouched([w.name for w in settings.witnesses], settings.n_needed)
    if stored is None or not keystore.is_there():
        return 0
    try:
        keys, rotations = verifiers(keystore.load()), log.of_kind(KEY_ROTATION)
        policy = policy_of(Trust.of(log.fleet, keys, rotations).all_keys, settings)
        return stored.size if policy.judged(stored.note()).has_quorum else 0
    except LedgerError:  # a verification says what is wrong with it
        return 0
