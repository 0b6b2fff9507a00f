"""Watching for storms: what the newest windows show, and the episodes recorded because of it."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from fleet_dagster import pipeline, training
from fleet_dagster.core.storm_detection import LOOK_BACK, Activity, judge
from fleet_dagster.core.windows import DAY, HOUR, SECOND, Span, floor_to
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import ingest_lookback
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import BASELINE, READING_NAMES, SITE_KPI
from fleet_dagster.nodes.storm_monitor import storm_monitor
from fleet_dagster.storage.store import Store

BY_MONITOR = "storm_monitor"
SILENCE = HOUR
"""Age of the newest telemetry from which on there is nothing to watch."""
WRITTEN_WINDOWS = 3
"""Windows already written that are judged all the same: a run may have been faster than the watch."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw: the episodes that began or ended, the one that goes on now, and the newest window's counts."""

    changed: tuple[StormEpisode, ...]
    current: StormEpisode | None
    activity: Activity | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StormWatch:
    """Watches one fleet."""

    store: Store
    config: FleetConfig

    def look(self, now: int) -> Look:
        """Judge the newest closed windows, and record what begins or ends; `now` is the clock [us]."""
        self.store.registry.ensure(self.config)
        fleet, name = self.store.registry.fleet(self.config), self.config.name
        current = self.store.storms.open(name)
        if self.store.storms.is_held(name):
            return Look((), current, None, "held until an operator ends it")
        span = self._to_judge(fleet, now)
        if span is None:
            return Look((), current, None, "no telemetry in the last hour")
        seen = self.activity(fleet, span.widen(before=LOOK_BACK * fleet.interval))
        written = self._written_until()
        changed = judge(seen, current, since=span.start, written_until=written)
        for episode in changed:
            self._record(episode, current)
        return Look(tuple(changed), self.store.storms.open(name), seen)

    def detect(self, span: Span) -> list[StormEpisode]:
        """Find the storms of a span of landed history, as they would have been found live; records nothing.

        One that has not ended by the end of the span ends there.
        """
        self.store.registry.ensure(self.config)
        fleet = self.store.registry.fleet(self.config)
        whole = span.to_whole(fleet.interval)
        seen = self.activity(fleet, whole.widen(before=LOOK_BACK * fleet.interval))
        found = judge(seen, None, since=whole.start)
        return [StormEpisode.of(e.start, min(e.end, whole.end), cause=e.cause) for e in found]

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
        trained = frames.concat(
            BASELINE,
            [
                self.store.frame(BASELINE, fleet.name, Span(day, day + DAY))
                for day in training.training_days_of(fleet, span)
            ],
        )
        for block in span.steps(pipeline.block_length(fleet)):
            before = ingest_lookback(fleet, block.start, block.end)
            yield storm_monitor(fleet, read(block.widen(before=before)), trained, block)

    def _to_judge(self, fleet: Fleet, now: int) -> Span | None:
        """Return the windows to judge: those not yet written and the last few that are, no further back than a day."""
        newest = self.store.history.newest_landed(fleet.name)
        if newest is None or newest < now - SILENCE:
            return None
        delay = min(self.config.grace_s * SECOND, fleet.interval)
        closed = floor_to(min(now - delay, newest), fleet.interval)
        first = min(closed, max(self._written_until(), closed - DAY))
        ended = [r.episode.end for r in self.store.storms.recorded(fleet.name)]
        known = max((end for end in ended if end <= closed), default=0)
        start = max(known, first - WRITTEN_WINDOWS * fleet.interval)
        return Span(start, closed) if start < closed else None

    def _written_until(self) -> int:
        return self.store.history.coverage.newest_end(SITE_KPI.name, self.config.name) or 0

    def _record(self, episode: StormEpisode, current: StormEpisode | None) -> None:
        storms, name = self.store.storms, self.config.name
        if current is not None and episode.start == current.start:
            storms.end(name, episode.end, by=BY_MONITOR)
        else:
            storms.record(name, [episode], by=BY_MONITOR)
