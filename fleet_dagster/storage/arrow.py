"""Arrow schemas, generated from the table definitions."""

import functools

import pyarrow as pa

from fleet_dagster.model.tables import ColumnType, Table

_TYPES: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "list<string>": pa.list_(pa.string()),
    "list<float32>": pa.list_(pa.float32()),
}


@functools.cache
def schema_of(table: Table) -> pa.Schema:
    """Return the Arrow schema of a table, in storage order, with meanings and units as field metadata."""
    return pa.schema(
        pa.field(
            c.name,
            _TYPES[c.type],
            nullable=c.nullable,
            metadata={"comment": c.meaning, "unit": c.unit},
        )
        for c in table.columns
    )
