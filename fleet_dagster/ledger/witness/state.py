"""What a witness knows: its own name, whom it trusts, and the latest checkpoint of each log that it vouched for.

It is a database of its own. Losing it would let a witness vouch for a rewritten log, so it is made once and never anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from fleet_dagster.ledger.merkle import EMPTY_ROOT
from fleet_dagster.ledger.note import Checkpoint, Note
from fleet_dagster.ledger.policy import LOG_KINDS
from fleet_dagster.ledger.signing import VerifierKey
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.storage.control.engine import Control

MAX_ORIGIN_BYTES = 255
"""Bytes of a name that an ML-DSA signature has room for."""

metadata = sa.MetaData()
own_keys = sa.Table(
    "own_keys",
    metadata,
    sa.Column("vkey", sa.Text, primary_key=True),
    comment="Public keys of this witness",
)
log_keys = sa.Table(
    "log_keys",
    metadata,
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("vkey", sa.Text, primary_key=True),
    comment="Public keys of the logs that this witness trusts",
)
logs = sa.Table(
    "logs",
    metadata,
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column(
        "note", sa.Text, nullable=False, comment="With its signatures; empty until the first"
    ),
    sa.Column("cosigned_at", sa.BigInteger, nullable=False, comment="POSIX time [s]"),
    comment="The latest checkpoint that was vouched for; rows are never removed",
)


@dataclass(frozen=True, slots=True)
class Known:
    """A log as the witness knows it; of size 0 and without a note if it never vouched for it."""

    origin: str
    size: int
    root: bytes
    note: str
    cosigned_at: int


class ConflictError(LedgerError):
    """A checkpoint does not start where the witness stands."""

    def __init__(self, known: Known) -> None:
        self.size = known.size
        super().__init__(
            f"log {known.origin!r}",
            f"the witness stands at {known.size} entries, with another root or size",
            "Prove from there",
        )


class State:
    """The witness's database. Every write is one transaction, flushed to the disk when it returns."""

    def __init__(self, url: str) -> None:
        self._control = Control(url)  # never migrated: none of the fleets' tables are in it

    @classmethod
    def create(cls, path: Path, keys: Sequence[VerifierKey]) -> "State":
        """Make the database of a witness with these keys.

        Raises
        ------
        LedgerError
            There is one already.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        state = cls(f"sqlite:///{path}")
        with state._control.transaction() as tx:
            metadata.create_all(tx)
            if tx.execute(sa.select(own_keys.c.vkey)).first():
                raise LedgerError(str(path), "there is a witness already", "Name another folder")
            tx.execute(sa.insert(own_keys), [{"vkey": key.vkey} for key in keys])
        return state

    @classmethod
    def open(cls, path: Path) -> "State":
        """Open the database of a witness.

        Raises
        ------
        LedgerError
            There is none. It is not made anew: it would have forgotten what it vouched for.
        """
        if not path.is_file():
            raise LedgerError(
                str(path),
                "there is no witness",
                "Make one with `fleet witness init`; if there was one, put its database back, or make a new witness with new keys",
            )
        return cls(f"sqlite:///{path}")

    def close(self) -> None:
        """Close the database."""
        self._control.dispose()

    def keys(self) -> tuple[VerifierKey, ...]:
        """Return the witness's own keys, in order of kind."""
        with self._control.reading() as tx:
            found = [VerifierKey.parse(v) for v in tx.execute(sa.select(own_keys.c.vkey)).scalars()]
        return tuple(sorted(found, key=lambda key: key.kind))

    def trust(self, keys: Sequence[VerifierKey]) -> None:
        """Trust logs' keys, each for the log of its name. A log that is known already stays where it stands.

        Raises
        ------
        LedgerError
            One is not a log's; none is trusted then.
        """
        for key in keys:
            _refuse_others(key)
        with self._control.transaction() as tx:
            for key in keys:
                same = sa.select(log_keys).where(
                    log_keys.c.origin == key.name, log_keys.c.vkey == key.vkey
                )
                if not tx.execute(same).first():
                    tx.execute(sa.insert(log_keys), [{"origin": key.name, "vkey": key.vkey}])
                if not tx.execute(sa.select(logs).where(logs.c.origin == key.name)).first():
                    tx.execute(sa.insert(logs), [_never(key.name)])

    def distrust(self, key: VerifierKey) -> None:
        """Trust a log's key no more. What was vouched for stays known.

        Raises
        ------
        LedgerError
            It was not trusted.
        """
        c = log_keys.c
        with self._control.transaction() as tx:
            gone = tx.execute(
                sa.delete(log_keys).where(c.origin == key.name, c.vkey == key.vkey)
            ).rowcount
        if not gone:
            raise LedgerError(
                f"key {key.vkey[:60]!r}", "it is not trusted", "See `fleet witness show`"
            )

    def trusted(self, origin: str) -> tuple[VerifierKey, ...]:
        """Return the keys that are trusted for a log; none where the log is unknown."""
        query = sa.select(log_keys.c.vkey).where(log_keys.c.origin == origin)
        with self._control.reading() as tx:
            return tuple(VerifierKey.parse(v) for v in tx.execute(query).scalars())

    def known(self) -> list[Known]:
        """Return every log, in order of name."""
        with self._control.reading() as tx:
            return [_known(row) for row in tx.execute(sa.select(logs).order_by(logs.c.origin))]

    def advance(
        self,
        checkpoint: Checkpoint,
        old: int,
        cosign: Callable[[Known], tuple[Note, int]],
    ) -> Note:
        """Vouch for a checkpoint if the witness stands at `old` entries, in one transaction.

        `cosign` is given what is known, refuses or returns the signed note and the POSIX time [s]. It is called while
        nobody else can write, so what is signed later is never smaller. Returns the note once it is on the disk.

        Raises
        ------
        ConflictError
            The witness stands elsewhere.
        """
        origin = checkpoint.origin
        with self._control.transaction() as tx:
            known = _at(tx, origin)
            if known.size != old:
                raise ConflictError(known)
            note, time = cosign(known)
            new = {
                "size": checkpoint.size,
                "root": checkpoint.root,
                "note": note.content,
                "cosigned_at": time,
            }
            same = (logs.c.origin == origin, logs.c.size == old, logs.c.root == known.root)
            if not tx.execute(sa.update(logs).where(*same).values(**new)).rowcount:
                raise ConflictError(_at(tx, origin))  # a database that does not queue its writers
        return note


def _at(tx: sa.Connection, origin: str) -> Known:
    return _known(tx.execute(sa.select(logs).where(logs.c.origin == origin)).one())


def _known(row: sa.Row[tuple[object, ...]]) -> Known:
    return Known(row.origin, int(row.size), bytes(row.root), row.note, int(row.cosigned_at))


def _never(origin: str) -> dict[str, object]:
    return {"origin": origin, "size": 0, "root": EMPTY_ROOT, "note": "", "cosigned_at": 0}


def _refuse_others(key: VerifierKey) -> None:
    what = f"key {key.vkey[:60]!r}"
    if key.kind not in LOG_KINDS:
        raise LedgerError(
            what,
            f"its type is {key.kind:#04x}, a witness's; expected a log's: 0x01 or 0x06",
            "Give the key that `fleet keys show` prints",
        )
    if len(key.name.encode()) > MAX_ORIGIN_BYTES:
        raise LedgerError(what, "its name has more than 255 bytes", "Shorten the log's name")
