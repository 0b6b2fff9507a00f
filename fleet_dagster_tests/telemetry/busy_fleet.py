"""A fleet of which everything is measured: models, a ledger with a witness that is gone, per-site series; and how text is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from fleet_dagster.core.windows import HOUR, Span
from fleet_dagster.ledger.keeping import keep
from fleet_dagster.ledger.keystore import KeyStore
from fleet_dagster.ledger.witness.witness import make_witness
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.store import Store
from fleet_dagster.telemetry.exposition import OPENMETRICS, Exposition
from fleet_dagster.telemetry.observer import Observer
from fleet_dagster_tests import installations as at

MORNING = Span(at.FIRST, at.FIRST + 6 * HOUR)
NOW = MORNING.end + HOUR // 2


def busy(folder: Path) -> FleetConfig:
    """Return its configuration; the witness's keys are made in a folder."""
    key = make_witness(folder, "witness.example")[0].vkey
    witness = {"name": "witness.example", "url": "http://127.0.0.1:9", "key": key}
    changes = {"ledger": {"witnesses": [witness]}, "streamsight": {"per_site": True}}
    config = at.with_models(at.coarse())
    return FleetConfig.model_validate({**config.model_dump(), **changes})


@contextmanager
def busy_store(folder: Path, config: FleetConfig) -> Iterator[Store]:
    """Open a store in which a morning of it is computed, observed and in the ledger."""
    with Store.at(at.new_home(folder)) as store:
        at.put_model(store)
        at.land(store, config, at.telemetry(1, step_s=600), batch_id="first")
        compute(store, config)
        KeyStore.of(store, config).create()
        keep(store, config)
        yield store


def compute(store: Store, config: FleetConfig, span: Span = MORNING) -> None:
    """Bring a span up to date, observed."""
    observer = Observer(store, config)
    Refresh(store, config, observe=observer, source="live").everything(span)


def exposition(store: Store, *configs: FleetConfig) -> Exposition:
    """Return the exposition of some fleets, half an hour after the morning."""
    return Exposition(store, lambda: {c.name: c for c in configs}, clock=lambda: NOW)


def families(text: str) -> list[Metric]:
    """Return the metrics of a text in OpenMetrics' format."""
    return list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call] # it has no types


def series(text: bytes) -> dict[tuple[str, ...], float]:
    """Return every sample of a text in OpenMetrics' format, by name and label values, the fleet's left out."""
    found = {}
    for family in families(text.decode()):
        for one in family.samples:
            key = (one.name, *_values(one))
            assert key not in found
            found[key] = one.value
    return found


def figures(store: Store, *configs: FleetConfig) -> dict[tuple[str, ...], float]:
    """Return what a scrape tells of some fleets."""
    return series(exposition(store, *configs).text(OPENMETRICS)[0])


def _values(one: Sample) -> list[str]:
    return [value for name, value in sorted(one.labels.items()) if name != "fleet"]
