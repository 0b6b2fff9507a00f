from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from fleet_dagster.core.windows import HOUR, Span
from fleet_dagster.model.node_report import NODES
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.control.schema import node_reports
from fleet_dagster.storage.store import Store
from fleet_dagster.telemetry.observer import Observer, standing
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.node_reports import node_report

CONFIG = at.coarse()
MORNING = Span(at.FIRST, at.FIRST + 6 * HOUR)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.at(at.new_home(tmp_path)) as opened:
        at.land(opened, CONFIG, at.telemetry(1, step_s=600), batch_id="first")
        yield opened


def test_what_was_taken_meanwhile_is_that_of_the_last_refresh(store: Store) -> None:
    observer = Observer(store, CONFIG)
    for recompute in (False, True):
        with observer.refreshing(MORNING, source="live"):
            refresh = Refresh(store, CONFIG, recompute=recompute, observe=observer, source="live")
            refresh.fleet_aggregator(MORNING)
        assert [one.report.node for one in observer.judged] == ["fleet_aggregator"]
    assert standing(store, "plant")["fleet_aggregator"] == observer.judged[0]


def test_a_node_is_judged_by_its_own_thresholds(store: Store) -> None:
    strict = at.coarse().model_copy(
        update={
            "streamsight": type(CONFIG.streamsight).model_validate(
                {"nodes": {"fleet_aggregator": {"max_window_duration_s": 0.1}}}
            )
        }
    )
    observer = Observer(store, strict)
    observer(node_report(0.2))
    observer(node_report(0.2, node="regional_scorer"))
    assert [len(one.judgement.breaches) for one in observer.judged] == [1, 0]


def test_reports_that_cannot_be_stored_fail_no_node_and_are_told_once(store: Store) -> None:
    with store.control.transaction() as tx:
        tx.execute(sa.text("ALTER TABLE node_reports RENAME TO elsewhere"))
    said: list[str] = []
    observer = Observer(store, CONFIG, say=said.append)
    done = Refresh(store, CONFIG, observe=observer).everything(MORNING)
    assert sum(one.rows_written for one in done) > 0
    assert len(observer.judged) == len(NODES) - 1
    (words,) = said
    assert "fleet plant: what region_mapper did is not recorded" in words
    assert "node_reports" in words
    with store.control.transaction() as tx:
        tx.execute(sa.text("ALTER TABLE elsewhere RENAME TO node_reports"))
    observer(node_report())
    with store.control.reading() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(node_reports)).scalar() == 1
