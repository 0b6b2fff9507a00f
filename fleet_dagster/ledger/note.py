"""Signed notes and checkpoints, strictly as C2SP has them: whatever departs from the format is refused.

Formats: C2SP, "Signed note" (c2sp.org/signed-note) and "Transparency log checkpoints" (c2sp.org/tlog-checkpoint), v1.0.0.
"""

import base64
import binascii
import re
from dataclasses import dataclass, replace

from fleet_dagster.ledger.merkle import HASH_BYTES
from fleet_dagster.model.errors import LedgerError

MAX_BYTES = 1 << 20
MAX_SIGNATURES = 100
ID_BYTES = 4
_LINE = re.compile(r"— (?P<name>[^\s+]+) (?P<value>[A-Za-z0-9+/]+=*)")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_WRITTEN = "Expected a note as c2sp.org/signed-note has it, with no byte changed on the way"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who signed, with which key, and what."""

    name: str
    key_id: bytes
    value: bytes

    @property
    def line(self) -> str:
        """The line, with its end."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends with a line's end, and its signatures."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, note: str | bytes, *, what: str = "note") -> "Note":
        """Read a note.

        Raises
        ------
        LedgerError
            It is not UTF-8, holds control characters, is too long, or text, blank line or signatures are not as they must be.
        """
        body = _decoded(note, what)
        text, blank, lines = body.rpartition("\n\n")
        if not blank:
            raise LedgerError(what, "found no blank line between text and signatures", _WRITTEN)
        if not lines.endswith("\n"):
            raise LedgerError(what, "its last line does not end", _WRITTEN)
        return cls(text + "\n", parse_signatures(lines, what=what))

    @property
    def content(self) -> str:
        """The whole note."""
        return f"{self.text}\n{''.join(s.line for s in self.signatures)}"

    def signed_also(self, *signatures: Signature) -> "Note":
        """Return the note with more signatures; those that it has are not repeated."""
        new = [s for s in signatures if s not in self.signatures]
        return replace(self, signatures=(*self.signatures, *new))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: its name, its size in leaves, and its root."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()
    """Further lines; ours has none, for not everybody who signs signs them."""

    @property
    def text(self) -> str:
        """The text of its note."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))

    @classmethod
    def parse(cls, text: str, *, what: str = "checkpoint") -> "Checkpoint":
        """Read a checkpoint's text.

        Raises
        ------
        LedgerError
            A line is missing or empty, the size has leading zeros or is no number, or the root is no SHA-256 in base64.
        """
        lines = text.split("\n")[:-1]
        if len(lines) < 3 or not all(lines) or not text.endswith("\n"):  # noqa: PLR2004 - origin, size, root
            raise LedgerError(
                what, f"found {len(lines)} lines, expected origin, size and root", _WRITTEN
            )
        origin, size, encoded, *extensions = lines
        root = parse_base64(encoded, what)
        if len(root) != HASH_BYTES:
            raise LedgerError(what, f"its root has {len(root)} bytes, expected 32", _WRITTEN)
        return cls(origin, parse_size(size, what), root, tuple(extensions))


def parse_signatures(lines: str, *, what: str = "note") -> tuple[Signature, ...]:
    """Read signature lines, each with its end.

    Raises
    ------
    LedgerError
        There is none, there are too many, or one is malformed.
    """
    each = lines.split("\n")[:-1]
    if not each or not lines.endswith("\n") or len(each) > MAX_SIGNATURES:
        raise LedgerError(
            what, f"found {len(each)} signature lines, expected 1 to {MAX_SIGNATURES}", _WRITTEN
        )
    found = []
    for line in each:
        match = _LINE.fullmatch(line)
        if match is None:
            raise LedgerError(what, f"found the signature line {line[:80]!r}", _WRITTEN)
        value = parse_base64(match["value"], what)
        if len(value) <= ID_BYTES:
            raise LedgerError(what, f"the signature of {match['name']} is empty", _WRITTEN)
        found.append(Signature(match["name"], value[:ID_BYTES], value[ID_BYTES:]))
    return tuple(found)


def parse_base64(value: str, what: str) -> bytes:
    """Read standard base64, in the one way in which it is written."""
    try:
        found = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if base64.b64encode(found).decode() != value:
        raise LedgerError(what, f"found {value[:80]!r}, expected base64", _WRITTEN)
    return found


def parse_size(value: str, what: str) -> int:
    """Read a number of leaves: decimal, without leading zeros."""
    if not _SIZE.fullmatch(value):
        raise LedgerError(
            what,
            f"found the size {value[:40]!r}, expected a number without leading zeros",
            _WRITTEN,
        )
    return int(value)


def _decoded(note: str | bytes, what: str) -> str:
    try:
        content = note.encode() if isinstance(note, str) else note
        note = content.decode()
    except UnicodeError as error:
        raise LedgerError(what, "it is not UTF-8", _WRITTEN) from error
    if len(content) > MAX_BYTES:
        raise LedgerError(what, f"it has more than {MAX_BYTES} bytes", _WRITTEN)
    control = _CONTROL.search(note)
    if control is not None:
        raise LedgerError(what, f"found the control character {control[0]!r}", _WRITTEN)
    return note
