"""What a log sends to a witness: the size that it vouched for, a proof that the log only grew since, and a checkpoint.

Format: C2SP, "Transparency log witnesses" (c2sp.org/tlog-witness), section "add-checkpoint".
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from fleet_dagster.ledger.merkle import HASH_BYTES
from fleet_dagster.ledger.note import Checkpoint, Note, parse_base64, parse_size
from fleet_dagster.model.errors import LedgerError

MAX_PROOF = 63
MAX_SIZE = (1 << 63) - 1
"""Leaves that a log may have: more than a database can count, nobody has."""
_WHAT = "submission"
_WRITTEN = (
    "Expected `old SIZE`, a proof, an empty line and a checkpoint, as c2sp.org/tlog-witness has it"
)


@dataclass(frozen=True, slots=True)
class Submission:
    """A request for a cosignature."""

    old: int
    proof: Sequence[bytes]
    note: Note

    @classmethod
    def parse(cls, body: bytes) -> "Submission":
        """Read the body of a request.

        Raises
        ------
        LedgerError
            It departs from the format in any way.
        """
        head, blank, note = body.partition(b"\n\n")
        if not blank or not head.isascii():
            raise LedgerError(_WHAT, "found no empty line after the proof", _WRITTEN)
        first, *proof = head.decode().split("\n")
        word, _, size = first.partition(" ")
        if word != "old" or len(proof) > MAX_PROOF:
            raise LedgerError(
                _WHAT, f"found {first[:40]!r} and {len(proof)} hashes, expected 0 to 63", _WRITTEN
            )
        return cls(_size(size), tuple(_hash(line) for line in proof), Note.parse(note, what=_WHAT))

    @property
    def content(self) -> bytes:
        """The body of the request."""
        proof = "".join(f"{base64.b64encode(one).decode()}\n" for one in self.proof)
        return f"old {self.old}\n{proof}\n{self.note.content}".encode()

    def checkpoint(self) -> Checkpoint:
        """Return the checkpoint that the note holds.

        Raises
        ------
        LedgerError
            It holds something else.
        """
        found = Checkpoint.parse(self.note.text, what=_WHAT)
        _countable(found.size)
        return found


def _size(value: str) -> int:
    return _countable(parse_size(value, _WHAT))


def _countable(size: int) -> int:
    if size > MAX_SIZE:
        raise LedgerError(_WHAT, f"found the size {size}, expected less than 2^63", _WRITTEN)
    return size


def _hash(line: str) -> bytes:
    found = parse_base64(line, _WHAT)
    if len(found) != HASH_BYTES:
        raise LedgerError(_WHAT, f"a hash has {len(found)} bytes, expected 32", _WRITTEN)
    return found
