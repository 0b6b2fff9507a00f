"""Trying settings out on windows that were: what the rows would have been, without touching those that stand."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from fleet_dagster import pipeline, training
from fleet_dagster.anomaly_history import AnomalyHistory, with_history
from fleet_dagster.core.sampling import training_span
from fleet_dagster.core.windows import Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ExpiredError, SpanError
from fleet_dagster.model.tables import FLEET_KPI, derived_tables
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.maintenance import expired_days, removed_days
from fleet_dagster.storage.store import Store

Progress = Callable[[Span, Span], None]
"""Called after each day with the day and the whole span."""


@dataclass(frozen=True, slots=True)
class TrialReport:
    """What a trial gave, beside what stands."""

    fleet: str
    run_id: str
    span: Span
    version: str
    """Settings that it was computed with."""
    rows: int
    n_windows: int
    n_compared: int
    """Windows that stand in `fleet_kpi` too."""
    n_different: int
    """Those of them whose health differs by more than 1e-9."""
    mean_health: float
    mean_health_stored: float


def try_out(
    store: Store,
    config: FleetConfig,
    span: Span,
    *,
    as_of: int,
    run_id: str,
    progress: Progress = lambda _day, _span: None,
) -> TrialReport:
    """Compute the windows of a span as if the settings in force at an instant had always been [us].

    Sites and storms are as recorded. The rows go to the trial tables, under the run's id.

    Raises
    ------
    ExpiredError
        The telemetry of a day has expired, or of a day that its baseline learns from.
    SpanError
        The span holds no closed window.
    """
    store.registry.ensure(config)
    whole = _closed(config, span)
    expired = expired_days(store, config.name, whole)
    if expired:
        raise ExpiredError(config.name, expired, config.telemetry_retention_days)
    fleet = store.registry.fleet(config).with_settings_of(as_of)
    read = store.telemetry_reader(config.name)
    gone = [
        day
        for trained in training.training_days_of(fleet, with_history(fleet, whole))
        for day in removed_days(store, config.name, training_span(trained))
    ]
    if gone:
        raise ExpiredError(config.name, gone, config.telemetry_retention_days)
    trained = training.baselines_for(fleet, read, with_history(fleet, whole))
    history = AnomalyHistory(fleet, read, trained)
    n_rows, tried = 0, []
    for day in whole.days():
        found = pipeline.evaluate_landed(
            fleet, read, day, trained, history=history, models=store.models
        )
        tried.append(found.fleet_kpi)
        for table in derived_tables():
            rows = frames.arrow_of(table, schema_of(table), config.name, getattr(found, table.name))
            n_rows += store.trials.append(table, rows, run_id=run_id, now=now_us())
        progress(day, whole)
    report = partial(TrialReport, config.name, run_id, whole, fleet.versions[0].version, n_rows)
    return report(*_compared(pd.concat(tried), store.frame(FLEET_KPI, config.name, whole)))


def _closed(config: FleetConfig, span: Span) -> Span:
    interval = config.interval_s * 1_000_000
    end = min(span.end, now_us()) // interval * interval
    if end <= span.start:
        message = f"fleet {config.name!r}: no window has closed yet between the instants given. Name an earlier span"
        raise SpanError(message)
    return Span(span.start, end).to_whole(interval)


def _compared(tried: pd.DataFrame, stored: pd.DataFrame) -> tuple[int, int, int, float, float]:
    both = tried.merge(stored, on="window_start", suffixes=("", "_stored"))
    gap = np.abs(both["fleet_health"] - both["fleet_health_stored"])
    means = (both["fleet_health"].mean(), both["fleet_health_stored"].mean())
    return len(tried), len(both), int((gap > 1e-9).sum()), float(means[0]), float(means[1])  # noqa: PLR2004 - rounding
