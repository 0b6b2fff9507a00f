"""A witness: looks at a checkpoint, and vouches for it if the log only grew since the last one.

Rules: C2SP, "Transparency log witnesses" (c2sp.org/tlog-witness), section "add-checkpoint".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet_dagster.ledger.key_files import new_keys, read_private, write_private
from fleet_dagster.ledger.merkle import verify_consistency
from fleet_dagster.ledger.note import Checkpoint, Note, Signature
from fleet_dagster.ledger.signing import Kind, SigningKey, VerifierKey
from fleet_dagster.ledger.witness.state import MAX_ORIGIN_BYTES, ConflictError, Known, State
from fleet_dagster.ledger.witness.submission import Submission
from fleet_dagster.model.errors import LedgerError

KINDS = (Kind.ED25519_COSIGNATURE, Kind.MLDSA44_COSIGNATURE)
"""A witness signs with both, and either is enough."""
CONFLICT = 409
"""Status of an answer whose content is a size."""
Clock = Callable[[], int]
"""Returns the POSIX time [s]."""


class UnprovenError(LedgerError):
    """A checkpoint's proof does not show that the log only grew."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer to a submission: HTTP's status, and either signature lines, a size, or words."""

    status: int
    content: str
    origin: str = ""
    old: int | None = None
    size: int | None = None


class Witness:
    """The keys and the state of one witness, in one folder."""

    def __init__(self, state: State, keys: Sequence[SigningKey], now: Clock) -> None:
        self.state, self.keys, self._now = state, tuple(keys), now

    @classmethod
    def open(cls, folder: Path, now: Clock) -> "Witness":
        """Open the witness of a folder.

        Raises
        ------
        LedgerError
            There is none, or its keys are not those that it was made with, or others may read them.
        """
        state = State.open(database_of(folder))
        try:
            return cls(state, _own_keys(folder, state.keys()), now)
        except BaseException:
            state.close()
            raise

    def answer(self, body: bytes) -> Verdict:
        """Judge a submission, and vouch for its checkpoint if nothing speaks against it."""
        try:
            submission = Submission.parse(body)
            checkpoint = submission.checkpoint()
        except LedgerError as error:
            return Verdict(400, f"{error}\n")
        about = (checkpoint.origin, submission.old, checkpoint.size)
        trusted = self.state.trusted(checkpoint.origin)
        if not trusted:
            return Verdict(404, "this witness does not know that log\n", *about)
        signed = _signed(submission.note, trusted)
        if signed is None:
            return Verdict(403, "no valid signature of a trusted key of that log\n", *about)
        if submission.old > checkpoint.size:
            return Verdict(400, "the old size is larger than the checkpoint's\n", *about)
        status, content = self._judged(submission, checkpoint, signed)
        return Verdict(status, content, *about)

    def _judged(
        self, submission: Submission, checkpoint: Checkpoint, signed: Note
    ) -> tuple[int, str]:
        """Return status and content of the answer to a checkpoint that a log signed."""
        lines: list[Signature] = []

        def cosign(known: Known) -> tuple[Note, int]:
            _refuse_another_past(submission, checkpoint, known)
            time = self._now()
            lines.extend(key.sign(signed.text, time=time) for key in self.keys)
            return signed.signed_also(*lines), time

        try:
            self.state.advance(checkpoint, submission.old, cosign)
        except ConflictError as conflict:
            return CONFLICT, f"{conflict.size}\n"
        except UnprovenError as error:
            return 422, f"{error}\n"
        return 200, "".join(line.line for line in lines)


def make_witness(folder: Path, name: str) -> tuple[VerifierKey, ...]:
    """Make a witness in a folder; returns its public keys.

    Raises
    ------
    LedgerError
        There is one already, or it cannot have that name.
    """
    if not name or any(c.isspace() or c == "+" or not c.isprintable() for c in name):
        raise LedgerError(
            f"name {name!r}",
            "it is empty, or has spaces or +",
            "Choose one like witness.example/w1",
        )
    if len(name.encode()) > MAX_ORIGIN_BYTES:
        raise LedgerError(f"name {name[:60]!r}", "it has more than 255 bytes", "Shorten it")
    keys = new_keys(name, KINDS)
    public = tuple(key.verifier for key in keys)
    if database_of(folder).exists():
        raise LedgerError(str(folder), "there is a witness already", "Name another folder")
    write_private(keys_of(folder), keys)
    State.create(database_of(folder), public).close()
    return public


def database_of(folder: Path) -> Path:
    """Return the file of a witness's state."""
    return folder / "witness.db"


def keys_of(folder: Path) -> Path:
    """Return the file of a witness's private keys."""
    return folder / "keys" / "witness.pem"


def _own_keys(folder: Path, public: tuple[VerifierKey, ...]) -> tuple[SigningKey, ...]:
    keys = read_private(keys_of(folder), public[0].name, kinds=KINDS) if public else ()
    if not public or tuple(key.verifier for key in keys) != public:
        raise LedgerError(
            str(keys_of(folder)),
            "these are not the keys that the witness was made with",
            "Put the folder's keys and database back as they were, together",
        )
    return keys


def _signed(note: Note, trusted: Sequence[VerifierKey]) -> Note | None:
    """Return a note with the lines of trusted keys alone; None if there is none, or one is false."""
    lines = [line for line in note.signatures if any(key.made(line) for key in trusted)]
    are_true = all(
        key.verifies(note.text, line) for line in lines for key in trusted if key.made(line)
    )
    return Note(note.text, tuple(lines)) if lines and are_true else None


def _refuse_another_past(submission: Submission, checkpoint: Checkpoint, known: Known) -> None:
    """Refuse a checkpoint of a log that did not only grow since it was known."""
    if checkpoint.size == known.size and checkpoint.root != known.root:
        raise ConflictError(known)
    if not verify_consistency(
        submission.proof, known.size, checkpoint.size, known.root, checkpoint.root
    ):
        raise UnprovenError(
            f"log {checkpoint.origin!r}",
            f"the proof does not lead from the {known.size} entries known here to {checkpoint.size}",
            "Send a proof as RFC 6962, section 2.1.2, has it; if it is one, the log was rewritten",
        )
