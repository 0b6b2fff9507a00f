"""However snapshots arrive, late, out of order, or stamped by clocks that step: rows equal a plain reference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, SECOND, Span, floor_to, iso
from fleet_dagster.model.tables import FLEET_KPI, QUARANTINE, SITE_KPI
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at

INTERVAL, STALE_AFTER = 10 * MINUTE, 25 * MINUTE
CONFIG = at.plant(n_sites=3, n_regions=1, staleness_threshold_s=25 * 60)
SITES = ("MX-0001", "MX-0002", "MX-0003")
MIDNIGHT = at.FIRST + DAY
SPAN = Span(MIDNIGHT - 4 * HOUR, MIDNIGHT + 4 * HOUR)
TOLERANCE, LATENESS = 10 * MINUTE, 7 * DAY


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot: what its site's clock said, when it was received, and every KPI's share of its range."""

    site: str
    stamp: int
    received: int
    share: float

    @property
    def is_usable(self) -> bool:
        """Whether it is neither too late nor too early."""
        return -TOLERANCE <= self.received - self.stamp <= LATENESS


@dataclass(frozen=True, slots=True)
class Expected:
    """What a site's row says, computed one window at a time."""

    n_snapshots: int
    last_seen: int | None
    share: float | None


def sent(seed: int) -> list[Snapshot]:
    """Return eight hours around midnight: clocks that step, silences over midnight, and stragglers."""
    rng, found = np.random.default_rng(seed), {}
    for number, site in enumerate(SITES):
        silence = Span(MIDNIGHT - (30 + 40 * number) * MINUTE, MIDNIGHT + 25 * number * MINUTE)
        ahead = Span(SPAN.start + HOUR, SPAN.start + 2 * HOUR)
        behind = Span(MIDNIGHT + 2 * HOUR, MIDNIGHT + 3 * HOUR)
        for sent_at in range(SPAN.start, SPAN.end, 4 * MINUTE):
            true = sent_at + int(rng.integers(0, 200)) * SECOND + number
            if silence.start <= true < silence.end:
                continue
            step = 0
            if number == 0 and ahead.start <= true < ahead.end:
                step = HOUR
            if number == 1 and behind.start <= true < behind.end:
                step = -HOUR
            delay = int(rng.choice([SECOND, 5 * HOUR, 6 * DAY, 8 * DAY], p=[0.9, 0.06, 0.03, 0.01]))
            key = (site, true + step)
            found[key] = Snapshot(*key, true + delay, round(float(rng.uniform(0.1, 0.9)), 3))
    return list(found.values())


def expected(snapshots: Sequence[Snapshot], site: str, start: int) -> Expected:
    """Compute a site's row of the window that starts at an instant, by looking at every snapshot."""
    own = [s for s in snapshots if s.site == site and s.is_usable and s.stamp < start + INTERVAL]
    last = max((s.stamp for s in own), default=None)
    if last is None or start + INTERVAL - last > STALE_AFTER:
        return Expected(0, None, None)
    window = floor_to(last, INTERVAL)
    shares = [s.share for s in own if window <= s.stamp < window + INTERVAL]
    return Expected(len(shares) if window == start else 0, last, float(np.mean(shares)))


def raw(snapshots: Sequence[Snapshot]) -> pa.Table:
    """Return snapshots as their source would send them."""
    return pa.concat_tables(
        [
            at.snapshots(s.site, [s.stamp], CONFIG, received=s.received, share=s.share)
            for s in snapshots
        ]
    )


def arrive(store: Store, snapshots: Sequence[Snapshot], *, n_batches: int) -> None:
    """Land snapshots in batches, in the order given, computing now and then."""
    for number, part in enumerate(np.array_split(np.arange(len(snapshots)), n_batches)):
        batch = raw([snapshots[i] for i in part.tolist()])
        at.land(store, CONFIG, batch, batch_id=f"batch-{number:03d}")
        if number % 4 == 1:
            at.refresh_all(store, CONFIG, SPAN)
    at.refresh_all(store, CONFIG, SPAN)


def assert_as_expected(store: Store, snapshots: Sequence[Snapshot]) -> int:
    """Assert that every row is the reference's; returns how many were stale."""
    rows = at.rows_of(store, SITE_KPI, SPAN)
    starts, seen = _us(rows["window_start"]), _us(rows["last_seen"])
    n_stale: dict[int, int] = {}
    for i, row in enumerate(rows.to_dict("records")):
        wanted = expected(snapshots, row["site_id"], int(starts[i]))
        found = Expected(
            row["n_snapshots"],
            None if pd.isna(row["last_seen"]) else int(seen[i]),
            None if pd.isna(row["kpi_00"]) else wanted.share,
        )
        assert found == wanted, (row["site_id"], iso(int(starts[i])))
        assert wanted.share is None or row["kpi_00"] == pytest.approx(wanted.share, abs=1e-6)
        assert row["status"] == (3 if wanted.share is None else 0)
        n_stale[int(starts[i])] = n_stale.get(int(starts[i]), 0) + (wanted.share is None)
    assert len(rows) == 3 * len(SPAN.starts(INTERVAL))
    fleet = at.rows_of(store, FLEET_KPI, SPAN)
    assert list(fleet["sites_offline"]) == [n_stale[int(s)] for s in _us(fleet["window_start"])]
    silent = fleet[fleet["sites_offline"] == len(SITES)]
    assert set(silent["fleet_health"]) == {0.0}
    return sum(n_stale.values())


def _us(stamps: "pd.Series[pd.Timestamp]") -> "pd.Series[int]":
    return stamps.astype("datetime64[us, UTC]").astype("int64")


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_rows_do_not_depend_on_the_order_of_arrival_and_equal_the_plain_reference(
    store: Store, seed: int
) -> None:
    snapshots = sent(seed)
    arrive(store, at.shuffled(snapshots, seed), n_batches=12)
    assert assert_as_expected(store, snapshots) > 10
    whole = at.recomputed(store, CONFIG, SPAN)
    at.assert_same_tables(at.tables_of(store), whole)


def test_snapshots_as_they_are_received_equal_the_plain_reference(store: Store) -> None:
    snapshots = sorted(sent(3), key=lambda s: s.received)
    arrive(store, snapshots, n_batches=8)
    assert assert_as_expected(store, snapshots) > 10


def test_a_clock_an_hour_ahead_is_quarantined_and_one_behind_is_late(store: Store) -> None:
    snapshots = [s for s in sent(4) if s.received - s.stamp < 2 * DAY]
    arrive(store, snapshots, n_batches=2)
    rows = at.rows_of(store, QUARANTINE)
    assert set(rows["problem"]) == {"too_early"}
    ahead = [s for s in snapshots if s.stamp - s.received > TOLERANCE]
    assert len(rows) == len(ahead) > 5
    assert set(rows["site_id"]) == {SITES[0]}
    behind = [s for s in snapshots if s.site == SITES[1] and s.received - s.stamp >= HOUR]
    kpis = at.rows_of(store, SITE_KPI, SPAN).query("site_id == @SITES[1]")
    assert sum(1 for s in behind if s.is_usable) > 5
    n_usable = sum(1 for s in snapshots if s.site == SITES[1] and s.is_usable)
    assert kpis["n_snapshots"].sum() == n_usable
