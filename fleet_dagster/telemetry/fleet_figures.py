"""Figures of a fleet as it stands in its newest window, and of what looks after it."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from fleet_dagster.core.windows import SECOND, Span
from fleet_dagster.ledger.state import ledger_state
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.streams import STREAMS
from fleet_dagster.model.tables import (
    AI_INFERENCE,
    ALL_DOMAINS,
    ANOMALY_SCORE,
    FLEET_KPI,
    INGESTION_MODES,
    REGIONAL_HEALTH,
    SEVERITIES,
    SITE_KPI,
    STATUS_NAMES,
    Table,
)
from fleet_dagster.storage.anomalies import open_incidents
from fleet_dagster.storage.leases import live_key
from fleet_dagster.storage.site_status import last_published
from fleet_dagster.storage.store import Store
from fleet_dagster.telemetry.samples import Sample

_ROLLUP = (
    "window_start", "fleet_health", "coverage", "unmapped_count", "anomaly_count", "ingestion_mode",
    *(f"sites_{status}" for status in STATUS_NAMES),
)  # fmt: skip
_SITE = ("window_start", "site_id", "region_id", "status")
_SCORE = ("window_start", "site_id", "score")
_REGION = ("window_start", "region_id", "health_score", "coverage")


def state_samples(store: Store, config: FleetConfig, now: int) -> Iterator[Sample]:
    """Yield the figures that change without any commit: ages, the storm, the live engine, the ledger, who follows what."""
    key = (config.name,)
    newest = store.history.coverage.newest_end(FLEET_KPI.name, config.name)
    landed = store.history.newest_landed(config.name)
    yield Sample("fleet_interval_seconds", key, config.interval_s)
    if newest is not None:
        yield Sample("fleet_window_age_seconds", key, max(0, now - newest) / SECOND)
    if landed is not None:
        yield Sample("fleet_telemetry_age_seconds", key, max(0, now - landed) / SECOND)
    yield Sample("fleet_storm", key, float(store.storms.open(config.name) is not None))
    is_live = store.door.leases.holder_of(live_key(config.name)) is not None
    yield Sample("fleet_live_engine_up", key, float(is_live))
    yield from _ledger(store, config)
    yield from _followers(store, config)


def _ledger(store: Store, config: FleetConfig) -> Iterator[Sample]:
    state, key = ledger_state(store, config), (config.name,)
    if not state.has_begun:
        return
    yield Sample("fleet_ledger_entries", key, state.size)
    yield Sample("fleet_ledger_pending_entries", key, state.n_pending)
    if state.n_needed:
        left = state.size - state.witnessed_size
        yield Sample("fleet_ledger_unwitnessed_entries", key, left)


def _followers(store: Store, config: FleetConfig) -> Iterator[Sample]:
    fleet = config.name
    missed = Counter((m.stream, m.consumer) for m in store.cursors.missed(fleet))
    for cursor in store.cursors.of(fleet):
        if cursor.stream not in STREAMS:
            continue
        table = STREAMS[cursor.stream].table.name
        behind, _ = store.history.size(table, fleet, after=cursor.position)
        key = (fleet, cursor.stream, cursor.consumer)
        yield Sample("fleet_stream_lag_entries", key, behind)
        yield Sample("fleet_stream_missed_days", key, missed[cursor.stream, cursor.consumer])


@dataclass(slots=True)
class Newest:
    """Figures of the newest window, read anew only when something was committed since."""

    store: Store
    number: int = -1
    is_per_site: bool = False
    found: tuple[Sample, ...] = ()

    def samples(self, config: FleetConfig) -> tuple[Sample, ...]:
        """Return the figures of a fleet's newest window; none before the first."""
        number = self.store.history.last_number()
        is_per_site = config.streamsight.per_site
        if (number, is_per_site) != (self.number, self.is_per_site):
            self.found = tuple(_window_samples(self.store, config))
            self.number, self.is_per_site = number, is_per_site
        return self.found


def _window_samples(store: Store, config: FleetConfig) -> Iterator[Sample]:
    window = _newest(store, config, FLEET_KPI)
    if window is None:
        return
    rows = store.frame(FLEET_KPI, config.name, window, columns=_ROLLUP)
    if rows.empty:  # they have expired
        return
    yield from _rollup(config.name, rows.iloc[-1])
    for row in _rows(store, REGIONAL_HEALTH, config, window, _REGION):
        key = (config.name, str(row["region_id"]))
        yield Sample("fleet_region_health", key, float(row["health_score"]))
        yield Sample("fleet_region_coverage", key, float(row["coverage"]))
    severities = Counter(i.severity for i in open_incidents(store, config.name, window.end))
    for severity in SEVERITIES:
        yield Sample("fleet_incidents", (config.name, severity), severities[severity])
    yield from _slots(store, config)
    if config.streamsight.per_site:
        yield from _sites(store, config, window)


def _rollup(fleet: str, row: "pd.Series[Any]") -> Iterator[Sample]:  # Any: cells of several types
    yield Sample("fleet_health", (fleet,), float(row["fleet_health"]))
    yield Sample("fleet_coverage", (fleet,), float(row["coverage"]))
    yield Sample("fleet_unmapped_sites", (fleet,), int(row["unmapped_count"]))
    if not pd.isna(row["anomaly_count"]):
        yield Sample("fleet_anomalous_sites", (fleet,), int(row["anomaly_count"]))
    for status in STATUS_NAMES:
        yield Sample("fleet_sites", (fleet, status), int(row[f"sites_{status}"]))
    for mode in INGESTION_MODES:
        is_on = str(row["ingestion_mode"]) == mode
        yield Sample("fleet_ingestion_mode", (fleet, mode), float(is_on))


def _slots(store: Store, config: FleetConfig) -> Iterator[Sample]:
    window = _newest(store, config, AI_INFERENCE)
    if window is None:
        return
    columns = ["window_start", "slot_id", "outcome"]
    rows = store.frame(AI_INFERENCE, config.name, window, columns=columns)
    for (slot, outcome), n in Counter(zip(rows["slot_id"], rows["outcome"], strict=True)).items():
        yield Sample("fleet_slot_outcomes", (config.name, str(slot), str(outcome)), n)


def _sites(store: Store, config: FleetConfig, window: Span) -> Iterator[Sample]:
    fleet, regions = config.name, dict[str, str]()
    for row in _rows(store, SITE_KPI, config, window, _SITE):
        site, region = str(row["site_id"]), str(row["region_id"])
        regions[site] = region
        yield Sample("fleet_site_status", (fleet, region, site), int(row["status"]))
    ranked = last_published(store, fleet, window, store.storms.open(fleet))
    for site, health in zip(ranked["site_id"].astype(str), ranked["composite_score"], strict=True):
        yield Sample("fleet_site_health", (fleet, regions.get(site, ""), site), float(health))
    of_all = (pc.field("domain") == ALL_DOMAINS) & pc.field("score").is_valid()
    for row in _rows(store, ANOMALY_SCORE, config, window, _SCORE, where=of_all):
        key = (fleet, regions.get(str(row["site_id"]), ""), str(row["site_id"]))
        yield Sample("fleet_site_anomaly_score", key, float(row["score"]))


def _rows(
    store: Store,
    table: Table,
    config: FleetConfig,
    window: Span,
    columns: Sequence[str],
    *,
    where: pc.Expression | None = None,
) -> list[dict[Hashable, Any]]:  # Any: cells of several types
    return store.frame(table, config.name, window, columns=columns, where=where).to_dict("records")


def _newest(store: Store, config: FleetConfig, table: Table) -> Span | None:
    end = store.history.coverage.newest_end(table.name, config.name)
    return None if end is None else Span(end - config.interval_s * SECOND, end)
