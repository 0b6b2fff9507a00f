import math
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fleet_dagster.core.dedup import duplicates
from fleet_dagster.core.reduction import (
    NEVER,
    QUANTUM,
    Reduced,
    quantise,
    reduce_block,
)
from fleet_dagster.core.snapshots import Grid, Snapshots

W = 60
N_SITES, N_WINDOWS = 2, 6
THRESHOLD = 120
RANGE = (0.0, 8.0)
"""A power of two: quarters of a unit are then whole quanta."""
NAN = math.nan
_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True)
class Row:
    """One snapshot, times in whole microseconds from 0."""

    site: int
    at: int
    value: float = 5.0
    status: int = 0
    uptime: float = 100.0
    faults: int = 0
    good: bool = True
    sequence: int = -1
    received: int = 0
    batch: int = 0
    row_no: int = 0

    @property
    def precedence(self) -> tuple[int, int, int, int]:
        """What decides between two snapshots of one site and timestamp."""
        return (self.sequence, self.received, self.batch, self.row_no)


def snapshots(rows: list[Row]) -> Snapshots:
    def column(name: str, dtype: type[_Value]) -> NDArray[_Value]:
        return np.array([getattr(r, name) for r in rows], dtype=dtype)

    return Snapshots(
        site=column("site", np.int64),
        timestamp=column("at", np.int64),
        readings=[column("value", np.float32)],
        status=column("status", np.int8),
        uptime_pct=column("uptime", np.float32),
        fault_count=column("faults", np.int32),
        is_good=column("good", np.bool_),
        sequence=column("sequence", np.int64),
        received_at=column("received", np.int64),
        batch=column("batch", np.int64),
        row_no=column("row_no", np.int64),
    )


def reduce(rows: list[Row], threshold: int = THRESHOLD, *, threads: bool = False) -> Reduced:
    grid = Grid(N_SITES, 0, N_WINDOWS, W)
    staleness = np.full(N_WINDOWS, threshold, dtype=np.int64)
    with ThreadPoolExecutor(2) as pool:
        return reduce_block(
            snapshots(rows),
            grid,
            ranges=[RANGE],
            staleness=staleness,
            threads=pool if threads else None,
        )


def assert_same_bits(a: Reduced, b: Reduced) -> None:
    """Assert that two blocks are equal but for where their duplicates stood."""
    for f in fields(Reduced):
        if f.name == "duplicates":
            continue
        for x, y in zip(
            np.atleast_1d(getattr(a, f.name)), np.atleast_1d(getattr(b, f.name)), strict=True
        ):
            assert np.asarray(x).tobytes() == np.asarray(y).tobytes(), f.name


def naive(rows: list[Row]) -> dict[tuple[int, int], dict[str, float]]:
    """Reduce by the book: dedup, mean of good readings, last status, mean uptime, most faults, carry."""
    best: dict[tuple[int, int], Row] = {}
    for row in rows:
        held = best.get((row.site, row.at))
        if held is None or row.precedence > held.precedence:
            best[row.site, row.at] = row
    out: dict[tuple[int, int], dict[str, float]] = {}
    for site in range(N_SITES):
        carried: dict[str, float] | None = None
        last = -math.inf
        for w in range(N_WINDOWS):
            own = sorted(
                (r for r in best.values() if r.site == site and r.at // W == w), key=lambda r: r.at
            )
            if own:
                values = [r.value for r in own if r.good and not math.isnan(r.value)]
                last = own[-1].at
                carried = {
                    "kpi": sum(values) / len(values) / RANGE[1] if values else NAN,
                    "status": own[-1].status,
                    "uptime": sum(r.uptime for r in own) / len(own),
                    "faults": max(r.faults for r in own),
                }
            stale = (w + 1) * W - last > THRESHOLD
            empty = {"kpi": NAN, "status": 3, "uptime": NAN, "faults": NAN}
            out[site, w] = {**(empty if stale or carried is None else carried), "n": len(own)}
    return out


quarters = st.integers(-4, 44).map(lambda i: i / 4)
row = st.builds(
    Row,
    site=st.integers(0, N_SITES - 1),
    at=st.one_of(st.integers(0, N_WINDOWS * W - 1), st.sampled_from([0, 59, 60, 119, 120, 121])),
    value=st.one_of(st.just(NAN), quarters),
    status=st.integers(0, 3),
    uptime=st.integers(0, 400).map(lambda i: i / 4),
    faults=st.integers(0, 9),
    good=st.booleans(),
    sequence=st.integers(-1, 1),
    received=st.integers(0, 1),
    batch=st.integers(0, 1),
)


@st.composite
def batches(draw: st.DrawFn) -> list[Row]:
    rows = draw(st.lists(row, max_size=25))
    return [replace(r, row_no=i) for i, r in enumerate(rows)]


@given(batches())
def test_the_best_snapshot_is_the_last_by_sequence_receipt_batch_and_row(rows: list[Row]) -> None:
    best: dict[tuple[int, int], int] = {}
    for i, r in enumerate(rows):
        held = best.get((r.site, r.at))
        if held is None or r.precedence > rows[held].precedence:
            best[r.site, r.at] = i
    expected = sorted(set(range(len(rows))) - set(best.values()))
    assert duplicates(snapshots(rows)).tolist() == expected


@given(batches())
def test_a_block_reduces_by_the_book(rows: list[Row]) -> None:
    found = reduce(rows)
    for (site, w), expected in naive(rows).items():
        got = {
            "kpi": float(found.kpis[0][site, w]),
            "status": int(found.status[site, w]),
            "uptime": float(found.uptime_pct[site, w]),
            "faults": float(found.fault_count[site, w]),
            "n": int(found.n_snapshots[site, w]),
        }
        assert got == pytest.approx(expected, rel=1e-6, abs=1e-6, nan_ok=True), (site, w)


@given(batches(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_bit(rows: list[Row], rng: random.Random) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)
    assert_same_bits(reduce(rows), reduce(shuffled))


@given(batches())
def test_threads_change_no_bit(rows: list[Row]) -> None:
    assert_same_bits(reduce(rows), reduce(rows, threads=True))


@given(st.lists(st.floats(-1e5, 1e5, width=32), min_size=1, max_size=60), st.data())
def test_a_mean_is_the_same_in_any_order(values: list[float], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(values))))
    rows = [Row(0, i, value) for i, value in enumerate(values)]
    moved = [Row(0, i, values[j]) for i, j in enumerate(order)]
    assert reduce(rows).kpis[0].tobytes() == reduce(moved).kpis[0].tobytes()


def test_a_repeated_snapshot_counts_once() -> None:
    found = reduce([Row(0, 10, 2.0, row_no=0), Row(0, 10, 8.0, row_no=1)])
    assert found.kpis[0][0, 0] == 1.0
    assert (found.n_snapshots[0, 0], found.n_duplicates[0, 0]) == (1, 1)


def test_a_higher_sequence_beats_a_later_receipt() -> None:
    rows = [Row(0, 10, 2.0, sequence=5, received=1), Row(0, 10, 8.0, sequence=4, received=9)]
    assert reduce(rows).kpis[0][0, 0] == 0.25


def test_readings_of_bad_quality_stay_out_of_the_mean_but_count() -> None:
    found = reduce([Row(0, 10, 2.0), Row(0, 20, 9.0, good=False), Row(0, 30, NAN)])
    assert found.kpis[0][0, 0] == 0.25
    assert found.n_snapshots[0, 0] == 3
    assert found.good_pct[0, 0] == np.float32(200 / 3)


def test_status_is_the_last_uptime_the_mean_and_faults_the_most() -> None:
    rows = [
        Row(0, 50, status=1, uptime=100, faults=0),
        Row(0, 10, status=2, uptime=50, faults=4),
        Row(0, 30, status=0, uptime=90, faults=1),
    ]
    found = reduce(rows)
    assert (found.status[0, 0], found.uptime_pct[0, 0], found.fault_count[0, 0]) == (1, 80, 4)


def test_a_silent_site_carries_its_last_values_until_it_is_stale() -> None:
    found = reduce([Row(0, 30, 4.0, status=1, uptime=70, faults=2)])
    assert found.kpis[0][0].tolist()[:2] == [0.5] * 2
    assert np.isnan(found.kpis[0][0, 2:]).all()
    assert found.status[0].tolist() == [1, 1, 3, 3, 3, 3]
    assert found.n_snapshots[0].tolist() == [1, 0, 0, 0, 0, 0]
    assert found.last_seen[0].tolist() == [30, 30, NEVER, NEVER, NEVER, NEVER]
    assert found.is_stale[0].tolist() == [False, False, True, True, True, True]


def test_a_snapshot_exactly_as_old_as_the_threshold_is_fresh() -> None:
    assert reduce([Row(0, 60)], threshold=120).is_stale[0].tolist()[1:4] == [False, False, True]


def test_a_microsecond_more_is_stale() -> None:
    assert reduce([Row(0, 59)], threshold=120).is_stale[0].tolist()[1:4] == [False, True, True]


def test_a_site_never_seen_is_stale_throughout() -> None:
    found = reduce([])
    assert found.is_stale.all()
    assert (found.status == 3).all()


def test_a_site_stale_within_its_own_window_is_offline_even_if_every_window_has_snapshots() -> None:
    rows = [Row(site, w * W + 5) for site in range(N_SITES) for w in range(N_WINDOWS)]
    found = reduce(rows, threshold=20)
    assert found.is_stale.all()
    assert (found.status == 3).all()
    assert np.isnan(found.kpis[0]).all()
    assert (found.n_snapshots == 1).all()


def test_a_site_returns_with_its_next_snapshot() -> None:
    found = reduce([Row(0, 0, 1.0), Row(0, 5 * W, 2.0)])
    assert found.is_stale[0].tolist() == [False, False, True, True, True, False]
    assert found.kpis[0][0, 5] == 0.25


def test_readings_are_cut_at_a_magnitude_that_sums_exactly() -> None:
    found = quantise(np.array([1e9, -1e9, NAN, 10.0], dtype=np.float32), 0.0, 10.0) / QUANTUM
    assert found == pytest.approx([4096, -4096, NAN, 1], nan_ok=True)


def test_normalising_keeps_what_a_reading_resolves() -> None:
    readings = np.array([1000.0625, 1000.125], dtype=np.float32)
    found = quantise(readings, 1000.1, 1000.2) / QUANTUM
    assert found == pytest.approx([-0.375, 0.25], abs=1e-6)
