"""Rows against their table's definition: nulls, ranges, allowed values, unique keys."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleet_dagster.model.tables import Column, Table

_MANY = 1 << 15
"""Names above which keys are numbered anew before the next column: products then stay far from 2**63."""


def violations(table: Table, rows: pa.Table) -> list[str]:
    """Return what is wrong with rows, in words; empty where they fit the table's definition."""
    found = [
        text
        for column in table.columns
        for text in _column_violations(column, rows.column(column.name))
    ]
    n_repeats = _repeats(rows.select(list(table.key)))
    if n_repeats:
        found.append(f"key ({', '.join(table.key)}) repeats: {n_repeats} of {rows.num_rows} rows")
    return found


def _repeats(keys: pa.Table) -> int:
    """Count the rows whose key an earlier row has; quick where keys come in the order of their first appearance."""
    numbers = np.zeros(keys.num_rows, dtype=np.int64)
    for column in keys.columns:
        encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        numbers *= len(encoded.dictionary)
        numbers += encoded.indices.to_numpy()
        if len(encoded.dictionary) > _MANY:
            numbers = np.unique(numbers, return_inverse=True)[1]
    if (numbers[1:] > numbers[:-1]).all():
        return 0
    ordered = np.sort(numbers)
    return int(np.count_nonzero(ordered[1:] == ordered[:-1]))


def _column_violations(column: Column, values: pa.ChunkedArray) -> list[str]:
    found = []
    if not column.nullable and values.null_count:
        found.append(f"{column.name} is null in {values.null_count} rows")
    if (column.lo is not None or column.hi is not None) and len(values) > values.null_count:
        extremes = pc.min_max(values).as_py()
        if column.lo is not None and extremes["min"] < column.lo:
            found.append(
                f"{column.name} goes down to {extremes['min']}, allowed from {column.lo:g}"
            )
        if column.hi is not None and extremes["max"] > column.hi:
            found.append(f"{column.name} goes up to {extremes['max']}, allowed to {column.hi:g}")
    if column.values:
        strange = sorted(set(pc.unique(values).to_pylist()) - {*column.values, None})
        if strange:
            found.append(f"{column.name} holds {strange}, allowed {list(column.values)}")
    return found
