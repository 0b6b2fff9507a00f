"""Landed telemetry as the columns of usable snapshots that the reduction takes."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.snapshots import Snapshots
from fleet_dagster.core.windows import Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.errors import FrameError
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import READING_NAMES

_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Usable:
    """The usable snapshots of a span, and which rows of the telemetry they are: flags of its length."""

    snapshots: Snapshots
    is_usable: NDArray[np.bool_]

    def flags(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return flags over the telemetry of the usable snapshots at some positions."""
        flags = np.zeros(self.is_usable.size, dtype=np.bool_)
        flags[np.flatnonzero(self.is_usable)[positions]] = True
        return flags


def usable_snapshots(
    fleet: Fleet,
    telemetry: pd.DataFrame,
    stamp: NDArray[np.int64],
    span: Span,
    *,
    with_readings: bool = True,
) -> Usable:
    """Return the usable snapshots of a span; `stamp` holds the timestamps of all of the telemetry [us].

    Raises
    ------
    FrameError
        A usable snapshot is of a site that is not registered.
    """
    is_usable = (stamp >= span.start) & (stamp < span.end) & telemetry["problem"].isna().to_numpy()
    rows: NDArray[np.int64] | slice = slice(None) if is_usable.all() else np.flatnonzero(is_usable)
    site = frames.codes_of(telemetry["site_id"], fleet.site_numbers)[rows]
    if (site < 0).any():
        stranger = telemetry["site_id"].to_numpy()[rows][site < 0][0]
        raise FrameError(
            "telemetry",
            f"site {stranger!r} is not registered",
            "Land it first, so that it gets its place on the site axis",
        )

    def column(name: str, dtype: type[_Value]) -> NDArray[_Value]:
        values: NDArray[_Value] = telemetry[name].to_numpy(dtype)
        return values[rows]

    n_kpis = len(fleet.config.kpis) if with_readings else 0
    snapshots = Snapshots(
        site=site,
        timestamp=stamp[rows],
        readings=[column(READING_NAMES[k], np.float32) for k in range(n_kpis)],
        status=column("status", np.int8),
        uptime_pct=column("uptime_pct", np.float32),
        fault_count=column("fault_count", np.int32),
        is_good=column("quality", np.int8) == 0,
        sequence=column("sequence", np.int64),
        received_at=frames.microseconds(telemetry["received_at"])[rows],
        batch=batch_ranks(telemetry["batch_id"])[rows],
        row_no=column("row_no", np.int64),
    )
    return Usable(snapshots, is_usable)


def batch_ranks(batch_id: "pd.Series[str]") -> NDArray[np.int64]:
    """Return the rank of each row's batch by its id."""
    names = frames.vocabulary(batch_id)
    return frames.codes_of(batch_id, {name: i for i, name in enumerate(names)})
