import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.core.windows import HOUR, Span
from fleet_dagster.model.node_report import NODES
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.store import Store
from fleet_dagster.telemetry import otlp
from fleet_dagster.telemetry.observer import Observer
from fleet_dagster.telemetry.otlp import ENDPOINT, Otlp
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.telemetry.collector import Collector, collector, values

CONFIG = at.coarse()
MORNING = Span(at.FIRST, at.FIRST + 6 * HOUR)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.at(at.new_home(tmp_path)) as opened:
        at.land(opened, CONFIG, at.telemetry(1, step_s=600), batch_id="first")
        yield opened


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as own:
        monkeypatch.setenv(ENDPOINT, own.endpoint)
        yield own


def refreshed(store: Store, sender: Otlp, *, times: int = 1) -> None:
    """Compute a morning as a run does, and send what the nodes report."""
    observer = Observer(store, CONFIG, otlp=sender)
    for n in range(times):
        with observer.refreshing(MORNING, source="run", run_id="run-1"):
            Refresh(
                store,
                CONFIG,
                run_id="run-1",
                recompute=n > 0,
                observe=observer,
                source="run",
            ).everything(MORNING)


def test_a_refresh_is_a_span_with_a_child_for_each_node(store: Store, received: Collector) -> None:
    sender = Otlp(["TRACES"], os.environ)
    refreshed(store, sender)
    sender.end()
    spans = {span.name: span for span in received.spans()}
    whole = spans.pop("fleet.refresh")
    assert values(whole.attributes)["fleet"] == "plant"
    assert set(spans) == {f"node {name}" for name in NODES if name != "baseline"}
    for span in spans.values():
        assert span.parent_span_id == whole.span_id
        assert span.trace_id == whole.trace_id
        assert whole.start_time_unix_nano <= span.start_time_unix_nano
        assert span.start_time_unix_nano < span.end_time_unix_nano <= whole.end_time_unix_nano
    told = store.node_reports.newest("plant")["site_ingest"].report
    own = values(spans["node site_ingest"].attributes)
    assert own["rows_in"] == told.rows_in > 0
    assert own["window_end"] == "2026-01-01T06:00:00Z"
    assert own["run_id"] == "run-1"
    assert own["breaches"] == []


def test_refreshes_of_one_run_are_one_trace_and_say_who_sends(
    store: Store, received: Collector
) -> None:
    for _ in range(2):
        sender = Otlp(["TRACES"], os.environ)
        refreshed(store, sender)
        sender.end()
    assert len({span.trace_id for span in received.spans()}) == 1
    senders = [values(r.resource.attributes) for t in received.traces for r in t.resource_spans]
    assert {one["service.name"] for one in senders} == {"fleet-dagster"}
    assert len({one["service.instance.id"] for one in senders}) == 2


def test_figures_of_nodes_are_metrics_that_add_up(store: Store, received: Collector) -> None:
    sender = Otlp(["METRICS"], os.environ)
    refreshed(store, sender, times=3)
    sender.end()
    found = received.newest()
    totals = {t.node: t for t in store.node_reports.totals("plant")}
    for name in ("reports", "windows", "rows_in", "rows_out", "shed", "quarantined"):
        points = found[f"fleet.node.{name}"].sum.data_points
        sent = {values(p.attributes)["node"]: p.as_int for p in points}
        assert sent == {node: getattr(own, name) for node, own in totals.items()}
    durations = found["fleet.node.window.duration"]
    assert durations.unit == "s"
    assert {p.count for p in durations.histogram.data_points} == {3}
    assert {values(p.attributes)["source"] for p in found["fleet.node.lag"].gauge.data_points} == {
        "run"
    }


def test_a_service_name_of_ones_own_is_kept(
    store: Store, received: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "harbour")
    sender = Otlp(["TRACES"], os.environ)
    refreshed(store, sender)
    sender.end()
    (sent,) = {
        values(r.resource.attributes)["service.name"]
        for t in received.traces
        for r in t.resource_spans
    }
    assert sent == "harbour"


def test_a_collector_that_never_answers_holds_up_neither_nodes_nor_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(otlp, "PATIENCE_S", 0.5)
        sender = Otlp(["TRACES", "METRICS"], os.environ)
        began = time.monotonic()
        refreshed(store, sender, times=2)
        at_work_s = time.monotonic() - began
        sender.end()
        assert time.monotonic() - began - at_work_s < 2.0
    assert at_work_s < 10.0
    assert len(store.node_reports.newest("plant")) == len(NODES) - 1


def test_a_collector_that_is_down_fails_no_node(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{port}")
    monkeypatch.setattr(otlp, "PATIENCE_S", 0.5)
    sender = Otlp(["TRACES", "METRICS"], os.environ)
    refreshed(store, sender)
    sender.end()
    assert len(store.node_reports.newest("plant")) == len(NODES) - 1


def test_a_process_sends_what_waits_before_it_ends(tmp_path: Path, received: Collector) -> None:
    with Store.at(at.new_home(tmp_path)) as own:
        at.land(own, CONFIG, at.telemetry(1, step_s=600), batch_id="first")
    program = f"""
from pathlib import Path
from fleet_dagster.storage.store import Store
from fleet_dagster.telemetry.otlp import exporter
from fleet_dagster_tests.telemetry.test_otlp import refreshed
with Store.at(Path({str(tmp_path)!r})) as store:
    refreshed(store, exporter())
"""
    command = [sys.executable, "-c", program]
    subprocess.run(command, check=True, cwd=at.ROOT, timeout=60)  # noqa: S603 - our own program
    assert "node fleet_aggregator" in {span.name for span in received.spans()}
    assert "fleet.node.windows" in received.newest()


@pytest.mark.parametrize(
    ("environment", "signals"),
    [
        ({}, []),
        ({ENDPOINT: "http://localhost:4318"}, ["TRACES", "METRICS"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, ["TRACES"]),
        ({ENDPOINT: "http://localhost:4318", "OTEL_SDK_DISABLED": "true"}, []),
        ({ENDPOINT: "http://localhost:4318", "OTEL_METRICS_EXPORTER": "none"}, ["TRACES"]),
    ],
)
def test_the_standard_variables_say_what_is_sent(
    environment: dict[str, str], signals: list[str]
) -> None:
    assert otlp.wanted(environment) == signals
    assert otlp.problem(environment) == ""


def test_an_endpoint_without_the_extra_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otlp, "_NEEDED", ("opentelemetry_of_another_planet",))
    words = otlp.problem({ENDPOINT: "http://localhost:4318"})
    assert "pip install 'fleet-dagster[otlp]'" in words


def test_a_protocol_that_is_not_spoken_is_told_with_what_to_do() -> None:
    words = otlp.problem({ENDPOINT: "http://x:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert "expected 'http/protobuf'" in words
    assert "4318" in words
