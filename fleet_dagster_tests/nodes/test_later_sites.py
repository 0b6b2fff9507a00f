"""Sites that are registered after a window leave no trace in its rankings, and many batches none in the books."""

import numpy as np
import pandas as pd
import pytest

from fleet_dagster.core.sampling import training_day_in_force
from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import persistence_lookback
from fleet_dagster.model.tables import BASELINE, KPI_NAMES
from fleet_dagster.nodes.performance_comparator import performance_comparator
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster.nodes.site_ingest import site_ingest
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import NOON, SITES

SPAN = Span(NOON, NOON + 2 * MINUTE)


def drawn(rng: np.random.Generator) -> FleetConfig:
    """Return a fleet of 3 to 40 sites in up to three regions."""
    n = int(rng.integers(3, 41))
    sites = [{"site_id": f"T-{i:02d}", "region_id": f"R-{rng.integers(3)}"} for i in range(n)]
    return fleets.config(kpis=[{"name": "power"}], region_mappings=sites)


def site_rows(fleet: Fleet, rng: np.random.Generator) -> pd.DataFrame:
    """Return rows in which most sites score alike, so that the median deviation is often 0."""
    block = SPAN.widen(before=persistence_lookback(fleet))
    stamps, ids = block.starts(fleet.interval), [s.site_id for s in fleet.sites]
    n = len(stamps) * len(ids)
    odd = rng.random(n) < rng.choice([0.1, 0.3, 0.9])
    return pd.DataFrame(
        {
            "window_start": fleets.utc(np.repeat(stamps, len(ids))),
            "site_id": np.tile(np.array(ids, dtype=object), len(stamps)),
            **{name: np.full(n, np.nan, np.float32) for name in KPI_NAMES},
            KPI_NAMES[0]: np.where(odd, rng.random(n), 0.5).astype(np.float32),
            "status": np.zeros(n, np.int8),
            "uptime_pct": np.where(odd, rng.uniform(80, 100, n), 100).astype(np.float32),
            "fault_count": np.zeros(n, np.int32),
            "last_seen": fleets.utc(np.repeat(stamps, len(ids))),
            "published": True,
        }
    )


def without_spread(fleet: Fleet) -> pd.DataFrame:
    """Return a baseline whose long-run MADs are all 0."""
    day = training_day_in_force(fleet.start, NOON)
    assert day is not None
    groups = [("fleet", fleet.name), *(("region", f"R-{r}") for r in range(3))]
    rows = pd.DataFrame(groups, columns=["scope", "scope_id"])
    stamps = {"window_start": fleets.utc(day), "window_end": fleets.utc(day + DAY)}
    absent = {name: np.nan for name in BASELINE.column_names if name not in ("fleet", "day")}
    return pd.DataFrame({**absent, **stamps, "mad": 0.0}, index=rows.index).assign(
        scope=rows["scope"], scope_id=rows["scope_id"]
    )


def ranking(fleet: Fleet, rows: pd.DataFrame) -> pd.DataFrame:
    assignment = region_mapper(fleet, SPAN.widen(before=persistence_lookback(fleet)))
    return performance_comparator(fleet, rows, assignment, without_spread(fleet), SPAN)


@pytest.mark.parametrize("n_fleets", [50, pytest.param(300, marks=pytest.mark.slow)])
def test_rankings_do_not_change_a_bit_when_more_sites_are_registered_later(n_fleets: int) -> None:
    n_rows = n_spread = 0
    for seed in range(n_fleets):
        rng = np.random.default_rng(seed)
        config = drawn(rng)
        before = Fleet.of(config)
        later = {f"X-{i}": SPAN.end + HOUR for i in range(rng.integers(1, 9))}
        after = Fleet.of(config, later)
        assert len(after.sites) == len(before.sites) + len(later)
        rows = site_rows(before, rng)
        a, b = ranking(before, rows), ranking(after, rows)
        fleets.assert_same_rows(a, b)
        z = a["modified_z_fleet"].to_numpy(np.float64)
        assert z.tobytes() == b["modified_z_fleet"].to_numpy(np.float64).tobytes()
        n_rows += len(a)
        n_spread += int((np.abs(z) > 0).sum())
    assert n_rows > 33 * n_fleets
    assert n_spread > 3 * n_fleets


@pytest.mark.parametrize("seed", [1, 2])
def test_many_small_batches_are_booked_like_few_large_ones(seed: int) -> None:
    config = fleets.config()
    fleet, span = Fleet.of(config), Span(NOON, NOON + 10 * MINUTE)
    frame = fleets.telemetry(SITES[:6], NOON, span.end, seed=seed, malformed=True)
    landed = fleets.landed(config, frame)
    batch = landed["row_no"].to_numpy()
    many = site_ingest(
        fleet, named(landed, batch), region_mapper(fleet, span), fleets.UNTRAINED, span
    ).ingest_stats
    few = site_ingest(
        fleet, named(landed, batch // 50), region_mapper(fleet, span), fleets.UNTRAINED, span
    )
    assert len(many) == len(frame) > 4 * len(few.ingest_stats)
    counts = ["landed", "used", "duplicates", "quarantined", "sampled_out"]
    owner = many["batch_id"].astype(str).str.slice(1).astype(int) // 50
    joined = many.assign(owner=owner).groupby(["window_start", "owner"])[counts].sum()
    owner = few.ingest_stats["batch_id"].astype(str).str.slice(1).astype(int)
    expected = few.ingest_stats.assign(owner=owner).set_index(["window_start", "owner"])[counts]
    pd.testing.assert_frame_equal(joined, expected.sort_index(), check_dtype=False)


def named(landed: pd.DataFrame, number: "np.typing.NDArray[np.int64]") -> pd.DataFrame:
    """Return landed rows under numbered batches, whose names keep the order of the rows."""
    return landed.assign(batch_id=[f"b{n:06d}" for n in number])


def test_books_start_at_the_windows_of_the_span_whatever_lies_around_it() -> None:
    config = fleets.config()
    fleet, span = Fleet.of(config), Span(NOON, NOON + 5 * MINUTE)
    frame = fleets.telemetry(SITES[:6], NOON - 5 * MINUTE, NOON + 10 * MINUTE, seed=3)
    books = site_ingest(
        fleet, fleets.landed(config, frame), region_mapper(fleet, span), fleets.UNTRAINED, span
    ).ingest_stats
    stamps = frames.microseconds(frame["timestamp"])
    inside = np.bincount((stamps[(stamps >= span.start) & (stamps < span.end)] - NOON) // MINUTE)
    assert books["landed"].tolist() == inside.tolist()
