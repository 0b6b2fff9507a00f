"""Logs for tests, in a real control database."""

from collections.abc import Sequence

import sqlalchemy as sa

from fleet_dagster.ledger.log import Leaf, Log
from fleet_dagster.ledger.note import Checkpoint
from fleet_dagster.ledger.signing import SigningKey, signed
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import ledgers
from fleet_dagster_tests.ledger.keys import LOG, NOW, OLD_LOG, ORIGIN

FLEET = "north"


def entry(number: int) -> bytes:
    return f"entry {number}".encode()


def log_of(control: Control, *, fleet: str = FLEET) -> Log:
    """Return the log of a fleet, begun; all have one name, as the copies of a ledger in several places do."""
    log = Log(control, fleet)
    if fleet == FLEET:
        log.begin(ORIGIN)
    elif log.head() is None:  # `begin` refuses a second log of one name
        with control.transaction() as tx:
            tx.execute(sa.insert(ledgers), [{"fleet": fleet, "origin": ORIGIN, "size": 0}])
    return log


def append(
    log: Log, entries: Sequence[bytes], *, keys: Sequence[SigningKey] = (LOG, OLD_LOG)
) -> Checkpoint:
    """Append entries, and the checkpoint that keys sign of them."""
    head = log.head()
    assert head is not None
    batch = log.prepare(head, [Leaf(one, "test") for one in entries])
    checkpoint = Checkpoint(head.origin, batch.size, batch.root)
    with log.control.transaction() as tx:
        log.append(tx, batch, signed(checkpoint, keys, time=NOW))
    return checkpoint


def grow(log: Log, *sizes: int) -> Checkpoint:
    """Append numbered entries until the log has each of these sizes."""
    checkpoint = Checkpoint("", 0, b"")
    for size in sizes:
        head = log.head()
        assert head is not None
        checkpoint = append(log, [entry(number) for number in range(head.size, size)])
    return checkpoint


def vouch(log: Log, size: int, *witnesses: SigningKey) -> None:
    """Keep witnesses' cosignatures of the checkpoint of a size."""
    (stored,) = log.checkpoints(since=size, until=size)
    for witness in witnesses:
        log.attach(size, witness.name, witness.sign(stored.note().text, time=NOW + size))
