"""Instants from source stamps: ISO 8601 with or without offset, Unix time, typed timestamps; local time across DST changes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fleet_dagster.ingest.numbers import (
    is_absent_text,
    is_number_type,
    is_text_type,
    mask_of,
    parse_numbers,
)
from fleet_dagster.ingest.zones import SECOND_US, local_to_utc
from fleet_dagster.model.errors import SourceError

TimeFormat = Literal["iso8601", "unix_s", "unix_ms"]
_CLOCK = (
    r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?)?"
)
_OFFSET = r"(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)$"
_NO_SUCH_DAY = r"^\d{4}-(02-3[01]|(04|06|09|11)-31)"
_LATEST_US = 250_000_000_000 * SECOND_US
"""Beyond the year 9800 nothing is an instant of telemetry."""
_UNIX_TICKS_US = {"unix_s": SECOND_US, "unix_ms": 1_000}


@dataclass(frozen=True, slots=True)
class Stamps:
    """A column of stamps as instants, and why some are not."""

    us: NDArray[np.int64]
    """Microseconds since 1970 UTC; 0 where unusable."""
    is_absent: NDArray[np.bool_]
    is_bad: NDArray[np.bool_]
    is_ambiguous: NDArray[np.bool_]
    """The local clock showed this stamp twice (DST ends)."""
    is_nonexistent: NDArray[np.bool_]
    """The local clock skipped this stamp (DST begins)."""
    first_naive: int | None
    """Row of the first stamp without an offset."""
    first_aware: int | None
    """Row of the first stamp with an offset."""

    @property
    def is_usable(self) -> NDArray[np.bool_]:
        """Where there is an instant."""
        return ~(self.is_absent | self.is_bad | self.is_ambiguous | self.is_nonexistent)


def parse_stamps(
    column: pa.Array,
    *,
    name: str,
    time_format: TimeFormat,
    zone: str,
    source: str,
    first_row: int = 0,
) -> Stamps:
    """Read a column of stamps.

    Raises
    ------
    SourceError
        The column's type does not fit `time_format`, or stamps with and without an offset are mixed.
    """
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _from_typed(column, zone)
    if time_format != "iso8601" and (is_text_type(kind) or is_number_type(kind)):
        return _from_unix(column, _UNIX_TICKS_US[time_format])
    if is_text_type(kind) or column.null_count == len(column):
        stamps = _from_iso(pc.cast(column, pa.string()), zone)
        refuse_mixture(
            stamps.first_naive,
            stamps.first_aware,
            name=name,
            source=source,
            texts=column,
            first_row=first_row,
        )
        return stamps
    raise SourceError(
        source,
        f"column {name!r} holds {kind}, time_format {time_format!r} expects text or timestamps",
        "Set source.time_format to 'unix_s' or 'unix_ms' if these are Unix times, or name another column in source.timestamp",
    )


def refuse_mixture(
    naive: int | None,
    aware: int | None,
    *,
    name: str,
    source: str,
    texts: pa.Array | None = None,
    first_row: int = 0,
) -> None:
    """Raise when a column has stamps both with and without an offset, naming a row of each."""
    if naive is None or aware is None:
        return
    shown = ["" if texts is None else f" ({texts[i].as_py()!r})" for i in (naive, aware)]
    raise SourceError(
        source,
        f"column {name!r} mixes stamps without an offset, as in row {first_row + naive + 1}{shown[0]}, "
        f"and with one, as in row {first_row + aware + 1}{shown[1]}",
        "Write all of them one way: with an offset or 'Z', or all in local time with source.timezone",
    )


def _from_typed(column: pa.Array, zone: str) -> Stamps:
    kind = column.type
    if pa.types.is_date(kind):
        column, kind = pc.cast(column, pa.timestamp("s")), pa.timestamp("s")
    absent = mask_of(pc.is_null(column))
    ticks = np.asarray(
        pc.fill_null(pc.cast(column, pa.int64(), safe=False), 0).to_numpy(zero_copy_only=False),
        np.int64,
    )
    per_tick = {"s": SECOND_US, "ms": 1_000, "us": 1, "ns": 1}[kind.unit]
    if kind.unit == "ns":
        ticks = ticks // 1_000
    bad = np.abs(ticks.astype(np.float64)) * per_tick > _LATEST_US
    us = np.where(bad, 0, ticks) * per_tick
    return _placed(us, absent, bad, zone if kind.tz is None else None)


def _from_unix(column: pa.Array, per_tick: int) -> Stamps:
    numbers = parse_numbers(column)
    us = numbers.values * per_tick
    absent = np.isnan(us) & ~numbers.is_text
    bad = numbers.is_text | (np.abs(us) > _LATEST_US)
    return _placed(
        np.rint(np.where(absent | bad | np.isnan(us), 0.0, us)).astype(np.int64),
        absent,
        bad,
        None,
        counts_as_aware=False,
    )


def _from_iso(column: pa.Array, zone: str) -> Stamps:
    text = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    try:
        aware = pc.cast(text, pa.timestamp("us", tz="UTC"))
    except pa.ArrowInvalid:
        return _from_mixed_iso(text, zone)
    return _placed(_microseconds(aware), mask_of(pc.is_null(text)), np.zeros(len(text), bool), None)


def _from_mixed_iso(text: pa.Array, zone: str) -> Stamps:
    absent = is_absent_text(text)
    tidy = _tidied(text)
    real = pc.invert(_names_no_day(tidy))
    is_aware = mask_of(pc.and_(pc.match_substring_regex(tidy, _CLOCK + _OFFSET), real))
    is_naive = mask_of(pc.and_(pc.match_substring_regex(tidy, _CLOCK + "$"), real))
    naive = _placed(
        _microseconds(pc.cast(_only(tidy, is_naive), pa.timestamp("us"))),
        absent,
        ~is_naive & ~absent,
        zone,
    )
    aware_us = _microseconds(pc.cast(_only(tidy, is_aware), pa.timestamp("us", tz="UTC")))
    return Stamps(
        us=np.where(is_aware, aware_us, naive.us),
        is_absent=absent,
        is_bad=~is_aware & ~is_naive & ~absent,
        is_ambiguous=naive.is_ambiguous & is_naive,
        is_nonexistent=naive.is_nonexistent & is_naive,
        first_naive=_first(is_naive),
        first_aware=_first(is_aware),
    )


def _tidied(text: pa.Array) -> pa.Array:
    """Write stamps the way Arrow reads them: capital T and Z, a point, at most six decimals, no blank before the offset."""
    upper = pc.utf8_upper(pc.utf8_trim_whitespace(text))
    pointed = pc.replace_substring_regex(upper, r"(:\d\d),(\d)", r"\1.\2")
    cut = pc.replace_substring_regex(pointed, r"(\.\d{6})\d+", r"\1")
    return pc.replace_substring_regex(cut, r"(:\d\d(?:\.\d+)?) (Z|[+-]\d)", r"\1\2")


def _names_no_day(tidy: pa.Array) -> pa.Array:
    short_month = pc.match_substring_regex(tidy, _NO_SUCH_DAY)
    leap_day = mask_of(pc.match_substring_regex(tidy, r"^\d{4}-02-29"))
    wrong = np.zeros(len(tidy), bool)
    rows = np.flatnonzero(leap_day)
    if len(rows):
        years = np.asarray(
            pc.cast(pc.utf8_slice_codeunits(tidy.take(pa.array(rows)), 0, 4), pa.int64()).to_numpy()
        )
        wrong[rows] = ~((years % 4 == 0) & ((years % 100 != 0) | (years % 400 == 0)))
    return pc.or_(short_month, pa.array(wrong))


def _placed(
    us: NDArray[np.int64],
    absent: NDArray[np.bool_],
    bad: NDArray[np.bool_],
    zone: str | None,
    *,
    counts_as_aware: bool = True,
) -> Stamps:
    """Finish a column of one kind: local readings when `zone` is given, else instants."""
    good = ~(absent | bad)
    count = np.ones(len(us), np.int8)
    if zone is not None:
        utc = us.copy()
        utc[good], count[good] = local_to_utc(us[good], zone)
        us = utc
    usable = good & (count == 1)
    return Stamps(
        us=np.where(usable, us, 0),
        is_absent=absent,
        is_bad=bad,
        is_ambiguous=good & (count > 1),
        is_nonexistent=good & (count == 0),
        first_naive=_first(good) if zone is not None else None,
        first_aware=_first(good) if zone is None and counts_as_aware else None,
    )


def _microseconds(stamps: pa.Array) -> NDArray[np.int64]:
    return np.asarray(
        pc.fill_null(pc.cast(stamps, pa.int64()), 0).to_numpy(zero_copy_only=False), np.int64
    )


def _only(text: pa.Array, keep: NDArray[np.bool_]) -> pa.Array:
    return pc.if_else(pa.array(keep), text, pa.scalar(None, text.type))


def _first(mask: NDArray[np.bool_]) -> int | None:
    return int(mask.argmax()) if mask.any() else None
