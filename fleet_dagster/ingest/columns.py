"""Which column of a source feeds which field of a snapshot, and what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fleet_dagster.ingest.numbers import is_number_type, is_text_type
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import SourceError

BAD_LINE = "__bad_line__"
"""Reserved raw column: the text of a line that is not a record; null where the line is one."""
BAD_LINE_REASON = "__bad_line_reason__"
"""Reserved raw column: what is wrong with that line."""
RESERVED = (BAD_LINE, BAD_LINE_REASON)

_MAX_LISTED = 40
_SEPARATORS = (";", "\t", "|", ",")


@dataclass(frozen=True, slots=True)
class Columns:
    """The source columns in use; None where the source has none for an optional field."""

    site_id: str
    timestamp: str
    received_at: str | None
    status: str | None
    uptime_pct: str | None
    fault_count: str | None
    quality: str | None
    sequence: str | None
    kpis: tuple[str | None, ...]
    """Column of each KPI, in KPI order."""

    @property
    def numeric(self) -> tuple[str, ...]:
        """Columns that are read as numbers."""
        fields = (
            self.status,
            self.uptime_pct,
            self.fault_count,
            self.quality,
            self.sequence,
            *self.kpis,
        )
        return tuple(c for c in fields if c is not None)


def resolve_columns(config: FleetConfig, names: Sequence[str], *, source: str) -> Columns:
    """Find the columns that `config.source` names among those of the source.

    Raises
    ------
    SourceError
        A column is there twice, one that the mapping needs is missing, or not a single KPI is there.
    """
    present = [n for n in names if n not in RESERVED]
    refuse_names(present, source=source)
    have = set(present)
    mapping = config.source
    needed = [mapping.site_id, mapping.timestamp, *(k.column for k in mapping.kpis.values())]
    needed += [] if mapping.received_at is None else [mapping.received_at]
    missing = [c for c in needed if c not in have]
    if missing:
        raise SourceError(
            source,
            f"lacks the columns {_listed(missing)}; it has {_listed(present)}",
            _advice_on_names(present),
        )
    kpis = tuple(_kpi_column(config, name, have) for name in config.kpi_names)
    if not any(kpis):
        problem = f"has a column for none of the KPIs {_listed(config.kpi_names)}; it has {_listed(present)}"
        raise SourceError(
            source, problem, "Name the column of each KPI under source.kpis in the fleet's file"
        )
    return Columns(
        site_id=mapping.site_id,
        timestamp=mapping.timestamp,
        received_at=mapping.received_at,
        status=_optional(mapping.status, have),
        uptime_pct=_optional(mapping.uptime_pct, have),
        fault_count=_optional(mapping.fault_count, have),
        quality=_optional(mapping.quality, have),
        sequence=_optional(mapping.sequence, have),
        kpis=kpis,
    )


def _advice_on_names(present: Sequence[str]) -> str:
    separator = next((s for s in _SEPARATORS if len(present) == 1 and s in present[0]), None)
    if separator is not None:
        return f"Its columns seem to be separated by {separator!r}: set source.delimiter to that in the fleet's file"
    return "Fix the names under `source:` in the fleet's file"


def wanted_columns(config: FleetConfig) -> tuple[str, ...]:
    """Return every column name that the fleet's mapping could read."""
    mapping = config.source
    optional = (
        mapping.status,
        mapping.uptime_pct,
        mapping.fault_count,
        mapping.quality,
        mapping.sequence,
        mapping.received_at,
    )
    kpis = (
        mapping.kpis[name].column if name in mapping.kpis else name for name in config.kpi_names
    )
    return tuple(
        dict.fromkeys(
            [mapping.site_id, mapping.timestamp, *(c for c in optional if c is not None), *kpis]
        )
    )


def plain_columns(raw: pa.Table, columns: Columns, *, source: str) -> dict[str, pa.Array]:
    """Return the columns in use as single arrays, dictionaries unpacked and bytes read as text.

    Raises
    ------
    SourceError
        A column that should hold numbers or text holds something else, such as lists.
    """
    wanted = {
        columns.site_id,
        columns.timestamp,
        *columns.numeric,
        *([] if columns.received_at is None else [columns.received_at]),
    }
    arrays = {name: _plain(raw.column(name)) for name in sorted(wanted)}
    for name in columns.numeric:
        kind = arrays[name].type
        if not is_text_type(kind) and not is_number_type(kind):
            raise SourceError(
                source,
                f"column {name!r} holds {kind}, expected numbers or text",
                "Convert the column, or map another one",
            )
    return arrays


def _plain(chunked: pa.ChunkedArray) -> pa.Array:
    array = chunked.combine_chunks() if isinstance(chunked, pa.ChunkedArray) else chunked
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        return pc.cast(array, pa.string())
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        return pa.array(
            [None if b is None else b.decode("utf-8", "replace") for b in array.to_pylist()],
            pa.string(),
        )
    return array


def _kpi_column(config: FleetConfig, name: str, have: set[str]) -> str | None:
    mapped = config.source.kpis.get(name)
    return mapped.column if mapped is not None else _optional(name, have)


def _optional(name: str | None, have: set[str]) -> str | None:
    return name if name in have else None


def refuse_names(names: Sequence[str], *, source: str) -> None:
    """Raise when a column name stands twice or is one of ours."""
    ours = [n for n in names if n in RESERVED]
    if ours:
        raise SourceError(source, f"has a column {ours[0]!r}, which is reserved", "Rename it")
    twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise SourceError(
            source,
            f"has the columns {_listed(twice)} more than once",
            "Rename or remove the copies, so that each name stands once",
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(n) for n in names[:_MAX_LISTED])
    rest = len(names) - _MAX_LISTED
    return f"{shown} and {rest} more" if rest > 0 else shown or "none"
