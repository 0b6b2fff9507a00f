import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.core.windows import HOUR, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.node_report import NODES, NodeReport
from fleet_dagster.model.tables import (
    AI_INFERENCE,
    FLEET_KPI,
    INGEST_STATS,
    REGION_KPI,
    SITE_ASSIGNMENT,
    SITE_KPI,
)
from fleet_dagster.refresh.inference import ask_slot, record_answers, route_span
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at

CONFIG = at.coarse()
DAY = at.days(0, 1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.at(at.new_home(tmp_path_factory.mktemp("home"))) as opened:
        at.land(opened, CONFIG, at.telemetry(1, step_s=600), batch_id="first")
        yield opened


@pytest.fixture(scope="module")
def told(store: Store) -> dict[str, NodeReport]:
    return reports(store, DAY, run_id="first", clock=lambda: DAY.end + HOUR)


def reports(
    store: Store, span: Span, config: FleetConfig = CONFIG, **options: object
) -> dict[str, NodeReport]:
    found: list[NodeReport] = []
    at.refresh_all(store, config, span, observe=found.append, **options)
    return {one.node: one for one in found}


def test_every_node_reports_once_with_what_it_did(
    store: Store, told: dict[str, NodeReport]
) -> None:
    assert set(told) == set(NODES) - {"baseline"}  # the first training day is the fleet's second
    for one in told.values():
        assert (one.fleet, one.source, one.run_id) == ("plant", "cli", "first")
        assert (one.start, one.end, one.windows) == (DAY.start, DAY.end, 48)
        assert one.duration_us > 0
        assert one.started_at == DAY.end + HOUR
        assert one.lag_us == HOUR
        assert one.watermark == DAY.end
    assert (
        told["site_ingest"].rows_out
        == sum(len(at.rows_of(store, t)) for t in (SITE_KPI, INGEST_STATS))
        + told["site_ingest"].quarantined
    )


def test_snapshots_that_were_read_and_could_not_be_used_are_those_of_the_books(
    store: Store, told: dict[str, NodeReport]
) -> None:
    books = at.rows_of(store, INGEST_STATS)
    assert told["site_ingest"].rows_in == books["landed"].sum() > 0
    assert told["site_ingest"].quarantined == books["quarantined"].sum() > 0


def test_rows_in_are_those_of_the_tables_that_a_node_reads(
    store: Store, told: dict[str, NodeReport]
) -> None:
    assert told["regional_scorer"].rows_in == len(at.rows_of(store, REGION_KPI))
    assert told["performance_comparator"].rows_in == len(at.rows_of(store, SITE_KPI))
    assert told["region_mapper"].rows_in == 0
    assert told["region_mapper"].rows_out == len(at.rows_of(store, SITE_ASSIGNMENT))


def test_a_node_that_has_nothing_to_do_says_nothing(
    store: Store, told: dict[str, NodeReport]
) -> None:
    assert told
    assert reports(store, DAY) == {}


def test_a_node_that_computes_what_stands_already_writes_nothing(
    store: Store, told: dict[str, NodeReport]
) -> None:
    again = reports(store, DAY, recompute=True)
    assert again["fleet_aggregator"].windows == 48
    assert {one.rows_out for one in again.values()} == {0}
    assert again["site_ingest"].rows_in == told["site_ingest"].rows_in


def test_site_windows_that_are_not_published_are_shed(tmp_path: Path) -> None:
    config = at.plant(n_sites=60, n_regions=2, interval_s=1800, staleness_threshold_s=2400)
    config = config.model_copy(
        update={"profile": at.plant(n_sites=6).profile.model_copy(update={"max_sites": 60})}
    )
    with Store.at(at.new_home(tmp_path)) as own:
        at.land(own, config, at.telemetry(1, n_sites=60, step_s=1200), batch_id="first")
        done = reports(own, Span(DAY.start, DAY.start + 6 * HOUR), config)
        quiet = at.rows_of(own, SITE_KPI)["disposition"].isin(["quiet", "sampled_out"]).sum()
    assert done["site_ingest"].shed == quiet > 100
    assert done["fleet_aggregator"].shed == 0


def test_a_node_that_waits_for_another_writer_took_that_long(
    store: Store, told: dict[str, NodeReport]
) -> None:
    assert told
    held, wait_s = threading.Event(), 1.0

    def hold() -> None:
        with store.door.hold((FLEET_KPI, REGION_KPI), "plant", DAY):
            held.set()
            time.sleep(wait_s)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(10)
    found: list[NodeReport] = []
    Refresh(store, CONFIG, recompute=True, observe=found.append).fleet_aggregator(DAY)
    other.join()
    assert found[-1].node == "fleet_aggregator"
    assert found[-1].duration_s > wait_s / 2


def test_slots_that_answer_one_by_one_make_one_report_from_the_first_step_to_the_last(
    tmp_path: Path,
) -> None:
    config, morning = at.with_models(CONFIG), Span(DAY.start, DAY.start + 3 * HOUR)
    with Store.at(at.new_home(tmp_path)) as own:
        at.put_model(own)
        at.land(own, config, at.telemetry(1, step_s=600), batch_id="first")
        found: list[NodeReport] = []
        refresh = Refresh(own, config, run_id="r", observe=found.append, source="run")
        routed = route_span(refresh, morning, {})
        time.sleep(0.2)
        answers = {slot: ask_slot(refresh, routed, slot) for slot in (0, 1)}
        outcome = record_answers(refresh, routed, answers)
        limited = at.rows_of(own, AI_INFERENCE)["outcome"] == "rate_limited"
    (told,) = [one for one in found if one.node == "ai_inference"]
    assert (told.source, told.windows, told.rows_out) == ("run", 6, outcome.rows_written)
    assert told.rows_in > 0
    assert told.shed == limited.sum() > 0
    assert told.duration_s > 0.2
