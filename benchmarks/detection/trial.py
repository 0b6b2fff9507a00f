"""A fleet whose baseline stays as first trained: measured rows become windows, and come back as scores.

Training ends a day before the training day, as the product wants it; what is scored begins with the training
day, after the last training rows once more, so that the first windows have something to look back on.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import ALL_DOMAINS
from fleet_dagster.model.yaml_file import validate_config
from fleet_dagster.pipeline import Evaluation, evaluate

TRAINING_DAY = pd.Timestamp("2026-06-01T00:00Z")
"""A Monday."""
DAY = pd.Timedelta(days=1)
LEAD = 40
"""Windows before the first one scored; more than any lookback of the score."""

Rows = NDArray[np.float64]
"""Measurements of one site, shape (n_windows, n_kpis), in order of time."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A fleet, the rows it learnt from, and what it learnt."""

    config: FleetConfig
    training: Mapping[str, Rows]
    learnt: Evaluation

    def evaluate(
        self, rows: Mapping[str, Rows], *, delay: Mapping[str, int] | None = None
    ) -> Evaluation:
        """Evaluate rows that follow the training rows, each site `delay` windows after the training day begins."""
        step = pd.Timedelta(seconds=self.config.interval_s)
        delays = {site: (delay or {}).get(site, 0) for site in rows}
        lead = {site: self.training[site][-LEAD:] for site in rows if site in self.training}
        joined = {site: np.vstack([lead.get(site, r[:0]), r]) for site, r in rows.items()}
        first = {
            site: TRAINING_DAY + (delays[site] - (len(joined[site]) - len(rows[site]))) * step
            for site in rows
        }
        end = TRAINING_DAY + max(delays[site] + len(r) for site, r in rows.items()) * step
        return evaluate(
            self.config,
            telemetry(self.config, joined, first),
            TRAINING_DAY,
            end,
            baseline=_frozen(self.learnt.baseline, end),
            baseline_model=_frozen(self.learnt.baseline_model, end),
        )


def trial(
    training: Mapping[str, Rows],
    kpis: Sequence[dict[str, Any]],  # Any: what YAML holds
    *,
    past_the_hour: int = 0,
    **settings: Any,  # Any: fields of a config
) -> Trial:
    """Train a fleet on the rows of its sites, which begin so many windows past an hour and end a day before the training day."""
    step = pd.Timedelta(seconds=settings["interval_s"])
    first = {
        site: (TRAINING_DAY - DAY - (len(r) + past_the_hour) * step).floor("h")
        + past_the_hour * step
        for site, r in training.items()
    }
    content = {
        "name": "quality",
        "profile": "small",
        "kpis": list(kpis),
        "region_mappings": [{"site_id": site, "region_id": "R"} for site in training],
        "start_date": min(first.values()).date().isoformat(),
        "staleness_threshold_s": 2 * settings["interval_s"],
        **settings,
    }
    config = validate_config(content, source="benchmark")
    learnt = evaluate(config, telemetry(config, training, first), TRAINING_DAY, TRAINING_DAY + step)
    return Trial(config, training, learnt)


def ranged_kpis(
    training: Rows, names: Sequence[str]
) -> list[dict[str, Any]]:  # Any: what YAML holds
    """Describe KPIs whose usual range is that of the training rows."""
    low, high = training.min(axis=0), training.max(axis=0)
    return [
        {"name": name, "lo": float(lo), "hi": float(hi if hi > lo else lo + 1)}
        for name, lo, hi in zip(names, low, high, strict=True)
    ]


def telemetry(
    config: FleetConfig, rows: Mapping[str, Rows], first: Mapping[str, pd.Timestamp]
) -> pd.DataFrame:
    """Lay the rows of each site out as one snapshot per window, a second before its end."""
    step = dt.timedelta(seconds=config.interval_s)
    parts = [
        pd.DataFrame(r, columns=list(config.kpi_names)).assign(
            site_id=site,
            timestamp=pd.date_range(
                first[site] + step - dt.timedelta(seconds=1), periods=len(r), freq=step
            ),
        )
        for site, r in rows.items()
    ]
    return pd.concat(parts, ignore_index=True)


def scores(result: Evaluation, site: str) -> pd.DataFrame:
    """Return a site's score over all KPIs and what it is made of, window by window."""
    table = over_all_kpis(result)
    return table[table["site_id"] == site].sort_values("window_start", ignore_index=True)


def over_all_kpis(result: Evaluation) -> pd.DataFrame:
    """Return the rows of the anomaly score that are about all KPIs together."""
    return result.anomaly_score[result.anomaly_score["domain"] == ALL_DOMAINS]


def _frozen(learnt: pd.DataFrame, end: pd.Timestamp) -> pd.DataFrame:
    """Return what was learnt on the training day as what is in force on each day until `end`."""
    own = learnt[learnt["window_start"] == TRAINING_DAY]
    return pd.concat(
        [
            own.assign(
                window_start=own["window_start"] + d * DAY, window_end=own["window_end"] + d * DAY
            )
            for d in range((end - TRAINING_DAY).days + 1)
        ],
        ignore_index=True,
    )
