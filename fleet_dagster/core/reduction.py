"""From snapshots to one reduced value per site and window: dedup, means, carrying and staleness (SPEC section 5)."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

QUANTUM = 2.0**20
"""Readings are quantised to 2**-20 of a KPI's range, so that sums are exact in any order."""
MAX_MAGNITUDE = 4096.0
"""Normalised readings are clipped to this magnitude before they are summed."""
NEVER = np.iinfo(np.int64).min // 2
"""Stands for "not seen" among instants."""
_BLOCK = 1 << 15
"""Values normalised at a time: small enough to stay in the processor's cache."""


_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Usable snapshots as columns of equal length, in any order.

    `site` is the position on the site axis, `readings` one float32 column per KPI in physical units (NaN = absent).
    `sequence` is -1 where the source gave none, `batch` the rank of the landing batch's id.
    """

    site: NDArray[np.int64]
    timestamp: NDArray[np.int64]
    readings: Sequence[NDArray[np.float32]]
    status: NDArray[np.int8]
    uptime_pct: NDArray[np.float32]
    fault_count: NDArray[np.int32]
    is_good: NDArray[np.bool_]
    sequence: NDArray[np.int64]
    received_at: NDArray[np.int64]
    batch: NDArray[np.int64]
    row_no: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grid:
    """A block: sites registered that day x consecutive windows. Arrays over it have shape (n_sites, n_windows)."""

    n_sites: int
    start: int
    n_windows: int
    interval: int

    @property
    def window_ends(self) -> NDArray[np.int64]:
        """The windows' ends, shape (n_windows,) [us]."""
        return self.start + self.interval * np.arange(1, self.n_windows + 1, dtype=np.int64)

    def cells(self, site: NDArray[np.int64], timestamp: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the flat cell of each snapshot, shape (n,)."""
        return site * self.n_windows + (timestamp - self.start) // self.interval


@dataclass(frozen=True, slots=True)
class Reduced:
    """Reduced values of a block, each of shape (n_sites, n_windows); KPIs are a list of such grids."""

    kpis: list[NDArray[np.float32]]
    status: NDArray[np.int8]
    uptime_pct: NDArray[np.float32]
    fault_count: NDArray[np.float64]
    n_snapshots: NDArray[np.int64]
    n_duplicates: NDArray[np.int64]
    good_pct: NDArray[np.float32]
    last_seen: NDArray[np.int64]
    is_stale: NDArray[np.bool_]


def winners(snapshots: Snapshots) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose one snapshot for each site and timestamp.

    Parameters
    ----------
    snapshots : Snapshots
        Usable snapshots.

    Returns
    -------
    kept : ndarray, shape (n_kept,)
        Positions of the snapshots to use, in order of site and timestamp.
    dropped : ndarray, shape (n_dropped,)
        Positions of the duplicates.

    Notes
    -----
    The highest sequence number wins, else the last by (received_at, batch, row_no).
    """
    n = snapshots.site.size
    if n == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    origin = int(snapshots.timestamp.min())
    width = int(snapshots.timestamp.max()) - origin + 1
    key = snapshots.site * width + (snapshots.timestamp - origin)
    steps = np.diff(key)
    if (steps > 0).all():
        return np.arange(n), np.empty(0, dtype=np.int64)
    order = np.arange(n) if (steps >= 0).all() else np.argsort(key, kind="stable")
    ordered = key[order]
    same_as_next = np.append(ordered[1:] == ordered[:-1], False)
    if same_as_next.any():
        tied = np.flatnonzero(same_as_next | np.insert(same_as_next[:-1], 0, False))
        rows = order[tied]
        columns = (
            snapshots.row_no,
            snapshots.batch,
            snapshots.received_at,
            snapshots.sequence,
            key,
        )
        order[tied] = rows[np.lexsort([column[rows] for column in columns])]
    return order[~same_as_next], order[same_as_next]


def reduce_block(
    snapshots: Snapshots,
    grid: Grid,
    *,
    ranges: Sequence[tuple[float, float]],
    staleness: NDArray[np.int64],
    threads: Executor | None = None,
) -> Reduced:
    """Reduce a block's snapshots to one value per site and window.

    Parameters
    ----------
    snapshots : Snapshots
        Usable snapshots whose timestamps lie within the grid.
    grid : Grid
        The block, its lookback windows included.
    ranges : sequence of (float, float)
        Ends lo and hi of each KPI's range, in physical units.
    staleness : ndarray, shape (n_windows,)
        Age of the last snapshot at window end above which a site is stale. [us]
    threads : Executor, optional
        Reduces KPI columns side by side; the result does not depend on it.

    Returns
    -------
    Reduced
        KPI = mean of good readings, status = last, uptime = mean, faults = most. A fresh site that sent nothing in a window
        carries its last reduced values; a stale one is offline and has none. Rows in the first windows of the grid are
        right only if the grid starts as early as its lookback asks.
    """
    kept, dropped = winners(snapshots)
    is_identity = (
        dropped.size == 0
        and kept.size > 0
        and bool(kept[0] == 0)
        and bool((np.diff(kept) == 1).all())
    )
    rows: NDArray[np.int64] | slice = slice(None) if is_identity else kept
    cells = grid.cells(snapshots.site[rows], snapshots.timestamp[rows])
    firsts = (
        np.flatnonzero(np.append(True, cells[1:] != cells[:-1]))
        if cells.size
        else np.empty(0, dtype=np.int64)
    )
    table = _Cells(grid, cells[firsts], firsts, cells.size)
    good = snapshots.is_good[rows]
    bad = None if good.all() else ~good

    def one_kpi(k: int) -> NDArray[np.float32]:
        return table.mean(snapshots.readings[k][rows], *ranges[k], skip=bad)

    columns = (
        list(threads.map(one_kpi, range(len(ranges))))
        if threads
        else [one_kpi(k) for k in range(len(ranges))]
    )
    n_snapshots = table.grid_of(table.counts, 0, np.int64)
    lasts = table.lasts
    last_seen = np.maximum.accumulate(
        table.grid_of(snapshots.timestamp[rows][lasts], NEVER, np.int64), axis=1
    )
    good_count = table.sums(good.astype(np.float64))
    values = Reduced(
        kpis=columns,
        status=table.grid_of(snapshots.status[rows][lasts], 3, np.int8),
        uptime_pct=table.mean(snapshots.uptime_pct[rows], 0.0, 1.0, skip=None),
        fault_count=table.grid_of(
            table.reduce(np.maximum, snapshots.fault_count[rows]), np.nan, np.float64
        ),
        n_snapshots=n_snapshots,
        n_duplicates=np.bincount(
            grid.cells(snapshots.site[dropped], snapshots.timestamp[dropped]),
            minlength=grid.n_sites * grid.n_windows,
        ).reshape(grid.n_sites, grid.n_windows),
        good_pct=table.grid_of(100.0 * good_count / table.counts, np.nan, np.float32),
        last_seen=last_seen,
        is_stale=(last_seen == NEVER) | (grid.window_ends - last_seen > staleness),
    )
    return _carry(values)


def _carry(values: Reduced) -> Reduced:
    """Fill windows without snapshots from the last one that has some, and empty what is stale."""
    has_sent = values.n_snapshots > 0
    if has_sent.all() and not values.is_stale.any():
        return values
    n_windows = has_sent.shape[1]
    source = np.maximum.accumulate(np.where(has_sent, np.arange(n_windows), -1), axis=1)
    take = np.maximum(source, 0)

    def carried(grid: NDArray[_Value], empty: float) -> NDArray[_Value]:
        nothing = np.full(1, empty, dtype=grid.dtype)
        return np.where(values.is_stale, nothing, np.take_along_axis(grid, take, axis=1))

    return Reduced(
        kpis=[carried(kpi, np.nan) for kpi in values.kpis],
        status=carried(values.status, 3),
        uptime_pct=carried(values.uptime_pct, np.nan),
        fault_count=carried(values.fault_count, np.nan),
        n_snapshots=values.n_snapshots,
        n_duplicates=values.n_duplicates,
        good_pct=values.good_pct,
        last_seen=np.where(values.is_stale, NEVER, values.last_seen),
        is_stale=values.is_stale,
    )


@dataclass(frozen=True, slots=True)
class _Cells:
    """Runs of sorted snapshots that fall into one cell each."""

    grid: Grid
    ids: NDArray[np.int64]
    firsts: NDArray[np.int64]
    n_rows: int

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.diff(np.append(self.firsts, self.n_rows))

    @property
    def lasts(self) -> NDArray[np.int64]:
        return self.firsts + self.counts - 1

    def reduce(self, ufunc: np.ufunc, column: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.asarray(ufunc.reduceat(column, self.firsts)) if self.ids.size else column[:0]

    def sums(self, column: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.reduce(np.add, column), dtype=np.float64)

    def grid_of(self, values: NDArray[Any], empty: float, dtype: type[_Value]) -> NDArray[_Value]:
        # Any: values are cast to the grid's own dtype
        out = np.full(self.grid.n_sites * self.grid.n_windows, empty, dtype=dtype)
        out[self.ids] = values
        return out.reshape(self.grid.n_sites, self.grid.n_windows)

    def mean(
        self, column: NDArray[np.float32], lo: float, hi: float, *, skip: NDArray[np.bool_] | None
    ) -> NDArray[np.float32]:
        """Average the normalised column over each cell, exactly; NaN where a cell has no reading."""
        quanta = quantise(column, lo, hi)
        if skip is not None:
            quanta[skip] = np.nan
        sums, counts = self.sums(quanta), self.counts.astype(np.float64)
        if np.isnan(sums).any():
            absent = np.isnan(quanta)
            quanta[absent] = 0.0
            sums, counts = self.sums(quanta), counts - self.sums(absent.astype(np.float64))
        means = np.divide(sums, counts * QUANTUM, out=np.full(sums.shape, np.nan), where=counts > 0)
        return self.grid_of(means, np.nan, np.float32)


def quantise(column: NDArray[np.float32], lo: float, hi: float) -> NDArray[np.float64]:
    """Normalise a column of readings (0 = lo, 1 = hi), clip it, and express it in whole quanta.

    Parameters
    ----------
    column : ndarray, shape (n,)
        Readings, NaN where absent. [physical unit]
    lo, hi : float
        Range of the KPI. [physical unit]

    Returns
    -------
    ndarray, shape (n,)
        Whole numbers of quanta of 2**-20; NaN where absent.
    """
    out = np.empty(column.size, dtype=np.float64)
    factor, limit = QUANTUM / (hi - lo), MAX_MAGNITUDE * QUANTUM
    for start in range(0, column.size, _BLOCK):
        part = out[start : start + _BLOCK]
        np.subtract(column[start : start + _BLOCK], lo, out=part)
        np.multiply(part, factor, out=part)
        np.clip(part, -limit, limit, out=part)
        np.rint(part, out=part)
    return out
