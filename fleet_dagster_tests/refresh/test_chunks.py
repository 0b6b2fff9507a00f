"""Chunks bound the rows that are held at once, table by table, and do not show in the rows."""

import pytest

from fleet_dagster.core.windows import DAY, HOUR, Span, union
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import (
    AI_INFERENCE,
    ANOMALY_SCORE,
    FLEET_CORRELATION,
    FLEET_KPI,
    SITE_KPI,
    Table,
)
from fleet_dagster.refresh import chunks as module
from fleet_dagster.refresh.chunks import CHUNK_ROWS, chunks
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at

LARGE = Fleet.of(at.plant(n_sites=500, n_regions=5, interval_s=30))
TOLD_APART = 4
"""Rows that a site-window has in `anomaly_score`: one over all KPIs, one for each domain."""
CONFIG = at.plant(interval_s=300, anomaly_threshold=0.4)
LAST = Span(at.FIRST + 2 * DAY + 8 * HOUR, at.FIRST + 2 * DAY + 12 * HOUR)
"""Hours with baselines, and many anomalies: the threshold is low."""


def longest(fleet: Fleet, table: Table) -> int:
    return max(c.end - c.start for c in chunks(fleet, table, [at.days(0, 40)]))


@pytest.mark.parametrize(("table", "n_rows"), [(SITE_KPI, 1), (ANOMALY_SCORE, TOLD_APART)])
def test_a_chunk_holds_no_more_rows_of_its_table_than_allowed(table: Table, n_rows: int) -> None:
    per_hour = 500 * 120 * n_rows
    hours = longest(LARGE, table) // HOUR
    assert hours * per_hour <= CHUNK_ROWS < (hours + 1) * per_hour


def test_a_chunk_of_answers_shrinks_with_the_active_slots() -> None:
    slow = at.plant(n_sites=500, n_regions=5, interval_s=1800)
    asked = at.with_models(slow)
    assert len(asked.ai_models or ()) == 2
    assert longest(Fleet.of(asked), AI_INFERENCE) == longest(Fleet.of(slow), AI_INFERENCE) // 2


def test_an_hour_is_the_least_and_a_small_fleet_takes_many_days() -> None:
    largest = Fleet.of(at.plant(n_sites=1_000, n_regions=5, interval_s=10))
    assert longest(largest, ANOMALY_SCORE) == HOUR
    assert longest(Fleet.of(at.plant()), ANOMALY_SCORE) == 40 * DAY


def test_incidents_take_whole_days_however_large_the_fleet() -> None:
    found = list(chunks(LARGE, FLEET_CORRELATION, [at.days(0, 3)]))
    assert found == list(at.days(0, 3).days())


def test_chunks_make_up_the_spans_and_are_cut_at_hours() -> None:
    spans = [Span(at.FIRST + 7, at.FIRST + DAY), Span(at.FIRST + 2 * DAY, at.FIRST + 3 * DAY - 9)]
    found = list(chunks(LARGE, ANOMALY_SCORE, spans))
    assert union(found) == spans
    assert all(c.start % HOUR == 0 or c.start == spans[0].start for c in found)


@pytest.fixture
def landed(store: Store) -> Store:
    at.land(store, CONFIG, at.telemetry(3), batch_id="frame")
    return store


def test_chunks_of_an_hour_give_the_same_rows(
    landed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh = Refresh(landed, CONFIG)
    whole = refresh.everything(LAST)
    with monkeypatch.context() as patched:
        patched.setattr(module, "CHUNK_ROWS", 1)
        by_hour = Refresh(landed, CONFIG, recompute=True).everything(LAST)
    assert [o.rows_written for o in by_hour] == [0] * len(by_hour)
    assert sum(o.rows_written for o in whole) > 500


def test_anomalies_are_counted_alike_from_stored_scores_and_from_scores_made_by_the_hour(
    landed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh = Refresh(landed, CONFIG)
    with monkeypatch.context() as patched:
        patched.setattr(module, "CHUNK_ROWS", 1)
        refresh.fleet_aggregator(LAST)
    assert not landed.history.coverage.covered(ANOMALY_SCORE.name, CONFIG.name, LAST)
    made = at.rows_of(landed, FLEET_KPI, LAST)
    refresh.anomaly_scorer(LAST)
    again = Refresh(landed, CONFIG, recompute=True).fleet_aggregator(LAST)
    assert sum(o.rows_written for o in again) == 0
    assert made["anomaly_count"].sum() > 0
