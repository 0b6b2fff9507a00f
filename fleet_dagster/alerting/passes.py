"""One pass of a fleet's alerting: read what is new, update the book, queue what is to be told, deliver."""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fleet_dagster.alerting import conditions
from fleet_dagster.alerting.book import Book
from fleet_dagster.alerting.conditions import RunOutcome
from fleet_dagster.alerting.incidents import follow, withdrawn
from fleet_dagster.alerting.messages import written
from fleet_dagster.alerting.outbox import Checkpoint, Outbox, Round
from fleet_dagster.alerting.rows import Rows
from fleet_dagster.alerting.signs import Sign
from fleet_dagster.alerting.telling import Told, grouped, tell
from fleet_dagster.core.windows import DAY, HOUR, SECOND, Span
from fleet_dagster.model.alerts import rule_of
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.streams import STREAMS
from fleet_dagster.model.tables import (
    AI_INFERENCE,
    FLEET_CORRELATION,
    FLEET_KPI,
    REGIONAL_HEALTH,
    SITE_RANKING,
)
from fleet_dagster.storage.alerts import Alert, AlertChanges, Alerts
from fleet_dagster.storage.notifications import Notifications
from fleet_dagster.storage.silences import Silences
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.deliveries import Delivery
from fleet_dagster.streams.subscription import Subscription, subscribe

CONSUMER = "alerting"
STREAM = STREAMS["fleet_correlation_stream"]
REMEMBERED = 3 * DAY
"""How long resolved alerts are looked at again: an incident's rows may be delivered again as long as windows can change its story [us]."""
MOST_ENTRIES = 1_000
"""Entries of the stream that a pass takes in at most; the next takes the rest."""
FORGOTTEN_AFTER = 7 * DAY
"""A failed run that no later one has made up for for so long is left alone [us]."""
_TABLES = {
    "incident": FLEET_CORRELATION,
    "region": REGIONAL_HEALTH,
    "outlier": SITE_RANKING,
    "storm": FLEET_KPI,
    "slot": AI_INFERENCE,
}
"""Rules that go by the newest window of a table; the others go by the wall clock."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass did."""

    fleet: str
    opened: tuple[Alert, ...] = ()
    resolved: tuple[Alert, ...] = ()
    n_open: int = 0
    n_queued: int = 0
    delivered: Round = field(default_factory=Round)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing happened."""
        sent = self.delivered
        return not (self.opened or self.resolved or self.n_queued or sent.n_sent or sent.problems)

    def __str__(self) -> str:
        """Say in words what was opened, resolved, sent and waits."""
        words = [f"{len(self.opened)} opened, {len(self.resolved)} resolved, {self.n_open} open"]
        words.append(f"{self.delivered.n_sent} sent, {self.delivered.n_waiting} waiting")
        if self.delivered.n_given_up:
            words.append(f"{self.delivered.n_given_up} given up")
        told = [f"opened {a.alert_id}: {a.headline}" for a in self.opened[:3]]
        told += [f"resolved {a.alert_id}: {a.headline}" for a in self.resolved[:3]]
        return ". ".join([f"{self.fleet}: {'; '.join(words)}", *told, *self.delivered.problems])


@dataclass(frozen=True, slots=True)
class Alerting:
    """A fleet's alerting. `checkpoint` is called between the steps of a pass, for tests that kill it there."""

    store: Store
    config: FleetConfig
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    checkpoint: Checkpoint = lambda _step: None

    def run(self, now: int, runs: Sequence[RunOutcome] = ()) -> Pass:
        """Make a pass at an instant of the wall clock [us], given the runs that have ended since the last one.

        Raises
        ------
        StreamError
            Another process is at it.
        """
        with subscribe(self.store, self.config, STREAM, CONSUMER) as subscription:
            found = self._judge(now, runs, subscription)
            outbox = Outbox(
                self.store.control,
                self.config.name,
                self.config.alerts.destinations,
                self.environment,
                self.checkpoint,
            )
            return replace(found, delivered=outbox.deliver(now))

    def _judge(self, now: int, runs: Sequence[RunOutcome], subscription: Subscription) -> Pass:
        touched, last = None, None
        for last in itertools.islice(subscription.pending(), MOST_ENTRIES):
            touched = _with(touched, last)
        view = View(self.store, self.config, now)
        view.see(touched, runs)
        self.checkpoint("judged")
        found = self._record(view, subscription)
        self.checkpoint("recorded")
        if last is not None:
            subscription.done(last)
        return found

    def _record(self, view: "View", subscription: Subscription) -> Pass:
        """Write what changed and queue what is told of it: all or nothing."""
        control, book, fleet = self.store.control, view.book, self.config.name
        alerts, messages = Alerts(control), Notifications(control)
        silences = Silences(control).at(view.now, fleet)
        with control.transaction() as tx:
            subscription.confirm(tx)
            standing = sorted([*view.owed, *book.over, *book.active.values()], key=_by_beginning)
            numbers = iter(alerts.number(tx, sum(not a.alert_id for a in standing)))
            standing = [a if a.alert_id else replace(a, alert_id=next(numbers)) for a in standing]
            earlier = [a for a in book.resolved if a.alert_id]
            incidents = [a for a in (*standing, *earlier) if a.rule == "incident"]
            told = [tell(a, incidents, self.config.alerts, silences, at=view.now) for a in standing]
            alerts.write(tx, fleet, view.changes([t.alert for t in told]))
            parts = grouped(told)
            ids = messages.number(tx, len(parts))
            queued = [written(p, number=n, at=view.now) for p, n in zip(parts, ids, strict=True)]
            messages.queue(tx, queued)
        return _summary(fleet, view, told, len(queued))


class View:
    """What a pass sees: the book as recorded, then with everything new in it."""

    def __init__(self, store: Store, config: FleetConfig, now: int) -> None:
        self.store, self.config, self.now = store, config, now
        self.settings = config.alerts
        self.rows = Rows(store, config.name)
        self.newest: dict[str, int] = {r: self.rows.newest(t) or 0 for r, t in _TABLES.items()}
        wall = now if not conditions.is_finished(config, now) else self.newest["storm"]
        self.clocks = {**self.newest, "stale": wall, "run": now}
        self.horizon = wall - round(self.settings.max_age_hours * HOUR)
        self.judged = Alerts(store.control).judged_through(config.name)
        self.judged_now: dict[str, int] = {}
        self.book = Book(config.name, self.settings)
        self.before: dict[int, Alert] = {}
        self.owed: list[Alert] = []

    def see(self, touched: Span | None, runs: Sequence[RunOutcome]) -> None:
        """Take in everything that is new; `touched` holds the windows of the stream's deliveries."""
        begun = [
            clock for clock in self.clocks.values() if clock
        ]  # a table without windows has none
        since = min([*begun, self.horizon, *([touched.start] if touched else [])])
        alerts = Alerts(self.store.control)
        stored = alerts.current(self.config.name, resolved_since=since - REMEMBERED)
        self.before = {a.alert_id: a for a in stored}
        self.owed = [a for a in stored if a.owed]
        self.book = Book(self.config.name, self.settings, stored)
        if touched is not None and self.settings.rules.incident.enabled:
            self._see_incidents(touched)
        for sign in self._signs(runs):
            if rule_of(self.settings, sign.rule).enabled:
                self.book.see(sign)
        self._close_abandoned()
        self.book.advance(self.clocks)
        self.book.forget_old(self.clocks, self.horizon)

    def changes(self, alerts: Sequence[Alert]) -> AlertChanges:
        """Return what to write of the alerts as they stand now."""
        known = self.before
        return AlertChanges(
            inserted=[a for a in alerts if a.alert_id not in known],
            updated=[a for a in alerts if a.alert_id in known and a != known[a.alert_id]],
            dropped=[a.alert_id for a in self.book.dropped],
            judged=self.judged_now,
        )

    def _see_incidents(self, touched: Span) -> None:
        lives = self.rows.incidents(touched)
        own = {i for a in self.book.of_rule("incident") for i in a.detail["incident_ids"]}
        follow(self.book, [v for v in lives if v.last_change >= touched.start or own & set(v.ids)])
        for alert in withdrawn(self.book, lives):
            detail = {**alert.detail, "withdrawn": True}
            self.book.active[alert.key] = replace(alert, detail=detail)
            self.book.see(Sign(self.clocks["incident"], "incident", alert.subject, None))

    def _signs(self, runs: Sequence[RunOutcome]) -> Iterator[Sign]:
        settings, rows = self.settings, self.rows
        if span := self._new("region"):
            health = rows.regions(span)
            yield from conditions.region_signs(settings, health)
            yield from conditions.silent_region_signs(settings, health)
        if span := self._new("outlier"):
            known = [a for a in self.book.active.values() if a.rule == "outlier"]
            yield from conditions.outlier_signs(settings, rows.outliers(span, known))
        if span := self._new("slot"):
            yield from conditions.slot_signs(settings, rows.answers(span))
        yield from self._storm_signs()
        yield from conditions.run_signs(settings, self._new_runs(runs))
        stale = conditions.stale_sign(
            self.config,
            newest=self.newest["storm"] or None,
            landed_at=rows.landed_at(),
            now=self.now,
        )
        yield from [stale] if stale else []
        yield from self._vanished()

    def _storm_signs(self) -> Iterator[Sign]:
        begun = [
            s
            for s in self.store.storms.recorded(self.config.name)
            if s.episode.start <= self.clocks["storm"]
        ]
        known = list(self.book.of_rule("storm"))
        clock = self.clocks["storm"]
        yield from conditions.storm_signs(
            self.settings, begun, known, since=self.horizon, clock=clock
        )

    def _new_runs(self, runs: Sequence[RunOutcome]) -> list[RunOutcome]:
        """Leave out runs that were seen before: whoever calls looks back a little, lest one be missed."""
        seen: dict[str, int] = {}
        for alert in self.book.of_rule("run"):
            seen[alert.subject] = max(alert.changed_at, seen.get(alert.subject, 0))
        return [r for r in runs if r.ended_at > seen.get(r.subject, 0)]

    def _vanished(self) -> Iterator[Sign]:
        interval = self.config.interval_s * SECOND
        for rule, newest in {**self.newest, "stale": self.newest["region"]}.items():
            own = [a for a in self.book.active.values() if a.rule == rule]
            yield from conditions.vanished_signs(own, newest=newest, interval=interval)

    def _close_abandoned(self) -> None:
        """Close what rules that are switched off have left open, and runs that nobody has made up for."""
        for key, alert in list(self.book.active.items()):
            is_off = not rule_of(self.settings, alert.rule).enabled
            if is_off or (alert.rule == "run" and self.now - alert.changed_at > FORGOTTEN_AFTER):
                self.book.close(key, max(alert.changed_at, self.clocks[alert.rule]), is_muted=True)

    def _new(self, rule: str) -> Span | None:
        """Return the windows that a rule has not judged yet, none older than the horizon; None where there are none."""
        newest = self.newest[rule]
        start = max(self.judged.get(rule, 0), self.horizon, newest - DAY)
        if start >= newest:
            return None
        self.judged_now[rule] = newest
        return Span(start, newest)


def _with(touched: Span | None, delivery: Delivery) -> Span | None:
    """Return the windows from the first to the last of which rows were delivered, one delivery later."""
    if not delivery.piece.has_rows:
        return touched
    if touched is None:
        return delivery.span
    return Span(min(touched.start, delivery.span.start), max(touched.end, delivery.span.end))


def _by_beginning(alert: Alert) -> tuple[int, str, str]:
    return alert.first_at, alert.rule, alert.subject


def _summary(fleet: str, view: View, told: Sequence[Told], n_queued: int) -> Pass:
    alerts = [t.alert for t in told]
    was_open = {i for i, a in view.before.items() if a.state != "pending"}
    was_over = {i for i, a in view.before.items() if a.state == "resolved"}
    return Pass(
        fleet=fleet,
        opened=tuple(
            a for a in alerts if a.opened_at and not a.is_muted and a.alert_id not in was_open
        ),
        resolved=tuple(
            a
            for a in alerts
            if a.state == "resolved" and not a.is_muted and a.alert_id not in was_over
        ),
        n_open=sum(a.state == "open" for a in alerts),
        n_queued=n_queued,
    )
