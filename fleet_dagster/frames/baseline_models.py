"""Rows of `baseline_model`: how they are made from sampled hours, and the arrays that scoring takes from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core import tail
from fleet_dagster.core.alarms import alarms, begins
from fleet_dagster.core.normal_windows import learn
from fleet_dagster.core.reconstruction import ratio_at
from fleet_dagster.core.windows import DAY, HOUR
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import ALL_DOMAINS, BASELINE_MODEL

MIN_WINDOWS = 200
"""A site with fewer windows in the sample is warming up."""
SITES_AT_ONCE = 16
"""Sites learnt from together: bounds memory; sites do not share sums, so it changes nothing."""
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def domains_of(config: FleetConfig) -> dict[str, NDArray[np.int64]]:
    """Return the positions of each domain's KPIs: all of them first, then each domain where there are several."""
    names = [kpi.domain for kpi in config.kpis]
    own = {d: np.flatnonzero([n == d for n in names]) for d in dict.fromkeys(names)}
    return {ALL_DOMAINS: np.arange(len(names)), **(own if len(own) > 1 else {})}


@dataclass(frozen=True, slots=True)
class Member:
    """One site or region to learn from: sampled hours of shape (n_hours, 13 + n_windows, n_kpis), when they were, and their neighbours."""

    scope: str
    scope_id: str
    hours: Floats
    starts: NDArray[np.int64]
    follows: NDArray[np.int64]


@dataclass(slots=True)
class _Learnt:
    """What the members of one domain taught, in their order."""

    rows: list[dict[str, Any]] = field(default_factory=list)  # Any: arrays and numbers
    errors: list[Doubles] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Terms:
    """What levels are judged by."""

    training_day: int
    interval: int
    n_sites: int
    threshold: float


def model_rows(config: FleetConfig, members: Sequence[Member], terms: Terms) -> pd.DataFrame:
    """Learn every member's normal windows in every domain."""
    if not members:
        return frames.empty_frame(BASELINE_MODEL)
    parts = [
        _domain_rows(config, members, domain, kpis, terms)
        for domain, kpis in domains_of(config).items()
    ]
    return frames.concat(BASELINE_MODEL, parts)


def _domain_rows(
    config: FleetConfig,
    members: Sequence[Member],
    domain: str,
    kpis: NDArray[np.int64],
    terms: Terms,
) -> pd.DataFrame:
    learnt = _Learnt()
    for batch in _batches(members):
        _learn_batch(learnt, batch, kpis)
    columns = _shared_columns(config, members, domain, kpis, terms)
    for name in learnt.rows[0]:
        columns[name] = [own[name] for own in learnt.rows]
    return frames.frame_of(BASELINE_MODEL, columns | _levels(learnt, members, terms))


def _batches(members: Sequence[Member]) -> Iterator[list[Member]]:
    """Yield members with the same hours, some at a time."""
    batch: list[Member] = []
    for member in members:
        is_alike = bool(batch) and batch[0].follows is member.follows
        if batch and (len(batch) == SITES_AT_ONCE or not is_alike):
            yield batch
            batch = []
        batch.append(member)
    if batch:
        yield batch


def _learn_batch(learnt: _Learnt, batch: Sequence[Member], kpis: NDArray[np.int64]) -> None:
    found = learn(np.stack([m.hours[..., kpis] for m in batch]), batch[0].follows)
    for i, member in enumerate(batch):
        when = member.starts[found.is_learnt[i]]
        learnt.errors.append(found.error[i])
        learnt.rows.append(
            {
                "centre": found.centre[i],
                "scale": found.scale[i],
                "mean": found.spectrum.mean[i],
                "variances": found.spectrum.variances[i],
                "directions": found.spectrum.directions[i].ravel(),
                "n_windows": np.int32(found.n_windows[i]),
                "n_hours": np.int32(when.size),
                "learnt_from": when.min() if when.size else -1,
                "learnt_until": when.max() + HOUR if when.size else -1,
            }
        )


def _shared_columns(
    config: FleetConfig,
    members: Sequence[Member],
    domain: str,
    kpis: NDArray[np.int64],
    terms: Terms,
) -> dict[str, Any]:  # Any: arrays and lists alike
    n = len(members)
    names = [config.kpi_names[k] for k in kpis]
    start = np.full(n, terms.training_day)
    return {
        "window_start": frames.stamps(start),
        "window_end": frames.stamps(start + DAY),
        "scope": [m.scope for m in members],
        "scope_id": [m.scope_id for m in members],
        "domain": domain,
        "kpis": [names] * n,
    }


def _levels(learnt: _Learnt, members: Sequence[Member], terms: Terms) -> dict[str, Any]:
    """Return each member's level, the errors it comes from, and how often alarms began; the tail is that of all sites together."""
    flat = [e.ravel() for e in learnt.errors]
    is_trained = np.array([own["n_windows"] >= MIN_WINDOWS for own in learnt.rows])
    starts = np.array([tail.tail_start(e) for e in flat])
    ratios = [e / start for e, start in zip(flat, starts, strict=True)]
    is_site = np.array([m.scope == "site" for m in members])
    pooled = is_site & is_trained
    judges = pooled if pooled.any() else ~is_site
    pool = [r for r, is_own in zip(ratios, judges, strict=True) if is_own]
    evidence = [_hours_beyond(e, start) for e, start in zip(learnt.errors, starts, strict=True)]
    n_hours = sum(n for n, is_own in zip(evidence, judges, strict=True) if is_own)
    rarity = tail.ALPHA / max(1, terms.n_sites)
    levels = starts * tail.tail_level(np.concatenate(pool), rarity, n_hours)
    limit = ratio_at(terms.threshold)
    onsets = [
        int(begins(alarms(e > level * limit)).sum())
        for e, level in zip(learnt.errors, levels, strict=True)
    ]
    known = [e[~np.isnan(e)] for e in flat]
    return {
        "level": levels,
        "error_mean": np.array([k.mean() if k.size else np.nan for k in known]),
        "error_sd": np.array([k.std() if k.size else np.nan for k in known]),
        "n_onsets": np.array(onsets, dtype=np.int32),
        "exposure_h": np.array([k.size * terms.interval / HOUR for k in known]),
        "state": np.where(is_trained, "trained", "warming_up"),
        "learnt_from": _instants(learnt, "learnt_from"),
        "learnt_until": _instants(learnt, "learnt_until"),
    }


def _hours_beyond(errors: Doubles, start: float) -> int:
    """Count the hours in which an error lies in the tail: errors of one hour are one piece of evidence."""
    return int(np.any(errors > start, axis=1).sum())


def _instants(learnt: _Learnt, name: str) -> pd.Series:
    values = np.array([own[name] for own in learnt.rows], dtype=np.int64)
    return frames.stamps(values).mask(values < 0)
