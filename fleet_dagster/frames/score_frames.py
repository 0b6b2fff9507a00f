"""Plain frames of anomaly scores and of sites, as callers give them: checked, and completed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.windows import HOUR, MINUTE, SECOND
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.surroundings import NO_HISTORY, PRIOR_H, PRIOR_ONSETS
from fleet_dagster.model.errors import FrameError
from fleet_dagster.model.tables import ALL_DOMAINS

SCORES = "scores"
SITES = "sites"
HISTORY = "history"


@dataclass(frozen=True, slots=True)
class KnownSites:
    """The sites of a frame, in order of name."""

    names: tuple[str, ...]
    region_of: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    """A site and another that depends on it, by place."""


def checked_sites(sites: pd.DataFrame) -> KnownSites:
    """Read sites, their regions and what they depend on."""
    _need(SITES, sites, ("site_id", "region_id"))
    names = sites["site_id"].astype("str")
    _refuse(SITES, names[sites["site_id"].isna()], "has a row without site_id", "Name the site")
    _refuse(SITES, names[names.duplicated()], "names a site twice", "Keep one row per site")
    _refuse(SITES, names[sites["region_id"].isna()], "gives no region_id", "Name a region")
    ordered = sites.assign(site_id=names).sort_values("site_id", ignore_index=True)
    number = {name: i for i, name in enumerate(ordered["site_id"])}
    upstream = ordered["depends_on"] if "depends_on" in ordered else [None] * len(ordered)
    edges = []
    for site, cell in enumerate(upstream):
        for up in _listed(cell):
            if up not in number:
                problem = f"site {ordered['site_id'][site]!r} depends on {up!r}, which has no row"
                raise FrameError(SITES, problem, "Add the site, or remove the dependence")
            edges.append((number[up], site))
    regions = tuple(ordered["region_id"].astype("str"))
    return KnownSites(tuple(number), regions, tuple(edges))


def checked_scores(scores: pd.DataFrame, known: KnownSites) -> pd.DataFrame:
    """Return the scores with a domain, sorted out by what cannot be used."""
    _need(SCORES, scores, ("site_id", "window_start", "score", "is_anomalous"))
    if not isinstance(scores["window_start"].dtype, pd.DatetimeTZDtype):
        problem = (
            f"window_start is {scores['window_start'].dtype}, expected time stamps with a zone"
        )
        raise FrameError(SCORES, problem, "Convert it with pd.to_datetime(..., utc=True)")
    table = scores.reset_index(drop=True)
    table["site_id"] = table["site_id"].astype("str")
    if "domain" not in table:
        table["domain"] = ALL_DOMAINS
    strangers = table["site_id"][~table["site_id"].isin(known.names)]
    _refuse(SCORES, strangers, "has scores of a site that `sites` lacks", "Add it to `sites`")
    twice = table["site_id"][table.duplicated(["site_id", "window_start", "domain"])]
    _refuse(SCORES, twice, "scores a window twice", "Keep one row per site, domain and window")
    table["is_anomalous"] = table["is_anomalous"].fillna(value=False).astype(bool)
    score = pd.to_numeric(table["score"], errors="coerce")
    bad = table["is_anomalous"] & ~score.between(0.0, 1.0)
    _refuse(SCORES, table["site_id"][bad], "is anomalous without a score in 0..1", "Score the row")
    return table.assign(score=score)


def known_rates(known: KnownSites, history: pd.DataFrame | None) -> NDArray[np.float64]:
    """Return how often alarms of each site have begun [1/h]."""
    if history is None:
        return np.full(len(known.names), NO_HISTORY)
    _need(HISTORY, history, ("site_id", "n_onsets", "exposure_h"))
    site = history["site_id"].astype("str")
    _refuse(HISTORY, site[site.duplicated()], "names a site twice", "Keep one row per site")
    counts = history[["n_onsets", "exposure_h"]].astype(np.float64)
    known_counts = np.isfinite(counts.to_numpy()) & (counts.to_numpy() >= 0)
    bad = ~known_counts.all(axis=1)
    _refuse(HISTORY, site[bad], "is no count and number of hours", "Give numbers from 0 on")
    own = (counts["n_onsets"] + PRIOR_ONSETS) / (counts["exposure_h"] + PRIOR_H)
    rates = dict(zip(site, own, strict=True))
    return np.array([rates.get(name, NO_HISTORY) for name in known.names], dtype=np.float64)


def interval_of(scores: pd.DataFrame, interval_s: int | None) -> int:
    """Return the length of a window: the one given, else the least distance of two starts, a minute if there is one only [us]."""
    starts = np.unique(frames.microseconds(scores["window_start"]))
    least = int(np.diff(starts).min()) if starts.size > 1 else MINUTE
    interval = least if interval_s is None else interval_s * SECOND
    if interval < SECOND or HOUR % interval:
        problem = f"a window is {interval / SECOND:g} s long, expected seconds that divide an hour"
        raise FrameError(SCORES, problem, "Pass interval_s, or align window_start")
    if np.any(starts % interval):
        problem = f"window_start {pd.Timestamp(int(starts[starts % interval > 0][0]), unit='us')} is no multiple of {interval // SECOND} s"
        raise FrameError(SCORES, problem, "Floor window_start to whole windows")
    return interval


def _need(name: str, frame: pd.DataFrame, wanted: tuple[str, ...]) -> None:
    missing = [column for column in wanted if column not in frame.columns]
    if missing:
        raise FrameError(name, f"columns {missing} are missing", f"It has {list(frame.columns)}")


def _refuse(name: str, culprits: "pd.Series[Any]", problem: str, advice: str) -> None:
    if len(culprits):
        shown = ", ".join(repr(c) for c in culprits.unique()[:3])
        raise FrameError(name, f"{problem}: {shown}", advice)


def _listed(cell: Any) -> list[str]:  # Any: a list, an array or a null of pandas'
    return [] if cell is None or np.isscalar(cell) or cell is pd.NA else [str(c) for c in cell]
