"""Landing: source rows become `site_telemetry` rows, one for one, each usable or with the reason why not."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fleet_dagster.ingest.columns import plain_columns, resolve_columns
from fleet_dagster.ingest.fields import Fields, parse_fields
from fleet_dagster.ingest.origin import (
    judge_lines,
    judge_sites,
    judge_stamps,
    judge_times,
    receipts,
)
from fleet_dagster.ingest.rawtext import row_texts
from fleet_dagster.ingest.stamps import Stamps, parse_stamps
from fleet_dagster.ingest.units import kpi_conversions
from fleet_dagster.ingest.verdicts import (
    Verdicts,
    beyond_scale,
    is_no_count,
    is_percent,
    judge_fields,
)
from fleet_dagster.ingest.zones import DAY_US
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.rules import larger_profile
from fleet_dagster.model.tables import N_KPIS, SITE_TELEMETRY
from fleet_dagster.storage.arrow import schema_of

Admit = Callable[[Sequence[tuple[str, int]]], Collection[str]]
"""Registers sites, given (site_id, first instant in µs) in order of (first instant, site_id); returns those that are registered."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """One call's rows as arrays."""

    sites: pa.Array
    stamps: Stamps
    received_us: NDArray[np.int64]
    fields: Fields
    arrays: Mapping[str, pa.Array]


def landed_table(
    config: FleetConfig,
    raw: pa.Table,
    *,
    batch_id: str,
    received_at_us: int,
    historical: bool,
    first_row_no: int = 0,
    admit: Admit,
) -> pa.Table:
    """Turn source rows into `site_telemetry` rows, in the same order.

    Parameters
    ----------
    config : FleetConfig
        Its `source` names the columns, units, time zone and defaults.
    raw : pa.Table
        The source's own columns, as text or typed.
    batch_id : str
        Landing batch.
    received_at_us : int
        Instant of landing, microseconds UTC; used where the source has no receipt column or leaves it empty.
    historical : bool
        Imported history is never too late.
    first_row_no : int
        `row_no` of the first row.
    admit : callable
        Called once with the sites of usable rows; rows of sites it does not return are `site_beyond_profile`.

    Returns
    -------
    pa.Table
        Schema of `site_telemetry`.

    Raises
    ------
    SourceError
        Columns are missing or of a type that cannot hold the field, or stamps with and without offset are mixed.
    ConfigError
        A source unit cannot be converted to its KPI's unit.
    """
    label = f"telemetry of fleet {config.name!r}"
    columns = resolve_columns(config, raw.column_names, source=label)
    conversions = kpi_conversions(config)
    arrays = plain_columns(raw, columns, source=label)
    n = raw.num_rows
    verdicts = Verdicts(n)
    judge_lines(verdicts, raw)
    sites = judge_sites(verdicts, columns, arrays)
    stamps = parse_stamps(
        arrays[columns.timestamp],
        name=columns.timestamp,
        time_format=config.source.time_format,
        zone=config.source.timezone,
        source=label,
        first_row=first_row_no,
    )
    received = receipts(
        verdicts, config, columns, arrays, received_at_us=received_at_us, source=label
    )
    judge_stamps(verdicts, config, columns, arrays, stamps)
    judge_times(verdicts, config, stamps, received, historical=historical)
    fields = parse_fields(config, columns, arrays, conversions, n)
    judge_fields(verdicts, config, columns, fields, arrays)
    batch = _Batch(sites, stamps, received, fields, arrays)
    _judge_admission(verdicts, config, batch, admit)
    return _assembled(
        config,
        raw,
        batch,
        verdicts,
        batch_id=batch_id,
        historical=historical,
        first_row_no=first_row_no,
    )


def _judge_admission(verdicts: Verdicts, config: FleetConfig, batch: _Batch, admit: Admit) -> None:
    usable = verdicts.is_usable
    encoded = batch.sites.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    places = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)
    first = np.full(len(names), np.iinfo(np.int64).max, np.int64)
    np.minimum.at(first, places[usable], batch.stamps.us[usable])
    seen = np.bincount(places[usable], minlength=len(names)) > 0
    asked = sorted((int(first[i]), names[i]) for i in np.flatnonzero(seen).tolist())
    registered = set(admit([(name, us) for us, name in asked]))
    refused = np.array([name not in registered for name in names], bool)
    profile = config.profile
    n_refused = sum(name not in registered for _, name in asked)
    n_regions = len({m.region_id for m in config.region_mappings})
    advice = larger_profile(profile.max_sites + n_refused, n_regions)
    verdicts.add(
        "site_beyond_profile",
        refused[places],
        lambda row: (
            f"site {names[places[row]]!r} is not registered: profile {profile.name!r} allows {profile.max_sites} sites. {advice}"
        ),
    )


def _assembled(
    config: FleetConfig,
    raw: pa.Table,
    batch: _Batch,
    verdicts: Verdicts,
    *,
    batch_id: str,
    historical: bool,
    first_row_no: int,
) -> pa.Table:
    n, fields = raw.num_rows, batch.fields
    us = np.where(
        batch.stamps.is_usable & ~verdicts.is_filed_by_receipt, batch.stamps.us, batch.received_us
    )
    rows = np.flatnonzero(~verdicts.is_usable)
    texts = np.full(n, None, dtype=object)
    texts[rows] = row_texts(raw, rows)
    no_count = is_no_count(fields.fault_count) | np.isnan(fields.fault_count)
    filled: dict[str, pa.Array] = {
        "fleet": pa.repeat(config.name, n),
        "day": pa.array((us // DAY_US).astype(np.int32)).cast(pa.date32()),
        "site_id": batch.sites,
        "timestamp": pa.array(us, pa.timestamp("us", tz="UTC")),
        "status": pa.array(fields.status.values, mask=fields.status.is_bad),
        "uptime_pct": _float32(fields.uptime_pct, ~is_percent(fields.uptime_pct)),
        "fault_count": pa.array(
            np.where(no_count, 0, fields.fault_count).astype(np.int32), mask=no_count
        ),
        "quality": pa.array(
            np.where(
                fields.quality.is_bad, config.source.defaults.quality, fields.quality.values
            ).astype(np.int8)
        ),
        "sequence": pa.array(fields.sequence, mask=~fields.has_sequence),
        "received_at": pa.array(batch.received_us, pa.timestamp("us", tz="UTC")),
        "batch_id": pa.repeat(batch_id, n),
        "row_no": pa.array(np.arange(first_row_no, first_row_no + n, dtype=np.int64)),
        "historical": pa.repeat(pa.scalar(historical), n),
        "problem": pa.array(verdicts.problem, pa.string()),
        "detail": pa.array(verdicts.detail, pa.string()),
        "raw": pa.array(texts, pa.string()),
    }
    filled |= {f"reading_{k:02d}": _reading(config, k, fields, n) for k in range(N_KPIS)}
    schema = schema_of(SITE_TELEMETRY)
    return pa.Table.from_arrays([filled[name] for name in schema.names], schema=schema)


def _reading(config: FleetConfig, kpi: int, fields: Fields, n: int) -> pa.Array:
    values = fields.readings[kpi] if kpi < len(fields.readings) else None
    if values is None:
        return pa.nulls(n, pa.float32())
    return _float32(values, ~np.isfinite(values) | beyond_scale(config, kpi, values))


def _float32(values: NDArray[np.float64], absent: NDArray[np.bool_]) -> pa.Array:
    return pa.array(np.where(absent, 0.0, values).astype(np.float32), mask=absent)
