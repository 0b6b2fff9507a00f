import dataclasses
import math
from typing import Any

import pytest
import sqlalchemy as sa

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.dashboard.gathering import Gathering
from fleet_dagster.model.snapshot import Snapshot
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import (
    ANOMALY_SCORE,
    FLEET_KPI,
    REGIONAL_HEALTH,
    SITE_KPI,
    SITE_RANKING,
)
from fleet_dagster.storage.control.schema import node_reports
from fleet_dagster.storage.site_status import last_published, published_fraction
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import alert_rows as rows
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.dashboard.conftest import COMPUTED, PLANT

N_SITES = 13
"""Twelve that are mapped, and one that is not."""
NOW = COMPUTED.end + MINUTE
LAST = Span(COMPUTED.end - 30 * MINUTE, COMPUTED.end)


def _same(shown: float | None, kept: Any) -> bool:  # Any: a cell of a frame
    return math.isnan(kept) if shown is None else shown == pytest.approx(kept, abs=1e-6)


def _assert_ranks(store: Store, shown: Snapshot, window: Span, storm: StormEpisode | None) -> None:
    kept = last_published(store, "plant", window, storm)
    by_site = {str(r["site_id"]): r for r in kept.to_dict("records")}
    sites = shown.sites
    for i, site in enumerate(sites.site_id):
        own: dict[str, Any] = by_site.get(site, {})  # type: ignore[assignment] # names of columns
        assert (sites.health[i] is None) == (not own)
        if own:
            ago = (window.start - int(own["window_start"].value) // 1000) // (30 * MINUTE)
            assert sites.ranked_windows_ago[i] == ago
            assert sites.health[i] == pytest.approx(own["composite_score"], abs=1e-6)
            assert sites.rank_in_fleet[i] == own["rank_in_fleet"]
            assert _same(sites.modified_z_region[i], own["modified_z_region"])
            assert sites.is_persistent_outlier[i] == own["is_persistent_outlier"]


def test_a_picture_holds_what_the_tables_hold(store: Store) -> None:
    shown = Gathering(store, PLANT).snapshot(NOW)
    row = store.frame(FLEET_KPI, "plant", LAST).iloc[0]
    assert shown.window is not None
    assert shown.health is not None
    assert (shown.window.end, shown.window.partition) == (
        "2026-01-01T12:00:00.000000Z",
        "2026-01-01",
    )
    assert shown.health.score == row["fleet_health"]
    assert shown.health.kpi + shown.health.uptime + shown.health.fault == pytest.approx(
        row["fleet_health"]
    )
    counted = (shown.online, shown.degraded, shown.faulted, shown.offline)
    names = ("online", "degraded", "faulted", "offline")
    assert counted == tuple(row[f"sites_{name}"] for name in names)
    assert (shown.coverage, shown.total_sites) == (row["coverage"], N_SITES)
    assert shown.published_fraction == published_fraction(store, "plant", LAST)
    regions = store.frame(REGIONAL_HEALTH, "plant", LAST).sort_values("region_id")
    assert [r.region_id for r in shown.regions] == regions["region_id"].tolist()
    assert [r.health.score for r in shown.regions] == regions["health_score"].tolist()
    assert [r.health.band for r in shown.regions] == regions["band"].tolist()
    _assert_ranks(store, shown, LAST, None)


def test_sites_are_in_order_with_a_value_in_every_column(store: Store) -> None:
    sites = Gathering(store, PLANT).snapshot(NOW).sites
    columns = {f.name: getattr(sites, f.name) for f in dataclasses.fields(sites)}
    assert {len(column) for column in columns.values()} == {N_SITES}
    assert list(sites.site_id) == sorted(sites.site_id)
    assert {m.site_id for m in PLANT.region_mappings} < set(sites.site_id)
    kept = store.frame(SITE_KPI, "plant", LAST).set_index("site_id")
    scores = store.frame(ANOMALY_SCORE, "plant", LAST)
    whole = scores[scores["domain"] == "all"].set_index("site_id")
    for i, site in enumerate(sites.site_id):
        assert sites.status[i] == kept.loc[site, "status"]
        assert _same(sites.uptime_pct[i], kept.loc[site, "uptime_pct"])
        assert _same(sites.anomaly_score[i], whole.loc[site, "score"])


def test_a_gathering_that_goes_on_shows_the_same_as_one_that_begins(store: Store) -> None:
    lasting = Gathering(store, PLANT)
    lasting.snapshot(NOW)
    for n in range(4):
        span = Span(COMPUTED.end + n * 30 * MINUTE, COMPUTED.end + (n + 1) * 30 * MINUTE)
        at.refresh_all(store, PLANT, span)
        shown = lasting.snapshot(NOW)
        assert shown == Gathering(store, PLANT).snapshot(NOW)
        _assert_ranks(store, shown, span, None)


def test_restated_windows_are_read_again(store: Store) -> None:
    lasting = Gathering(store, PLANT)
    before = lasting.snapshot(NOW)
    site = PLANT.region_mappings[0].site_id
    stamps = range(LAST.start + MINUTE, LAST.end, 2 * MINUTE)
    late = at.snapshots(site, list(stamps), PLANT, share=0.01)
    at.land(store, PLANT, late, batch_id="late", historical=True)
    at.refresh_all(store, PLANT, COMPUTED)
    after = lasting.snapshot(NOW)
    assert after.health != before.health
    assert after.window is not None
    assert after.window.revision == 1
    assert dataclasses.replace(after, pipeline=before.pipeline) == dataclasses.replace(
        Gathering(store, PLANT).snapshot(NOW), pipeline=before.pipeline
    )


def test_in_a_storm_sites_that_are_not_read_keep_their_last_rank(store: Store) -> None:
    start = COMPUTED.end
    storm = StormEpisode.of(start)
    store.storms.record("plant", [storm], by="test")
    lasting = Gathering(store, PLANT)
    lasting.snapshot(NOW)
    for n in range(12):
        span = Span(start + n * 30 * MINUTE, start + (n + 1) * 30 * MINUTE)
        at.refresh_all(store, PLANT, span)
        if n % 3 == 2:
            shown = lasting.snapshot(NOW)
            assert shown.storm is not None
            assert shown.ingestion_mode == "storm"
            _assert_ranks(store, shown, span, storm)
    assert max(a or 0 for a in lasting.snapshot(NOW).sites.ranked_windows_ago) > 9


def test_a_window_without_its_ranks_is_not_shown_yet(store_of_minutes: Store) -> None:
    store, config = store_of_minutes, rows.fleet(n_sites=4)
    rows.kpis(store, 10)
    rows.regions(store, {"R-00": ["healthy"] * 10})
    rows.rankings(store, (), since=0, until=9)
    shown = Gathering(store, config).snapshot(rows.minute(10))
    assert shown.window is not None
    assert shown.window.end == "2026-01-05T00:09:00.000000Z"
    rows.rankings(store, (), since=9, until=10)
    shown = Gathering(store, config).snapshot(rows.minute(10))
    assert shown.window is not None
    assert shown.window.end == "2026-01-05T00:10:00.000000Z"


def test_a_fleet_without_windows_shows_what_is_configured(store_of_minutes: Store) -> None:
    shown = Gathering(store_of_minutes, rows.fleet(n_sites=4)).snapshot(rows.minute(0))
    assert (shown.window, shown.health, shown.total_sites) == (None, None, 4)
    assert shown.sites.site_id == ()
    assert [n.recorded_at for n in shown.pipeline.nodes] == [None] * 9


def test_a_silent_fleet_has_no_coverage_and_no_ranks(store: Store) -> None:
    at.refresh_all(store, PLANT, Span(at.FIRST + DAY, at.FIRST + DAY + 3 * HOUR))
    shown = Gathering(store, PLANT).snapshot(at.FIRST + DAY + 3 * HOUR)
    assert (shown.coverage, shown.offline) == (0.0, N_SITES)
    assert set(shown.sites.health) == {None}


def test_incidents_are_shown_the_worst_first_and_a_day_longer_than_they_last(
    store_of_minutes: Store,
) -> None:
    store, config = store_of_minutes, rows.fleet(n_sites=4)
    rows.kpis(store, 60)
    told = [
        rows.incident(10, "lone", sites=rows.SITES[:1]),
        rows.incident(20, "many"),
        rows.incident(30, "over", sites=rows.SITES[2:3]),
        rows.incident(40, "over", "closed", sites=rows.SITES[2:3]),
    ]
    rows.incidents(store, *told, since=0, until=60)
    shown = Gathering(store, config).snapshot(rows.minute(60))
    assert [(i.incident_id, i.is_open) for i in shown.incidents] == [
        ("many", True),
        ("lone", True),
        ("over", False),
    ]
    rows.kpis(store, 60 + 1500, since=60)
    later = Gathering(store, config).snapshot(rows.minute(1560))
    assert "over" not in [i.incident_id for i in later.incidents]


def test_slots_show_how_the_newest_answers_went(store_of_minutes: Store) -> None:
    store, config = store_of_minutes, rows.fleet(n_sites=4)
    rows.kpis(store, 10)
    rows.answers(store, {0: "ok", 1: "failed"}, since=0, until=10)
    slots = [
        {"slot_id": n, "model_id": f"m{n}", "backend": "http", "artifact": "http://127.0.0.1:9"}
        for n in (0, 1)
    ]
    asking = type(config).model_validate({**config.model_dump(), "ai_models": slots})
    shown = Gathering(store, asking).snapshot(rows.minute(10)).pipeline.slots
    assert [(s.model_id, dict(s.outcomes)) for s in shown] == [
        ("m0", {"ok": 2}),
        ("m1", {"failed": 2}),
    ]


def test_the_live_engine_is_shown_while_it_holds_its_fleet(store: Store) -> None:
    gathering = Gathering(store, PLANT)
    with store.door.leases.hold(["live/plant"]) as holder:
        live = gathering.snapshot(NOW).pipeline.live
        assert live is not None
        assert live.holder == holder
    assert gathering.snapshot(NOW).pipeline.live is None


def test_every_ranking_of_the_newest_window_is_fresh(store: Store) -> None:
    shown = Gathering(store, PLANT).snapshot(NOW)
    ranked = set(store.frame(SITE_RANKING, "plant", LAST)["site_id"])
    fresh = {
        site
        for site, ago in zip(shown.sites.site_id, shown.sites.ranked_windows_ago, strict=True)
        if ago == 0
    }
    assert fresh == ranked


def test_nodes_show_what_they_reported_last(store: Store) -> None:
    row = dict.fromkeys(("span_start", "span_end", "shed", "quarantined"), 0)
    told = {
        "fleet": "plant",
        "node": "site_ingest",
        "source": "live",
        "run_id": "r",
        "watermark": None,
    }
    with store.control.transaction() as tx:
        for n, breaches in ((1, "[]"), (2, '["took 3 s, at most 1 s is usual"]')):
            figures = {"windows": n, "rows_in": 100, "rows_out": 13, "duration_us": 1_500_000}
            own = {
                "recorded_at": NOW,
                "lag_us": 2_000_000,
                "anomaly_score": 6.5,
                "breaches": breaches,
            }
            tx.execute(sa.insert(node_reports), [{**row, **told, **figures, **own}])
    nodes = {n.node: n for n in Gathering(store, PLANT).snapshot(NOW).pipeline.nodes}
    node = nodes["site_ingest"]
    assert (node.asset, node.source, node.windows, node.rows_in) == ("site_kpi", "live", 2, 100)
    assert (node.duration_s, node.lag_s, node.is_within_thresholds) == (1.5, 2.0, False)
    assert nodes["baseline"].is_within_thresholds is None
