"""The pin: the newest checkpoint that a verification has seen, kept apart from the database, so that a ledger cannot shrink or change."""

from pathlib import Path

from fleet_dagster.ledger.note import Checkpoint, Note
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.storage.durable import replacing


def read_pin(path: Path) -> Note | None:
    """Return the checkpoint that was seen last; None where none was.

    Raises
    ------
    LedgerError
        The file holds something else.
    """
    if not path.exists():
        return None
    try:
        note = Note.parse(path.read_bytes(), what=str(path))
        Checkpoint.parse(note.text, what=str(path))
    except LedgerError as error:
        raise LedgerError(
            f"pin {path}",
            f"it is no checkpoint ({error.problem})",
            "Put it back from a copy. Without it nobody can tell whether the ledger has shrunk since; remove it only if you accept that",
        ) from error
    return note


def write_pin(path: Path, note: Note) -> None:
    """Keep a checkpoint as the one that was seen last."""
    with replacing(path) as partial:
        partial.write_text(note.content, encoding="utf-8")
