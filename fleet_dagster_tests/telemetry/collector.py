"""An OpenTelemetry collector of our own: receives OTLP over HTTP, and decodes it with opentelemetry-proto."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.traces: list[ExportTraceServiceRequest] = []
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.port = 0
        self.arrived = threading.Condition()

    @property
    def endpoint(self) -> str:
        """Its address, as OTEL_EXPORTER_OTLP_ENDPOINT wants it."""
        return f"http://127.0.0.1:{self.port}"

    def spans(self) -> list[Span]:
        """Return every span received."""
        return [
            span
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def newest(self) -> dict[str, Metric]:
        """Return each metric as it was received last."""
        return {
            metric.name: metric
            for request in self.metrics
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def take(self, path: str, body: bytes) -> None:
        """Decode a request."""
        kinds: dict[str, Any] = {  # Any: generated classes
            "/v1/traces": (ExportTraceServiceRequest, self.traces),
            "/v1/metrics": (ExportMetricsServiceRequest, self.metrics),
        }
        kind, kept = kinds[path]
        with self.arrived:
            kept.append(kind.FromString(body))
            self.arrived.notify_all()


def values(pairs: Any) -> dict[str, Any]:  # Any: attributes of several types
    """Return attributes as a dict."""
    return {pair.key: _value(pair) for pair in pairs}


def _value(pair: KeyValue) -> Any:  # Any: text, a number, or a list
    kind = pair.value.WhichOneof("value")
    if kind == "array_value":
        return [one.string_value for one in pair.value.array_value.values]
    return getattr(pair.value, str(kind))


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector on a free port."""
    own = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            own.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    own.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield own
    finally:
        server.shutdown()
        server.server_close()
