"""`anomaly_scorer`: how far each site is from its own normal, in all its KPIs and in each domain, and which KPIs say so."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fleet_dagster.core.scoring import TOP_KPIS, DomainScores, score
from fleet_dagster.core.windows import HOUR, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.assignment import region_grid
from fleet_dagster.frames.baseline_models import domains_of
from fleet_dagster.frames.scoring_models import HourModels, ModelBook
from fleet_dagster.frames.window_inputs import per_window
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import SCORING_WINDOWS
from fleet_dagster.model.tables import ANOMALY_SCORE, KPI_NAMES, SCORE_STATES

SCORED, WARMING_UP, NOT_SCORED = range(len(SCORE_STATES))
Floats = NDArray[np.float32]
KPI_COLUMNS = ("window_start", "site_id", *KPI_NAMES)
"""Columns of `site_kpi` that are looked at."""
Grids = dict[str, NDArray[Any]]
"""Scores by name, any dtype."""


def anomaly_scorer(
    fleet: Fleet,
    site_kpi: pd.DataFrame,
    assignment: pd.DataFrame,
    baseline_model: pd.DataFrame,
    span: Span,
) -> pd.DataFrame:
    """Score the sites of `span` that have KPIs; the others get one row that says `not_scored`.

    `site_kpi` reaches back by `scoring_lookback`; `baseline_model` holds the rows of every training day in force.
    """
    return score_sites(ModelBook(fleet, baseline_model), site_kpi, assignment, span)


def score_sites(
    book: ModelBook, site_kpi: pd.DataFrame, assignment: pd.DataFrame, span: Span
) -> pd.DataFrame:
    """Do what `anomaly_scorer` does, with models that were looked up before."""
    fleet = book.fleet
    regions = region_grid(fleet, assignment, span)
    parts = []
    for own, models in _runs(book, span):
        first, end = ((t - span.start) // fleet.interval for t in (own.start, own.end))
        region = frames.Coded(regions.codes[first:end], regions.vocabulary)
        if models is None:
            parts.append(_unscored(fleet, own, region))
        else:
            whole = own.to_whole(HOUR)
            scores = _score_hour(fleet, site_kpi, models, whole)
            windows = slice(*((t - whole.start) // fleet.interval for t in (own.start, own.end)))
            parts.append(_rows(fleet, own, region, _stacked(scores, windows), models))
    return frames.concat(ANOMALY_SCORE, parts)


def _runs(book: ModelBook, span: Span) -> Iterator[tuple[Span, HourModels | None]]:
    """Yield the hours of a span with their models; hours without any that follow each other as one."""
    begun = span.start
    for own in span.steps(HOUR):
        models = book.of_hour(own.to_whole(HOUR))
        if models is None:
            continue
        if begun < own.start:
            yield Span(begun, own.start), None
        yield own, models
        begun = own.end
    if begun < span.end:
        yield Span(begun, span.end), None


def _score_hour(
    fleet: Fleet, site_kpi: pd.DataFrame, models: HourModels, hour: Span
) -> list[DomainScores]:
    block = hour.widen(before=SCORING_WINDOWS * fleet.interval)
    threshold = per_window(fleet, hour, "anomaly_threshold")
    readings = _readings(fleet, site_kpi, block)
    return [score(readings, own, threshold) for own in models.domains]


def _readings(fleet: Fleet, site_kpi: pd.DataFrame, block: Span) -> Floats:
    """Return the KPIs of a block, shape (n_sites, n_windows, n_kpis)."""
    n_windows, n_kpis = (block.end - block.start) // fleet.interval, len(fleet.config.kpis)
    scatter = frames.Scatter.of(
        site_kpi,
        fleet.site_numbers,
        start=block.start,
        interval=fleet.interval,
        n_windows=n_windows,
    )
    out = np.empty((len(fleet.sites), n_windows, n_kpis), dtype=np.float32)
    for k in range(n_kpis):
        out[:, :, k] = scatter.grid(site_kpi[KPI_NAMES[k]], np.nan, np.float32)
    return out


def _stacked(scores: list[DomainScores], windows: slice) -> Grids:
    """Return the scores of some windows, shape (n_windows, n_sites, n_domains, ...)."""
    return {
        f.name: np.stack([getattr(s, f.name)[:, windows].swapaxes(0, 1) for s in scores], axis=2)
        for f in fields(DomainScores)
    }


def _rows(
    fleet: Fleet,
    span: Span,
    region: frames.Coded,
    grids: Grids,
    models: HourModels,
) -> pd.DataFrame:
    """Return the rows of the windows asked for, by window, site and domain."""
    is_scored = ~np.isnan(grids["score"])
    keep = is_scored.copy()
    keep[:, :, 0] = True
    keep &= (region.codes >= 0)[:, :, None]
    keep[:, :, 1:] &= is_scored[:, :, :1]
    kept = np.flatnonzero(keep)
    window, site, domain = np.unravel_index(kept, keep.shape)
    own = {name: grid.reshape(keep.size, *grid.shape[3:])[kept] for name, grid in grids.items()}
    scored = is_scored.ravel()[kept]
    state = np.where(scored, np.where(models.is_warming_up[site], WARMING_UP, SCORED), NOT_SCORED)
    version = np.where(scored, models.version[site], -1)
    starts = span.start + window * fleet.interval
    onset = starts - own["onset_back"] * fleet.interval
    columns = {
        "window_start": frames.stamps(starts),
        "window_end": frames.stamps(starts + fleet.interval),
        "site_id": frames.names(site, [s.site_id for s in fleet.sites]),
        "region_id": region.names(window, site),
        "domain": frames.names(domain, list(domains_of(fleet.config))),
        "score": own["score"].astype(np.float32),
        "reconstruction_error": own["error"].astype(np.float32),
        "t2_part": own["t2"],
        "q_part": own["q"],
        "baseline_sigma": own["sigma"].astype(np.float32),
        "is_anomalous": own["is_anomalous"],
        "onset": frames.stamps(onset).mask(~own["is_anomalous"]),
        **_explained(fleet, own["is_anomalous"], own["top"], own["top_share"]),
        "baseline_version": frames.names(version, models.versions),
        "state": frames.names(state, SCORE_STATES),
    }
    return frames.frame_of(ANOMALY_SCORE, columns)


def _explained(
    fleet: Fleet, is_anomalous: NDArray[np.bool_], top: NDArray[np.int64], share: Floats
) -> dict[str, Any]:  # Any: Arrow-backed lists
    rows = np.flatnonzero(is_anomalous)
    top, share = top[rows], share[rows]
    has = top >= 0
    lengths = np.zeros(is_anomalous.size + 1, dtype=np.int32)
    lengths[rows + 1] = has.sum(axis=1)
    offsets = np.cumsum(lengths, dtype=np.int32)
    names = np.array(fleet.config.kpi_names, dtype=object)[top[has]]
    return {
        "top_kpis": frames.lists(pa.array(names, pa.string()), offsets, ~is_anomalous),
        "top_shares": frames.lists(pa.array(share[has], pa.float32()), offsets, ~is_anomalous),
    }


def _unscored(fleet: Fleet, span: Span, region: frames.Coded) -> pd.DataFrame:
    window, site = np.nonzero(region.codes >= 0)
    starts = span.start + window * fleet.interval
    n = window.size
    absent, nothing = np.full(n, np.nan, dtype=np.float32), np.zeros(n, dtype=np.bool_)
    names = ("score", "reconstruction_error", "t2_part", "q_part", "baseline_sigma")
    columns = {
        "window_start": frames.stamps(starts),
        "window_end": frames.stamps(starts + fleet.interval),
        "site_id": frames.names(site, [s.site_id for s in fleet.sites]),
        "region_id": region.names(window, site),
        "domain": frames.names(np.zeros(n, dtype=np.int64), list(domains_of(fleet.config))),
        **dict.fromkeys(names, absent),
        "is_anomalous": nothing,
        "onset": frames.stamps(starts).mask(~nothing),
        **_explained(
            fleet, nothing, np.empty((n, TOP_KPIS), np.int64), np.empty((n, TOP_KPIS), np.float32)
        ),
        "baseline_version": frames.names(np.full(n, -1), []),
        "state": frames.names(np.full(n, NOT_SCORED), SCORE_STATES),
    }
    return frames.frame_of(ANOMALY_SCORE, columns)
