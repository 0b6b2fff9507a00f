"""Writing a training set once, and keeping one up to date: consumer `ai_training` of the fleet's KPI stream."""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from fleet_dagster.core.windows import HOUR, SECOND, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.streams import STREAMS
from fleet_dagster.model.tables import SITE_KPI, Table
from fleet_dagster.storage.acknowledged import AcknowledgedIncident, acknowledged_incidents
from fleet_dagster.storage.history import EXPIRE
from fleet_dagster.storage.status import instant
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.deliveries import Delivery
from fleet_dagster.streams.subscription import Subscription, subscribe
from fleet_dagster.training_sets.choice import Choice
from fleet_dagster.training_sets.folder import TrainingFolder
from fleet_dagster.training_sets.labels import label_counts, label_digest, labelled
from fleet_dagster.training_sets.manifest import Day, Manifest, span_of
from fleet_dagster.training_sets.rows import SOURCES, day_rows

CONSUMER = "ai_training"
STREAM = STREAMS["fleet_kpi_stream"]
FOREVER = 2**62
PIECE_ROWS = 300_000
"""Rows of a day that are read and written at once, about."""
Acknowledged = Callable[[Store, str, Span], Sequence[AcknowledgedIncident]]
Progress = Callable[[int, int], None]
"""Called after each day with the days done and all of them."""


class _GoneMeanwhileError(Exception):
    """Rows of a day were removed while they were being read."""


@dataclass(frozen=True)
class Writer:
    """Writes days of one fleet's training set to a folder."""

    store: Store
    config: FleetConfig
    folder: TrainingFolder
    acknowledged: Acknowledged = acknowledged_incidents
    progress: Progress = field(default=lambda _done, _total: None)

    def write(self, span: Span, choice: Choice) -> Manifest:
        """Write the days of a span, as the tables stand now; nothing where it has none."""
        self.store.registry.ensure(self.config)
        position = self.store.history.last_number()
        made = Manifest(choice, span.start, span.end, position)
        days = self._standing(span)
        return self._rewrite(made, days) if days else made

    def update(self, choice: Choice, start: int) -> Manifest:
        """Bring a folder up to date, or begin one; `choice` and `start` count for one that is new.

        The folder knows how far it has come, and the cursor is never ahead of the work: a day's file comes first, then the
        manifest, then the cursor. Where it is ahead all the same (it followed another folder, or this one was restored) it is
        moved back.

        Raises
        ------
        StreamError
            Another process is at it.
        ConfigError
            The folder holds another fleet, or KPIs that have changed since.
        """
        self.store.registry.ensure(self.config)
        found = self.folder.manifest()
        known = None if found is None else Manifest.from_json(found, self.config)
        position = self.store.history.last_number() if known is None else known.log_position
        with subscribe(self.store, self.config, STREAM, CONSUMER, position=position) as following:
            self.folder.tidy()
            if known is None:
                days = self._standing(Span(start, FOREVER))
                known = self._rewrite(Manifest(choice, start, None, position), days)
                following.rewind(position)
            elif following.cursor.position > position:
                following.rewind(position)
            return self._follow(following, self._opened(known))

    def _opened(self, known: Manifest) -> Manifest:
        """Return a set that ended as one that goes on; its last day may have been cut."""
        if known.end is None:
            return known
        last = instant(known.end - 1).date()
        days = {day: one for day, one in known.days.items() if day != last}
        return replace(known, end=None, days=days)

    def _follow(self, subscription: Subscription, known: Manifest) -> Manifest:
        while True:
            newest = self.store.history.last_number()
            changed, last = _collected(subscription)
            position = newest if last is None else last.seq
            changed |= self._touched(known.log_position, position)
            changed |= self._missing(known) | self._relabelled(known)
            reach = Span(known.start, FOREVER)
            wanted = sorted(day for day in changed if span_of(day).overlaps(reach))
            known = self._rewrite(replace(known, log_position=position), wanted)
            if last is None:
                return known
            subscription.done(last)

    def _touched(self, after: int, until: int) -> set[dt.date]:
        """Return the days that log entries of the tables behind the rows touch: more than the stream tells of."""
        entries = self.store.history.entries
        return {
            day
            for table in SOURCES
            for entry in entries(table.name, self.config.name, after=after)
            if entry.seq <= until
            for day in _days(entry.span)
        }

    def _missing(self, known: Manifest) -> set[dt.date]:
        return set(self._standing(Span(known.start, FOREVER))) - known.days.keys()

    def _relabelled(self, known: Manifest) -> set[dt.date]:
        """Return the days of which people say other things now."""
        incidents = self._incidents(known.days)
        return {
            day
            for day, one in known.days.items()
            if one.label_digest != label_digest(incidents, span_of(day))
        }

    def _standing(self, span: Span) -> list[dt.date]:
        """Return the days of a span that have site rows."""
        days = [instant(d).date() for d in self.store.lake.days(SITE_KPI, self.config.name)]
        return [day for day in days if span_of(day).overlaps(span)]

    def _rewrite(self, known: Manifest, wanted: Sequence[dt.date]) -> Manifest:
        """Write some days, and then the manifest that tells of them."""
        incidents, days = self._incidents(wanted), dict(known.days)
        for n, day in enumerate(wanted, start=1):
            days[day] = self._write_day(known, day, incidents)
            self.progress(n, len(wanted))
        done = replace(known, days=days)
        self.folder.write_manifest(done.as_json(self.store, self.config))
        return done

    def _write_day(
        self, known: Manifest, day: dt.date, incidents: Sequence[AcknowledgedIncident]
    ) -> Day:
        whole = span_of(day)
        digest = label_digest(incidents, whole)
        span = whole.clip(Span(known.start, FOREVER if known.end is None else known.end))
        if not self._has_site_rows(span) and not self.folder.file_of(day).exists():
            return Day("missed", 0, {}, digest, known.log_position)
        if not self._is_whole(day, span):
            return self._keep_day(known, day, digest, incidents)
        pieces = self._pieces(span, known.choice)
        try:
            n_rows, labels = self._fill(known, day, pieces, incidents, expected=span)
        except _GoneMeanwhileError:
            return self._write_day(known, day, incidents)
        return Day("current", n_rows, labels, digest, known.log_position)

    def _keep_day(
        self,
        known: Manifest,
        day: dt.date,
        digest: str,
        incidents: Sequence[AcknowledgedIncident],
    ) -> Day:
        """Label a day's rows again, as they were last written."""
        position = known.days[day].log_position if day in known.days else known.log_position
        n_rows, labels = self._fill(known, day, [self.folder.rows_of(day)], incidents)
        return Day("kept", n_rows, labels, digest, position)

    def _fill(
        self,
        known: Manifest,
        day: dt.date,
        pieces: Iterable[pa.Table],
        incidents: Sequence[AcknowledgedIncident],
        *,
        expected: Span | None = None,
    ) -> tuple[int, dict[str, int]]:
        """Write a day's file; the one before stays where rows of the `expected` span went while they were read."""
        n_rows, labels = 0, Counter[str]()
        with self.folder.day_writer(day, known.choice.schema) as write:
            for piece in pieces:
                rows = labelled(piece, incidents)
                write(rows)
                n_rows += rows.num_rows
                labels.update(label_counts(rows))
            if expected is not None and not self._is_whole(day, expected):
                raise _GoneMeanwhileError
        return n_rows, dict(sorted(labels.items()))

    def _is_whole(self, day: dt.date, span: Span) -> bool:
        """Tell whether a day may be written from the tables: nothing that a file of it holds has expired since."""
        if not self._has_site_rows(span):
            return False
        return not self.folder.file_of(day).exists() or not any(
            self._has_expired(table, span) for table in SOURCES
        )

    def _has_expired(self, table: Table, span: Span) -> bool:
        history, name = self.store.history, self.config.name
        if not history.entries(table.name, name, span, kind=EXPIRE):
            return False
        return not history.coverage.covered(table.name, name, span)

    def _pieces(self, span: Span, choice: Choice) -> Iterator[pa.Table]:
        """Yield a day's rows in pieces: all of a large fleet's would need gigabytes at once."""
        n_sites = len(self.store.registry.fleet(self.config).sites)
        per_hour = max(1, n_sites * HOUR // (self.config.interval_s * SECOND))
        hours = max(1, min(24, PIECE_ROWS // per_hour))
        for piece in span.steps(hours * HOUR):
            yield day_rows(self.store, self.config, piece, choice)

    def _has_site_rows(self, span: Span) -> bool:
        return self.store.lake.count(SITE_KPI, self.config.name, [span]) > 0

    def _incidents(self, days: Iterable[dt.date]) -> Sequence[AcknowledgedIncident]:
        """Return the acknowledged incidents that touch some days."""
        spans = [span_of(day) for day in days]
        if not spans:
            return []
        hull = Span(min(s.start for s in spans), max(s.end for s in spans))
        return self.acknowledged(self.store, self.config.name, hull)


def _collected(subscription: Subscription) -> tuple[set[dt.date], Delivery | None]:
    """Return the days that what is pending is about, and the last of it; nothing is taken as done."""
    days: set[dt.date] = set()
    last = None
    for delivery in subscription.pending():
        days |= set(_days(delivery.span))
        last = delivery
    return days, last


def _days(span: Span) -> list[dt.date]:
    return [instant(day.start).date() for day in span.days()]
