"""Which stored windows are current: computed from today's inputs and untouched by newer telemetry."""

from dataclasses import dataclass, replace

import numpy as np

from fleet_dagster.core.publication import DEVIATION_ONLY, DOWNSAMPLE_HEALTHY
from fleet_dagster.core.sampling import training_day_in_force
from fleet_dagster.core.windows import DAY, HOUR, Span, floor_to, gaps, union
from fleet_dagster.frames.window_inputs import modes_of
from fleet_dagster.model.config import content_digest
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import (
    TRAINING_DAYS,
    WARM_UP_WINDOWS,
    carry_lookback,
    incident_lookback,
    inference_lookback,
    ingest_lookback,
    persistence_lookback,
    scoring_lookback,
)
from fleet_dagster.model.tables import (
    AI_INFERENCE,
    ANOMALY_SCORE,
    BASELINE,
    BASELINE_MODEL,
    BASELINES,
    FLEET_CORRELATION,
    FLEET_KPI,
    REGION_KPI,
    REGIONAL_HEALTH,
    SITE_ASSIGNMENT,
    SITE_KPI,
    SITE_RANKING,
    SITE_TELEMETRY,
    Table,
)
from fleet_dagster.nodes.baseline import cutoff
from fleet_dagster.storage.coverage import Covered, Reads
from fleet_dagster.storage.history import EXPIRE, History

_REGARDLESS_OF_STORMS = (SITE_ASSIGNMENT, *BASELINES)
SCORED = (
    ANOMALY_SCORE,
    FLEET_CORRELATION,
    REGION_KPI,
    FLEET_KPI,
    REGIONAL_HEALTH,
    AI_INFERENCE,
)
"""Tables with anomaly scores in them, or counts of anomalies."""
_FAR_BACK = (FLEET_CORRELATION, AI_INFERENCE)
"""Tables whose rows depend on the anomaly scores of days before."""
_COMPARED = (SITE_RANKING, *SCORED)
"""Tables whose rows depend on a baseline."""


def compares(fleet: Fleet, span: Span) -> bool:
    """Tell whether site rows of a span are compared with baselines, to find out which are published."""
    return bool((modes_of(fleet, span) == DEVIATION_ONLY).any())


def notes_changes(fleet: Fleet, span: Span) -> bool:
    """Tell whether it matters in a span which sites have changed their status since the window before."""
    return bool(np.isin(modes_of(fleet, span), (DOWNSAMPLE_HEALTHY, DEVIATION_ONLY)).any())


@dataclass(frozen=True, slots=True)
class Currency:
    """Answers for one fleet as it is described now."""

    fleet: Fleet
    history: History

    def grain(self, table: Table) -> int:
        """Return the length of what a table is computed and compared by: its windows, or whole hours or days."""
        days = {BASELINE.name: DAY, BASELINE_MODEL.name: DAY}
        return {SITE_ASSIGNMENT.name: HOUR, **days}.get(table.name, self.fleet.interval)

    def stale(self, table: Table, span: Span) -> list[Span]:
        """Return the windows of a span that are to be brought up to date: those that are gone for good are not."""
        return self._without_gone(table, self.unproven(table, span))

    def unproven(self, table: Table, span: Span) -> list[Span]:
        """Return the windows of a span that must be computed before they may be read, whether they can be or not."""
        whole = span.to_whole(self.grain(table))
        found = self.history.coverage.stale(
            table.name,
            self.fleet.name,
            self.pieces(table, whole, landing=0),
            reads=self._reads(table, whole),
        )
        if table in _COMPARED or (table is SITE_KPI and compares(self.fleet, whole)):
            found = [*found, *self._governed_by_stale_baselines(table, whole)]
        return union([part.to_whole(self.grain(table)) for part in found])

    def _without_gone(self, table: Table, spans: list[Span]) -> list[Span]:
        """Leave out the days whose rows and telemetry have both expired: nothing can bring them back, and nothing should."""
        if not spans:
            return spans
        name, history, hull = self.fleet.name, self.history, Span(spans[0].start, spans[-1].end)
        removed = history.entries(table.name, name, hull, kind=EXPIRE)
        if not removed:
            return spans
        expired = history.entries(SITE_TELEMETRY.name, name, hull, kind=EXPIRE)
        stands = [c.span for c in history.coverage.covered(table.name, name, hull)]
        days = {e.span for e in removed} & {e.span for e in expired}
        gone = [part for day in days for part in gaps(day, stands)]
        return [part for span in spans for part in gaps(span, gone)]

    def _governed_by_stale_baselines(self, table: Table, span: Span) -> list[Span]:
        """Return the days of a span whose baseline, or that of the windows before, must itself be trained first."""
        reach = self._memory(table) if table in _FAR_BACK else persistence_lookback(self.fleet)
        days = {d: self._training_days(d.start, reach) for d in span.days()}
        stale = {
            t
            for t in set().union(*days.values())
            if any(self.stale(own, Span(t, t + DAY)) for own in BASELINES)
        }
        return [day for day, trained in days.items() if trained & stale]

    def _training_days(self, instant: int, reach: int) -> set[int]:
        since = max(0, floor_to(instant, DAY) - reach)
        days = (since, *range(floor_to(since, DAY) + DAY, instant, DAY), instant)
        found = (training_day_in_force(self.fleet.start, t) for t in days)
        return {day for day in found if day is not None}

    def pieces(self, table: Table, span: Span, *, landing: int) -> list[Covered]:
        """Return a span cut where its inputs change, each piece with the digest of its inputs."""
        fleet = self._without_storms if table in _REGARDLESS_OF_STORMS else self.fleet
        return [
            Covered(Span(start, end), landing, self._inputs(table, start, digest))
            for start, end, digest in fleet.pieces(span.start, span.end)
        ]

    @property
    def _without_storms(self) -> Fleet:
        return replace(self.fleet, storms=()) if self.fleet.storms else self.fleet

    def _reads(self, table: Table, span: Span) -> Reads:
        if table is SITE_ASSIGNMENT:
            return Reads(nothing=True)
        if table in BASELINES:
            return Reads(
                since=TRAINING_DAYS * DAY, until=2 * DAY, received_before=cutoff(span.start)
            )
        carry = carry_lookback(self.fleet, span.start - DAY, span.end)
        if notes_changes(self.fleet, span) and table in (SITE_KPI, SITE_RANKING, AI_INFERENCE):
            carry = ingest_lookback(self.fleet, span.start - DAY, span.end)
        of_the_day = DAY if table is FLEET_CORRELATION else 0
        return Reads(since=carry + self._memory(table) + of_the_day)

    def _memory(self, table: Table) -> int:
        """Return how far before a window a table reads site rows [us]."""
        if table is SITE_RANKING:
            return persistence_lookback(self.fleet)
        if table is FLEET_CORRELATION:
            return incident_lookback(self.fleet, 0, 0) + scoring_lookback(self.fleet)
        if table is AI_INFERENCE:
            return inference_lookback(self.fleet)
        if table is ANOMALY_SCORE:
            return scoring_lookback(self.fleet)
        # who is anomalous is known without when it began
        return WARM_UP_WINDOWS * self.fleet.interval if table in SCORED else 0

    def _inputs(self, table: Table, start: int, digest: str) -> str:
        """Return the digest of all inputs but telemetry of the piece that holds `start`, whatever range was asked for."""
        if table not in (SITE_KPI, *_COMPARED):
            return digest
        day = floor_to(start, DAY)
        first = next(s for s, e, _ in self.fleet.pieces(day, day + DAY) if s <= start < e)
        if table is SITE_KPI:
            return content_digest([digest, self._before(first), self._baselines(first)])
        reach = max(0, day - self._memory(table))
        earlier = [d for *_, d in self.fleet.pieces(reach, first)]
        if table is SITE_RANKING:
            trained = [self._baseline_digest(instant) for instant in (reach, day)]
        else:
            first_day = max(0, floor_to(reach, DAY) if table in _FAR_BACK else day)
            days = range(first_day, day + DAY, DAY)
            trained = [self._baseline_digest(d, BASELINE_MODEL) for d in days]
        if table is AI_INFERENCE:
            trained += [*self._baselines(first), self.fleet.settings_at(start).slots_digest]
        return content_digest([digest, earlier, trained])

    def _before(self, first: int) -> int:
        """Return what the status of the window before depends on besides telemetry: its staleness threshold [s]."""
        return self.fleet.settings_at(max(0, first - self.fleet.interval)).staleness_threshold_s

    def _baselines(self, first: int) -> list[str]:
        """Return the digest of the baseline that site rows of a day are compared with, if any are."""
        day = Span(floor_to(first, DAY), floor_to(first, DAY) + DAY)
        return [self._baseline_digest(day.start)] if compares(self.fleet, day) else []

    def _baseline_digest(self, instant: int, table: Table = BASELINE) -> str:
        day = training_day_in_force(self.fleet.start, instant)
        if day is None:
            return ""
        return self.history.newest_digest(table.name, self.fleet.name, Span(day, day + DAY))
