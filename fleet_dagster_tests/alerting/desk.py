"""A desk without storage: passes over a book, minute by minute, and what each destination hears."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from fleet_dagster.alerting.book import Book
from fleet_dagster.alerting.signs import Condition, Sign
from fleet_dagster.alerting.telling import grouped, tell
from fleet_dagster.core.windows import MINUTE
from fleet_dagster.model.alerts import RULES, AlertSettings, RuleName
from fleet_dagster.storage.alerts import Alert
from fleet_dagster.storage.silences import Silence

SETTINGS = AlertSettings.model_validate(
    {"destinations": [{"name": "ops", "url": "json://ops"}], "lone_site_after_minutes": 0}
)


def sign(
    at: float, rule: RuleName, subject: str, *, is_wrong: bool = True, hold: float = 0
) -> Sign:
    """Return a sign in a minute: of a region, a site, or an incident of two sites."""
    detail = {
        "incident": {"sites": ["a", "b"], "regions": ["north"], "incident_ids": [subject]},
        "outlier": {"sites": [subject], "regions": ["north"]},
        "region": {"sites": [], "regions": [subject]},
    }[rule]
    told = Condition("critical", f"{rule} {subject}", detail, round(hold * MINUTE))
    return Sign(round(at * MINUTE), rule, subject, told if is_wrong else None)


@dataclass
class Desk:
    """Alerts of a fleet, and what was sent: minute, kind, alert."""

    settings: AlertSettings = SETTINGS
    alerts: dict[int, Alert] = field(default_factory=dict)
    sent: list[tuple[float, str, Alert]] = field(default_factory=list)

    def look(self, at: float, signs: Iterable[Sign] = (), silences: Sequence[Silence] = ()) -> None:
        """Make a pass in a minute, with what has been seen since the last one."""
        now = round(at * MINUTE)
        book = Book("plant", self.settings, list(self.alerts.values()))
        owed = [a for a in self.alerts.values() if a.owed]
        for seen in signs:
            book.see(seen)
        book.advance(dict.fromkeys(RULES, now))
        standing = [*owed, *book.over, *book.active.values()]
        numbers = iter(range(len(self.alerts) + 1, len(self.alerts) + len(standing) + 1))
        standing = [a if a.alert_id else replace(a, alert_id=next(numbers)) for a in standing]
        incidents = [a for a in (*standing, *book.resolved) if a.rule == "incident" and a.alert_id]
        told = [tell(a, incidents, self.settings, silences, at=now) for a in standing]
        for one in book.dropped:
            self.alerts[one.alert_id] = replace(one, state="resolved", is_muted=True)
        self.alerts.update({t.alert.alert_id: t.alert for t in told})
        self.sent += [(at, m.kind, a) for m in grouped(told) for a in m.alerts]

    def heard(self) -> list[tuple[float, str]]:
        """Return when something was sent, and what kind it was."""
        return [(at, kind) for at, kind, _ in self.sent]
