"""Why a snapshot cannot be used: the first problem of each row, as a code and as a sentence."""

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fleet_dagster.ingest.columns import Columns
from fleet_dagster.ingest.fields import Fields, cell_text
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import STATUS_NAMES

MAX_SCALED = 4096.0
"""A normalised reading beyond this is a wrong unit, not a measurement; window sums are exact up to here."""
_MAX_FAULTS = 2**31 - 1

PROBLEMS = (
    "bad_line",
    "missing_site",
    "bad_site",
    "bad_time",
    "ambiguous_time",
    "nonexistent_time",
    "before_start",
    "too_late",
    "too_early",
    "not_numeric",
    "not_finite",
    "out_of_scale",
    "bad_status",
    "bad_uptime",
    "bad_fault_count",
    "bad_quality",
    "bad_sequence",
    "site_beyond_profile",
)
"""Every code that `problem` can hold, in the order in which they are judged."""

TIME_PROBLEMS = (
    "bad_line",
    "bad_time",
    "ambiguous_time",
    "nonexistent_time",
    "before_start",
    "too_late",
    "too_early",
)
"""Problems whose rows are filed under the instant they were received."""


class Verdicts:
    """Collects the first problem of each of `n` rows, in the order of the calls."""

    def __init__(self, n: int) -> None:
        self.problem = np.full(n, None, dtype=object)
        self.detail = np.full(n, None, dtype=object)
        self.is_usable = np.ones(n, bool)
        self.is_filed_by_receipt = np.zeros(n, bool)

    def add(self, code: str, mask: NDArray[np.bool_], sentence: Callable[[int], str]) -> None:
        """Give the rows of `mask` that have no problem yet this one."""
        if code in TIME_PROBLEMS:
            self.is_filed_by_receipt |= mask
        rows = np.flatnonzero(mask & self.is_usable)
        if not len(rows):
            return
        self.problem[rows] = code
        self.detail[rows] = [sentence(row) for row in rows.tolist()]
        self.is_usable[rows] = False


def judge_fields(
    verdicts: Verdicts,
    config: FleetConfig,
    columns: Columns,
    fields: Fields,
    arrays: Mapping[str, pa.Array],
) -> None:
    """Judge readings, status, uptime, faults, quality and sequence."""
    for name, column in fields.numbers.items():
        verdicts.add("not_numeric", column.is_text, _of(arrays, name, _number_wanted(config)))
    for name, column in fields.numbers.items():
        verdicts.add(
            "not_finite",
            column.is_infinite,
            _of(
                arrays,
                name,
                "expected a finite number. Leave the cell empty where there is no reading",
            ),
        )
    _judge_scale(verdicts, config, columns, fields, arrays)
    if columns.status is not None:
        wanted = f"expected 0..3, {', '.join(STATUS_NAMES)}, or a word of source.status_values. Add the word there"
        verdicts.add("bad_status", fields.status.is_bad, _of(arrays, columns.status, wanted))
    if columns.uptime_pct is not None:
        outside = ~is_percent(fields.uptime_pct) & ~np.isnan(fields.uptime_pct)
        verdicts.add(
            "bad_uptime",
            outside,
            _of(
                arrays,
                columns.uptime_pct,
                "expected 0 to 100 percent. Fix the source or map another column",
            ),
        )
    if columns.fault_count is not None:
        verdicts.add(
            "bad_fault_count",
            is_no_count(fields.fault_count),
            _of(arrays, columns.fault_count, "expected a whole number from 0. Fix the source"),
        )
    if columns.quality is not None:
        verdicts.add(
            "bad_quality",
            fields.quality.is_bad,
            _of(arrays, columns.quality, "expected 0 good, 1 uncertain or 2 bad. Fix the source"),
        )
    if columns.sequence is not None:
        wanted = "expected a whole number of at most 64 bits. Fix the source or set source.sequence to null"
        verdicts.add("bad_sequence", fields.is_bad_sequence, _of(arrays, columns.sequence, wanted))


def beyond_scale(config: FleetConfig, kpi: int, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a KPI's readings, normalised to its range, are too large to be measurements."""
    lo, hi = config.kpis[kpi].lo, config.kpis[kpi].hi
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.abs((values / 2 - lo / 2) / (hi / 2 - lo / 2))
        overflows = np.isinf(values.astype(np.float32)) & ~np.isinf(values)
        return np.asarray((scaled > MAX_SCALED) | overflows, np.bool_)


def _judge_scale(
    verdicts: Verdicts,
    config: FleetConfig,
    columns: Columns,
    fields: Fields,
    arrays: Mapping[str, pa.Array],
) -> None:
    for k, (kpi, name, values) in enumerate(
        zip(config.kpis, columns.kpis, fields.readings, strict=True)
    ):
        if name is None or values is None:
            continue
        wanted = (
            f"thousands of times beyond the range {kpi.lo:g} to {kpi.hi:g} {kpi.unit} of KPI {kpi.name!r}: "
            f"most likely another unit. Set source.kpis.{kpi.name}.unit, or widen lo and hi"
        )
        verdicts.add("out_of_scale", beyond_scale(config, k, values), _of(arrays, name, wanted))


def is_percent(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where values lie in 0 to 100."""
    return np.asarray((values >= 0) & (values <= 100), np.bool_)  # noqa: PLR2004 - percent


def is_no_count(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where values are negative, not whole, or beyond 32 bits; NaN is none of these."""
    with np.errstate(invalid="ignore"):
        return np.asarray(
            (values < 0)
            | (values > _MAX_FAULTS)
            | (np.floor(values) != values) & ~np.isnan(values),
            np.bool_,
        )


def _number_wanted(config: FleetConfig) -> str:
    sign = "comma" if config.source.decimal == "," else "point"
    return f"expected a number with a decimal {sign}. Fix the source, or source.decimal and source.delimiter"


def _of(arrays: Mapping[str, pa.Array], name: str, wanted: str) -> Callable[[int], str]:
    text = cell_text(arrays, name)
    return lambda row: f"column {name!r} holds {text(row)}, {wanted}"
