"""The original text of rows, as one JSON object each."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fleet_dagster.ingest.columns import BAD_LINE, RESERVED
from fleet_dagster.ingest.numbers import is_text_type

_NEEDS_ESCAPE = r'["\\\x00-\x1f]'


def row_texts(raw: pa.Table, rows: NDArray[np.int64]) -> list[str]:
    """Return the chosen rows as JSON objects of their source columns; for a line that is no record, the line itself."""
    chosen = raw.take(pa.array(rows))
    names = [n for n in chosen.column_names if n not in RESERVED]
    texts = _objects(chosen, names)
    if BAD_LINE not in chosen.column_names:
        return texts
    lines = chosen.column(BAD_LINE).to_pylist()
    return [text if line is None else line for text, line in zip(texts, lines, strict=True)]


def _objects(chosen: pa.Table, names: list[str]) -> list[str]:
    if not names or not chosen.num_rows:
        return ["{}"] * chosen.num_rows
    parts: list[pa.Array | pa.Scalar] = []
    for i, name in enumerate(names):
        lead = ("{" if i == 0 else ", ") + json.dumps(name, ensure_ascii=False) + ": "
        parts += [pa.scalar(lead), _values(chosen.column(name).combine_chunks())]
    joined = pc.binary_join_element_wise(*parts, pa.scalar("}"), "")
    return [str(text) for text in joined.to_pylist()]


def _values(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if is_text_type(column.type):
        return _quoted(pc.cast(column, pa.string()))
    if pa.types.is_integer(column.type):
        return pc.fill_null(pc.cast(column, pa.string()), "null")
    return pa.array([_json(value) for value in column.to_pylist()], pa.string())


def _quoted(text: pa.Array) -> pa.Array:
    if pc.any(pc.match_substring_regex(text, _NEEDS_ESCAPE)).as_py():
        return pa.array([_json(value) for value in text.to_pylist()], pa.string())
    return pc.fill_null(
        pc.binary_join_element_wise(pa.scalar('"'), text, pa.scalar('"'), ""), "null"
    )


def _json(value: object) -> str:
    """Return any cell as JSON; numbers that JSON lacks, dates and bytes as strings."""
    if isinstance(value, float) and not np.isfinite(value):
        return json.dumps(str(value))
    return json.dumps(value, ensure_ascii=False, default=str)
