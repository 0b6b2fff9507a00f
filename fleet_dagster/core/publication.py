"""Which site-windows are published, and why: the ingestion modes of SPEC section 5."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.sampling import unit_hash
from fleet_dagster.model.tables import DISPOSITIONS, INGESTION_MODES

FULL, DOWNSAMPLE_HEALTHY, DEVIATION_ONLY, STORM = range(len(INGESTION_MODES))
FULL_UP_TO, DOWNSAMPLE_UP_TO = 50, 200
"""Largest fleets of the modes `full` and `downsample_healthy`."""
HEALTHY_EVERY, HEARTBEAT_EVERY = 5, 10
"""Windows in which a healthy, or quiet, site has one turn."""
RESOLUTION = np.float32(1e-9)
Flags = NDArray[np.bool_]
_CODE = {name: np.int8(i) for i, name in enumerate(DISPOSITIONS)}
PUBLISHED = np.array(
    [name in ("full", "downsampled", "deviating", "heartbeat", "sampled") for name in DISPOSITIONS]
)
"""Of each disposition's code, whether it is published."""


def mode_of(n_sites: int) -> int:
    """Return the ingestion mode of a fleet outside storms, as a position in `INGESTION_MODES`."""
    if n_sites <= FULL_UP_TO:
        return FULL
    return DOWNSAMPLE_HEALTHY if n_sites <= DOWNSAMPLE_UP_TO else DEVIATION_ONLY


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of each site in each window, shape (n_sites, n_windows)."""

    is_stale: Flags
    is_online: Flags
    is_changed: Flags
    """Another status than in the window before."""
    is_deviating: Flags
    """Beyond the threshold in some KPI, or without a baseline; looked at in deviation_only."""
    is_panel: Flags
    """Part of the panel; looked at in storms."""


def dispositions(
    sight: Sight, modes: NDArray[np.int8], turns: NDArray[np.int64], windows: NDArray[np.int64]
) -> NDArray[np.int8]:
    """Decide what becomes of each site-window.

    Parameters
    ----------
    sight : Sight
        What is seen, arrays of shape (n_sites, n_windows).
    modes : ndarray, shape (n_windows,)
        Ingestion mode of each window.
    turns : ndarray, shape (n_sites,)
        Number of each site that staggers the turns; see `turns_of`.
    windows : ndarray, shape (n_windows,)
        Number of each window since 1970.

    Returns
    -------
    ndarray, shape (n_sites, n_windows)
        Positions in `DISPOSITIONS`; `PUBLISHED` says which of them are published.
    """
    notable = ~sight.is_online | sight.is_changed
    quiet = np.full(notable.shape, _CODE["quiet"])
    healthy = np.where(_has_turn(turns, windows, HEALTHY_EVERY), _CODE["downsampled"], quiet)
    silent = np.where(_has_turn(turns, windows, HEARTBEAT_EVERY), _CODE["heartbeat"], quiet)
    choices = [
        np.full(notable.shape, _CODE["full"]),
        np.where(notable, _CODE["deviating"], healthy),
        np.where(notable | sight.is_deviating, _CODE["deviating"], silent),
        np.where(sight.is_panel, _CODE["sampled"], _CODE["sampled_out"]),
    ]
    found = np.choose(np.broadcast_to(modes, notable.shape), choices)
    return np.where(sight.is_stale, _CODE["stale"], found).astype(np.int8)


def turns_of(fleet: str, site_ids: Sequence[str]) -> NDArray[np.int64]:
    """Return a number for each site that spreads their turns evenly over the windows, shape (n_sites,)."""
    longest = HEALTHY_EVERY * HEARTBEAT_EVERY
    return np.array([unit_hash(fleet, "turn", name) % longest for name in site_ids], dtype=np.int64)


def is_beyond(
    kpis: Sequence[NDArray[np.float32]],
    centre: Sequence[NDArray[np.float32]],
    scale: Sequence[NDArray[np.float32]],
    sigma: float,
) -> Flags:
    """Tell where any KPI lies further from its baseline than a number of scaled MADs.

    Parameters
    ----------
    kpis : sequence of ndarray, each shape (n_sites, n_windows)
        Normalised KPIs, NaN where absent. [1]
    centre, scale : sequence of ndarray, each shape (n_sites,)
        Baseline of each KPI, NaN where there is none. [1]
    sigma : float
        Threshold. [scaled MADs]

    Returns
    -------
    ndarray, shape (n_sites, n_windows)
        Also true where a KPI is present that has no baseline. A KPI that never moved is beyond as soon as it does.
    """
    found = np.zeros(kpis[0].shape, dtype=np.bool_) if kpis else np.zeros((0, 0), dtype=np.bool_)
    for kpi, middle, spread in zip(kpis, centre, scale, strict=True):
        limit = (np.float32(sigma) * spread + RESOLUTION)[:, None]
        is_within = np.abs(kpi - middle[:, None]) <= limit
        found |= ~is_within & ~np.isnan(kpi)
    return found


def is_changed(status: NDArray[np.int8]) -> Flags:
    """Tell where a site's status is another than one window earlier; shape (n_sites, n_windows - 1)."""
    return np.asarray(status[:, 1:] != status[:, :-1])


def _has_turn(turns: NDArray[np.int64], windows: NDArray[np.int64], every: int) -> Flags:
    return np.asarray(turns[:, None] % every == windows % every)
