"""The pin: the newest checkpoint that a verification has seen, kept apart from the database, so that a ledger cannot shrink or change."""

from pathlib import Path

from fleet_dagster.ledger.key_files import FOLDER_MODE
from fleet_dagster.ledger.note import Checkpoint, Note
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.storage.durable import replacing


def read_pin(path: Path) -> Note | None:
    """Return the checkpoint that was seen last; None where none was.

    Raises
    ------
    LedgerError
        The file holds something else, or may not be read.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise LedgerError(
            f"pin {path}",
            "you may not read it",
            "Verify as the owner of the keys, or name a file of your own with --pin",
        ) from None
    try:
        note = Note.parse(content, what=str(path))
        Checkpoint.parse(note.text, what=str(path))
    except LedgerError as error:
        raise LedgerError(
            f"pin {path}",
            f"it is no checkpoint ({error.problem})",
            "Put it back from a copy. Without it nobody can tell whether the ledger has shrunk since; remove it only if you accept that",
        ) from error
    return note


def write_pin(path: Path, note: Note) -> None:
    """Keep a checkpoint as the one that was seen last, unless another verification has seen a larger one meanwhile."""
    found = read_pin(path)
    if found is not None and Checkpoint.parse(found.text).size > Checkpoint.parse(note.text).size:
        return
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)  # keys may be put there later
    with replacing(path) as partial:
        partial.write_text(note.content, encoding="utf-8")
