"""Which keys may have signed a checkpoint: those that are trusted, and those that lead to or from them by rotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fleet_dagster.ledger.entries import read_entry
from fleet_dagster.ledger.findings import Finding
from fleet_dagster.ledger.log import Head, Log, StoredLeaf
from fleet_dagster.ledger.merkle import Frontier
from fleet_dagster.ledger.note import Checkpoint, Note
from fleet_dagster.ledger.rotation import is_rightful
from fleet_dagster.ledger.signing import VerifierKey
from fleet_dagster.model.errors import LedgerError


@dataclass(frozen=True, slots=True)
class Era:
    """A stretch of a ledger that one set of keys signed."""

    since: int
    """Number of the entry that handed the ledger over to them; -1 for the first."""
    keys: tuple[VerifierKey, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """The eras of a ledger, from the first on, and what is wrong with them."""

    eras: tuple[Era, ...]
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(
        cls, fleet: str, trusted: Sequence[VerifierKey], rotations: Sequence[StoredLeaf]
    ) -> "Trust":
        """Follow the rotations of a ledger from its first keys on; one of the eras must be that of the trusted keys."""
        known = set(trusted)
        eras = [Era(-1, tuple(trusted))]
        for stored in rotations:
            content = _content(stored)
            number = stored.number
            if content is None or not is_rightful(fleet, content):
                problem = "it hands the ledger over to new keys without valid signatures of the old and the new ones"
                return cls(tuple(eras), (Finding("bad_rotation", problem, number),))
            old, new = (
                tuple(VerifierKey.parse(vkey) for vkey in content[which])
                for which in ("old", "new")
            )
            if eras[-1].since == -1:
                eras = [Era(-1, old)]
            if eras[-1].keys != old:
                problem = "it hands the ledger over from keys that did not sign it"
                return cls(tuple(eras), (Finding("bad_rotation", problem, number),))
            eras.append(Era(number, new))
        if not any(known & set(era.keys) for era in eras):
            problem = "the ledger was handed over between keys of which none is trusted"
            return cls(tuple(eras), (Finding("bad_rotation", problem, rotations[0].number),))
        return cls(tuple(eras))

    def keys_at(self, size: int) -> tuple[VerifierKey, ...]:
        """Return the keys that signed the ledger when it had so many entries."""
        return next(era.keys for era in reversed(self.eras) if era.since < size)

    @property
    def all_keys(self) -> tuple[VerifierKey, ...]:
        """The keys of all eras."""
        return tuple(dict.fromkeys(key for era in self.eras for key in era.keys))


def unsigned_by(note: Note, keys: Sequence[VerifierKey]) -> str:
    """Return what is wrong with a ledger's own signatures under a note; empty where all are there and valid."""
    for key in keys:
        own = [s for s in note.signatures if key.made(s)]
        if not own:
            return f"it is not signed by the ledger's key {key.key_id.hex()} (type {key.kind:#04x})"
        if not all(key.verifies(note.text, s) for s in own):
            return f"the signature of the ledger's key {key.key_id.hex()} (type {key.kind:#04x}) is not valid"
    return ""


def newest_problem(log: Log, keys: Sequence[VerifierKey], head: Head | None = None) -> str:
    """Return what is wrong with the newest checkpoint, as far as the stored tree and these keys tell; empty where nothing is.

    With the head of a log that nobody appends to meanwhile, the checkpoint must be of that.
    """
    try:
        newest = log.newest_checkpoint()
        size = 0 if newest is None else newest.size
        if head is not None and size != head.size:
            return f"it has {head.size} entries, but its newest checkpoint is over {size}"
        if newest is None:
            return ""
        note = newest.note()
        signed = Checkpoint.parse(note.text)
        if signed.size != size or (head is not None and signed.origin != head.origin):
            return f"the checkpoint of size {size} is of {signed.origin!r} at {signed.size}"
        if signed.root != Frontier.at(size, log.tiles().node).root():
            return f"the stored tree does not have the root that the checkpoint of size {size} was signed over"
        return unsigned_by(note, keys)
    except LedgerError as error:
        return str(error)


def _content(stored: StoredLeaf) -> dict[str, Any] | None:  # Any: what JSON can hold
    try:
        return read_entry(stored.leaf.entry)
    except ValueError:
        return None
