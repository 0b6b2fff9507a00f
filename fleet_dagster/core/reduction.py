"""From snapshots to one reduced value per site and window: means, carrying and staleness (SPEC section 5)."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fleet_dagster.core.dedup import duplicates
from fleet_dagster.core.snapshots import Grid, Snapshots

QUANTUM = 2.0**20
"""Readings are quantised to 2**-20 of a KPI's range, so that sums are exact in any order."""
MAX_MAGNITUDE = 4096.0
"""Normalised readings are clipped to this magnitude before they are summed."""
NEVER = np.iinfo(np.int64).min // 2
"""Stands for "not seen" among instants."""
_BLOCK = 1 << 18
"""Snapshots added up at a time: few enough to stay in the processor's cache, enough to keep threads out of each other's way."""
_STATUS_BITS, _STATUS_MASK, _OFFLINE = 8, 255, 3


_Value = TypeVar("_Value", bound=np.generic)
_Number = TypeVar("_Number", np.int64, np.float64)


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


def reduce_block(
    snapshots: Snapshots,
    grid: Grid,
    *,
    ranges: Sequence[tuple[float, float]],
    staleness: NDArray[np.int64],
    dropped: NDArray[np.int64] | None = None,
    is_read: NDArray[np.bool_] | None = None,
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
    dropped : ndarray, shape (n_duplicates,), optional
        What `duplicates` found, where the caller has asked for it.
    is_read : ndarray, shape (n_sites, n_windows), optional
        Whose KPIs are looked at; elsewhere they are absent. All by default.
    threads : Executor, optional
        Reduces KPI columns side by side; the result does not depend on it.

    Returns
    -------
    Reduced
        KPI = mean of good readings, status = last, uptime = mean, faults = most. A fresh site that sent nothing in a window
        carries its last reduced values; a stale one is offline and has none. Rows in the first windows of the grid are
        right only if the grid starts as early as its lookback asks.
    """
    if dropped is None:
        dropped = duplicates(snapshots)
    table = _Cells.of(snapshots, grid, dropped, is_read)
    ends = table.most(_stamped_status(snapshots, grid), NEVER)
    last_seen = np.maximum.accumulate(
        np.where(ends == NEVER, NEVER, grid.start + (ends >> _STATUS_BITS)), axis=1
    )
    n_snapshots = grid.shaped(table.counts)
    columns = map if threads is None else threads.map
    values = Reduced(
        kpis=list(columns(table.kpi_mean, snapshots.readings, *zip(*ranges, strict=True))),
        status=np.where(n_snapshots > 0, ends & _STATUS_MASK, _OFFLINE).astype(np.int8),
        uptime_pct=table.mean(snapshots.uptime_pct, 0.0, 1.0),
        fault_count=np.where(n_snapshots > 0, table.most(snapshots.fault_count, 0), np.nan),
        n_snapshots=n_snapshots,
        n_duplicates=grid.shaped(table.n_duplicates),
        good_pct=grid.shaped(_ratio(100 * table.n_good, table.counts).astype(np.float32)),
        last_seen=last_seen,
        is_stale=(last_seen == NEVER) | (grid.window_ends - last_seen > staleness),
    )
    return _carry(values)


def _stamped_status(snapshots: Snapshots, grid: Grid) -> NDArray[np.int64]:
    """Join each snapshot's instant and status in one number, so that the greatest of a cell holds the last status."""
    return (snapshots.timestamp - grid.start << _STATUS_BITS) + snapshots.status


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
class _Sums:
    """Adds up columns of snapshots by cell, in whatever order they come: sums of whole quanta are exact."""

    grid: Grid
    blocks: list[tuple[slice, sparse.csc_array]]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, grid: Grid, cells: NDArray[np.int32]) -> "_Sums":
        """Prepare for snapshots in the given cells; those in the cell after the last are left out."""
        ones, edges = np.ones(_BLOCK), np.arange(_BLOCK + 1, dtype=np.int32)
        blocks = []
        for start in range(0, cells.size, _BLOCK):
            own = cells[start : start + _BLOCK]
            columns = (ones[: own.size], own, edges[: own.size + 1])
            shape = (grid.n_cells + 1, own.size)
            blocks.append((slice(start, start + own.size), sparse.csc_array(columns, shape=shape)))
        counts = np.bincount(cells, minlength=grid.n_cells + 1)[: grid.n_cells]
        return cls(grid, blocks, counts)

    def mean(self, column: NDArray[np.float32], lo: float, hi: float) -> NDArray[np.float32]:
        """Average the normalised column over each cell, exactly; NaN where a cell has no reading."""
        sums, counts = self._totals(column, lo, hi), self.counts.astype(np.float64)
        if np.isnan(sums[: self.grid.n_cells]).any():
            there = ~np.isnan(column)
            sums = self._totals(np.where(there, column, np.float32(lo)), lo, hi)
            counts = self._totals(there.astype(np.float32), 0.0, QUANTUM)[: self.grid.n_cells]
        means = _ratio(sums[: self.grid.n_cells], counts * QUANTUM)
        return self.grid.shaped(means.astype(np.float32))

    def _totals(self, column: NDArray[np.float32], lo: float, hi: float) -> NDArray[np.float64]:
        totals = np.zeros(self.grid.n_cells + 1)
        for rows, block in self.blocks:
            totals += block @ quantise(column[rows], lo, hi)
        return totals


@dataclass(frozen=True, slots=True)
class _Cells:
    """Which cell each snapshot falls into; duplicates fall into one after the last."""

    grid: Grid
    cells: NDArray[np.int32]
    n_duplicates: NDArray[np.int64]
    n_good: NDArray[np.int64]
    sums: _Sums
    rows_read: NDArray[np.int64] | None
    """Positions of the snapshots whose KPIs count; None for all."""
    read: _Sums

    @classmethod
    def of(
        cls,
        snapshots: Snapshots,
        grid: Grid,
        dropped: NDArray[np.int64],
        is_read: NDArray[np.bool_] | None,
    ) -> "_Cells":
        """Place snapshots on a grid."""
        cells = grid.cells(snapshots.site, snapshots.timestamp).astype(np.int32)
        n_duplicates = np.bincount(cells[dropped], minlength=grid.n_cells)
        cells[dropped] = grid.n_cells
        sums = _Sums.of(grid, cells)
        good = cells if snapshots.is_good.all() else cells[snapshots.is_good]
        n_good = np.bincount(good, minlength=grid.n_cells + 1)[: grid.n_cells]
        rows = None
        if good is not cells or is_read is not None:
            rows = np.flatnonzero(_counts(snapshots.is_good, cells, is_read))
        read = sums if rows is None else _Sums.of(grid, cells[rows])
        return cls(grid, cells, n_duplicates, n_good, sums, rows, read)

    def kpi_mean(self, column: NDArray[np.float32], lo: float, hi: float) -> NDArray[np.float32]:
        """Average a KPI over the snapshots of each cell that count."""
        return self.read.mean(column if self.rows_read is None else column[self.rows_read], lo, hi)

    @property
    def counts(self) -> NDArray[np.int64]:
        return self.sums.counts

    def mean(self, column: NDArray[np.float32], lo: float, hi: float) -> NDArray[np.float32]:
        return self.sums.mean(column, lo, hi)

    def most(self, column: NDArray[_Value], empty: int) -> NDArray[_Value]:
        """Return the greatest value of each cell, `empty` where it has no snapshot."""
        out = np.full(self.grid.n_cells + 1, empty, dtype=column.dtype)
        np.maximum.at(out, self.cells, column)
        return self.grid.shaped(out[: self.grid.n_cells])


def _counts(
    is_good: NDArray[np.bool_], cells: NDArray[np.int32], is_read: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Tell which snapshots' KPIs count."""
    if is_read is None:
        return is_good
    return np.asarray(is_good & np.append(is_read.ravel(), False)[cells])


def _ratio(top: NDArray[_Number], bottom: NDArray[_Number]) -> NDArray[np.float64]:
    """Divide where there is something to divide by; NaN elsewhere."""
    out = np.full(bottom.shape, np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out


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
        np.subtract(column[start : start + _BLOCK], lo, out=part, dtype=np.float64)
        np.multiply(part, factor, out=part)
        np.clip(part, -limit, limit, out=part)
        np.rint(part, out=part)
    return out
