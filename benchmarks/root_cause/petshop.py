"""PetShop as a fleet: services are sites, a service depends on those that it calls, and latency is judged by its logarithm.

Hardt, M., Orchard, W. R., Blöbaum, P., Kasiviswanathan, S., Kirschbaum, E. (2024): The PetShop dataset: finding causes of
performance issues across microservices. Causal Learning and Reasoning, PMLR 236. Data CC-BY-4.0, read where they lie.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from fleet_dagster.core.windows import DAY, MINUTE, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.nodes.anomaly_correlator import anomaly_correlator
from fleet_dagster.pipeline import Evaluation, evaluate

START = 1_767_571_200_000_000
"""2026-01-05T00:00Z, where the fault-free two days are laid; the data's own dates lie five months apart."""
INTERVAL = 5 * MINUTE
LEAD = 14
"""Fault-free windows laid before each issue: as many as a score looks back on, for its own five rows are too few."""
STATISTICS = ("Average", "p50", "p90", "p95", "p99")
SCENARIOS = ("low_traffic", "high_traffic")


@dataclass(frozen=True, slots=True)
class Issue:
    """One injected fault: where its symptom was seen, and where it was injected."""

    name: str
    rows: pd.DataFrame
    symptom: str
    domain: str
    cause: str


@dataclass(frozen=True)
class PetShop:
    """One traffic scenario."""

    folder: Path
    threshold: float = 0.5

    @cached_property
    def normal(self) -> pd.DataFrame:
        """Fault-free metrics, a row per five minutes."""
        return _metrics(self.folder / "noissue" / "metrics.csv")

    @cached_property
    def calls(self) -> pd.DataFrame:
        """1 where the service of the row calls that of the column."""
        return pd.read_csv(self.folder / "graph.csv", index_col=0)

    @property
    def issues(self) -> Iterator[Issue]:
        """The issues that are published with their causes."""
        for path in sorted((self.folder / "train").glob("issue_*")):
            told = json.loads((path / "target.json").read_text("utf-8"))
            yield Issue(
                name=path.name,
                rows=_metrics(path / "metrics.csv"),
                symptom=told["target"]["node"],
                domain=told["target"]["metric"],
                cause=told["root_cause"]["node"],
            )

    @cached_property
    def config(self) -> FleetConfig:
        """The fleet of all services that have metrics or are called."""
        measured = self.normal.columns.get_level_values(0)
        services = sorted({*measured, *self.calls.index, *self.calls.columns})
        upstream = {
            s: [c for c in self.calls.columns if self.calls.loc[s, c]] for s in self.calls.index
        }
        mappings = [
            {"site_id": s, "region_id": "petshop", "depends_on": upstream.get(s, [])}
            for s in services
        ]
        latency = [
            {
                "name": f"latency_{s}",
                "lo": -4.0,
                "hi": 2.0,
                "direction": "lower",
                "domain": "latency",
            }
            for s in STATISTICS
        ]
        others = [
            {"name": "requests", "lo": 0.0, "hi": 5.0, "domain": "requests"},
            {"name": "availability", "lo": 0.0, "hi": 100.0, "domain": "availability"},
        ]
        return FleetConfig.model_validate(
            {
                "name": "petshop",
                "profile": "small",
                "anomaly_threshold": self.threshold,
                "start_date": "2026-01-05",
                "interval_s": INTERVAL // 1_000_000,
                "staleness_threshold_s": 600,
                "kpis": [*latency, *others],
                "region_mappings": mappings,
            }
        )

    def evaluate(self, rows: pd.DataFrame, day: int, *, first: int, last: int) -> Evaluation:
        """Run the product on rows laid from `START` on, and judge the windows `first` to before `last` of a day."""
        frame = telemetry(rows)
        span = [
            pd.Timestamp(START + day * DAY + n * INTERVAL, unit="us", tz="UTC")
            for n in (first, last)
        ]
        return evaluate(self.config, frame, *span)

    def judged(self, issue: Issue) -> pd.DataFrame:
        """Return the incidents of an issue, found among the anomalies of the metric in which it was noticed."""
        calm = self.normal.iloc[: 2 * DAY // INTERVAL]
        laid = _laid(
            [
                (calm, 0),
                (self.normal.iloc[-LEAD:], 3 * DAY // INTERVAL),
                (issue.rows, 3 * DAY // INTERVAL + LEAD),
            ]
        )
        found = self.evaluate(laid, 3, first=0, last=LEAD + len(issue.rows))
        return self.incidents(found, issue.domain)

    def incidents(self, found: Evaluation, domain: str | None = None) -> pd.DataFrame:
        """Correlate an evaluation's anomalies, of one domain or of all."""
        scores = found.anomaly_score
        if domain is not None:
            scores = scores[(scores["domain"] == domain).to_numpy(np.bool_)]
        starts = frames.microseconds(found.site_kpi["window_start"])
        span = Span(int(starts.min()), int(starts.max()) + INTERVAL)
        return anomaly_correlator(found.fleet, scores, found.baseline_model, span)


def telemetry(rows: pd.DataFrame) -> pd.DataFrame:
    """Turn metrics into snapshots, one in the middle of each window; a service without requests has no latency."""
    parts = []
    for service in rows.columns.get_level_values(0).unique():
        own = rows[service]
        part = pd.DataFrame({"site_id": service, "timestamp": rows.index})
        for statistic in STATISTICS:
            values = own.get(("latency", statistic), pd.Series(np.nan, rows.index)).to_numpy(float)
            part[f"latency_{statistic}"] = np.log10(np.where(values > 0, values, np.nan))
        requests = own.get(("requests", "Sum"), pd.Series(np.nan, rows.index)).to_numpy(float)
        part["requests"] = np.log10(1.0 + requests)
        part["availability"] = own.get(
            ("availability", "Average"), pd.Series(np.nan, rows.index)
        ).to_numpy(float)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    return table.assign(status=0, uptime_pct=100.0, fault_count=0)


def _metrics(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, header=[0, 1, 2], index_col=0).astype(float)


def _laid(parts: list[tuple[pd.DataFrame, int]]) -> pd.DataFrame:
    """Lay rows out in time: each part from a window on, counted from `START`."""
    placed = []
    for rows, first in parts:
        stamps = START + (first + np.arange(len(rows))) * INTERVAL + INTERVAL // 2
        placed.append(rows.set_axis(pd.to_datetime(stamps, unit="us", utc=True)))
    return pd.concat(placed)
