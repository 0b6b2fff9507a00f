"""The fields of snapshots as arrays: parsed, converted to the KPIs' units and filled with defaults, not yet judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fleet_dagster.ingest.columns import Columns
from fleet_dagster.ingest.numbers import (
    ABSENT_WORDS,
    Numbers,
    folded,
    mask_of,
    parse_integers,
    parse_numbers,
)
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import STATUS_NAMES

QUALITY_NAMES = ("good", "uncertain", "bad")


@dataclass(frozen=True, slots=True)
class Codes:
    """A column of codes such as status: -1 where the cell is no such code."""

    values: NDArray[np.int8]

    @property
    def is_bad(self) -> NDArray[np.bool_]:
        """Where the cell is neither a known word nor a code."""
        return self.values < 0


@dataclass(frozen=True, slots=True)
class Fields:
    """Every field of a batch of snapshots but site and time."""

    numbers: Mapping[str, Numbers]
    """By source column, in the source's unit: KPIs, uptime and faults."""
    readings: tuple[NDArray[np.float64] | None, ...]
    """One per KPI, in the KPI's unit; NaN where absent; None where the source has no column for it."""
    status: Codes
    quality: Codes
    uptime_pct: NDArray[np.float64]
    fault_count: NDArray[np.float64]
    sequence: NDArray[np.int64]
    has_sequence: NDArray[np.bool_]
    is_bad_sequence: NDArray[np.bool_]


def parse_fields(
    config: FleetConfig,
    columns: Columns,
    arrays: Mapping[str, pa.Array],
    conversions: tuple[tuple[float, float], ...],
    n: int,
) -> Fields:
    """Read all fields of `n` snapshots."""
    source = config.source
    gauges = [c for c in (columns.uptime_pct, columns.fault_count, *columns.kpis) if c is not None]
    numbers = {name: parse_numbers(arrays[name], source.decimal) for name in dict.fromkeys(gauges)}
    readings = tuple(
        None if name is None else _converted(numbers[name].values, *pair)
        for name, pair in zip(columns.kpis, conversions, strict=True)
    )
    sequence, has_sequence, bad_sequence = _sequence(columns, arrays, n)
    return Fields(
        numbers=numbers,
        readings=readings,
        status=_codes(
            arrays, columns.status, _status_words(config), default=source.defaults.status, n=n
        ),
        quality=_codes(
            arrays,
            columns.quality,
            {w: i for i, w in enumerate(QUALITY_NAMES)},
            default=source.defaults.quality,
            n=n,
            top=2,
        ),
        uptime_pct=_with_default(numbers, columns.uptime_pct, source.defaults.uptime_pct, n),
        fault_count=_with_default(numbers, columns.fault_count, source.defaults.fault_count, n),
        sequence=sequence,
        has_sequence=has_sequence,
        is_bad_sequence=bad_sequence,
    )


def _status_words(config: FleetConfig) -> dict[str, int]:
    own = {name: i for i, name in enumerate(STATUS_NAMES)}
    return own | {word.strip().lower(): code for word, code in config.source.status_values.items()}


def _codes(
    arrays: Mapping[str, pa.Array],
    name: str | None,
    words: Mapping[str, int],
    *,
    default: int,
    n: int,
    top: int = 3,
) -> Codes:
    if name is None:
        return Codes(np.full(n, default, np.int8))
    encoded = folded(arrays[name]).dictionary_encode()
    codes = np.array(
        [_code(word, words, default, top) for word in encoded.dictionary.to_pylist()] + [default],
        np.int8,
    )
    places = pc.fill_null(encoded.indices, len(codes) - 1).to_numpy(zero_copy_only=False)
    return Codes(codes[np.asarray(places, np.int64)])


def _code(word: str, words: Mapping[str, int], default: int, top: int) -> int:
    if word in words:
        return words[word]
    if word in ABSENT_WORDS:
        return default
    try:
        number = float(word)
    except ValueError:
        return -1
    return int(number) if number in range(top + 1) and "_" not in word else -1


def _converted(values: NDArray[np.float64], factor: float, offset: float) -> NDArray[np.float64]:
    if (factor, offset) == (1.0, 0.0):
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values * factor + offset, np.float64)


def _with_default(
    numbers: Mapping[str, Numbers], name: str | None, default: float, n: int
) -> NDArray[np.float64]:
    if name is None:
        return np.full(n, float(default))
    column = numbers[name]
    return np.where(np.isnan(column.values) & ~column.is_text, float(default), column.values)


def _sequence(
    columns: Columns, arrays: Mapping[str, pa.Array], n: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    if columns.sequence is None:
        return np.zeros(n, np.int64), np.zeros(n, bool), np.zeros(n, bool)
    column = arrays[columns.sequence]
    if pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
        values = np.asarray(
            pc.fill_null(pc.cast(column, pa.int64()), 0).to_numpy(zero_copy_only=False), np.int64
        )
        return values, ~mask_of(pc.is_null(column)), np.zeros(n, bool)
    return parse_integers(column)


def cell_text(arrays: Mapping[str, pa.Array], name: str) -> Callable[[int], str]:
    """Return a function from row to the cell as the source wrote it, shortened for a sentence."""
    column = arrays[name]

    def text(row: int) -> str:
        value = str(column[row].as_py())
        return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")

    return text


_SHOWN = 60
