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
from numpy.typing import NDArray

from fleet_dagster.core.windows import DAY, MINUTE, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.nodes.anomaly_correlator import anomaly_correlator
from fleet_dagster.pipeline import evaluate

START = 1_767_571_200_000_000
"""2026-01-05T00:00Z, where the fault-free two days are laid; the data's own dates lie five months apart."""
INTERVAL = 5 * MINUTE
LEAD = 14
"""Fault-free windows laid before each issue: as many as a score looks back on, for its own five rows are too few."""
STATISTICS = ("Average", "p50", "p90", "p95", "p99")
DATA = Path(__file__).parents[3] / "shared" / "data" / "petshop"
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
                "start_date": "2026-01-05",
                "interval_s": INTERVAL // 1_000_000,
                "staleness_threshold_s": 600,
                "kpis": [*latency, *others],
                "region_mappings": mappings,
            }
        )

    def named(self, issue: Issue) -> list[str]:
        """Return the services that the open incidents blame, among the anomalies of the metric in which the issue was noticed.

        Incidents that hold the symptom come first, then larger ones; of each its root cause, then its other candidates.
        """
        first = 3 * DAY // INTERVAL
        calm, lead = self.normal.iloc[: 2 * DAY // INTERVAL], self.normal.iloc[-LEAD:]
        laid = _laid([(calm, 0), (lead, first), (issue.rows, first + LEAD)])
        rows = self._incidents(laid, first, LEAD + len(issue.rows), issue.domain)
        last = rows.groupby("incident_id").tail(1)
        is_open = ~last["phase"].isin(["closed", "merged"]).to_numpy(np.bool_)
        ranked = sorted(
            last[is_open].to_dict("records"),
            key=lambda r: (issue.symptom not in r["sites"], -r["n_sites"] * r["peak_ratio"]),
        )
        blamed = [site for r in ranked for site in (r["root_cause_site"], *r["candidates"])]
        return list(dict.fromkeys(site for site in blamed if isinstance(site, str)))

    def blamed_share(self) -> tuple[float, float]:
        """Return the shares of the second fault-free day's windows with an open incident of several sites, and with any.

        The baseline knows the first day only.
        """
        n_learnt = DAY // INTERVAL
        n = len(self.normal) - n_learnt
        first = 2 * n_learnt
        laid = _laid([(self.normal.iloc[:n_learnt], 0), (self.normal.iloc[n_learnt:], first)])
        rows = self._incidents(laid, first, n, None)
        window = frames.microseconds(rows["window_start"]) // INTERVAL - START // INTERVAL - first
        return (
            float(_open_windows(rows.assign(window=window)[rows["n_sites"] > 1], n).mean()),
            float(_open_windows(rows.assign(window=window), n).mean()),
        )

    def _incidents(
        self, laid: pd.DataFrame, first: int, n: int, domain: str | None
    ) -> pd.DataFrame:
        """Run the product on metrics laid out in time; correlate `n` windows from `first` on, in one domain or in all."""
        span = Span(START + first * INTERVAL, START + (first + n) * INTERVAL)
        stamps = [pd.Timestamp(us, unit="us", tz="UTC") for us in (span.start, span.end)]
        found = evaluate(self.config, telemetry(laid), *stamps)
        if domain is None:
            return found.fleet_correlation
        scores = found.anomaly_score
        own = scores[(scores["domain"] == domain).to_numpy(np.bool_)]
        return anomaly_correlator(found.fleet, own, found.baseline_model, span)


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


def _open_windows(rows: pd.DataFrame, n: int) -> NDArray[np.bool_]:
    """Tell in which of `n` windows an incident is open."""
    is_open = np.zeros(n, dtype=bool)
    for _, own in rows.groupby("incident_id"):
        ends = own["window"][own["phase"].isin(["closed", "merged"])]
        is_open[int(own["window"].iloc[0]) : int(ends.iloc[0]) if len(ends) else n] = True
    return is_open


def q6(data: Path = DATA) -> str:
    """Return the table of Q6 as Markdown; nothing is measured where the data is not."""
    if not data.exists():
        return f"{data} is not there: not measured."
    lines = [
        "Thresholds are those of the profile `small`. The published traversal has 0.654 / 0.827, and names a cause in 67 to 83 % of",
        "fault-free data. Targets: 0.65 / 0.83, and 0.05. Nothing was tuned on high traffic.",
        "",
        "| scenario | issues | cause first | among three | fault-free windows with an incident of several services | with any |",
        "|---|---|---|---|---|---|",
    ]
    for scenario in SCENARIOS:
        shop = PetShop(data / scenario)
        ranks = [(issue.cause, shop.named(issue)) for issue in shop.issues]
        first = np.mean([cause in named[:1] for cause, named in ranks])
        three = np.mean([cause in named[:3] for cause, named in ranks])
        several, some = shop.blamed_share()
        lines.append(
            f"| {scenario} | {len(ranks)} | {first:.3f} | {three:.3f} | {several:.3f} | {some:.3f} |"
        )
    return "\n".join(lines)
