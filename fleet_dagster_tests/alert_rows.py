"""Rows that alerts are made of, written through the door: regions, rankings, incidents, answers, minute by minute."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from fleet_dagster.core.windows import DAY, MINUTE, Span, floor_to
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import (
    AI_INFERENCE,
    FLEET_CORRELATION,
    FLEET_KPI,
    REGIONAL_HEALTH,
    SITE_RANKING,
    Column,
    Table,
)
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.coverage import Covered
from fleet_dagster.storage.door import Write, WriteReport
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.cli.cases import content

NAME = "plant"
START = 1_767_571_200_000_000
"""2026-01-05T00:00Z: minute 0."""
SITES = tuple(f"S-{i:03d}" for i in range(200))
REGIONS = tuple(f"R-{i:02d}" for i in range(16))
Cells = dict[str, Any]  # Any: cells of several types


def fleet(
    *destinations: tuple[str, str], n_sites: int = 4, profile: str = "medium", **alerts: Any
) -> FleetConfig:
    """Return a fleet of one-minute windows with destinations by name and url, and other settings of alerts."""
    mappings = [
        {"site_id": site, "region_id": REGIONS[i % len(REGIONS)]}
        for i, site in enumerate(SITES[:n_sites])
    ]
    to = [{"name": name, "url": url} for name, url in destinations]
    rules = {"stale": {"enabled": False}, **alerts.pop("rules", {})}
    given = {"destinations": to, "rules": rules, **alerts}
    raw = content(region_mappings=mappings, profile=profile, alerts=given)
    return FleetConfig.model_validate(raw)


def minute(number: float) -> int:
    """Return an instant, in minutes from the start [us]."""
    return START + round(number * MINUTE)


def kpis(store: Store, until: int, *, since: int = 0) -> None:
    """Write the fleet's windows, so that its clock stands at a minute."""
    rows = [{"total_sites": 4, "ingestion_mode": "full"}] * (until - since)
    write(store, FLEET_KPI, Span(minute(since), minute(until)), _at_minutes(rows, since))


def regions(store: Store, bands: Mapping[str, Sequence[str]], *, since: int = 0) -> None:
    """Write the bands of regions, window by window from a minute on; `silent` for one of which nobody reports, `empty` without sites."""
    n_windows = len(next(iter(bands.values())))
    health = {"healthy": 0.9, "degraded": 0.6, "critical": 0.3, "silent": 0.0, "empty": 0.0}
    rows = [
        {
            **_window(since + i),
            "region_id": region,
            "band": own[i] if health[own[i]] else "critical",
            "health_score": health[own[i]],
            "coverage": 1.0 if health[own[i]] else 0.0,
            "worst_site_id": SITES[0],
            "n_sites": 0 if own[i] == "empty" else 2,
        }
        for i in range(n_windows)
        for region, own in bands.items()
    ]
    write(store, REGIONAL_HEALTH, Span(minute(since), minute(since + n_windows)), rows)


def rankings(
    store: Store,
    flagged: Iterable[str],
    *,
    since: int,
    until: int,
    sites: Sequence[str] = SITES[:4],
    z: float = -5.0,
) -> None:
    """Write rankings of sites in every window of some minutes; those flagged are persistent outliers, `z` from their region."""
    odd = set(flagged)
    rows = [
        {
            **_window(number),
            "site_id": site,
            "region_id": REGIONS[i % len(REGIONS)],
            "composite_score": 0.2 if site in odd else 0.9,
            "rank_in_region": 1,
            "rank_in_fleet": 1,
            "is_outlier": site in odd,
            "is_persistent_outlier": site in odd,
            "outlier_scope": "region" if site in odd else "none",
            "modified_z_region": z if site in odd else 0.0,
        }
        for number in range(since, until)
        for i, site in enumerate(sites)
    ]
    write(store, SITE_RANKING, Span(minute(since), minute(until)), rows)


def incident(number: int, incident_id: str = "i1", phase: str = "opened", **cells: Any) -> Cells:
    """Return a row of an incident: what happened to it in the window of a minute."""
    sites = list(cells.pop("sites", SITES[:4]))
    where = sorted({REGIONS[SITES.index(site) % len(REGIONS)] for site in sites})
    return {
        **_window(number),
        "incident_id": incident_id,
        "phase": phase,
        "continues": None,
        "merged_into": None,
        "pattern": "isolated" if len(sites) == 1 else "simultaneous",
        "domain": "all",
        "sites": sites,
        "n_sites": len(sites),
        "regions": where,
        "onset": _stamp(minute(number - 5)),
        "root_cause_site": sites[0],
        "root_cause_kpi": "temp",
        "candidates": sites[:5],
        "severity": "critical" if len(sites) > 1 else "warning",
        "confidence": 0.8,
        "peak_ratio": 2.0,
        **cells,
    }


def incidents(store: Store, *rows: Cells, since: int, until: int) -> WriteReport:
    """Write what happened to incidents in some minutes: all of it."""
    span = Span(minute(since), minute(until))
    return write(store, FLEET_CORRELATION, span, rows)


def answers(store: Store, outcomes: Mapping[int, str], *, since: int, until: int) -> None:
    """Write what became of two questions to each slot in every window of some minutes."""
    rows = [
        {
            **_window(number),
            "slot_id": slot,
            "site_id": site,
            "model_id": f"m{slot}",
            "version": "1",
            "domain": "all",
            "outcome": outcome,
            "error": None if outcome == "ok" else "it hangs",
            "input_digest": "d",
        }
        for number in range(since, until)
        for slot, outcome in outcomes.items()
        for site in SITES[:2]
    ]
    write(store, AI_INFERENCE, Span(minute(since), minute(until)), rows)


def write(store: Store, table: Table, span: Span, rows: Iterable[Cells]) -> WriteReport:
    """Write all the rows of a span through the door."""
    full = [{c.name: row.get(c.name, _nothing(c)) for c in table.columns} for row in rows]
    days = [{**r, "fleet": NAME, "day": r["window_start"].date()} for r in full]
    ordered = sorted(days, key=lambda row: row["window_start"])
    arrow = pa.Table.from_pylist(ordered, schema=schema_of(table))
    covered = [Covered(span, 1, "v1")]
    with store.door.hold([table], NAME, span) as holder:
        return store.door.write(
            Write(table, NAME, span, arrow, covered=covered, interval=MINUTE), holder=holder
        )


def _at_minutes(rows: Sequence[Cells], since: int) -> list[Cells]:
    return [{**_window(since + i), **row} for i, row in enumerate(rows)]


def _window(number: int) -> Cells:
    return {"window_start": _stamp(minute(number)), "window_end": _stamp(minute(number + 1))}


def _nothing(column: Column) -> Any:  # Any: cells of several types
    if column.nullable:
        return None
    if column.type.startswith("list"):
        return []
    return {"string": "", "bool": False, "timestamp": _stamp(START)}.get(column.type, 0)


def _stamp(instant: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=instant)


assert floor_to(START, DAY) == START
