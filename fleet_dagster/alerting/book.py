"""The book of alerts: one state machine for each rule and subject, driven by signs in event time; no clock, no storage.

Pending until it has been so for long enough, open until it has been over for long enough, then resolved. What comes back within an
hour of that must be over for twice as long, up to four hours: a subject that flaps settles into one open alert.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from fleet_dagster.alerting.signs import Condition, Sign
from fleet_dagster.core.windows import HOUR, MINUTE
from fleet_dagster.model.alerts import AlertSettings, rule_of
from fleet_dagster.storage.alerts import Alert, Key, fitting_subject

SOON = HOUR
"""What comes back within this after it was resolved is the same trouble again."""
MOST_PATIENCE = 4 * HOUR
"""How long an alert must be over at most before it is resolved."""
LEAST_DOUBLED = MINUTE
"""What doubling begins with where a rule has no patience at all."""


class Book:
    """A fleet's alerts while a pass goes on. `alerts` are those recorded: active, and resolved of late."""

    def __init__(self, fleet: str, settings: AlertSettings, alerts: Sequence[Alert] = ()) -> None:
        self.fleet, self.settings = fleet, settings
        self.active: dict[Key, Alert] = {a.key: a for a in alerts if a.is_active}
        self.resolved = sorted((a for a in alerts if not a.is_active), key=_end)
        self.last: dict[Key, Alert] = {a.key: a for a in self.resolved}
        """The newest alert of each subject that is resolved."""
        self.over: list[Alert] = []
        """Alerts that were resolved in this pass."""
        self.dropped: list[Alert] = []
        """Recorded alerts that came to nothing: what was wrong did not last."""

    def see(self, sign: Sign) -> None:
        """Take in a sign; one that is older than what is known counts from where that ends."""
        key = (sign.rule, fitting_subject(sign.subject))
        alert = self._known(key, sign.at)
        if sign.condition is not None:
            self.active[key] = _present(alert, sign.at, sign.condition) or self._begun(key, sign)
        elif alert is not None and alert.is_present:
            self.active[key] = _gone(alert, sign.at)
        if key in self.active:
            self._known(key, max(sign.at, self.active[key].changed_at))

    def open_now(self, key: Key) -> None:
        """Open an alert before it has lasted: somebody is on it."""
        alert = self.active[key]
        if alert.state == "pending":
            self.active[key] = replace(self._opened(alert), opened_at=alert.first_at)

    def advance(self, clocks: Mapping[str, int]) -> None:
        """Let time pass until each rule's clock [us]."""
        for key in list(self.active):
            self._known(key, clocks[key[0]])

    def fold(self, key: Key, into: Key, at: int) -> None:
        """Let an alert end in another, which it turned out to belong to: who was told of it is told when that one ends."""
        alert = self.active.pop(key)
        if alert.state == "pending":
            self._drop(alert)
            return
        detail = {**alert.detail, "belongs_to": into[1]}
        told = tuple(dict.fromkeys([*self.active[into].told, *alert.told]))
        self.active[into] = replace(self.active[into], told=told)
        self._resolve(replace(alert, detail=detail, told=()), max(at, alert.changed_at))

    def close(self, key: Key, at: int, *, is_muted: bool) -> None:
        """End an alert at an instant, whatever its rule says."""
        alert = self.active.pop(key)
        if alert.state == "pending":
            self._drop(alert)
        else:
            self._resolve(replace(alert, is_muted=is_muted or alert.is_muted), at)

    def forget_old(self, clocks: Mapping[str, int], horizon: int) -> None:
        """Record what was new in this pass, but over before the horizon, as over and not to be sent [us]."""
        for key, alert in list(self.active.items()):
            newest = clocks[key[0]] if alert.is_present else alert.changed_at
            if not alert.alert_id and newest < horizon:
                self.close(key, newest, is_muted=True)
        self.over = [
            replace(a, is_muted=True) if not a.alert_id and a.changed_at < horizon else a
            for a in self.over
        ]

    def of_rule(self, rule: str) -> Iterator[Alert]:
        """Yield the active alerts of a rule, and those resolved of late, the newest first."""
        yield from [a for a in self.active.values() if a.rule == rule]
        yield from [a for a in reversed(self.resolved) if a.rule == rule]

    def _known(self, key: Key, at: int) -> Alert | None:
        """Return a subject's active alert after time has passed until an instant."""
        alert = self.active.get(key)
        if alert is None:
            return None
        elapsed = at - alert.changed_at
        if alert.state == "pending" and alert.is_present:
            if alert.held_us + elapsed >= alert.hold_us:
                self.active[key] = self._opened(alert)
        elif alert.state == "pending" and elapsed >= alert.hold_us:
            self._drop(self.active.pop(key))
        elif alert.state == "open" and not alert.is_present and elapsed >= alert.patience_us:
            self._resolve(self.active.pop(key), alert.changed_at + alert.patience_us)
        return self.active.get(key)

    def _begun(self, key: Key, sign: Sign) -> Alert:
        condition, before = sign.condition, self.last.get(key)
        assert condition is not None  # noqa: S101 - the caller's own test
        at = max(sign.at, before.resolved_at or 0) if before else sign.at
        return Alert(
            fleet=self.fleet,
            rule=sign.rule,
            subject=key[1],
            state="pending",
            severity=condition.severity,
            headline=condition.headline,
            detail=condition.detail,
            is_present=True,
            changed_at=at,
            hold_us=condition.hold_us,
            patience_us=0,
            first_at=at,
        )

    def _opened(self, alert: Alert) -> Alert:
        opened_at = alert.changed_at + max(0, alert.hold_us - alert.held_us)
        patience = round(rule_of(self.settings, alert.rule).resolve_after_minutes * MINUTE)
        before = self.last.get(alert.key)
        if before and before.resolved_at is not None and opened_at - before.resolved_at <= SOON:
            patience = min(2 * max(before.patience_us, LEAST_DOUBLED), MOST_PATIENCE)
        return replace(alert, state="open", opened_at=opened_at, patience_us=patience)

    def _resolve(self, alert: Alert, at: int) -> None:
        done = replace(alert, state="resolved", is_present=False, resolved_at=at)
        self.over.append(done)
        self.resolved.append(done)
        self.last[alert.key] = done

    def _drop(self, alert: Alert) -> None:
        if alert.alert_id:
            self.dropped.append(alert)


def _end(alert: Alert) -> tuple[int, int]:
    return alert.resolved_at or 0, alert.alert_id


def _present(alert: Alert | None, at: int, condition: Condition) -> Alert | None:
    if alert is None:
        return None
    return replace(
        alert,
        severity=condition.severity,
        headline=condition.headline,
        detail=condition.detail,
        hold_us=condition.hold_us,
        is_present=True,
        changed_at=alert.changed_at if alert.is_present else max(at, alert.changed_at),
    )


def _gone(alert: Alert, at: int) -> Alert:
    at = max(at, alert.changed_at)
    held = alert.held_us + at - alert.changed_at if alert.state == "pending" else alert.held_us
    return replace(alert, is_present=False, changed_at=at, held_us=held)
