"""What restated windows held before: replaced rows with their revision, and why a fleet's windows were restated."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.windows import DAY, Span, floor_to
from fleet_dagster.model.tables import FLEET_KPI, Table, superseded
from fleet_dagster.storage.history import Entry
from fleet_dagster.storage.status import instant
from fleet_dagster.storage.store import Store

Why = Literal["late telemetry", "settings, sites or a storm"]


@dataclass(frozen=True, slots=True)
class Restatement:
    """A window that was restated: what it held until then, and what it holds now. Instants are UTC."""

    window_start: dt.datetime
    window_end: dt.datetime
    revision: int
    """How often the window had been restated by then, this time included."""
    restated_at: dt.datetime
    why: Why
    earlier_health: float
    health: float
    earlier_coverage: float
    coverage: float


def restatements(store: Store, fleet: str, span: Span) -> list[Restatement]:
    """Return the restatements of a fleet's windows in a span, newest windows first, and their newest revisions first."""
    earlier = earlier_rows(store, FLEET_KPI, fleet, span)
    if earlier.empty:
        return []
    present = store.frame(FLEET_KPI, fleet, span)
    now = {
        int(us): row
        for us, row in zip(_us(present["window_start"]), _records(present), strict=True)
    }
    log = _by_day(store.history.entries(FLEET_KPI.name, fleet, span))
    found = [
        _restatement(row, now[start], log[floor_to(start, DAY)], start)
        for start, row in zip(_us(earlier["window_start"]).tolist(), _records(earlier), strict=True)
        if start in now
    ]
    return found[::-1]


def earlier_rows(store: Store, table: Table, fleet: str, span: Span) -> pd.DataFrame:
    """Return the replaced rows of a table's windows in a span, in order of window and revision.

    Each says which `revision` of its window it was (0: as first stored), and until when it stood (`superseded_at`).
    """
    rows = store.frame(superseded(table), fleet, span)
    restated = store.history.entries(table.name, fleet, span, kind="restate")
    written = {e.intent_id: e.seq for e in reversed(restated)}
    rows = rows[rows["intent_id"].isin(written)]  # the others are of a write that goes on just now
    until = rows["intent_id"].astype(object).map(written).to_numpy(np.int64)
    starts, revision = _us(rows["window_start"]), np.zeros(len(rows), np.int64)
    for entry in restated:
        is_held = (starts >= entry.span.start) & (starts < entry.span.end)
        revision += is_held & (entry.seq < until)
    keys = [k for k in table.key if k not in ("fleet", "window_start")]
    by = ["window_start", "revision", *keys]
    return rows.assign(revision=revision).sort_values(by, kind="stable", ignore_index=True)


def _restatement(
    earlier: dict[str, Any],  # Any: cells of a frame
    now: dict[str, Any],
    entries: Sequence[Entry],
    start: int,
) -> Restatement:
    own = [e for e in entries if e.span.start <= start < e.span.end]
    place = next(i for i, e in enumerate(own) if e.intent_id == earlier["intent_id"])
    has_same_inputs = place == 0 or own[place - 1].inputs == own[place].inputs
    return Restatement(
        instant(start),
        instant(int(pd.Timestamp(earlier["window_end"]).value) // 1000),
        int(earlier["revision"]) + 1,
        instant(int(pd.Timestamp(earlier["superseded_at"]).value) // 1000),
        "late telemetry" if has_same_inputs else "settings, sites or a storm",
        float(earlier["fleet_health"]),
        float(now["fleet_health"]),
        float(earlier["coverage"]),
        float(now["coverage"]),
    )


def _by_day(entries: Sequence[Entry]) -> dict[int, list[Entry]]:
    """Return the entries of each UTC day, in the order of commit."""
    found: dict[int, list[Entry]] = {}
    for entry in entries:
        for day in entry.span.days():
            found.setdefault(floor_to(day.start, DAY), []).append(entry)
    return found


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:  # Any: cells of a frame
    return [{str(k): v for k, v in row.items()} for row in rows.to_dict("records")]


def _us(stamps: "pd.Series[Any]") -> NDArray[np.int64]:
    return np.asarray(
        stamps.dt.tz_convert(None).to_numpy(dtype="M8[us]").astype(np.int64), np.int64
    )
