"""A log as a folder of files that any web server can serve and any reader of the format can audit.

Layout: C2SP, "Tiled transparency logs" (c2sp.org/tlog-tiles), v1.0.0.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fleet_dagster.ledger.log import Log
from fleet_dagster.ledger.merkle import HASH_BYTES, Frontier, leaf_hash
from fleet_dagster.ledger.note import Checkpoint, Note
from fleet_dagster.ledger.tiles import WIDTH, Tiles
from fleet_dagster.model.errors import LedgerError

MAX_ENTRY_BYTES = 65_535
"""Bytes of an entry that a bundle can hold."""
Progress = Callable[[int, int], None]
"""Called with the entries that were written so far, and with how many there are."""
_CHECKPOINT, _TILE, _ENTRIES, _PART = "checkpoint", "tile", "entries", ".part"
_ELSEWHERE = "Name an empty folder, or one with an older export of the same ledger"


def export(log: Log, folder: Path, progress: Progress = lambda _done, _total: None) -> Checkpoint:
    """Write a log as it is at its newest checkpoint, into an empty folder or over an older export of it.

    Files of entries and hashes are never changed once they are there. Partial ones stay until they are full: whoever read an
    older checkpoint needs them. The checkpoint comes last, so that what it covers is always there. Refused, the folder is left as
    it was; cut off half-way, the next export goes on.

    Raises
    ------
    LedgerError
        Nothing was signed yet, the folder holds other things or another log, an entry is missing or too long, or the entries
        do not lead to the root that was signed.
    """
    stored = log.newest_checkpoint()
    if stored is None:
        problem = "it has no checkpoint"
        raise LedgerError(f"ledger of fleet {log.fleet!r}", problem, "Export it once it has one")
    note = stored.note()
    checkpoint = Checkpoint.parse(note.text)
    _refuse_other(log, folder, checkpoint)
    written = _Folder(folder)
    try:
        _write(log, written, checkpoint, progress)
    except LedgerError:
        written.undo()
        raise
    written.finish(note)
    return checkpoint


def tile_name(number: int, width: int = WIDTH) -> str:
    """Return the path of a tile, or of a bundle of entries, below its level."""
    digits = f"{number:03d}"
    digits = digits.zfill(-len(digits) // 3 * -3)
    *first, last = (digits[at : at + 3] for at in range(0, len(digits), 3))
    name = "/".join((*(f"x{part}" for part in first), last))
    return name if width == WIDTH else f"{name}.p/{width}"


def _write(log: Log, written: "_Folder", checkpoint: Checkpoint, progress: Progress) -> None:
    frontier = Frontier()
    edge: dict[tuple[int, int], bytes] = {}
    """Tiles that are not full yet."""
    for number, entries in enumerate(_bundles(log, checkpoint)):
        leaves = [leaf_hash(entry) for entry in entries]
        # Tiles remember what they read, and the edge changes with every bundle.
        tiles = Tiles(lambda level, at: edge.get((level, at), b""))
        for level, at, hashes in list(tiles.grown(frontier.size, leaves)):
            edge[level, at] = hashes
            if len(hashes) == WIDTH * HASH_BYTES:
                written.put(f"{level}/{tile_name(at)}", edge.pop((level, at)))
        frontier.extend(leaves)
        written.put(f"{_ENTRIES}/{tile_name(number, len(entries))}", _bundle(entries))
        progress(frontier.size, checkpoint.size)
    for (level, at), hashes in edge.items():
        written.put(f"{level}/{tile_name(at, len(hashes) // HASH_BYTES)}", hashes)
    if frontier.root() != checkpoint.root:
        problem = f"its entries do not lead to the root that was signed at size {checkpoint.size}"
        advice = "It was tampered with or damaged; restore the control database from a backup"
        raise LedgerError(f"ledger {checkpoint.origin!r}", problem, advice)


def _bundles(log: Log, checkpoint: Checkpoint) -> Iterator[list[bytes]]:
    """Yield the entries, up to 256 at once."""
    bundle: list[bytes] = []
    expected = 0
    for stored in log.entries(0, checkpoint.size):
        if stored.number != expected:
            break
        _refuse_long(stored.leaf.entry, stored.number, checkpoint.origin)
        bundle.append(stored.leaf.entry)
        expected += 1
        if len(bundle) == WIDTH:
            yield bundle
            bundle = []
    if expected != checkpoint.size:
        problem = f"entry {expected} of {checkpoint.size} is missing"
        advice = "It was tampered with or damaged; restore the control database from a backup"
        raise LedgerError(f"ledger {checkpoint.origin!r}", problem, advice)
    if bundle:
        yield bundle


def _bundle(entries: Sequence[bytes]) -> bytes:
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


class _Folder:
    """Writes files that were not there, each as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._new: list[Path] = []
        self._there: list[Path] = []

    def put(self, name: str, content: bytes) -> None:
        """Write a file below `tile`, unless it is there already.

        Raises
        ------
        LedgerError
            It is there with another content.
        """
        path = self.folder / _TILE / name
        if not path.exists():
            self._new.append(path)
            self._replace(path, content)
        elif path.read_bytes() != content:
            problem = "it is there with another content, and is never changed once it is written"
            raise LedgerError(f"file {str(path)!r}", problem, _ELSEWHERE)
        self._there.append(path)

    def finish(self, note: Note) -> None:
        """Write the checkpoint, and remove partial files of those that are full by now."""
        self._replace(self.folder / _CHECKPOINT, note.content.encode())
        for path in self._there:
            partial = path.with_name(f"{path.name}.p")
            if partial.is_dir():
                shutil.rmtree(partial)

    def undo(self) -> None:
        """Remove what was written, and the folders that it leaves empty."""
        (self.folder / _PART).unlink(missing_ok=True)
        for path in self._new:
            path.unlink(missing_ok=True)
            for parent in path.parents:
                if parent == self.folder or not parent.exists() or any(parent.iterdir()):
                    break
                parent.rmdir()

    def _replace(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = self.folder / _PART
        part.write_bytes(content)
        os.replace(part, path)  # noqa: PTH105 - as a whole, on every system


def _refuse_long(entry: bytes, number: int, origin: str) -> None:
    if len(entry) > MAX_ENTRY_BYTES:
        problem = (
            f"entry {number} has {len(entry)} bytes, and the format holds up to {MAX_ENTRY_BYTES}"
        )
        advice = "This ledger cannot be exported as tiles; prove its entries one by one"
        raise LedgerError(f"ledger {origin!r}", problem, advice)


def _refuse_other(log: Log, folder: Path, checkpoint: Checkpoint) -> None:
    """Refuse a folder that is neither empty nor an older export of this log."""
    if folder.exists() and not folder.is_dir():
        raise LedgerError(f"{str(folder)!r}", "it is a file", _ELSEWHERE)
    tile, present = folder / _TILE, folder / _CHECKPOINT
    found = set(folder.iterdir()) if folder.is_dir() else set()
    others = found - {present, tile, folder / _PART}
    if tile in found:
        others |= {p for p in _below(tile) if p.name != _ENTRIES and not p.name.isdecimal()}
    if others:
        names = ", ".join(sorted(str(p.relative_to(folder)) for p in others)[:3])
        raise LedgerError(f"folder {str(folder)!r}", f"it holds other things: {names}", _ELSEWHERE)
    if present in found:
        what = f"file {str(present)!r}"
        _refuse_another_log(
            log,
            Checkpoint.parse(Note.parse(present.read_bytes(), what=what).text),
            checkpoint,
            what,
        )


def _below(tile: Path) -> set[Path]:
    return set(tile.iterdir()) if tile.is_dir() else {tile}


def _refuse_another_log(log: Log, old: Checkpoint, new: Checkpoint, what: str) -> None:
    if old.origin != new.origin:
        raise LedgerError(what, f"it is of {old.origin!r}, not of {new.origin!r}", _ELSEWHERE)
    if old.size > new.size:
        problem = f"it has {old.size} entries, and the ledger only {new.size}"
        raise LedgerError(what, problem, "The ledger may have lost entries: keep that folder")
    if Frontier.at(old.size, log.tiles().node).root() != old.root:
        problem = f"the ledger does not begin with the {old.size} entries of which it is"
        raise LedgerError(what, problem, "One of them was rewritten: keep that folder")
