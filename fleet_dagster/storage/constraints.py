"""Rows against their table's definition: nulls, ranges, allowed values, unique keys."""

import pyarrow as pa
import pyarrow.compute as pc

from fleet_dagster.model.tables import Column, Table


def violations(table: Table, rows: pa.Table) -> list[str]:
    """Return what is wrong with rows, in words; empty where they fit the table's definition."""
    found = [
        text
        for column in table.columns
        for text in _column_violations(column, rows.column(column.name))
    ]
    n_keys = (
        rows.group_by(list(table.key), use_threads=False).aggregate([]).num_rows
        if rows.num_rows
        else 0
    )
    if n_keys != rows.num_rows:
        found.append(
            f"key ({', '.join(table.key)}) repeats: {rows.num_rows - n_keys} of {rows.num_rows} rows"
        )
    return found


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
