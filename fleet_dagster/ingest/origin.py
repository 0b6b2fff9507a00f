"""Where and when a snapshot is from: lines, site ids, stamps and receipts, judged."""

import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fleet_dagster.ingest.columns import BAD_LINE, BAD_LINE_REASON, Columns
from fleet_dagster.ingest.fields import cell_text
from fleet_dagster.ingest.numbers import mask_of
from fleet_dagster.ingest.stamps import Stamps, parse_stamps
from fleet_dagster.ingest.verdicts import Verdicts
from fleet_dagster.ingest.zones import DAY_US, SECOND_US, local_midnight_us, utc_text
from fleet_dagster.model.config import FleetConfig

_SITE_ID = re.compile(r"[^\s/'\"\\\x00-\x1f\x7f][^'\"\\\x00-\x1f\x7f]{0,127}")
_MAX_RECEIPT_AHEAD_US = 366 * DAY_US
"""A receipt column may run ahead of the import (simulated lateness), but not by more than the longest allowed lateness."""


def judge_lines(verdicts: Verdicts, raw: pa.Table) -> None:
    """Judge lines that are no records."""
    if BAD_LINE not in raw.column_names:
        return
    reasons = raw.column(BAD_LINE_REASON).to_pylist()
    verdicts.add(
        "bad_line", mask_of(pc.is_valid(raw.column(BAD_LINE))), lambda row: str(reasons[row])
    )


def judge_sites(verdicts: Verdicts, columns: Columns, arrays: Mapping[str, pa.Array]) -> pa.Array:
    """Return the site ids, empty where there is none that can be stored."""
    column = arrays[columns.site_id]
    text = (
        column
        if pa.types.is_string(column.type)
        else pa.array([None if v is None else str(v) for v in column.to_pylist()], pa.string())
    )
    encoded = pc.fill_null(pc.utf8_trim_whitespace(text), "").dictionary_encode()
    names = encoded.dictionary.to_pylist()
    places = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)
    is_empty = np.array([not name for name in names], bool)
    is_bad = np.array([bool(name) and not _SITE_ID.fullmatch(name) for name in names], bool)
    verdicts.add(
        "missing_site",
        is_empty[places],
        lambda _: f"column {columns.site_id!r} is empty, expected a site id. Fix the source",
    )
    wanted = "expected up to 128 characters without quotes, backslashes or line breaks, and not starting with '/'. Rename the site"
    shown = cell_text(arrays, columns.site_id)
    verdicts.add(
        "bad_site",
        is_bad[places],
        lambda row: f"column {columns.site_id!r} holds {shown(row)}, {wanted}",
    )
    kept = pa.array(
        ["" if bad else name for name, bad in zip(names, is_bad.tolist(), strict=True)], pa.string()
    )
    return kept.take(encoded.indices)


def receipts(
    verdicts: Verdicts,
    config: FleetConfig,
    columns: Columns,
    arrays: Mapping[str, pa.Array],
    *,
    received_at_us: int,
    source: str,
) -> NDArray[np.int64]:
    """Return when each row was received; an unusable receipt is a problem, and such a row counts as received now."""
    name = columns.received_at
    if name is None:
        return np.full(len(arrays[columns.timestamp]), received_at_us, np.int64)
    stamps = parse_stamps(
        arrays[name],
        name=name,
        time_format=config.source.time_format,
        zone=config.source.timezone,
        source=source,
    )
    sane = (
        stamps.is_usable & (stamps.us >= 0) & (stamps.us <= received_at_us + _MAX_RECEIPT_AHEAD_US)
    )
    shown = cell_text(arrays, name)
    verdicts.add(
        "bad_time",
        ~sane & ~stamps.is_absent,
        lambda row: (
            f"column {name!r} holds {shown(row)}, expected the instant of receipt. Fix the source, or set source.received_at to null"
        ),
    )
    return np.where(sane, stamps.us, received_at_us)


def judge_stamps(
    verdicts: Verdicts,
    config: FleetConfig,
    columns: Columns,
    arrays: Mapping[str, pa.Array],
    stamps: Stamps,
) -> None:
    """Judge stamps that name no instant."""
    name, zone = columns.timestamp, config.source.timezone
    shown = cell_text(arrays, name)
    wanted = {
        "iso8601": "an ISO 8601 stamp such as 2026-01-31T12:00:00Z",
        "unix_s": "seconds since 1970",
        "unix_ms": "milliseconds since 1970",
    }[config.source.time_format]
    verdicts.add(
        "bad_time",
        stamps.is_absent,
        lambda _: f"column {name!r} is empty, expected {wanted}. Fix the source",
    )
    verdicts.add(
        "bad_time",
        stamps.is_bad,
        lambda row: (
            f"column {name!r} holds {shown(row)}, expected {wanted}. Fix the source or source.time_format"
        ),
    )
    advice = "Let the source write an offset or UTC"
    verdicts.add(
        "ambiguous_time",
        stamps.is_ambiguous,
        lambda row: (
            f"column {name!r} holds {shown(row)}, which clocks in {zone} showed twice that day. {advice}"
        ),
    )
    verdicts.add(
        "nonexistent_time",
        stamps.is_nonexistent,
        lambda row: (
            f"column {name!r} holds {shown(row)}, which clocks in {zone} skipped that day. {advice}"
        ),
    )


def judge_times(
    verdicts: Verdicts,
    config: FleetConfig,
    stamps: Stamps,
    received: NDArray[np.int64],
    *,
    historical: bool,
) -> None:
    """Judge instants against the fleet's start, and against their receipt."""
    usable, us = stamps.is_usable, stamps.us
    verdicts.is_filed_by_receipt |= ~usable
    start_us = local_midnight_us(config.start_date, config.timezone)
    verdicts.add(
        "before_start",
        usable & (us < start_us),
        lambda row: (
            f"stamp {utc_text(us[row])} lies before the fleet's start_date {config.start_date} ({config.timezone}). Move start_date, or leave the row out"
        ),
    )
    late_us = round(config.allowed_lateness_days * DAY_US)
    verdicts.add(
        "too_late",
        usable & (received - us > late_us) & (not historical),
        lambda row: (
            f"stamp {utc_text(us[row])} was received {(received[row] - us[row]) / DAY_US:.2f} days later, "
            f"allowed_lateness_days is {config.allowed_lateness_days:g}. Import it as history, or allow more"
        ),
    )
    ahead_us = config.future_tolerance_s * SECOND_US
    verdicts.add(
        "too_early",
        usable & (us - received > ahead_us),
        lambda row: (
            f"stamp {utc_text(us[row])} lies {_length(us[row] - received[row])} after its receipt, "
            f"future_tolerance_s is {config.future_tolerance_s}. Set the clock of the source, or source.timezone"
        ),
    )


def _length(us: np.int64) -> str:
    return f"{us / DAY_US:.2f} days" if us >= DAY_US else f"{us / SECOND_US:.0f} s"
