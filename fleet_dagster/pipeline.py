"""The nodes in order, on frames: no Dagster and no storage.

`evaluate` is what notebooks and tests call; the functions below it are what every other caller (Dagster assets, command
line) is made of, so that all of them give the same rows.
"""

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.slots import opened
from fleet_dagster.anomaly_history import AnomalyHistory, with_history
from fleet_dagster.core.windows import HOUR, SECOND, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.ingest.columns import resolve_columns, wanted_columns
from fleet_dagster.ingest.snapshots import landed_table
from fleet_dagster.ingest.stamps import parse_stamps
from fleet_dagster.model.config import FleetConfig, RegionMapping
from fleet_dagster.model.errors import FrameError, SourceError, SpanError
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import (
    feature_windows,
    inference_lookback,
    persistence_lookback,
    scoring_lookback,
)
from fleet_dagster.model.storms import StormEpisode, refuse_overlaps
from fleet_dagster.model.yaml_file import validate_config
from fleet_dagster.nodes.ai_inference import ai_inference, route
from fleet_dagster.nodes.anomaly_correlator import anomaly_correlator
from fleet_dagster.nodes.anomaly_scorer import anomaly_scorer
from fleet_dagster.nodes.baseline import UNTRAINED, Trained
from fleet_dagster.nodes.fleet_aggregator import fleet_aggregator
from fleet_dagster.nodes.performance_comparator import performance_comparator
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster.nodes.regional_scorer import regional_scorer
from fleet_dagster.site_rows import ingest
from fleet_dagster.training import ReadTelemetry, baselines_for

_UNCONVERTIBLE = (pa.ArrowException, OverflowError, UnicodeEncodeError)
"""What Arrow raises for a column that it cannot hold as one type."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The tables of one evaluation, as frames."""

    site_assignment: pd.DataFrame
    site_kpi: pd.DataFrame
    quarantine: pd.DataFrame
    ingest_stats: pd.DataFrame
    fleet_kpi: pd.DataFrame
    region_kpi: pd.DataFrame
    regional_health: pd.DataFrame
    site_ranking: pd.DataFrame
    anomaly_score: pd.DataFrame
    fleet_correlation: pd.DataFrame
    ai_inference: pd.DataFrame
    baseline: pd.DataFrame
    baseline_model: pd.DataFrame
    fleet: Fleet = field(repr=False)


def evaluate(
    config: FleetConfig | Mapping[str, Any],
    telemetry: pd.DataFrame,
    start: pd.Timestamp | str,
    end: pd.Timestamp | str,
    *,
    baseline: pd.DataFrame | None = None,
    baseline_model: pd.DataFrame | None = None,
    mapping: Sequence[RegionMapping | Mapping[str, Any]] | None = None,
    storms: Sequence[tuple[pd.Timestamp | str, pd.Timestamp | str]] = (),
    models: Path = Path("models"),
) -> Evaluation:
    """Evaluate the windows of [start, end) from a frame of snapshots.

    `config` may be a mapping, with the content of a fleet's file. `telemetry` has site_id, timestamp (UTC), optionally
    status, uptime_pct, fault_count, quality, sequence and received_at, and one column per KPI name, in the KPI's unit; other
    columns are ignored. Without a received_at column it counts as history: never too late. Baselines are trained from the
    telemetry before `start` unless `baseline`, `baseline_model` or both are given. `storms` names the start and end of storm episodes,
    `models` the folder of the files of AI models.

    Raises
    ------
    ConfigError
        `config` or `mapping` breaks a rule; every problem is listed.
    StormError
        Two of `storms` overlap.
    FrameError
        A column is missing or doubled.
    SourceError
        A column holds what its field cannot be, such as lists, or mixes stamps with and without an offset.
    SpanError
        The span is reversed, or `start` or `end` is no instant.
    """
    if not isinstance(config, FleetConfig):
        config = validate_config(dict(config), source="config")
    if mapping is not None:
        given = [m if isinstance(m, RegionMapping) else dict(m) for m in mapping]
        content = {**config.model_dump(), "region_mappings": given}
        config = validate_config(content, source="mapping")
    within = Span(_instant("start", start), _instant("end", end))
    span = within.to_whole(config.interval_s * SECOND)
    landed, seen = _land(config, telemetry)
    fleet = Fleet.of(config, seen, _episodes(config, storms))
    read = frame_reader(landed)
    reach = with_history(fleet, span)
    if fleet.config.ai_models:
        reach = Span(min(reach.start, span.start - inference_lookback(fleet)), span.end)
    trained = _given(baseline, baseline_model) or baselines_for(fleet, read, reach)
    return evaluate_landed(fleet, read, span, trained, models=models)


def _given(baseline: pd.DataFrame | None, model: pd.DataFrame | None) -> Trained | None:
    """Return the baselines that a caller gave; what was not given with the other is taken to be untrained."""
    if baseline is None and model is None:
        return None
    return Trained(
        UNTRAINED.baseline if baseline is None else baseline,
        UNTRAINED.baseline_model if model is None else model,
    )


def evaluate_landed(
    fleet: Fleet,
    read: ReadTelemetry,
    span: Span,
    trained: Trained,
    *,
    history: AnomalyHistory | None = None,
    models: Path = Path("models"),
) -> Evaluation:
    """Run the nodes over landed telemetry.

    Incidents look days back: calls over several spans of the same fleet, telemetry and baselines share a `history`.
    """
    history = history or AnomalyHistory(fleet, read, trained)
    fed = span.widen(before=feature_windows(fleet, span.start, span.end) * fleet.interval)
    block = fed.widen(before=max(persistence_lookback(fleet), scoring_lookback(fleet)))
    assignment = region_mapper(fleet, block)
    ingested = ingest(fleet, read, assignment, trained.baseline, block)
    own = frames.within(ingested.site_kpi, span)
    wide = anomaly_scorer(fleet, ingested.site_kpi, assignment, trained.baseline_model, fed)
    scores = frames.within(wide, span)
    with opened(ModelFolder(models)) as slots:
        answers = ai_inference(route(fleet, ingested.site_kpi, wide, assignment, span), slots)
    rollup = fleet_aggregator(fleet, own, assignment, scores, span)
    return Evaluation(
        site_assignment=frames.within(assignment, span.to_whole(HOUR)),
        site_kpi=own,
        quarantine=frames.within(ingested.quarantine, span),
        ingest_stats=frames.within(ingested.ingest_stats, span),
        fleet_kpi=rollup.fleet_kpi,
        region_kpi=rollup.region_kpi,
        regional_health=regional_scorer(rollup.region_kpi),
        site_ranking=performance_comparator(
            fleet, ingested.site_kpi, assignment, trained.baseline, span
        ),
        anomaly_score=scores,
        fleet_correlation=anomaly_correlator(
            fleet, history.until(span, scores), trained.baseline_model, span
        ),
        ai_inference=answers,
        baseline=trained.baseline,
        baseline_model=trained.baseline_model,
        fleet=fleet,
    )


def frame_reader(landed: pd.DataFrame) -> ReadTelemetry:
    """Return a reader of a landed frame."""
    ordered = landed.sort_values("timestamp", kind="stable", ignore_index=True)
    stamp = frames.microseconds(ordered["timestamp"])

    def read(span: Span) -> pd.DataFrame:
        low, high = np.searchsorted(stamp, [span.start, span.end])
        return ordered.iloc[int(low) : int(high)]

    return read


def _land(config: FleetConfig, telemetry: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Judge a frame of snapshots as landing would; returns it landed, and each admitted site's first snapshot [us]."""
    has_receipts = "received_at" in telemetry.columns
    if has_receipts:
        source = config.source.model_copy(update={"received_at": "received_at"})
        config = config.model_copy(update={"source": source})
    raw = _raw_table(config, telemetry)
    mapped = {m.site_id for m in config.region_mappings}
    admitted: dict[str, int] = {}

    def admit(seen: Sequence[tuple[str, int]]) -> set[str]:
        room = max(0, config.profile.max_sites - len(mapped))
        strangers = {site for site, _ in [pair for pair in seen if pair[0] not in mapped][:room]}
        admitted.update((s, first) for s, first in seen if s in mapped or s in strangers)
        return mapped | admitted.keys()

    judged = landed_table(
        config,
        raw,
        batch_id="frame",
        received_at_us=_last_stamp(config, raw),
        historical=not has_receipts,
        admit=admit,
    )
    return frames.telemetry_frame(judged), admitted


def _raw_table(config: FleetConfig, telemetry: pd.DataFrame) -> pa.Table:
    """Return the columns in use as a source's own, cells of several types as text."""
    wanted = wanted_columns(config)
    if not len(telemetry.columns) and not len(telemetry):
        telemetry = pd.DataFrame(columns=list(wanted))
    _refuse_columns(config, telemetry)
    chosen = telemetry[[name for name in telemetry.columns if name in wanted]]
    try:
        return pa.Table.from_pandas(chosen, preserve_index=False)
    except _UNCONVERTIBLE:
        decimal = config.source.decimal
        return pa.table({name: _plain_cells(chosen[name], decimal) for name in chosen.columns})


def _refuse_columns(config: FleetConfig, telemetry: pd.DataFrame) -> None:
    names = telemetry.columns
    if not names.is_unique:
        twice = sorted(set(names[names.duplicated()]), key=str)
        raise FrameError(
            "telemetry", f"columns {twice} appear more than once", "Drop or rename the copies"
        )
    try:
        resolve_columns(config, [str(name) for name in names], source="telemetry")
    except SourceError as error:
        raise FrameError(
            "telemetry",
            error.problem,
            "Rename the frame's columns, or name them under `source` in the configuration",
        ) from error


def _plain_cells(column: "pd.Series[Any]", decimal: str) -> pa.Array:
    try:
        return pa.array(column, from_pandas=True)
    except _UNCONVERTIBLE:
        return pa.array([_text(cell, decimal) for cell in column.astype(object)], pa.string())


def _text(cell: Any, decimal: str) -> str | None:
    """Return a cell as a file in the source's format would hold it; None where it is absent."""
    if pd.api.types.is_scalar(cell) and pd.isna(cell):
        return None
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    text = str(cell).encode("utf-8", "replace").decode()
    return text.replace(".", decimal) if isinstance(cell, numbers.Number) else text


def _last_stamp(config: FleetConfig, raw: pa.Table) -> int:
    """Return when a frame without receipts counts as received: with its last snapshot [us]."""
    name = config.source.timestamp
    stamps = parse_stamps(
        raw.column(name).combine_chunks(),
        name=name,
        time_format=config.source.time_format,
        zone=config.source.timezone,
        source="telemetry",
    )
    return int(stamps.us[stamps.is_usable].max(initial=0))


def _episodes(
    config: FleetConfig, storms: Sequence[tuple[pd.Timestamp | str, pd.Timestamp | str]]
) -> list[StormEpisode]:
    spans = [
        Span(_instant("storms", first), _instant("storms", last)).to_whole(
            config.interval_s * SECOND
        )
        for first, last in storms
    ]
    episodes = [StormEpisode.of(span.start, span.end) for span in spans if not span.is_empty]
    refuse_overlaps(config.name, episodes)
    return episodes


def _instant(name: str, given: pd.Timestamp | str) -> int:
    """Return an instant [us]; without an offset it is UTC."""
    try:
        stamp = pd.Timestamp("" if isinstance(given, numbers.Number) else given)
        utc = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
        us = int(utc.value // 1000)
    except (TypeError, ValueError, OverflowError) as error:
        raise _no_instant(name, given) from error
    if pd.isna(stamp):
        raise _no_instant(name, given)
    return us


def _no_instant(name: str, given: object) -> SpanError:
    return SpanError(
        f"{name} is {given!r}, expected an instant. Write it as a stamp such as 2026-01-31T12:00:00Z"
    )
