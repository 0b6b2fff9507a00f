"""Proofs that an entry is in a log, to be verified by anybody, anywhere, without the log.

Format: C2SP, "Transparency log proofs" (c2sp.org/tlog-proof), v1.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass

from fleet_dagster.ledger.log import Log, StoredCheckpoint, StoredLeaf
from fleet_dagster.ledger.merkle import HASH_BYTES, inclusion_proof, leaf_hash, verify_inclusion
from fleet_dagster.ledger.note import Checkpoint, Note, parse_base64
from fleet_dagster.ledger.policy import NO_QUORUM, Judgement, Policy
from fleet_dagster.model.errors import LedgerError

HEADER = "c2sp.org/tlog-proof@v1"
MAX_BYTES = 4 << 20
MAX_HASHES = 63
_EXTRA = "extra "
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")
_WRITTEN = "Expected a proof as c2sp.org/tlog-proof has it, with no byte changed on the way"
_REFUSED = "Do not take the entry for recorded; ask for a proof of it again"
_TAMPERED = "It was tampered with or damaged; restore the control database from a backup"


@dataclass(frozen=True, slots=True)
class Proof:
    """An entry's place in a log, the hashes that lead from it to the root, and the checkpoint that says so.

    The format lets `extra` be anything and does not protect it. Ours holds the entry itself, and that is what is proven: the
    leaf's hash is computed from these bytes, so one that was changed on the way does not lead to the root that was signed.
    """

    extra: bytes | None
    index: int
    hashes: tuple[bytes, ...]
    note: Note

    @classmethod
    def parse(cls, proof: str | bytes, *, what: str = "proof") -> "Proof":
        """Read a proof.

        Raises
        ------
        LedgerError
            A line is missing, out of place or malformed, the checkpoint is no note, or it is too long.
        """
        head, blank, note = _decoded(proof, what).partition("\n\n")
        lines = head.split("\n")
        if not blank or lines.pop(0) != HEADER:
            raise LedgerError(what, f"found no {HEADER!r} with a checkpoint below", _WRITTEN)
        extra = None
        if lines and lines[0].startswith(_EXTRA):
            extra = _bytes_of(lines.pop(0).removeprefix(_EXTRA), what)
        index = _INDEX.fullmatch(lines.pop(0)) if lines else None
        if index is None or len(lines) > MAX_HASHES:
            problem = f"expected an index and up to {MAX_HASHES} hashes before the checkpoint"
            raise LedgerError(what, problem, _WRITTEN)
        hashes = tuple(_bytes_of(line, what) for line in lines)
        if any(len(one) != HASH_BYTES for one in hashes):
            raise LedgerError(what, f"a hash has not {HASH_BYTES} bytes", _WRITTEN)
        return cls(extra, int(index[1]), hashes, Note.parse(note, what=what))

    @property
    def content(self) -> str:
        """The proof as C2SP writes it."""
        extra = [] if self.extra is None else [f"{_EXTRA}{base64.b64encode(self.extra).decode()}"]
        hashes = (base64.b64encode(one).decode() for one in self.hashes)
        head = "\n".join((HEADER, *extra, f"index {self.index}", *hashes))
        return f"{head}\n\n{self.note.content}"


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof has shown."""

    entry: bytes
    index: int
    judgement: Judgement


def verify(proof: Proof, entry: bytes | None, policy: Policy, *, what: str = "proof") -> Proven:
    """Verify that an entry is where a proof says, in a log that a policy trusts; by default the entry that it carries.

    Raises
    ------
    LedgerError
        There is no entry, the policy refuses the checkpoint, the entry is not in that tree, or too few witnesses vouched.
    """
    proven = proof.extra if entry is None else entry
    if proven is None:
        raise LedgerError(what, "it carries no entry", "Give the entry that it is to prove")
    judgement = policy.judged(proof.note, what=what)
    checkpoint = judgement.checkpoint
    if not _is_included(proof, leaf_hash(proven), checkpoint):
        problem = f"the entry is not number {proof.index} of the {checkpoint.size} that were signed"
        raise LedgerError(what, problem, _REFUSED)
    if not judgement.has_quorum:
        vouched = ", ".join(judgement.witnesses) or "nobody"
        problem = f"{vouched} vouched for its checkpoint, which is not enough for the policy"
        raise LedgerError(what, problem, "Ask for a proof again once more witnesses have vouched")
    return Proven(proven, proof.index, judgement)


def make_proof(log: Log, number: int, policy: Policy | None = None) -> Proof:
    """Prove a stored entry by the newest checkpoint that covers it: with a policy by the newest of which its quorum is reached.

    Where none has a quorum, the newest is taken.

    Raises
    ------
    LedgerError
        There is no such entry, no checkpoint covers it, the policy refuses one that witnesses vouched for, or what is stored
        no longer leads to the root that was signed.
    """
    stored = _entry(log, number)
    note = _checkpoint(log, number, policy)
    checkpoint = Checkpoint.parse(note.text)
    hashes = inclusion_proof(number, checkpoint.size, log.tiles().node)
    proof = Proof(stored.leaf.entry, number, tuple(hashes), note)
    if not _is_included(proof, leaf_hash(stored.leaf.entry), checkpoint):
        problem = (
            f"entry {number} does not lead to the root that was signed at size {checkpoint.size}"
        )
        raise LedgerError(f"ledger of fleet {log.fleet!r}", problem, _TAMPERED)
    return proof


def _is_included(proof: Proof, leaf: bytes, checkpoint: Checkpoint) -> bool:
    return verify_inclusion(proof.hashes, proof.index, checkpoint.size, leaf, checkpoint.root)


def _entry(log: Log, number: int) -> StoredLeaf:
    for stored in log.entries(number, number + 1):
        return stored
    head = log.head()
    size = 0 if head is None else head.size
    lost = "it should be there" if 0 <= number < size else f"the ledger has {size} entries"
    raise LedgerError(
        f"ledger of fleet {log.fleet!r}", f"there is no entry {number}: {lost}", "Name another one"
    )


def _checkpoint(log: Log, number: int, policy: Policy | None) -> Note:
    if policy is not None and policy.quorum != NO_QUORUM:
        for stored in _cosigned(log, number, policy.n_needed):
            note = stored.note()
            if not any(key.made(line) for key in policy.logs for line in note.signatures):
                continue  # signed before the keys were changed: whoever has this policy does not know those
            if policy.judged(note, what=f"checkpoint of size {stored.size}").has_quorum:
                return note
    newest = log.newest_checkpoint()
    if newest is None or newest.size <= number:
        problem = f"no checkpoint covers entry {number}"
        raise LedgerError(f"ledger of fleet {log.fleet!r}", problem, "Wait for the next one")
    return newest.note()


def _cosigned(log: Log, number: int, n_needed: int) -> Iterator[StoredCheckpoint]:
    """Yield the checkpoints that cover an entry and for which so many witnesses vouched, from the newest."""
    for size in log.cosigned_sizes(since=number + 1, n_needed=n_needed):
        yield from log.checkpoints(since=size, until=size)


def _decoded(proof: str | bytes, what: str) -> str:
    try:
        content = proof.encode() if isinstance(proof, str) else proof
        text = content.decode()
    except UnicodeError as error:
        raise LedgerError(what, "it is not UTF-8", _WRITTEN) from error
    if len(content) > MAX_BYTES:
        raise LedgerError(what, f"it has more than {MAX_BYTES} bytes", _WRITTEN)
    return text


def _bytes_of(value: str, what: str) -> bytes:
    try:
        return parse_base64(value, what)
    except LedgerError as error:
        raise LedgerError(what, error.problem, _WRITTEN) from error
