"""Columns of frames as arrays and back: time stamps, names, grids of sites x windows."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.model.errors import FrameError
from fleet_dagster.model.tables import Column, Table

LISTS: dict[str, pa.DataType] = {
    "list<string>": pa.list_(pa.string()),
    "list<float32>": pa.list_(pa.float32()),
}
"""How lists are kept in frames, as Arrow's own."""
UTC_MICROSECONDS = pd.DatetimeTZDtype("us", "UTC")


def stamps(microseconds: NDArray[np.int64]) -> pd.Series:
    """Return instants as UTC time stamps."""
    return pd.Series(pd.DatetimeIndex(microseconds.astype("M8[us]"), tz="UTC"))


def microseconds(column: "pd.Series[Any]") -> NDArray[np.int64]:
    """Return UTC time stamps as microseconds since 1970."""
    return column.astype(UTC_MICROSECONDS).to_numpy(dtype="M8[us]").astype(np.int64)


def names(codes: NDArray[np.int64], vocabulary: Sequence[str]) -> pd.Categorical:
    """Return names for codes into a vocabulary; -1 is null."""
    return pd.Categorical.from_codes(codes, dtype=_named(tuple(vocabulary)))


@functools.lru_cache(maxsize=256)
def _named(vocabulary: tuple[str, ...]) -> pd.CategoricalDtype:
    """Return the type of a column of names; made once, for that takes longer than a small column."""
    return pd.CategoricalDtype(pd.Index(list(vocabulary), dtype="str"))


def lists(
    values: pa.Array, offsets: NDArray[np.int32], is_null: NDArray[np.bool_]
) -> "pd.Series[Any]":  # Any: lists
    """Return a column of lists: of `values`, those from one offset to the next."""
    made = pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(is_null))
    return pd.Series(made, dtype=pd.ArrowDtype(made.type))


def cells(column: "pd.Series[Any]") -> list[NDArray[Any]]:  # Any: numbers of any type
    """Return the lists of a column of numbers as arrays; they share its memory."""
    array = pa.array(column)
    values = pc.list_flatten(array).to_numpy()
    ends = np.cumsum(pc.list_value_length(array).fill_null(0).to_numpy()).tolist()
    return [values[low:high] for low, high in itertools.pairwise([0, *ends])]


def codes_of(column: "pd.Series[Any]", numbers: Mapping[str, int]) -> NDArray[np.int64]:
    """Return the number of each name; -1 for an unknown one. Fast where the column is categorical."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        table = np.array(
            [numbers.get(name, -1) for name in column.cat.categories] + [-1], dtype=np.int64
        )
        return table[column.cat.codes.to_numpy(dtype=np.int64)]
    return np.asarray(column.map(numbers).fillna(-1), dtype=np.int64)


def vocabulary(column: "pd.Series[Any]") -> list[str]:
    """Return the names that a column may hold, sorted: those of its categories, else those it holds."""
    is_categorical = isinstance(column.dtype, pd.CategoricalDtype)
    return sorted(column.cat.categories if is_categorical else column.dropna().unique())


def frame_of(table: Table, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Build a frame of a table's columns, in storage order, without `fleet` and `day`."""
    # Any: arrays, categoricals or series
    wanted = [name for name in table.column_names if name not in ("fleet", "day")]
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise FrameError(
            table.name,
            f"columns {missing} were not computed",
            "This is a defect of the node that builds it",
        )
    made = {
        name: _as_lists(columns[name], table.by_name[name])
        if table.by_name[name].type in LISTS
        else columns[name]
        for name in wanted
    }
    return pd.DataFrame(made, copy=False)


def _as_lists(values: Any, column: Column) -> "pd.Series[Any]":  # Any: lists of lists, or a column
    if isinstance(getattr(values, "dtype", None), pd.ArrowDtype):
        return pd.Series(values)
    kind = LISTS[column.type]
    return pd.Series(pa.array(list(values), kind), dtype=pd.ArrowDtype(kind))


def empty_frame(table: Table) -> pd.DataFrame:
    """Return a frame of a table without rows, typed as a full one."""
    return _empty(table).copy()


@functools.cache
def _empty(table: Table) -> pd.DataFrame:
    kinds: dict[str, Any] = {
        "string": "str",
        "timestamp": UTC_MICROSECONDS,
        "date": "object",
        **{name: pd.ArrowDtype(kind) for name, kind in LISTS.items()},
    }
    columns = {
        c.name: pd.Series([], dtype=kinds.get(c.type, c.type))
        for c in table.columns
        if c.name not in ("fleet", "day")
    }
    return pd.DataFrame(columns)


def within(frame: pd.DataFrame, span: Span) -> pd.DataFrame:
    """Return the rows whose window starts in the span."""
    starts = microseconds(frame["window_start"])
    return frame[(starts >= span.start) & (starts < span.end)].reset_index(drop=True)


_FILL: dict[str, float] = {"status": 3, "fault_count": 0, "sequence": -1}
"""Integers that may be null are filled before pandas turns them into floats; only unusable snapshots lack the first two."""
_TROUBLE = ("problem", "detail", "raw")
_NO_TEXT = pa.dictionary(pa.int8(), pa.string())
"""What these columns are where no snapshot is unusable: a byte each, for what pandas keeps of a null text is larger."""


def telemetry_frame(rows: pa.Table) -> pd.DataFrame:
    """Turn landed snapshots into the frame that the nodes take."""
    for i, field in enumerate(rows.schema):
        column = rows.column(i)
        if column.null_count and field.name in _FILL:
            filled = column.fill_null(pa.scalar(_FILL[field.name]).cast(column.type))
            rows = rows.set_column(i, field, filled)
        elif column.null_count == len(column) and field.name in _TROUBLE:
            rows = rows.set_column(i, field.name, pa.nulls(len(column), _NO_TEXT))
    return nodes_frame(rows.combine_chunks())


def nodes_frame(rows: pa.Table) -> pd.DataFrame:
    """Turn stored rows into the frame that the nodes take; lists stay Arrow's."""
    frame: pd.DataFrame = rows.to_pandas(split_blocks=True, types_mapper=_kept_by_arrow)
    return frame


def _kept_by_arrow(kind: pa.DataType) -> pd.ArrowDtype | None:
    return pd.ArrowDtype(kind) if pa.types.is_list(kind) else None


def arrow_of(table: Table, schema: pa.Schema, fleet: str, frame: pd.DataFrame) -> pa.Table:
    """Turn a node's frame into Arrow rows in storage order, with `fleet` and `day`; NaN becomes null."""
    n = len(frame)
    day = (microseconds(frame["window_start"]) // DAY).astype(np.int32)
    own = {
        "fleet": pa.repeat(pa.scalar(fleet, pa.string()), n),
        "day": pa.array(day).cast(pa.date32()),
    }
    columns = [
        own[c.name] if c.name in own else _arrow_column(frame[c.name], schema.field(c.name).type)
        for c in table.columns
    ]
    return pa.table(columns, schema=schema)


def _arrow_column(column: "pd.Series[Any]", kind: pa.DataType) -> pa.Array:
    if column.dtype.kind == "f" and pa.types.is_integer(kind):
        column = column.astype("Int64")
    array = pa.array(column, kind) if pa.types.is_list(kind) else pa.Array.from_pandas(column)
    return array.cast(kind) if array.type != kind else array


def concat(table: Table, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Stack frames of one table; names stay categorical where every frame shares the vocabulary."""
    filled = [f for f in frames if len(f)]
    return pd.concat(filled, ignore_index=True) if filled else empty_frame(table)


@dataclass(frozen=True, slots=True)
class Coded:
    """Names on a grid, as codes into a vocabulary; -1 is none."""

    codes: NDArray[np.int64]
    vocabulary: tuple[str, ...]

    def names(self, *at: NDArray[np.int64]) -> pd.Categorical:
        """Return the names at some places of the grid."""
        return names(self.codes[at], self.vocabulary)


@dataclass(frozen=True, slots=True)
class Scatter:
    """Puts rows of a frame onto a grid of sites x windows; `cells` count window by window, as rows mostly come."""

    rows: NDArray[np.int64]
    cells: NDArray[np.int64]
    shape: tuple[int, int]

    @classmethod
    def of(
        cls,
        frame: pd.DataFrame,
        numbers: Mapping[str, int],
        *,
        start: int,
        interval: int,
        n_windows: int,
    ) -> "Scatter":
        """Locate each row by its site and window; rows of unknown sites or other windows are left out."""
        site = codes_of(frame["site_id"], numbers)
        window = (microseconds(frame["window_start"]) - start) // interval
        rows = np.flatnonzero((site >= 0) & (window >= 0) & (window < n_windows))
        return cls(rows, window[rows] * len(numbers) + site[rows], (len(numbers), n_windows))

    def grid(
        self, column: "pd.Series[Any]", empty: float, dtype: Any = np.float64
    ) -> NDArray[Any]:  # Any: numpy dtypes
        """Return the column on the grid, `empty` where no row is."""
        out = np.full(self.shape[0] * self.shape[1], empty, dtype=dtype)
        values = (
            column.to_numpy(dtype=dtype, na_value=empty)
            if column.isna().any()
            else column.to_numpy(dtype=dtype)
        )
        out[self.cells] = values if self.rows.size == values.size else values[self.rows]
        return np.ascontiguousarray(out.reshape(self.shape[::-1]).T)
