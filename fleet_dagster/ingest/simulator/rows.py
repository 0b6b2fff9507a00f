"""Rows of a simulated hour: the grid without silent sites, with bursts, duplicates, malformed copies, sequence and receipt."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.ingest.simulator.fleet import Hour, SimulatedFleet
from fleet_dagster.ingest.simulator.noise import generator
from fleet_dagster.ingest.simulator.scenario import Scenario
from fleet_dagster.ingest.zones import SECOND_US

MALFORMED = (
    "bad_time",
    "missing_site",
    "text_reading",
    "infinite_reading",
    "bad_status",
    "bad_uptime",
    "bad_fault_count",
    "unknown_site",
)
"""Kinds of planted bad snapshots; code 0 means none, so kind i has code i + 1."""

Rows = dict[str, NDArray[Any]]  # Any: every column has its own type
_BURST = 5
"""Extra snapshots per step and site while a storm lasts."""
_LATE_S = (180.0, 5 * 86_400.0)
_TOO_LATE_S = (7.1 * 86_400.0, 9 * 86_400.0)
LATE, TOO_LATE = 1, 2
"""Codes of the column `late`."""
_REPEATED, _CORRECTED = 1, 2
_Part = tuple[
    NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int8], NDArray[np.int8]
]


def hour_rows(fleet: SimulatedFleet, grid: Hour, hour: int, *, with_malformed: bool) -> Rows:
    """Turn the grid of an hour into rows: silent sites left out; bursts, duplicates and malformed copies added."""
    scenario = fleet.scenario
    step_no, site_no = np.nonzero(~grid.is_silent)
    n = len(step_no)
    shift, copy = np.zeros(n, np.int64), np.zeros(n, np.int8)
    malformed = np.zeros(n, np.int8)
    parts = [(step_no, site_no, shift, copy, malformed)]
    parts += _bursts(grid, step_no, site_no, scenario.step_s)
    rng = generator(scenario.seed, "copies", hour)
    parts += _duplicates(rng, scenario, step_no, site_no, grid)
    if with_malformed and scenario.malformed_share > 0:
        parts += _malformed(
            generator(scenario.seed, "malformed", hour), scenario, step_no, site_no, grid
        )
    step_no, site_no, shift, copy, malformed = (
        np.concatenate(columns) for columns in zip(*parts, strict=True)
    )
    rows: Rows = {
        "site_no": site_no.astype(np.int32),
        "timestamp_us": grid.t_us[step_no] + shift,
        "readings": grid.readings[step_no, site_no],
        "status": grid.status[step_no, site_no],
        "uptime_pct": grid.uptime_pct[step_no, site_no],
        "fault_count": grid.fault_count[step_no, site_no],
        "copy": copy,
        "malformed": malformed,
    }
    if len(parts) > 1:
        order = np.lexsort((malformed, copy, site_no, rows["timestamp_us"]))
        rows = {name: column[order] for name, column in rows.items()}
    _finish(rows, fleet, hour)
    return rows


def _finish(rows: Rows, fleet: SimulatedFleet, hour: int) -> None:
    """Add sequence numbers and receipt, and take away some readings."""
    scenario = fleet.scenario
    rows["sequence"] = rows["timestamp_us"] // SECOND_US * 10 + (rows["copy"] == _CORRECTED)
    sound = np.flatnonzero(rows["malformed"] == 0)
    n = len(sound)
    rng = generator(scenario.seed, "receipt", hour)
    delay_s = np.ones(len(rows["site_no"]))
    delay_s[sound] = rng.uniform(0.2, 2.5, n) + 3.0 * (rows["copy"][sound] > 0)
    late = np.zeros(n, np.int8)
    if scenario.late_share > 0:
        late = (rng.random(n) < scenario.late_share).astype(np.int8)
        late[(rng.random(n) < scenario.too_late_share) & (late > 0)] = TOO_LATE
        least, most = np.log(_LATE_S)
        delay_s[sound] = np.where(late == LATE, np.exp(rng.uniform(least, most, n)), delay_s[sound])
        delay_s[sound] = np.where(late == TOO_LATE, rng.uniform(*_TOO_LATE_S, n), delay_s[sound])
    rows["late"] = np.zeros(len(delay_s), np.int8)
    rows["late"][sound] = late
    rows["received_us"] = rows["timestamp_us"] + (delay_s * 1e3).astype(np.int64) * 1_000
    rows["readings"][rows["copy"] == _CORRECTED, 0] += np.float32(fleet.models[0].sigma)
    if scenario.absent_share > 0:
        absent = sound[rng.random(n) < scenario.absent_share]
        rows["readings"][absent, rng.integers(0, len(fleet.models), len(absent))] = np.nan


def _bursts(
    grid: Hour, step_no: NDArray[np.int64], site_no: NDArray[np.int64], step_s: int
) -> list[_Part]:
    keep = grid.is_storm[step_no]
    if not keep.any():
        return []
    step, site = step_no[keep], site_no[keep]
    gap_us = step_s * SECOND_US // (_BURST + 1)
    zeros = np.zeros(len(step), np.int8)
    return [
        (step, site, np.full(len(step), i * gap_us, np.int64), zeros, zeros)
        for i in range(1, _BURST + 1)
    ]


def _duplicates(
    rng: np.random.Generator,
    scenario: Scenario,
    step_no: NDArray[np.int64],
    site_no: NDArray[np.int64],
    grid: Hour,
) -> list[_Part]:
    if scenario.duplicates_share <= 0:
        return []
    drawn = rng.random(grid.status.shape, dtype=np.float32)[step_no, site_no]
    keep = drawn < scenario.duplicates_share
    kind = np.where(drawn[keep] < scenario.duplicates_share / 2, _CORRECTED, _REPEATED).astype(
        np.int8
    )
    zeros = np.zeros(int(keep.sum()), np.int64)
    return [(step_no[keep], site_no[keep], zeros, kind, zeros.astype(np.int8))]


def _malformed(
    rng: np.random.Generator,
    scenario: Scenario,
    step_no: NDArray[np.int64],
    site_no: NDArray[np.int64],
    grid: Hour,
) -> list[_Part]:
    drawn = rng.random(grid.status.shape, dtype=np.float32)[step_no, site_no]
    kinds = rng.integers(1, len(MALFORMED) + 1, grid.status.shape).astype(np.int8)[step_no, site_no]
    keep = drawn < scenario.malformed_share
    zeros = np.zeros(int(keep.sum()), np.int64)
    return [(step_no[keep], site_no[keep], zeros, zeros.astype(np.int8), kinds[keep])]
