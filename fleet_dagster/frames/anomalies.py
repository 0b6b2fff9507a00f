"""Anomalous rows as arrays, and changes of incidents as rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.episodes import Anomalies
from fleet_dagster.core.incident_record import Change, Name
from fleet_dagster.core.sampling import unit_hash
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.tables import ALL_DOMAINS, FLEET_CORRELATION

HIGHEST_SCORE = 1.0 - 2.0**-24
"""The last score below 1 that 32 bits hold: an error of 24 levels, or more."""


_NULLABLE = ("continues", "merged_into", "root_cause_site", "root_cause_kpi")


@dataclass(frozen=True, slots=True)
class Places:
    """The names behind the numbers of sites, regions, domains and KPIs."""

    sites: tuple[str, ...]
    regions: tuple[str, ...]
    domains: tuple[str, ...]
    """All KPIs together first."""
    kpis: tuple[str, ...]


def domains_of(scores: pd.DataFrame) -> tuple[str, ...]:
    """Return the domains that rows are about, all KPIs together first."""
    return (ALL_DOMAINS, *(d for d in frames.vocabulary(scores["domain"]) if d != ALL_DOMAINS))


def kpis_of(scores: pd.DataFrame) -> tuple[str, ...]:
    """Return the KPIs that anomalous rows blame, sorted."""
    if "top_kpis" not in scores:
        return ()
    blamed = scores["top_kpis"][scores["is_anomalous"].to_numpy(np.bool_)]
    return tuple(sorted(set(chain.from_iterable(_listed(cell) for cell in blamed))))


def anomalies_of(scores: pd.DataFrame, places: Places, interval: int) -> Anomalies:
    """Turn the anomalous rows of a frame into arrays, in order of window, site and domain; `interval` in microseconds."""
    rows = scores[scores["is_anomalous"].to_numpy(np.bool_)]
    start = frames.microseconds(rows["window_start"])
    site = frames.codes_of(rows["site_id"], {name: i for i, name in enumerate(places.sites)})
    domain = frames.codes_of(rows["domain"], {name: i for i, name in enumerate(places.domains)})
    order = np.lexsort((domain, site, start))
    score = rows["score"].to_numpy(np.float64)[order]
    return Anomalies(
        window=start[order] // interval,
        site=site[order],
        domain=domain[order],
        ratio=-np.log2(1.0 - np.minimum(score, HIGHEST_SCORE)),
        onset=_onsets(rows, start)[order] // interval,
        shares=_shares(rows, places.kpis)[order],
    )


def incident_frame(
    changes: Sequence[Change], places: Places, *, fleet: str, interval: int
) -> pd.DataFrame:
    """Turn changes of incidents into rows, in order of window and id."""
    if not changes:
        return frames.empty_frame(FLEET_CORRELATION)
    ids = {name: incident_id(fleet, name, places, interval) for name in _names(changes)}
    ordered = sorted(changes, key=lambda c: (c.window, ids[c.name]))
    starts = np.array([c.window for c in ordered], dtype=np.int64) * interval
    rows = pd.DataFrame.from_records([_row(c, places, ids) for c in ordered])
    columns: dict[str, Any] = {name: rows[name] for name in rows.columns}  # Any: series of any type
    columns |= {name: rows[name].astype("str") for name in _NULLABLE}
    onset = np.array([c.record.onset for c in ordered], dtype=np.int64) * interval
    columns |= {
        "window_start": frames.stamps(starts),
        "window_end": frames.stamps(starts + interval),
        "onset": frames.stamps(onset),
        "n_sites": rows["n_sites"].astype(np.int32),
        "p_value": rows["p_value"].astype(np.float64),
    }
    return frames.frame_of(FLEET_CORRELATION, columns)


def incident_id(fleet: str, name: Name, places: Places, interval: int) -> str:
    """Return the id of an incident: it depends on the fleet, its first site and that one's onset alone."""
    site, onset = name
    return f"{unit_hash(fleet, places.sites[site], onset * interval):016x}"


def _names(changes: Sequence[Change]) -> set[Name]:
    found = {c.name for c in changes}
    return found | {n for c in changes for n in (c.continues, c.merged_into) if n is not None}


def _row(
    change: Change, places: Places, ids: Mapping[Name, str]
) -> dict[str, Any]:  # Any: a row's cells
    record = change.record
    return {
        "incident_id": ids[change.name],
        "phase": change.phase,
        "continues": None if change.continues is None else ids[change.continues],
        "merged_into": None if change.merged_into is None else ids[change.merged_into],
        "pattern": record.pattern,
        "domain": places.domains[record.domain],
        "sites": [places.sites[s] for s in record.sites],
        "n_sites": len(record.sites),
        "regions": sorted(places.regions[r] for r in record.regions if r >= 0),
        "root_cause_site": None if record.root_site is None else places.sites[record.root_site],
        "root_cause_kpi": None if record.root_kpi is None else places.kpis[record.root_kpi],
        "candidates": [places.sites[s] for s in record.candidates],
        "severity": record.severity,
        "confidence": record.confidence,
        "p_value": record.evidence.p_value,
        "peak_ratio": record.evidence.peak_ratio,
    }


def _onsets(rows: pd.DataFrame, start: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each row's deviation began; in its own window where nobody says [us]."""
    if "onset" not in rows:
        return start
    known = rows["onset"].notna().to_numpy()
    onset = start.copy()
    onset[known] = np.minimum(frames.microseconds(rows["onset"][known]), start[known])
    return onset


def _shares(rows: pd.DataFrame, kpis: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the share of each KPI in each row's error, shape (n_rows, n_kpis); 0 where it is not listed."""
    shares = np.zeros((len(rows), len(kpis)))
    if not kpis:
        return shares
    number = {name: k for k, name in enumerate(kpis)}
    listed = [_listed(cell) for cell in rows["top_kpis"]]
    lengths = np.array([len(names) for names in listed], dtype=np.int64)
    told = rows["top_shares"] if "top_shares" in rows else [None] * len(rows)
    weights = [_listed(c) or [1 / n] * n for c, n in zip(told, lengths.tolist(), strict=True)]
    column = [number[name] for name in chain.from_iterable(listed)]
    shares[np.repeat(np.arange(len(rows)), lengths), column] = list(chain.from_iterable(weights))
    return shares


def _listed(cell: Any) -> list[Any]:  # Any: a list, an array or a null of pandas'
    return [] if cell is None or np.isscalar(cell) or cell is pd.NA else list(cell)
