"""What became of planted faults, and which incidents tell of one."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from fleet_dagster.core.windows import floor_to
from fleet_dagster.frames import columns as frames
from fleet_dagster.ingest.simulator import Event


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident under whatever names: when it opened, and how it was last told."""

    opened_us: int
    sites: frozenset[str]
    pattern: str
    root: str | None
    is_merged: bool
    """It turned out to belong to another, which tells of it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One planted fault, and the first incident that holds half of its sites."""

    kind: str
    shape: str
    incident: Incident | None
    delay: float
    """From the first onset to the window in which the incident opens; NaN if none does. [windows]"""
    is_root_right: bool
    is_before_end: bool
    """The incident opened while the fault lasted; else its sudden end was told."""


@dataclass(frozen=True, slots=True)
class Judged:
    """All of one span: what was planted, and how many of the incidents tell of it."""

    findings: tuple[Finding, ...]
    n_incidents: int
    n_true: int


def judge(
    events: Sequence[Event], sites: Sequence[str], rows: pd.DataFrame, *, interval: int, margin: int
) -> Judged:
    """Judge the rows of `fleet_correlation` by the simulator's truth.

    An event is found where an incident holds at least half of its sites and opens from the event's start up to `margin`
    after its end. An incident is true where it opens in such a time and at least half of its sites are the event's.
    """
    incidents = incidents_of(rows)
    findings = []
    true: set[int] = set()
    for event in events:
        own = {sites[i] for i in event.sites}
        first = floor_to(event.start_us, interval)
        timely = [
            n for n, i in enumerate(incidents) if first <= i.opened_us <= event.end_us + margin
        ]
        true |= {n for n in timely if 2 * len(incidents[n].sites & own) >= len(incidents[n].sites)}
        hits = [
            incidents[n]
            for n in timely
            if not incidents[n].is_merged and 2 * len(incidents[n].sites & own) >= len(own)
        ]
        hit = min(hits, key=lambda i: i.opened_us, default=None)
        findings.append(_finding(event, hit, sites, interval))
    return Judged(tuple(findings), len(incidents), len(true))


def incidents_of(rows: pd.DataFrame) -> list[Incident]:
    """Return the incidents in order of opening; one that midnight gave another name is one."""
    table = rows.assign(told_us=frames.microseconds(rows["window_start"]))
    first_name: dict[str, str] = {}
    told: dict[str, list[dict[str, object]]] = {}
    for row in table.to_dict("records"):
        name = str(row["incident_id"])
        before = row["continues"]
        known = first_name.get(str(before), str(before)) if isinstance(before, str) else name
        first = first_name.setdefault(name, known)
        told.setdefault(first, []).append({str(k): cell for k, cell in row.items()})
    return [_incident(own) for own in told.values()]


def _finding(event: Event, hit: Incident | None, sites: Sequence[str], interval: int) -> Finding:
    if hit is None:
        return Finding(
            event.kind,
            event.shape,
            None,
            float("nan"),
            is_root_right=False,
            is_before_end=False,
        )
    return Finding(
        kind=event.kind,
        shape=event.shape,
        incident=hit,
        delay=(hit.opened_us - floor_to(event.start_us, interval)) / interval,
        is_root_right=event.root is not None and hit.root == sites[event.root],
        is_before_end=hit.opened_us < event.end_us,
    )


def _incident(told: list[dict[str, object]]) -> Incident:
    last = told[-1]
    root = last["root_cause_site"]
    return Incident(
        opened_us=int(str(told[0]["told_us"])),
        sites=frozenset(str(site) for site in list(last["sites"])),  # type: ignore[call-overload]
        pattern=str(last["pattern"]),
        root=root if isinstance(root, str) else None,
        is_merged=last["phase"] == "merged",
    )
