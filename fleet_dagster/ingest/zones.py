"""Instants and local clocks: what a clock reading in a time zone means, across DST changes."""

import datetime as dt
import functools
import zoneinfo

import numpy as np
from numpy.typing import NDArray

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US

_MAX_ZONE_SPAN_DAYS = 400 * 366
_FIRST_DAY, _LAST_DAY = -719_000, 2_932_000
"""Days since 1970 within which Python knows dates, with some to spare."""


def local_to_utc(
    local_us: NDArray[np.int64], zone: str
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Turn local clock readings into instants, and count how many instants each one names (0, 1 or 2).

    Readings more than two centuries from the middle of the column take the nearest known offset.
    """
    if zone == "UTC" or not len(local_us):
        return local_us, np.ones(len(local_us), np.int8)
    lowest, highest = _whole_days(local_us)
    starts, offsets = _offsets(zone, lowest, highest)
    ends = np.append(starts[1:], np.iinfo(np.int64).max // 2)
    utc, n_instants = np.zeros_like(local_us), np.zeros(len(local_us), np.int8)
    for start, end, offset in zip(starts, ends, offsets, strict=True):
        candidate = local_us - offset
        inside = (candidate >= start) & (candidate < end)
        utc[inside] = candidate[inside]
        n_instants += inside
    return utc, n_instants


def local_midnight_us(day: dt.date, zone: str) -> int:
    """Return the first instant of a local day as microseconds UTC."""
    midnight = dt.datetime.combine(day, dt.time(), zoneinfo.ZoneInfo(zone))
    return round((midnight - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(microseconds=1))


def utc_text(us: int) -> str:
    """Return an instant as ISO 8601 text in UTC."""
    return (
        (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=int(us)))
        .isoformat()
        .replace("+00:00", "Z")
    )


def _whole_days(local_us: NDArray[np.int64]) -> tuple[int, int]:
    middle = int(np.median(local_us)) // DAY_US
    half = _MAX_ZONE_SPAN_DAYS // 2
    lowest, highest = int(local_us.min()) // DAY_US - 2, int(local_us.max()) // DAY_US + 3
    return max(lowest, middle - half, _FIRST_DAY), min(highest, middle + half, _LAST_DAY)


@functools.lru_cache(maxsize=64)
def _offsets(
    zone: str, first_day: int, last_day: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the instants from which each UTC offset holds, and the offsets, both in microseconds; the first holds from ever."""
    info = zoneinfo.ZoneInfo(zone)
    starts, offsets = [np.iinfo(np.int64).min // 2], [_offset_s(info, first_day * 86_400)]
    for day in range(first_day, last_day):
        begin, end = day * 86_400, (day + 1) * 86_400
        if _offset_s(info, end) != offsets[-1]:
            starts.append(_change_between(info, begin, end) * SECOND_US)
            offsets.append(_offset_s(info, end))
    return np.array(starts, np.int64), np.array(offsets, np.int64) * SECOND_US


def _change_between(info: zoneinfo.ZoneInfo, begin: int, end: int) -> int:
    before = _offset_s(info, begin)
    while end - begin > 1:
        middle = (begin + end) // 2
        begin, end = (middle, end) if _offset_s(info, middle) == before else (begin, middle)
    return end


def _offset_s(info: zoneinfo.ZoneInfo, unix_s: int) -> int:
    instant = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=unix_s)
    offset = instant.astimezone(info).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())
