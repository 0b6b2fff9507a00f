"""What nodes reported: the newest reports with their judgement, and totals that outlive processes."""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from fleet_dagster.core.node_thresholds import judge
from fleet_dagster.core.windows import SECOND
from fleet_dagster.model.node_report import JudgedReport, Judgement, NodeReport
from fleet_dagster.model.streamsight import NodeThresholds
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import node_reports, node_totals

KEPT = 2_000
"""Reports kept of each node."""
BOUNDS_S = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Upper bounds of the classes that durations for each window are counted in; the last class has none. [s]"""
_SUMS = ("windows", "rows_in", "rows_out", "shed", "quarantined", "duration_us")
_COPIED = (
    "fleet", "node", "source", "run_id", "windows", "rows_in", "rows_out", "shed",
    "quarantined", "duration_us", "lag_us", "watermark",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NodeTotals:
    """What a node has done since its counters began."""

    fleet: str
    node: str
    reports: int
    windows: int
    rows_in: int
    rows_out: int
    shed: int
    quarantined: int
    duration_us: int
    breaches: int
    durations: tuple[int, ...]
    """Windows by how long they took, in the classes of `BOUNDS_S`."""
    began_at: int


class NodeReports:
    """Records and reads reports in the control database."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def record(self, report: NodeReport, thresholds: NodeThresholds) -> JudgedReport:
        """Judge a report by the node's last ones, store it, and add it to the totals; returns it with the judgement."""
        past = self.past(report, thresholds.baseline_window)
        judged = JudgedReport(report, judge(report, past, thresholds))
        with self.control.transaction() as tx:
            # PostgreSQL's writers do not queue up by themselves, and a first row would be inserted twice.
            self.control.serialize(tx, "node_reports")
            tx.execute(sa.insert(node_reports), [_row(judged)])
            _add(tx, judged)
            _prune(tx, report)
        return judged

    def past(self, report: NodeReport, limit: int) -> NDArray[np.float64]:
        """Return how long the node took for each window in its last comparable reports, the newest first [s].

        Comparable are those of the same source about as many windows: half as many to twice as many.
        """
        own = node_reports.c
        query = (
            sa.select(own.duration_us, own.windows)
            .where(
                *_of(report.fleet, report.node),
                own.source == report.source,
                own.windows * 2 >= report.windows,
                own.windows <= report.windows * 2,
            )
            .order_by(own.number.desc())
            .limit(limit)
        )
        with self.control.reading() as tx:
            rows = tx.execute(query).all()
        return np.array([r.duration_us / SECOND / max(1, r.windows) for r in rows], np.float64)

    def newest(self, fleet: str) -> dict[str, JudgedReport]:
        """Return each node's newest report with its judgement: what runless check evaluations are made from."""
        latest = (
            sa.select(sa.func.max(node_reports.c.number))
            .where(node_reports.c.fleet == fleet)
            .group_by(node_reports.c.node)
        )
        query = sa.select(node_reports).where(node_reports.c.number.in_(latest))
        with self.control.reading() as tx:
            return {row.node: _judged(row) for row in tx.execute(query)}

    def last(self, fleet: str, node: str, limit: int = KEPT) -> list[JudgedReport]:
        """Return a node's last reports, the newest first."""
        query = sa.select(node_reports).where(*_of(fleet, node))
        with self.control.reading() as tx:
            rows = tx.execute(query.order_by(node_reports.c.number.desc()).limit(limit))
            return [_judged(row) for row in rows]

    def totals(self, fleet: str) -> list[NodeTotals]:
        """Return the totals of each node of a fleet."""
        query = sa.select(node_totals).where(node_totals.c.fleet == fleet)
        with self.control.reading() as tx:
            rows = tx.execute(query.order_by(node_totals.c.node)).mappings().all()
        return [
            NodeTotals(**{**row, "durations": _counts(json.loads(row["durations"]))})
            for row in rows
        ]


def _row(judged: JudgedReport) -> dict[str, object]:
    report, found = judged.report, judged.judgement
    return {
        **{name: getattr(report, name) for name in _COPIED},
        "recorded_at": report.started_at + report.duration_us,
        "span_start": report.start,
        "span_end": report.end,
        "anomaly_score": found.anomaly_score,
        "breaches": json.dumps(found.breaches, ensure_ascii=False),
    }


def _add(tx: sa.Connection, judged: JudgedReport) -> None:
    report = judged.report
    own = (node_totals.c.fleet == report.fleet, node_totals.c.node == report.node)
    stored = tx.execute(sa.select(node_totals.c.durations).where(*own)).scalar()
    counts = {} if stored is None else json.loads(stored)
    bound = _class_of(report.window_s)
    counts[bound] = counts.get(bound, 0) + report.windows
    added = {name: getattr(report, name) for name in _SUMS}
    added |= {"reports": 1, "breaches": len(judged.judgement.breaches)}
    if stored is None:
        first = {"fleet": report.fleet, "node": report.node, "began_at": now_us()}
        tx.execute(sa.insert(node_totals), [{**first, **added, "durations": json.dumps(counts)}])
        return
    sums = {name: node_totals.c[name] + value for name, value in added.items()}
    tx.execute(sa.update(node_totals).where(*own).values(**sums, durations=json.dumps(counts)))


def _prune(tx: sa.Connection, report: NodeReport) -> None:
    """Remove all but the newest reports of a node."""
    own = node_reports.c
    oldest_kept = (
        sa.select(own.number)
        .where(*_of(report.fleet, report.node))
        .order_by(own.number.desc())
        .offset(KEPT - 1)
        .limit(1)
        .scalar_subquery()
    )
    tx.execute(
        sa.delete(node_reports).where(*_of(report.fleet, report.node), own.number < oldest_kept)
    )


def _judged(row: "sa.Row[tuple[object, ...]]") -> JudgedReport:
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name
    report = NodeReport(
        **{name: values[name] for name in _COPIED},
        start=values["span_start"],
        end=values["span_end"],
        started_at=values["recorded_at"] - values["duration_us"],
    )
    breaches: Sequence[str] = json.loads(values["breaches"])
    return JudgedReport(report, Judgement(values["anomaly_score"], tuple(breaches)))


def _of(fleet: str, node: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return node_reports.c.fleet == fleet, node_reports.c.node == node


def _class_of(window_s: float) -> str:
    """Return the upper bound of a duration's class, as text; `inf` beyond the last."""
    place = bisect_left(BOUNDS_S, window_s)
    return f"{BOUNDS_S[place]:g}" if place < len(BOUNDS_S) else "inf"


def _counts(stored: Mapping[str, int]) -> tuple[int, ...]:
    """Return stored counts in today's classes; those of a class that is no more are in the next wider one."""
    counts = [0] * (len(BOUNDS_S) + 1)
    for bound, n in stored.items():
        counts[bisect_left(BOUNDS_S, float(bound))] += n
    return tuple(counts)
