"""OpenTelemetry: a span for each refresh and each of its nodes, and their figures as metrics, sent over OTLP/HTTP.

It is set up by the standard environment variables, and does nothing without an endpoint. What is to be sent waits in queues
that have an end, and goes out from threads of its own: a collector that is slow or gone holds nobody up.
"""

import atexit
import functools
import hashlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fleet_dagster.core.windows import Span, iso
from fleet_dagster.model.node_report import JudgedReport, Source

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.util.types import AttributeValue

_log = logging.getLogger(__name__)
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
SIGNALS = ("TRACES", "METRICS")
EXTRA = "otlp"
PROTOCOL = "http/protobuf"
PATIENCE_S = 3.0
"""How long a process waits at its end for what is still to be sent. [s]"""
_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_RUN: ContextVar[str] = ContextVar("run", default="")
_COUNTED = ("windows", "rows_in", "rows_out", "shed", "quarantined")


def wanted(environment: Mapping[str, str]) -> list[str]:
    """Return which signals, traces and metrics, are to be sent."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    return [
        signal
        for signal in SIGNALS
        if (environment.get(ENDPOINT) or environment.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))
        and environment.get(f"OTEL_{signal}_EXPORTER", "otlp") != "none"
    ]


def problem(environment: Mapping[str, str]) -> str:
    """Say why nothing can be sent although an endpoint is named; empty where nothing is wrong."""
    if not wanted(environment):
        return ""
    if any(_is_missing(name) for name in _NEEDED):
        return (
            f"an OTLP endpoint is set ({ENDPOINT}), but the extra `{EXTRA}` is not installed: nothing is sent. "
            f"Run `pip install 'fleet-dagster[{EXTRA}]'`, or unset the variable"
        )
    spoken = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", PROTOCOL)
    if spoken != PROTOCOL:
        return (
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {spoken!r}, expected {PROTOCOL!r}: nothing is sent. Unset it, and name "
            "the collector's HTTP port, mostly 4318"
        )
    return ""


@functools.cache
def exporter() -> "Otlp | None":
    """Return what sends for this process, made from its environment at the first call; None where nothing is to be sent."""
    signals, wrong = wanted(os.environ), problem(os.environ)
    if wrong:
        _log.warning("OpenTelemetry: %s", wrong)
    if not signals or wrong:
        return None
    made = Otlp(signals, os.environ)
    atexit.register(made.end)
    return made


class Otlp:
    """Sends the signals named; where to is read from the environment by the exporters themselves."""

    def __init__(self, signals: list[str], environment: Mapping[str, str]) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415 - an extra
            OTLPMetricExporter,
        )
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        resource = Resource.create(_identity(environment))
        self._spans = TracerProvider(resource=resource, id_generator=_ids(), shutdown_on_exit=False)
        if "TRACES" in signals:
            self._spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        readers = []
        if "METRICS" in signals:
            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
        self._metrics = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        self._tracer = self._spans.get_tracer("fleet_dagster")
        self._instruments()
        self._sending = threading.Lock()

    def _instruments(self) -> None:
        meter = self._metrics.get_meter("fleet_dagster")
        self._reports = meter.create_counter("fleet.node.reports")
        self._counters = {name: meter.create_counter(f"fleet.node.{name}") for name in _COUNTED}
        self._breaches = meter.create_counter("fleet.node.breaches")
        self._duration = meter.create_histogram("fleet.node.window.duration", unit="s")
        self._lag = meter.create_gauge("fleet.node.lag", unit="s")
        self._score = meter.create_gauge("fleet.node.anomaly_score")

    @contextmanager
    def refresh(
        self, fleet: str, span: Span, *, source: Source, run_id: str
    ) -> "Iterator[Context]":
        """Open the span of a refresh; those of one run are of one trace."""
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - an extra

        token = _RUN.set(run_id)
        told = {"fleet": fleet, "source": source, "run_id": run_id, **_times(span)}
        try:
            with self._tracer.start_as_current_span("fleet.refresh", attributes=told) as opened:
                yield set_span_in_context(opened)
        finally:
            _RUN.reset(token)

    def report(self, judged: JudgedReport, parent: "Context | None") -> None:
        """Send what a node did: a span that ends now, and its figures."""
        report, found = judged.report, judged.judgement
        key: dict[str, AttributeValue] = {
            "fleet": report.fleet,
            "node": report.node,
            "source": report.source,
        }
        counts = {name: getattr(report, name) for name in _COUNTED}
        end = time.time_ns()
        own = self._tracer.start_span(
            f"node {report.node}",
            context=parent,
            start_time=end - report.duration_us * 1000,
            attributes={
                **key,
                **counts,
                "run_id": report.run_id,
                "breaches": found.breaches,
                **_times(Span(report.start, report.end)),
            },
        )
        own.end(end_time=end)
        self._reports.add(1, key)
        for name, counter in self._counters.items():
            counter.add(counts[name], key)
        self._breaches.add(len(found.breaches), key)
        self._duration.record(report.window_s, key)
        if report.lag_s is not None:
            self._lag.set(report.lag_s, key)
        if found.anomaly_score is not None:
            self._score.set(found.anomaly_score, key)

    def send(self) -> None:
        """Send what waits, without waiting for it."""
        threading.Thread(target=self._send, name="otlp", daemon=True).start()

    def end(self) -> None:
        """Send what waits, for a few seconds at most, and stop."""
        last = threading.Thread(target=self._stop, name="otlp end", daemon=True)
        last.start()
        last.join(PATIENCE_S)

    def _send(self) -> None:
        if self._sending.acquire(blocking=False):  # else another does, or the collector hangs
            try:
                self._spans.force_flush()
                self._metrics.force_flush()
            finally:
                self._sending.release()

    def _stop(self) -> None:
        patience_ms = int(PATIENCE_S * 1000)
        others = [
            threading.Thread(target=self._spans.shutdown, daemon=True),
            threading.Thread(target=self._metrics.shutdown, args=(patience_ms,), daemon=True),
        ]
        for one in others:
            one.start()
        for one in others:
            one.join()


def _identity(environment: Mapping[str, str]) -> "dict[str, AttributeValue]":
    """Return who sends: a process each, so that counters of several are not taken for one that falls back."""
    own: dict[str, AttributeValue] = {
        "service.version": version("fleet-dagster"),
        "service.instance.id": str(uuid.uuid4()),
    }
    is_named = "OTEL_SERVICE_NAME" in environment or "service.name=" in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    return own if is_named else {"service.name": "fleet-dagster", **own}


def _ids() -> "IdGenerator":
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415 - an extra

    class RunIds(RandomIdGenerator):
        """Gives all refreshes of a run the same trace, in whatever process they are."""

        def generate_trace_id(self) -> int:
            run_id = _RUN.get()
            if not run_id:
                return int(super().generate_trace_id())
            return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:16])

    return RunIds()


def _times(span: Span) -> "dict[str, AttributeValue]":
    return {"window_start": iso(span.start), "window_end": iso(span.end)}


def _is_missing(name: str) -> bool:
    try:
        return find_spec(name) is None
    except ModuleNotFoundError:  # of a package above it
        return True
