"""Digests of the rows of a matrix, all at once: equal rows have equal digests, on every machine."""

import numpy as np
from numpy.typing import NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_QUIET_NAN = np.float32("nan")


def row_digests(rows: NDArray[np.float32], seed: int = 0) -> NDArray[np.uint64]:
    """Return a 64-bit digest of each row.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_columns)
        The rows; every NaN counts as the same one, and -0 as 0. [1]
    seed : int
        What else the digest stands for.

    Returns
    -------
    ndarray of uint64, shape (n_rows,)
        The digests. They tell inputs apart, they do not protect against forgery.

    Notes
    -----
    Each column is mixed in by the finaliser of SplitMix64: Guy L. Steele Jr., Doug Lea, Christine H. Flood, "Fast
    splittable pseudorandom number generators", OOPSLA 2014, doi:10.1145/2660193.2660195.
    """
    plain = np.ascontiguousarray(rows.T) + np.float32(0)
    plain[np.isnan(plain)] = _QUIET_NAN
    state = np.full(len(rows), np.uint64(seed & (2**64 - 1)))
    spare = np.empty_like(state)
    with np.errstate(over="ignore"):
        for column in plain.view(np.uint32):
            state += _GAMMA
            state += column
            _mix(state, spare)
        state += np.uint64(rows.shape[1])
        _mix(state, spare)
    return state


def _mix(state: NDArray[np.uint64], spare: NDArray[np.uint64]) -> None:
    """Finalise in place: such loops are bound by memory."""
    for shift, factor in ((30, _MIX_1), (27, _MIX_2)):
        np.right_shift(state, np.uint64(shift), out=spare)
        state ^= spare
        state *= factor
    np.right_shift(state, np.uint64(31), out=spare)
    state ^= spare
