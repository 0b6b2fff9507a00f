"""`Exposition`: the text of /metrics, in OpenMetrics or in Prometheus' classic format."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.metadata import version

import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from fleet_dagster.core.windows import SECOND
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import FleetError
from fleet_dagster.storage.clock import Clock, now_us
from fleet_dagster.storage.store import Store
from fleet_dagster.telemetry.fleet_figures import Newest, state_samples
from fleet_dagster.telemetry.metrics import METRICS, Metric
from fleet_dagster.telemetry.node_figures import node_samples
from fleet_dagster.telemetry.samples import Sample
from fleet_dagster.telemetry.stream_counts import count_streams, stream_samples

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
"""What to ask for to be given OpenMetrics."""


class Exposition:
    """Gathers the figures of the fleets that `configs` returns whenever it is asked; one at a time."""

    def __init__(
        self,
        store: Store,
        configs: Callable[[], Mapping[str, FleetConfig]],
        *,
        clock: Clock = now_us,
    ) -> None:
        self.store, self.configs, self.clock = store, configs, clock
        self._newest: dict[str, Newest] = {}
        self._alone = threading.Lock()

    def text(self, accept: str = "", *, fleets: Collection[str] | None = None) -> tuple[bytes, str]:
        """Return the text and its content type, as the header `Accept` wants it; of all fleets, or of those named."""
        with self._alone:
            samples = list(self._samples(fleets))
        registry = CollectorRegistry()
        registry.register(_Gathered(samples))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    def _samples(self, fleets: Collection[str] | None) -> Iterator[Sample]:
        began = time.perf_counter()
        yield Sample("fleet_dagster", (version("fleet-dagster"),), 1.0)
        for name, config in self.configs().items():
            if fleets is None or name in fleets:
                yield from self._of_fleet(config)
        yield Sample("fleet_scrape_duration_seconds", (), time.perf_counter() - began)

    def _of_fleet(self, config: FleetConfig) -> list[Sample]:
        """Return a fleet's figures: all of them, or, where its storage cannot be read, that this is so."""
        failed = "fleet_scrape_failed"
        try:
            found = list(self._figures(config))
        except (FleetError, OSError, sa.exc.SQLAlchemyError):
            return [Sample(failed, (config.name,), 1.0)]
        return [*found, Sample(failed, (config.name,), 0.0)]

    def _figures(self, config: FleetConfig) -> Iterator[Sample]:
        store, fleet, now = self.store, config.name, self.clock()
        count_streams(store, config)
        newest = self._newest.setdefault(fleet, Newest(store))
        yield from newest.samples(config)
        yield from state_samples(store, config, now)
        yield from node_samples(store, fleet, now)
        yield from stream_samples(store, fleet)


class _Gathered(Collector):
    """Samples as Prometheus' client library takes them, by metric."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    def describe(self) -> list[Family]:
        """Describe nothing ahead: a fresh registry has nothing that names could clash with."""
        return []

    def collect(self) -> Iterator[Family]:
        """Yield each metric that has a value."""
        found: dict[str, list[Sample]] = {}
        for sample in self.samples:
            found.setdefault(sample.metric, []).append(sample)
        for name, metric in METRICS.items():
            if name in found:
                yield _FAMILIES[metric.kind](metric, found[name])


def _counter(metric: Metric, samples: list[Sample]) -> Family:
    family = CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for one in samples:
        since = None if one.since is None else one.since / SECOND
        family.add_metric(one.labels, one.value, created=since)
    return family


def _gauge(metric: Metric, samples: list[Sample]) -> Family:
    family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels, unit=metric.unit)
    for one in samples:
        family.add_metric(one.labels, one.value)
    return family


def _histogram(metric: Metric, samples: list[Sample]) -> Family:
    family = HistogramMetricFamily(
        metric.name, metric.meaning, labels=metric.labels, unit=metric.unit
    )
    for one in samples:
        family.add_metric(one.labels, list(one.counts), one.value)
    return family


def _info(metric: Metric, samples: list[Sample]) -> Family:
    family = InfoMetricFamily(metric.name, metric.meaning)
    for one in samples:
        family.add_metric([], dict(zip(metric.labels, one.labels, strict=True)))
    return family


_FAMILIES: Mapping[str, Callable[[Metric, list[Sample]], Family]] = {
    "counter": _counter,
    "gauge": _gauge,
    "histogram": _histogram,
    "info": _info,
}
