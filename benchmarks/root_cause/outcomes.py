"""What became of simulated cascades, and which incidents were right, by the simulator's truth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmarks.root_cause.cascades import SPAN, CascadeWeeks
from fleet_dagster.core.confidence import Evidence
from fleet_dagster.core.windows import DAY
from fleet_dagster.frames import columns as frames
from fleet_dagster.ingest.simulator import Event

MOST_OF = 0.8
"""Share of an incident's sites that one planted fault must touch to be its cause."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One planted cascade: whether an incident of several sites tells of it, and names its origin."""

    shape: str
    is_found: bool
    is_origin_right: bool


@dataclass(frozen=True, slots=True)
class Told:
    """One row of an incident: its evidence, how sure it was, and whether one fault explains it."""

    evidence: Evidence
    confidence: float
    is_right: bool
    phase: str
    is_last: bool
    """Nothing was told of the incident, under this name, after it."""


def outcomes(weeks: CascadeWeeks, rows: pd.DataFrame) -> Iterator[Outcome]:
    """Yield what became of each cascade that begins in the weeks that are judged.

    It is found where an incident holds at least two of its sites, and these are at least half of the incident's.
    """
    several = [row for row in _last(rows) if row["n_sites"] > 1]
    names = [site.site_id for site in weeks.fleet.sites]
    for event in weeks.events(SPAN):
        if event.kind != "cascade" or event.root is None or event.start_us < SPAN.start:
            continue
        own = {names[i] for i in event.sites}
        hits = [row for row in several if _overlaps(row, event) and _tells(row, own)]
        is_right = bool(hits) and hits[0]["root_cause_site"] == names[event.root]
        yield Outcome(event.shape, bool(hits), is_right)


def told(weeks: CascadeWeeks, rows: pd.DataFrame) -> Iterator[Told]:
    """Yield every row but those of incidents that merged, and whether one planted fault touches four fifths of its sites."""
    names = [site.site_id for site in weeks.fleet.sites]
    events = [(event, {names[i] for i in event.sites}) for event in weeks.events(SPAN)]
    for row in _judged(rows):
        sites = set(row["sites"])
        right = any(
            _overlaps(row, event) and len(sites & own) >= MOST_OF * len(sites)
            for event, own in events
        )
        n_windows = (row["told_us"] - row["onset_us"]) // weeks.fleet.interval
        evidence = Evidence(
            row["n_sites"], row["peak_ratio"], row["p_value"], n_windows, row["phase"] == "closed"
        )
        yield Told(evidence, row["confidence"], right, row["phase"], row["is_last"])


def days_with_several(rows: pd.DataFrame) -> int:
    """Count the days on which an incident of several sites is told."""
    several = rows[(rows["n_sites"] > 1).to_numpy(bool)]
    return len(set((frames.microseconds(several["window_start"]) // DAY).tolist()))


def _last(rows: pd.DataFrame) -> list[dict[str, Any]]:  # Any: a row's cells
    """Return how each incident was last told; those that merged into another are told by it."""
    return [row for row in _judged(rows) if row["is_last"]]


def _judged(rows: pd.DataFrame) -> list[dict[str, Any]]:  # Any: a row's cells
    """Return the rows of all incidents but those that merged into another, which tells of them."""
    table = rows.assign(
        told_us=frames.microseconds(rows["window_start"]),
        onset_us=frames.microseconds(rows["onset"]),
        is_last=~rows.duplicated("incident_id", keep="last"),
    )
    merged = table["incident_id"][(table["phase"] == "merged").to_numpy(bool)]
    kept = table[~table["incident_id"].isin(merged).to_numpy(bool)]
    return [{str(k): cell for k, cell in row.items()} for row in kept.to_dict("records")]


def _overlaps(row: Mapping[str, Any], event: Event) -> bool:  # Any: a row's cells
    return bool(event.start_us <= row["told_us"] and row["onset_us"] <= event.end_us)


def _tells(row: Mapping[str, Any], own: set[str]) -> bool:  # Any: a row's cells
    shared = len(own & set(row["sites"]))
    return shared > 1 and 2 * shared >= len(row["sites"])
