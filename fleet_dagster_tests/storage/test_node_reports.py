from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.core.windows import SECOND
from fleet_dagster.model.streamsight import NodeThresholds
from fleet_dagster.storage import node_reports
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.node_reports import BOUNDS_S, NodeReports
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests import worker
from fleet_dagster_tests.node_reports import node_report

DEFAULT = NodeThresholds()
N_EACH = 30


@pytest.fixture
def reports(tmp_path: Path) -> Iterator[NodeReports]:
    opened = Control(f"sqlite:///{tmp_path / 'control.db'}")
    opened.migrate()
    yield NodeReports(opened)
    opened.dispose()


def test_a_report_is_read_as_it_was_recorded(reports: NodeReports) -> None:
    report = node_report()
    done = reports.record(report, DEFAULT)
    assert reports.newest("plant") == {"fleet_aggregator": done}
    assert done.report == report
    assert reports.newest("another") == {}


def test_a_slow_report_is_stored_with_its_score_and_words(reports: NodeReports) -> None:
    for _ in range(12):
        assert reports.record(node_report(), DEFAULT).judgement.anomaly_score is None
    slow = reports.record(node_report(5.0), DEFAULT)
    assert slow.judgement.anomaly_score == pytest.approx(5 * 3.3219, abs=0.01)
    assert "took 5 s a window" in slow.judgement.breaches[0]
    assert reports.newest("plant")["fleet_aggregator"].judgement == slow.judgement
    assert reports.totals("plant")[0].breaches == 1


def test_only_reports_of_the_same_source_and_about_as_many_windows_are_compared(
    reports: NodeReports,
) -> None:
    for windows in (29, 30, 60, 120, 121):
        reports.record(node_report(windows / 100, windows), DEFAULT)
    reports.record(node_report(source="live"), DEFAULT)
    reports.record(node_report(fleet="another"), DEFAULT)
    reports.record(node_report(node="site_ingest"), DEFAULT)
    assert reports.past(node_report(), 60).tolist() == [1.2, 0.6, 0.3]
    assert reports.past(node_report(), 2).tolist() == [1.2, 0.6]


def test_a_baseline_window_of_a_node_forgets_how_slow_it_once_was(reports: NodeReports) -> None:
    for _ in range(40):
        reports.record(node_report(0.1), DEFAULT)
    short = NodeThresholds(baseline_window=12)
    scores = [reports.record(node_report(1.0), short).judgement for _ in range(20)]
    assert scores[0].breaches
    assert not scores[-1].breaches


def test_old_reports_are_removed_and_the_totals_stay(
    reports: NodeReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_reports, "KEPT", 5)
    for n in range(9):
        reports.record(node_report(rows_in=n), DEFAULT)
        reports.record(node_report(node="baseline"), DEFAULT)
    kept = reports.last("plant", "fleet_aggregator")
    assert [one.report.rows_in for one in kept] == [8, 7, 6, 5, 4]
    assert {t.node: t.reports for t in reports.totals("plant")} == {
        "baseline": 9,
        "fleet_aggregator": 9,
    }


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["site_ingest", "baseline"]),
            st.integers(0, 500),
            st.integers(0, 10**9),
            st.integers(0, 10**7),
        ),
        max_size=12,
    )
)
def test_totals_are_the_sums_of_the_reports(done: list[tuple[str, int, int, int]]) -> None:
    control = Control("sqlite://")
    control.migrate()
    try:
        found = NodeReports(control)
        for node, windows, duration_us, rows in done:
            report = node_report(node=node, windows=windows, rows_in=rows, duration_us=duration_us)
            found.record(report, DEFAULT)
        for total in found.totals("plant"):
            own = [one for one in done if one[0] == total.node]
            assert total.reports == len(own)
            assert total.windows == sum(total.durations) == sum(one[1] for one in own)
            assert total.duration_us == sum(one[2] for one in own)
            assert total.rows_in == sum(one[3] for one in own)
            assert total.shed == 4 * len(own)
        assert {t.node for t in found.totals("plant")} == {one[0] for one in done}
    finally:
        control.dispose()


def test_windows_are_counted_by_how_long_they_took(reports: NodeReports) -> None:
    reports.record(node_report(windows=10, duration_us=10 * SECOND), DEFAULT)
    reports.record(node_report(windows=3, duration_us=3 * SECOND + 3), DEFAULT)
    reports.record(node_report(windows=2, duration_us=2_000 * SECOND), DEFAULT)
    (total,) = reports.totals("plant")
    counts = dict(zip([*BOUNDS_S, "more"], total.durations, strict=True))
    assert {bound: n for bound, n in counts.items() if n} == {1.0: 10, 3.0: 3, "more": 2}


def test_processes_that_record_at_once_lose_nothing(tmp_path: Path) -> None:
    with Store.at(at.new_home(tmp_path)) as store:
        check_that_nothing_is_lost(store)


def check_that_nothing_is_lost(store: Store) -> None:
    """Let four processes record reports of the same two nodes at once, and add up what is there then."""
    at.run_together(store, worker.report, [(n, N_EACH) for n in range(4)])
    assert {t.node: (t.reports, t.windows) for t in store.node_reports.totals("plant")} == {
        "site_ingest": (4 * N_EACH, 4 * N_EACH * 60),
        "fleet_aggregator": (4 * N_EACH, 4 * N_EACH * 60),
    }
    seen = [one.report.rows_in for one in store.node_reports.last("plant", "site_ingest")]
    assert sorted(seen) == [1000 * n + k for n in range(4) for k in range(N_EACH)]
