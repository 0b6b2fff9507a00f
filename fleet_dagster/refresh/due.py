"""What is owed: the closed windows of the last days that are not current. Schedules and the live engine ask alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, SECOND, Span, floor_to, gaps, union
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import (
    AI_INFERENCE,
    ANOMALY_SCORE,
    FLEET_KPI,
    REGIONAL_HEALTH,
    SITE_KPI,
    SITE_RANKING,
    SITE_TELEMETRY,
)
from fleet_dagster.refresh.currency import Currency
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.leases import live_key
from fleet_dagster.storage.maintenance import expired_days
from fleet_dagster.storage.store import Store

CATCH_UP_DAYS = 7
"""How far behind the schedule itself catches up; older gaps are for a backfill."""
LIVE_WINDOWS, LIVE_LEEWAY = 3, MINUTE
"""Windows, and time on top of them [us], that a schedule leaves to a live engine before it steps in."""
CURRENT = "every closed window is current"
_READ_ON = HOUR
"""How long after telemetry the windows begin that it may touch at most, as far as is left to a live engine [us]."""


@dataclass(frozen=True, slots=True)
class Due:
    """What a tick should do: the windows that are not current, or the reason why there is nothing to do."""

    spans: tuple[Span, ...] = ()
    reason: str = ""


Ask = Callable[[Store, FleetConfig, int], Due]
"""Asks what of a fleet is owed at an instant [us]."""


def due(
    stale: Sequence[Span],
    *,
    now: int,
    first_telemetry: int | None,
    newest_telemetry: int | None,
    lateness: int,
) -> Due:
    """Decide what a tick owes of the windows that are not current: those that telemetry can be about, a week back [us].

    A fleet from which nothing arrives any more is left alone once its telemetry could only be too late.
    """
    if first_telemetry is None or newest_telemetry is None:
        return Due(reason="no telemetry yet. Land some: `fleet import` or `fleet simulate --land`")
    if newest_telemetry < now - lateness:
        days = (now - newest_telemetry) // DAY
        return Due(
            reason=f"no telemetry for {days} days. Materialize by hand to record the silence"
        )
    reach = Span(min(now, max(first_telemetry, now - CATCH_UP_DAYS * DAY)), now)
    spans = tuple(s for s in (s.clip(reach) for s in union(list(stale))) if not s.is_empty)
    return Due(spans) if spans else Due(reason=CURRENT)


def owed(store: Store, config: FleetConfig, now: int) -> Due:
    """Ask the commit log what is not current."""
    week = _week(config, now)
    currency = Currency(store.registry.fleet(config), store.history)
    tables = (SITE_KPI, FLEET_KPI, REGIONAL_HEALTH, SITE_RANKING)
    stale = union([s for table in tables for s in currency.stale(table, week)])
    return _due_of(store, config, stale, week)


def owed_answers(store: Store, config: FleetConfig, now: int) -> Due:
    """Ask the commit log which windows have no current answers, although what models look at is current."""
    week, fleet = _week(config, now), store.registry.fleet(config)
    if not any(run.version.settings.ai_models for run in fleet.settings_runs(week.start, week.end)):
        return Due(
            reason=f"no AI model is registered. Register one: `fleet slots add {config.name}`"
        )
    currency = Currency(fleet, store.history)
    waiting = union([s for t in (SITE_KPI, ANOMALY_SCORE) for s in currency.stale(t, week)])
    ready = [part for s in currency.stale(AI_INFERENCE, week) for part in gaps(s, waiting)]
    return _due_of(store, config, ready, week)


def live_holder(store: Store, fleet: str) -> str | None:
    """Return the live engine that keeps a fleet current; None where none is at work."""
    return store.door.leases.holder_of(live_key(fleet))


def live_margin(config: FleetConfig) -> int:
    """Return for how long what is new is left to a live engine [us]."""
    return LIVE_WINDOWS * config.interval_s * SECOND + LIVE_LEEWAY


def left_by_live(store: Store, config: FleetConfig, now: int, *, ask: Ask) -> Due:
    """Ask what is owed; while a live engine is at work, without what is so new that it is about to do it.

    That is the newest windows, and those that telemetry may have touched that has just landed.
    """
    holder = live_holder(store, config.name)
    if holder is None:
        return ask(store, config, now)
    margin = live_margin(config)
    found = ask(store, config, now - margin)
    if found.reason not in ("", CURRENT):
        return found
    landed = store.history.entries(
        SITE_TELEMETRY.name, config.name, kind="append", since=now_us() - margin
    )
    fresh = [Span(e.span.start, e.span.end + _READ_ON) for e in landed]
    spans = tuple(part for s in found.spans for part in gaps(s, fresh))
    if spans:
        return Due(spans)
    return Due(reason=f"the live engine {holder} keeps the fleet current")


def _week(config: FleetConfig, now: int) -> Span:
    """Return the closed windows that the schedules look after."""
    closed = floor_to(now, config.interval_s * SECOND)
    return Span(max(0, closed - CATCH_UP_DAYS * DAY), closed)


def _due_of(store: Store, config: FleetConfig, stale: Sequence[Span], week: Span) -> Due:
    """Decide what is owed; days whose telemetry has expired are past recomputing."""
    expired = [_day(text) for text in expired_days(store, config.name, week)]
    landed = store.lake.days(SITE_TELEMETRY, config.name)
    return due(
        [part for s in stale for part in gaps(s, expired)],
        now=week.end,
        first_telemetry=min(landed, default=None),
        newest_telemetry=store.history.newest_landed(config.name),
        lateness=int(max(config.allowed_lateness_days, CATCH_UP_DAYS) * DAY),
    )


def _day(text: str) -> Span:
    day = int(np.datetime64(text, "D").astype(np.int64)) * DAY
    return Span(day, day + DAY)
