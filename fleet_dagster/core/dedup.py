"""Which snapshots another one of the same site and timestamp replaces (SPEC section 5)."""

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.snapshots import Snapshots

_BUCKET_BITS, _GOLDEN = 22, np.uint64(0x9E3779B97F4A7C15)


def duplicates(snapshots: Snapshots) -> NDArray[np.int64]:
    """Find the snapshots that another one of the same site and timestamp replaces.

    Parameters
    ----------
    snapshots : Snapshots
        Usable snapshots.

    Returns
    -------
    ndarray, shape (n_duplicates,)
        Positions of the duplicates, ascending.

    Notes
    -----
    The highest sequence number wins, else the last by (received_at, batch, row_no).
    """
    if snapshots.site.size == 0:
        return np.empty(0, dtype=np.int64)
    width = int(snapshots.timestamp.max() - snapshots.timestamp.min()) + 1
    key = snapshots.site * width
    key += snapshots.timestamp
    if (key[1:] > key[:-1]).all():
        return np.empty(0, dtype=np.int64)
    ordered = np.sort(key)
    rows = _holders(key, ordered[1:][ordered[1:] == ordered[:-1]])
    columns = (
        snapshots.row_no,
        snapshots.batch,
        snapshots.received_at,
        snapshots.sequence,
        key,
    )
    ranked = rows[np.lexsort([column[rows] for column in columns])]
    return np.sort(ranked[:-1][key[ranked[1:]] == key[ranked[:-1]]])


def _holders(key: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of the wanted keys, and of the few others that fall into the same buckets."""
    if wanted.size == 0:
        return np.empty(0, dtype=np.int64)
    is_wanted = np.zeros(1 << _BUCKET_BITS, dtype=np.bool_)
    is_wanted[_bucket(wanted)] = True
    return np.flatnonzero(is_wanted[_bucket(key)])


def _bucket(key: NDArray[np.int64]) -> NDArray[np.int64]:
    """Spread keys over buckets by the multiplicative method (Knuth, volume 3, section 6.4)."""
    spread = key.view(np.uint64) * _GOLDEN
    spread >>= np.uint64(64 - _BUCKET_BITS)
    return spread.view(np.int64)
