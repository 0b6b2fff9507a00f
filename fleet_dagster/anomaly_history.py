"""The anomalies of the days before a span, which incidents look back at."""

from dataclasses import dataclass, field

import pandas as pd

from fleet_dagster.core.windows import HOUR, Span, floor_to, union
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.scoring_models import ModelBook
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import incident_lookback, scoring_lookback
from fleet_dagster.model.tables import ANOMALY_SCORE
from fleet_dagster.nodes.anomaly_scorer import anomaly_scorer
from fleet_dagster.nodes.baseline import Trained
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster.site_rows import ingest
from fleet_dagster.training import ReadTelemetry


def with_history(fleet: Fleet, span: Span) -> Span:
    """Return a span with what its incidents look back at, but nothing before the fleet began."""
    before = incident_lookback(fleet, span.start, span.end)
    since = max(span.start - before, floor_to(fleet.start, HOUR))
    return Span(min(since, span.start), span.end)


def anomalous(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that incidents are made of."""
    rows: pd.DataFrame = scores[scores["is_anomalous"]]
    return rows.reset_index(drop=True)


@dataclass
class AnomalyHistory:
    """Scores the hours before a span when they are asked for, and remembers their anomalies."""

    fleet: Fleet
    read: ReadTelemetry
    trained: Trained
    _hours: dict[int, pd.DataFrame] = field(default_factory=dict, repr=False)

    def until(self, span: Span, scores: pd.DataFrame) -> pd.DataFrame:
        """Return the anomalies that the incidents of a span look back at, and those of the span itself, given its scores.

        The whole hours of the span are remembered too, for the span that follows.
        """
        past = Span(with_history(self.fleet, span).start, span.start)
        self._score([hour for hour in past.steps(HOUR) if self._is_missing(hour)])
        known = [self._hours[h.start] for h in past.steps(HOUR) if _is_whole(h)]
        rest = [self._anomalies(h) for h in past.steps(HOUR) if not _is_whole(h)]
        own = anomalous(scores)
        self._remember([hour for hour in span.steps(HOUR) if _is_whole(hour)], own)
        return frames.concat(ANOMALY_SCORE, [*known, *rest, own])

    def _is_missing(self, hour: Span) -> bool:
        return _is_whole(hour) and hour.start not in self._hours

    def _score(self, hours: list[Span]) -> None:
        book = ModelBook(self.fleet, self.trained.baseline_model)
        nothing = frames.empty_frame(ANOMALY_SCORE)
        self._hours.update({hour.start: nothing for hour in hours})
        for run in union([hour for hour in hours if book.is_open(hour)]):
            self._remember(list(run.steps(HOUR)), self._anomalies(run))

    def _remember(self, hours: list[Span], found: pd.DataFrame) -> None:
        starts = frames.microseconds(found["window_start"])
        for hour in hours:
            is_own = (starts >= hour.start) & (starts < hour.end)
            self._hours[hour.start] = found[is_own]

    def _anomalies(self, span: Span) -> pd.DataFrame:
        """Score a span, a day at a time, and keep what is anomalous."""
        parts = []
        for day in span.days():
            block = day.widen(before=scoring_lookback(self.fleet))
            assignment = region_mapper(self.fleet, block)
            rows = ingest(self.fleet, self.read, assignment, self.trained.baseline, block)
            model = self.trained.baseline_model
            parts.append(
                anomalous(anomaly_scorer(self.fleet, rows.site_kpi, assignment, model, day))
            )
        return frames.concat(ANOMALY_SCORE, parts)


def _is_whole(hour: Span) -> bool:
    return hour.end - hour.start == HOUR
