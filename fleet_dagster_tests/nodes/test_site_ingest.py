import numpy as np
import pandas as pd
import pytest

from fleet_dagster.core.windows import HOUR, MINUTE, SECOND, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.errors import FrameError
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import carry_lookback
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster.nodes.site_ingest import Ingested, site_ingest
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import NOON, SITES

SPAN = Span(NOON, NOON + 10 * MINUTE)
SEEDS = (1, 2, 3)


def ingest(fleet: Fleet, landed: pd.DataFrame, span: Span = SPAN) -> Ingested:
    return site_ingest(fleet, landed, region_mapper(fleet, span), fleets.UNTRAINED, span)


def since(landed: pd.DataFrame, instant: int) -> pd.DataFrame:
    rows: pd.DataFrame = landed[landed["timestamp"] >= fleets.utc(instant)]
    return rows


@pytest.mark.parametrize("threshold_s", [1, 59, 60, 61, 120, 121, 300, 3601])
def test_reading_exactly_the_declared_lookback_is_enough(threshold_s: int) -> None:
    config = fleets.config(staleness_threshold_s=threshold_s)
    fleet = Fleet.of(config)
    frame = fleets.telemetry(SITES[:6], NOON - 2 * HOUR, SPAN.end, seed=1, step=17 * SECOND)
    landed = fleets.landed(config, frame)
    back = carry_lookback(fleet, SPAN.start, SPAN.end)
    assert back % fleet.interval == 0
    enough = ingest(fleet, since(landed, NOON - back))
    fleets.assert_same_rows(enough.site_kpi, ingest(fleet, landed).site_kpi)


@pytest.mark.parametrize("threshold_s", [61, 120, 121, 300, 3600])
def test_one_window_less_than_the_declared_lookback_changes_a_row(threshold_s: int) -> None:
    config = fleets.config(1, 1, staleness_threshold_s=threshold_s)
    fleet = Fleet.of(config)
    back = carry_lookback(fleet, SPAN.start, SPAN.end)
    # The oldest snapshot that keeps the first window fresh.
    oldest = max(NOON + MINUTE - threshold_s * SECOND, NOON - back)
    frame = pd.DataFrame(
        {"site_id": ["S-01"], "timestamp": [fleets.utc(oldest)], "output_kw": [256.0]}
    )
    landed = fleets.landed(config, frame)
    enough = ingest(fleet, since(landed, NOON - back)).site_kpi
    less = ingest(fleet, since(landed, NOON - back + MINUTE)).site_kpi
    assert enough["kpi_00"][0] == 0.5
    assert enough["n_snapshots"][0] == 0
    assert np.isnan(less["kpi_00"][0])
    assert less["status"][0] == 3


def test_values_of_the_carried_window_come_from_all_of_it() -> None:
    config = fleets.config(1, 1, staleness_threshold_s=90)
    fleet = Fleet.of(config)
    stamps = [NOON - MINUTE + 5 * SECOND, NOON - 10 * SECOND]
    frame = pd.DataFrame(
        {"site_id": "S-01", "timestamp": fleets.utc(np.array(stamps)), "output_kw": [128.0, 256.0]}
    )
    rows = ingest(fleet, fleets.landed(config, frame)).site_kpi
    assert rows["kpi_00"][0] == 0.375


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_rows_changes_no_row(seed: int) -> None:
    config = fleets.config()
    fleet = Fleet.of(config)
    frame = fleets.telemetry(SITES[:6], NOON - 5 * MINUTE, SPAN.end, seed=seed, malformed=True)
    landed = fleets.landed(config, frame)
    shuffled = landed.sample(frac=1, random_state=seed)
    a, b = ingest(fleet, landed), ingest(fleet, shuffled)
    fleets.assert_same_rows(a.site_kpi, b.site_kpi)
    fleets.assert_same_rows(a.quarantine, b.quarantine)
    fleets.assert_same_rows(a.ingest_stats, b.ingest_stats)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_landed_snapshot_is_booked_once_under_its_batch(seed: int) -> None:
    config = fleets.config()
    fleet = Fleet.of(config)
    frame = fleets.telemetry(SITES[:6], SPAN.start, SPAN.end, seed=seed, malformed=True)
    landed = fleets.landed(config, frame)
    parts = [landed.iloc[::3].assign(batch_id="b2"), landed.iloc[1::3].assign(batch_id="b10")]
    both = pd.concat([*parts, landed.iloc[2::3]])
    books = ingest(fleet, both.astype({"batch_id": "category"})).ingest_stats
    total = books[["landed", "used", "duplicates", "quarantined", "sampled_out"]].sum()
    inside = both[both["timestamp"] < fleets.utc(SPAN.end)]
    assert total["landed"] == len(inside)
    assert total["duplicates"] > 0
    assert (
        books["landed"]
        == books["used"] + books["duplicates"] + books["quarantined"] + books["sampled_out"]
    ).all()
    per_batch = books.groupby("batch_id", observed=True)["landed"].sum().to_dict()
    assert per_batch == inside["batch_id"].value_counts().to_dict()


def test_books_of_a_slice_name_the_batches_of_the_slice() -> None:
    config = fleets.config(1, 1)
    frame = fleets.telemetry(SITES[:1], SPAN.start, SPAN.end, seed=1)
    landed = fleets.landed(config, frame)
    early, late = landed.assign(batch_id="a"), landed.assign(batch_id="z")
    both = pd.concat([early, late], ignore_index=True).astype({"batch_id": "category"})
    only_late = both[both["batch_id"] == "z"]
    books = ingest(Fleet.of(config), only_late).ingest_stats
    assert set(books["batch_id"].astype(str)) == {"z"}
    assert books["landed"].sum() == len(late)


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_of_site_rows_equal_the_books(seed: int) -> None:
    config = fleets.config()
    frame = fleets.telemetry(SITES[:6], SPAN.start, SPAN.end, seed=seed)
    done = ingest(Fleet.of(config), fleets.landed(config, frame))
    by_window = done.ingest_stats.groupby("window_start")[["used", "duplicates"]].sum()
    rows = done.site_kpi.groupby("window_start")[["n_snapshots", "n_duplicates"]].sum()
    rows = rows.loc[by_window.index]
    assert rows["n_snapshots"].tolist() == by_window["used"].tolist()
    assert rows["n_duplicates"].tolist() == by_window["duplicates"].tolist()


def test_a_window_of_poor_quality_is_marked() -> None:
    config = fleets.config(1, 1, min_good_pct=80)
    stamps = NOON + np.arange(10) * 12 * SECOND
    frame = pd.DataFrame(
        {
            "site_id": "S-01",
            "timestamp": fleets.utc(stamps),
            "quality": [0, 0, 0, 0, 1, 0, 0, 0, 2, 1],
            "output_kw": 100.0,
        }
    )
    rows = ingest(Fleet.of(config), fleets.landed(config, frame)).site_kpi
    assert rows["good_pct"].tolist()[:2] == [80.0, 60.0]
    assert rows["is_low_quality"].tolist()[:3] == [False, True, False]


def test_status_counts_uptime_and_faults_follow_the_rules() -> None:
    config = fleets.config(1, 1)
    frame = pd.DataFrame(
        {
            "site_id": "S-01",
            "timestamp": fleets.utc(NOON + np.array([40, 5, 20]) * SECOND),
            "status": [1, 2, 0],
            "uptime_pct": [100.0, 90.0, 80.0],
            "fault_count": [0, 4, 1],
            "output_kw": np.nan,
        }
    )
    row = ingest(Fleet.of(config), fleets.landed(config, frame)).site_kpi.iloc[0]
    assert (row["status"], row["uptime_pct"], row["fault_count"]) == (1, 90.0, 4)
    assert row["kpi_count"] == 0
    assert row["last_seen"] == fleets.utc(NOON + 40 * SECOND)
    assert (row["disposition"], row["published"]) == ("full", True)


def test_a_stale_site_is_not_published() -> None:
    config = fleets.config(1, 1)
    rows = ingest(Fleet.of(config), fleets.landed(config, _one_snapshot())).site_kpi
    assert rows["disposition"].astype(str).tolist() == ["full"] * 2 + ["stale"] * 8
    assert rows["published"].tolist() == [True] * 2 + [False] * 8
    assert rows["last_seen"].isna().tolist() == [False] * 2 + [True] * 8


def _one_snapshot() -> pd.DataFrame:
    stamp = fleets.utc(NOON + 1)
    return pd.DataFrame({"site_id": ["S-01"], "timestamp": [stamp], "output_kw": [256.0]})


def test_a_snapshot_of_an_unregistered_site_is_refused() -> None:
    landed = fleets.landed(fleets.config(1, 1), _one_snapshot().assign(site_id="X"))
    with pytest.raises(FrameError, match="site 'X' is not registered"):
        ingest(fleets.fleet(1, 1), landed)


def test_no_telemetry_gives_offline_rows_and_empty_books() -> None:
    config = fleets.config(2, 1)
    none = fleets.landed(config, _one_snapshot()).iloc[:0]
    done = ingest(Fleet.of(config), none)
    assert len(done.site_kpi) == 20
    assert (done.site_kpi["status"] == 3).all()
    assert done.quarantine.empty
    assert done.ingest_stats.empty


def test_a_site_not_yet_registered_has_no_rows() -> None:
    config = fleets.config(1, 1)
    fleet = Fleet.of(config, {"X": NOON + 4 * MINUTE})
    late = _one_snapshot().assign(site_id="X", timestamp=[fleets.utc(NOON + 4 * MINUTE)])
    rows = ingest(fleet, fleets.landed(config, late)).site_kpi
    own = frames.within(rows[rows["site_id"].astype(str) == "X"], SPAN)
    assert own["window_start"].min() == fleets.utc(NOON + 4 * MINUTE)
    assert len(own) == 6
