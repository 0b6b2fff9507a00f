"""Readings as numbers: text to floats for whole columns, telling absent cells from text that is no number."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ABSENT_WORDS = ("", "nan", "null", "none", "na", "n/a")
"""Cells that mean "no reading", in any case."""

_NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d{1,6})?|inf|infinity)$"
_WHOLE = r"^[+-]?\d{1,25}(\.0*)?$"


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column as numbers: NaN where absent or unusable, and where it held text that is no number."""

    values: NDArray[np.float64]
    is_text: NDArray[np.bool_]

    @property
    def is_infinite(self) -> NDArray[np.bool_]:
        """Where the source wrote an infinity."""
        return np.isinf(self.values)


def is_text_type(kind: pa.DataType) -> bool:
    """Whether a column of that type holds text."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_number_type(kind: pa.DataType) -> bool:
    """Whether a column of that type holds numbers (or nothing at all)."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def parse_numbers(column: pa.Array, decimal: Literal[".", ","] = ".") -> Numbers:
    """Read a text or number column as float64."""
    if not is_text_type(column.type):
        return Numbers(
            floats(pc.cast(column, pa.float64(), safe=False)), np.zeros(len(column), bool)
        )
    text = column if decimal == "." else _with_points(column)
    try:
        quick = pc.cast(
            pc.if_else(pc.equal(text, ""), pa.scalar(None, text.type), text), pa.float64()
        )
        return Numbers(floats(quick), np.zeros(len(column), bool))
    except pa.ArrowInvalid:
        return _parse_with_care(text)


def parse_integers(
    column: pa.Array,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Read a column as exact int64: the values (0 where absent or unusable), where present, and where unusable."""
    text = folded(column)
    absent = mask_of(pc.is_in(text, value_set=pa.array(ABSENT_WORDS))) | mask_of(pc.is_null(text))
    whole = pc.match_substring_regex(text, _WHOLE)
    digits = pc.replace_substring_regex(pc.if_else(whole, text, None), r"^\+|\.0*$", "")
    values, bad = _int64(digits)
    bad |= ~mask_of(whole) & ~absent
    return values, ~absent & ~bad, bad


def folded(column: pa.Array) -> pa.Array:
    """Return a column as trimmed lower-case text."""
    text = column if is_text_type(column.type) else pc.cast(column, pa.string())
    return pc.utf8_lower(pc.utf8_trim_whitespace(pc.cast(text, pa.string())))


def floats(column: pa.Array) -> NDArray[np.float64]:
    """Return a float64 column as an array, NaN where null."""
    return np.asarray(pc.fill_null(column, float("nan")).to_numpy(zero_copy_only=False), np.float64)


def mask_of(column: pa.Array) -> NDArray[np.bool_]:
    """Return a boolean column as an array, False where null."""
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), np.bool_)


def is_absent_text(column: pa.Array) -> NDArray[np.bool_]:
    """Where a column is null, blank or one of the words for "nothing"."""
    return mask_of(pc.is_in(folded(column), value_set=pa.array(ABSENT_WORDS))) | mask_of(
        pc.is_null(column)
    )


def _parse_with_care(text: pa.Array) -> Numbers:
    low = folded(text)
    absent = mask_of(pc.is_in(low, value_set=pa.array(ABSENT_WORDS))) | mask_of(pc.is_null(low))
    numeric = pc.match_substring_regex(low, _NUMBER)
    digits = pc.replace_substring_regex(pc.if_else(numeric, low, None), r"^\+", "")
    return Numbers(floats(pc.cast(digits, pa.float64())), ~mask_of(numeric) & ~absent)


def _with_points(text: pa.Array) -> pa.Array:
    """Turn decimal commas into points; a point is a thousands separator there, so such text is kept from reading as a number."""
    pointed = pc.replace_substring(text, ",", ".")
    return pc.if_else(pc.match_substring(text, "."), pc.replace_substring(text, ".", "'"), pointed)


def _int64(digits: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    try:
        cast, bad = pc.cast(digits, pa.int64()), np.zeros(len(digits), bool)
    except pa.ArrowInvalid:
        whole = [None if d is None else int(d) for d in digits.to_pylist()]
        limit = 2**63
        bad = np.array([w is not None and not -limit <= w < limit for w in whole], bool)
        cast = pa.array(
            [None if w is None or not -limit <= w < limit else w for w in whole], pa.int64()
        )
    return np.asarray(pc.fill_null(cast, 0).to_numpy(zero_copy_only=False), np.int64), bad
