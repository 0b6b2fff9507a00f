"""Figures of a fleet's nodes: totals from the control database, and the newest report of each."""

import itertools
from collections.abc import Iterator

from fleet_dagster.core.windows import SECOND
from fleet_dagster.model.node_report import NODES, JudgedReport
from fleet_dagster.storage.node_reports import BOUNDS_S, NodeTotals
from fleet_dagster.storage.store import Store
from fleet_dagster.telemetry.samples import Sample

_COUNTERS = ("reports", "windows", "rows_in", "rows_out", "shed", "quarantined", "breaches")
_BOUNDS = (*(repr(bound) for bound in BOUNDS_S), "+Inf")


def node_samples(store: Store, fleet: str, now: int) -> Iterator[Sample]:
    """Yield the figures of every node that has ever reported."""
    for total in store.node_reports.totals(fleet):
        yield from _of_total(total)
    for node, newest in store.node_reports.newest(fleet).items():
        yield from _of_report((fleet, node), newest)
        yield from _of_table(store, (fleet, node), now)


def _of_total(total: NodeTotals) -> Iterator[Sample]:
    key = (total.fleet, total.node)
    for name in _COUNTERS:
        yield Sample(f"fleet_node_{name}", key, getattr(total, name), since=total.began_at)
    counts = tuple(zip(_BOUNDS, map(float, itertools.accumulate(total.durations)), strict=True))
    sum_s = total.duration_us / SECOND
    yield Sample("fleet_node_window_duration_seconds", key, sum_s, counts=counts)


def _of_report(key: tuple[str, str], newest: JudgedReport) -> Iterator[Sample]:
    report, found = newest.report, newest.judgement
    yield Sample("fleet_node_duration_seconds", key, report.duration_s)
    yield Sample("fleet_node_report_timestamp_seconds", key, report.started_at / SECOND)
    yield Sample("fleet_node_breached", key, len(found.breaches))
    if found.anomaly_score is not None:
        yield Sample("fleet_node_anomaly_score", key, found.anomaly_score)


def _of_table(store: Store, key: tuple[str, str], now: int) -> Iterator[Sample]:
    """Yield how far the node's table is, now: it falls behind without any report when nothing runs."""
    fleet, node = key
    if node not in NODES:
        return
    table, coverage = NODES[node], store.history.coverage
    newest, settled = (
        coverage.newest_end(table.name, fleet),
        coverage.settled_through(fleet, table.name),
    )
    if newest is not None and node != "baseline":
        yield Sample("fleet_node_lag_seconds", key, max(0, now - newest) / SECOND)
    if settled is not None:
        yield Sample("fleet_node_watermark_timestamp_seconds", key, settled / SECOND)
