"""Comma-separated text as tables of text; a line that is no record is kept, with what is wrong with it."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv

from fleet_dagster.ingest.columns import BAD_LINE, BAD_LINE_REASON, refuse_names
from fleet_dagster.ingest.textlines import line_blocks
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import SourceError


def csv_tables(path: Path, config: FleetConfig) -> Iterator[pa.Table]:
    """Yield the rows of a CSV file in order, a few megabytes at a time; blank lines are not rows.

    Every line is one record: a quoted value cannot hold a line break.
    """
    delimiter = config.source.delimiter
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise SourceError(
            str(path),
            f"source.delimiter is {delimiter!r}",
            "Use one ASCII character such as ',' or ';'",
        )
    names: list[str] | None = None
    for lines in line_blocks(path, config.source.encoding):
        numbered = [
            (lines.first_no + i, text)
            for i, text in enumerate(lines.texts)
            if text and (delimiter in text or not text.isspace())
        ]
        if numbered and names is None:
            names = _header(numbered.pop(0)[1], delimiter, path)
        if names is not None:
            yield _table(numbered, names, delimiter, path)
    if names is None:
        raise SourceError(
            str(path),
            "is empty, expected a line of column names and then snapshots",
            "Export the file again",
        )


def _header(line: str, delimiter: str, path: Path) -> list[str]:
    try:
        names = [
            name.strip() for name in next(csv.reader([line], delimiter=delimiter, strict=True))
        ]
    except csv.Error as error:
        raise SourceError(
            str(path),
            f"its first line is not a line of column names ({error})",
            "Start the file with one line of names",
        ) from error
    blank = [i + 1 for i, name in enumerate(names) if not name]
    if blank:
        raise SourceError(
            str(path), f"column {blank[0]} has no name in the first line", "Name every column"
        )
    refuse_names(names, source=str(path))
    return names


def _table(
    numbered: list[tuple[int, str]], names: list[str], delimiter: str, path: Path
) -> pa.Table:
    bad = dict(_broken_lines(numbered, delimiter))
    kept = [i for i in range(len(numbered)) if i not in bad] if bad else range(len(numbered))
    invalid: list[int] = []
    records = _parsed([numbered[i][1] for i in kept], names, delimiter, invalid, path)
    for place in invalid:
        row = kept[place]
        bad[row] = (
            f"line {numbered[row][0]} has {_n_fields(numbered[row][1], delimiter)} fields, expected {len(names)}. Fix the line, or quote values that hold {delimiter!r}"
        )
    return _with_bad_lines(records, numbered, bad)


def _parsed(
    lines: list[str], names: list[str], delimiter: str, invalid: list[int], path: Path
) -> pa.Table:
    schema = pa.schema([pa.field(str(i), pa.string()) for i in range(len(names))])
    if not lines:
        return schema.empty_table().rename_columns(names)

    def note(row: pa_csv.InvalidRow) -> str:
        invalid.append(row.number - 1)
        return "skip"

    try:
        table = pa_csv.read_csv(
            io.BytesIO(("\n".join(lines) + "\n").encode("utf-8", "replace")),
            read_options=pa_csv.ReadOptions(
                use_threads=False, column_names=schema.names, block_size=2**30
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter, invalid_row_handler=note, ignore_empty_lines=False
            ),
            convert_options=pa_csv.ConvertOptions(column_types=schema, strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        raise SourceError(
            str(path), f"cannot be read as CSV ({error})", "Check source.delimiter and the quotes"
        ) from error
    if table.num_rows + len(invalid) != len(lines):
        problem = (
            f"has {len(lines)} lines that CSV reads as {table.num_rows + len(invalid)} records"
        )
        raise SourceError(str(path), problem, "Check the quotes and line ends")
    return table.rename_columns(names)


def _with_bad_lines(
    records: pa.Table, numbered: list[tuple[int, str]], bad: dict[int, str]
) -> pa.Table:
    """Put the bad lines back in their places."""
    n = len(numbered)
    places, next_record = [], 0
    for i in range(n):
        places.append(None if i in bad else next_record)
        next_record += i not in bad
    table = records if not bad else records.take(pa.array(places, pa.int64()))
    texts = [numbered[i][1] if i in bad else None for i in range(n)] if bad else [None] * n
    table = table.append_column(BAD_LINE, pa.array(texts, pa.string()))
    return table.append_column(
        BAD_LINE_REASON,
        pa.array([bad.get(i) for i in range(n)] if bad else [None] * n, pa.string()),
    )


def _broken_lines(numbered: list[tuple[int, str]], delimiter: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that a CSV parser would cut in two, or run together with the next."""
    for i, (number, text) in enumerate(numbered):
        if "\r" in text:
            yield i, f"line {number} holds a carriage return within. End lines with a line feed"
    quoted = [i for i, (_, text) in enumerate(numbered) if '"' in text and "\r" not in text]
    if not quoted:
        return
    d = re.escape(delimiter)
    field = rf'(?:"(?:[^"]|"")*"|[^"{d}][^{d}]*|)'
    lines = pa.array([numbered[i][1] for i in quoted], pa.string())
    fine = pc.match_substring_regex(lines, rf"^{field}(?:{d}{field})*$").to_pylist()
    for i, is_fine in zip(quoted, fine, strict=True):
        if not is_fine:
            yield (
                i,
                f'line {numbered[i][0]} has quotes that do not pair up. Quote a value as "…", double the quotes within it, and keep it on one line',
            )


def _n_fields(line: str, delimiter: str) -> int:
    return len(next(csv.reader([line], delimiter=delimiter)))
