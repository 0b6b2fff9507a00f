"""JSON Lines as tables of text; a line that is no JSON object is kept, with what is wrong with it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from fleet_dagster.ingest.columns import BAD_LINE, BAD_LINE_REASON, RESERVED, wanted_columns
from fleet_dagster.ingest.textlines import line_blocks
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import SourceError

_MAX_KEYS = 2_000


def json_tables(path: Path, config: FleetConfig) -> Iterator[pa.Table]:
    """Yield the rows of a JSON-lines file in order; keys that the mapping knows are always columns, others while they occur."""
    decoder = _decoder(config.source.decimal)
    is_empty = True
    for lines in line_blocks(path, config.source.encoding):
        numbered = [
            (lines.first_no + i, text)
            for i, text in enumerate(lines.texts)
            if text and not text.isspace()
        ]
        is_empty = is_empty and not numbered
        yield _table(numbered, wanted_columns(config), decoder)
    if is_empty:
        raise SourceError(
            str(path), "is empty, expected one JSON object per line", "Export the file again"
        )


def _table(
    numbered: list[tuple[int, str]], wanted: tuple[str, ...], decoder: json.JSONDecoder
) -> pa.Table:
    rows = [_row(number, text, decoder) for number, text in numbered]
    names = dict.fromkeys(wanted)
    for row in rows:
        if len(names) < _MAX_KEYS:
            names.update(dict.fromkeys(row))
    for name in RESERVED:
        names.pop(name, None)
    columns = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}
    return pa.table(
        columns
        | {name: pa.array([row.get(name) for row in rows], pa.string()) for name in RESERVED}
    )


def _row(number: int, text: str, decoder: json.JSONDecoder) -> dict[str, str | None]:
    try:
        content = decoder.decode(text)
        if not isinstance(content, dict):
            return _bad(
                text,
                f"line {number} holds {type(content).__name__}, expected a JSON object. Write one object per line",
            )
        row = {str(key): _cell(value) for key, value in content.items()}
        "".join([*row, *(v for v in row.values() if v is not None)]).encode()
    except UnicodeEncodeError:
        return _bad(
            text,
            f"line {number} holds half of a surrogate pair. Write characters beyond U+FFFF whole",
        )
    except RecursionError:
        return _bad(text, f"line {number} is nested too deeply, expected a flat JSON object")
    except ValueError as error:
        return _bad(
            text,
            f"line {number} is not a JSON object ({error}). Write one object per line, each key once",
        )
    if any(name in row for name in RESERVED):
        return _bad(
            text,
            f"line {number} uses the reserved key {RESERVED[0]!r} or {RESERVED[1]!r}. Rename it",
        )
    return row


def _bad(text: str, reason: str) -> dict[str, str | None]:
    shown = text.encode("utf-8", "replace").decode()
    return {BAD_LINE: shown, BAD_LINE_REASON: reason.encode("utf-8", "replace").decode()}


def _cell(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _decoder(decimal: str) -> json.JSONDecoder:
    """Return a decoder that keeps numbers as written, in the source's decimal notation, and refuses repeated keys."""
    number = str if decimal == "." else lambda text: text.replace(".", decimal)
    return json.JSONDecoder(
        parse_float=number, parse_int=str, parse_constant=str, object_pairs_hook=_object
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # Any: whatever JSON holds
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        msg = f"key {twice!r} stands more than once"
        raise ValueError(msg)
    return found
