"""Usable snapshots as columns, and the grid of sites x windows onto which they are reduced."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

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

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.n_sites * self.n_windows

    def shaped(self, values: NDArray[_Value]) -> NDArray[_Value]:
        """Return values of all cells as an array over the grid."""
        return values.reshape(self.n_sites, self.n_windows)

    def cells(self, site: NDArray[np.int64], timestamp: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the flat cell of each snapshot, shape (n,)."""
        return site * self.n_windows + (timestamp - self.start) // self.interval
