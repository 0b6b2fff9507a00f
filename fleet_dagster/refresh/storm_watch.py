"""Watching for storms: what the newest windows show, and the episodes recorded because of it."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from fleet_dagster.core.blocks import block_length
from fleet_dagster.core.storm_detection import (
    LOOK_BACK,
    SMALLEST_FLEET,
    Activity,
    judge,
    placed,
)
from fleet_dagster.core.windows import DAY, HOUR, SECOND, Span, ceil_to, floor_to, gaps
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import ingest_lookback
from fleet_dagster.model.storms import FOREVER, StormEpisode
from fleet_dagster.model.tables import READING_NAMES, SITE_KPI
from fleet_dagster.nodes.storm_monitor import storm_monitor
from fleet_dagster.refresh.baselines import stored_baselines
from fleet_dagster.refresh.currency import Currency
from fleet_dagster.storage.store import Store

BY_MONITOR = "storm_monitor"
SILENCE = HOUR
"""Age of the newest telemetry from which on there is nothing to watch."""
FIRST_LOOK = 10
"""Windows that the first look of all judges."""
LONGEST_LOOK = 2 * HOUR
"""Time that one look judges at most; the next one goes on."""
PATIENCE = HOUR
"""Age from which a window is judged even if most sites were never heard of in it."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw: the episodes that began or ended, the one that goes on now, and the counts of the windows judged."""

    changed: tuple[StormEpisode, ...]
    current: StormEpisode | None
    judged_through: int
    """End of the last window judged; the next look goes on from there [us]."""
    activity: Activity | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StormWatch:
    """Watches one fleet."""

    store: Store
    config: FleetConfig

    def look(self, now: int, judged_through: int = 0) -> Look:
        """Judge the closed windows not judged yet, and record what begins or ends; `now` is the clock [us].

        Each window is judged once, when most sites have been heard of.
        """
        self.store.registry.ensure(self.config)
        fleet, name = self.store.registry.fleet(self.config), self.config.name
        current, span = self.store.storms.open(name), self._to_judge(fleet, now, judged_through)
        nothing = Look((), current, judged_through)
        if len(fleet.sites) < SMALLEST_FLEET:
            return replace(nothing, reason=f"a fleet of {len(fleet.sites)} sites has none")
        if self.store.storms.is_held(name):
            return replace(nothing, reason="held until an operator ends it")
        if span is None:
            return replace(nothing, reason="no window to judge: no new telemetry")
        seen = _heard(self.activity(fleet, span.widen(before=LOOK_BACK * fleet.interval)), now)
        through = int(seen.starts[-1]) + fleet.interval if seen.starts.size else span.start
        if through <= span.start:
            return replace(nothing, reason="waiting for telemetry of most sites")
        currency = Currency(fleet, self.store.history)

        def first_free(instant: int) -> int:
            written = self.store.history.coverage.newest_end(SITE_KPI.name, name) or 0
            horizon = Span(instant, max(instant, written) + fleet.interval)
            return currency.stale(SITE_KPI, horizon)[0].start

        changed = placed(judge(seen, current, since=span.start), current, first_free)
        for episode in changed:
            self._record(episode, current)
        return Look(tuple(changed), self.store.storms.open(name), through, seen)

    def detect(self, span: Span) -> list[StormEpisode]:
        """Find the storms of a span of landed history, as they would have been found live; records nothing.

        One that has not ended by the end of the span ends there; what is recorded already is left out.
        """
        self.store.registry.ensure(self.config)
        fleet = self.store.registry.fleet(self.config)
        whole = span.to_whole(fleet.interval)
        seen = self.activity(fleet, whole.widen(before=LOOK_BACK * fleet.interval))
        found = judge(seen, None, since=whole.start)
        recorded = self.store.storms.recorded(fleet.name, whole)
        known = [Span(r.episode.start, r.episode.end) for r in recorded]
        return [
            StormEpisode.of(part.start, part.end, cause=episode.cause)
            for episode in found
            for part in gaps(Span(episode.start, min(episode.end, whole.end)), known)
        ]

    def activity(self, fleet: Fleet, span: Span) -> Activity:
        """Count what the windows of a span show, without reading a KPI."""
        parts = list(self._blocks(fleet, span))
        joined = {
            f.name: np.concatenate([getattr(part, f.name) for part in parts])
            for f in fields(Activity)
            if f.name != "interval"
        }
        return Activity(interval=fleet.interval, **joined)

    def _blocks(self, fleet: Fleet, span: Span) -> Iterator[Activity]:
        read = self.store.telemetry_reader(fleet.name, without=READING_NAMES)
        trained = stored_baselines(self.store, fleet, span)
        for block in span.steps(block_length(fleet)):
            before = ingest_lookback(fleet, block.start, block.end)
            yield storm_monitor(fleet, read(block.widen(before=before)), trained, block)

    def _to_judge(self, fleet: Fleet, now: int, judged_through: int) -> Span | None:
        """Return the closed windows to judge next: those since the last look, some hours at most at a time."""
        newest = self.store.history.newest_landed(fleet.name)
        if newest is None or newest < now - SILENCE:
            return None
        delay = min(self.config.grace_s * SECOND, fleet.interval)
        closed = floor_to(min(now - delay, newest), fleet.interval)
        ended = [r.episode.end for r in self.store.storms.recorded(fleet.name)]
        known = max((end for end in ended if end != FOREVER), default=0)
        start = max(judged_through or closed - FIRST_LOOK * fleet.interval, known, now - DAY)
        start = ceil_to(start, fleet.interval)
        return Span(start, min(closed, start + LONGEST_LOOK)) if start < closed else None

    def _record(self, episode: StormEpisode, current: StormEpisode | None) -> None:
        storms, name = self.store.storms, self.config.name
        if current is not None and episode.start == current.start:
            storms.end(name, episode.end, by=BY_MONITOR)
        else:
            storms.record(name, [episode], by=BY_MONITOR)


def _heard(seen: Activity, now: int) -> Activity:
    """Leave out the newest windows in which too few sites have been heard of, while telemetry may still come."""
    is_ready = seen.is_heard | (seen.starts < now - PATIENCE)
    n = int(np.flatnonzero(is_ready).max(initial=-1)) + 1
    cut = {f.name: getattr(seen, f.name)[:n] for f in fields(Activity) if f.name != "interval"}
    return Activity(interval=seen.interval, **cut)
