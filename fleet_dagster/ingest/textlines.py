"""Lines of a text file, decoded and checked: encoding, compression, length; bounded memory, positions kept for errors."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from fleet_dagster.model.errors import SourceError

MAX_LINE = 2**20
"""Characters; a longer line is not telemetry, and would have to be held in memory."""
_BLOCK = 2**22


@dataclass(frozen=True, slots=True)
class Lines:
    """A run of whole lines without their ends, and the number of the first, from 1."""

    first_no: int
    texts: list[str]


def line_blocks(path: Path, encoding: str) -> Iterator[Lines]:
    """Yield the lines of a file in runs of a few megabytes.

    Raises
    ------
    SourceError
        The file cannot be opened, is not in that encoding, is cut short, or has an endless line.
    """
    decoder = _decoder(path, encoding)
    next_no, rest = 1, ""
    for offset, block, is_last in _blocks(path):
        text = rest + _decoded(
            decoder, block, path=path, encoding=encoding, offset=offset, is_last=is_last
        )
        *whole, rest = text.split("\n")
        if is_last and rest:
            whole, rest = [*whole, rest], ""
        _refuse_long([*whole, rest], next_no, path)
        if whole:
            yield Lines(
                next_no, [line.removesuffix("\r") for line in _without_mark(whole, next_no)]
            )
            next_no += len(whole)


def _without_mark(lines: list[str], first_no: int) -> list[str]:
    """Drop the byte-order mark from the first line of a file."""
    return [lines[0].removeprefix("\ufeff"), *lines[1:]] if first_no == 1 else lines


def _refuse_long(lines: list[str], first_no: int, path: Path) -> None:
    if max(map(len, lines)) <= MAX_LINE:
        return
    i = next(i for i, line in enumerate(lines) if len(line) > MAX_LINE)
    raise SourceError(
        str(path),
        f"line {first_no + i} is longer than {MAX_LINE} characters, expected one snapshot per line",
        "Check that lines end with a line feed, and that the file is text",
    )


def _blocks(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (byte offset after decompression, bytes, whether these are the last)."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    offset = 0
    try:
        with opener(path, "rb") as file:
            binary = cast("BinaryIO", file)
            block = binary.read(_BLOCK)
            while True:
                following = binary.read(_BLOCK) if block else b""
                yield offset, block, not following
                if not following:
                    return
                offset, block = offset + len(block), following
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(
            str(path),
            f"is not whole gzip data after byte {offset} ({error})",
            "Copy or compress the file again",
        ) from error
    except OSError as error:
        raise SourceError(
            str(path),
            f"cannot be read ({error.strerror or error})",
            "Check the path and the permissions",
        ) from error


def _decoder(path: Path, encoding: str) -> codecs.IncrementalDecoder:
    try:
        return codecs.getincrementaldecoder(encoding)("strict")
    except LookupError as error:
        raise SourceError(
            str(path),
            f"source.encoding {encoding!r} is not an encoding that Python knows",
            "Use a name such as 'utf-8' or 'latin-1'",
        ) from error


def _decoded(
    decoder: codecs.IncrementalDecoder,
    block: bytes,
    *,
    path: Path,
    encoding: str,
    offset: int,
    is_last: bool,
) -> str:
    pending = len(decoder.getstate()[0])
    try:
        return decoder.decode(block, is_last)
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        where = max(0, offset - pending + start)
        raise SourceError(
            str(path),
            f"byte {where} is not {encoding} text ({getattr(error, 'reason', error)})",
            "Set source.encoding, for instance to 'latin-1', or convert the file",
        ) from error
