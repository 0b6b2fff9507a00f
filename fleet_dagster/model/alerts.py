"""What people are told of a fleet, when, and where: rules and destinations of alerts."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from fleet_dagster.model.profiles import Frozen

RuleName = Literal["incident", "region", "outlier", "storm", "stale", "run", "slot"]
RULES: tuple[RuleName, ...] = get_args(RuleName)
Severity = Literal["info", "warning", "critical"]
Truth = Literal["fault", "maintenance", "false_alarm", "unknown"]
TRUTHS: tuple[Truth, ...] = get_args(Truth)
"""What a person may say that an alert turned out to be."""
FROM_ENVIRONMENT = "env:"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+|env:[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s'\"]+")
_Minutes = Annotated[float, Field(ge=0, le=10_080)]


class AlertRule(Frozen):
    """One rule: whether it counts, how bad it is, and how long things must stay as they are. Times are the telemetry's, not the clock's."""

    enabled: bool = True
    """Whether alerts of this rule are made."""
    open_after_minutes: _Minutes = 0.0
    """How long it must have been so, all in all, before an alert opens. [min]"""
    resolve_after_minutes: _Minutes = 15.0
    """How long it must be over before the alert is resolved; doubled, up to 4 h, each time it comes back within an hour of that. [min]"""
    severity: Severity | None = None
    """How bad it is; None takes an incident's own."""


DEFAULT_RULES: Mapping[RuleName, Mapping[str, float | str]] = {
    "incident": {"open_after_minutes": 0.0, "resolve_after_minutes": 5.0},
    "region": {
        "open_after_minutes": 5.0,
        "resolve_after_minutes": 15.0,
        "severity": "critical",
    },
    "outlier": {
        "open_after_minutes": 15.0,
        "resolve_after_minutes": 30.0,
        "severity": "warning",
    },
    "storm": {"open_after_minutes": 0.0, "resolve_after_minutes": 5.0, "severity": "warning"},
    "stale": {"open_after_minutes": 15.0, "resolve_after_minutes": 5.0, "severity": "critical"},
    "run": {"open_after_minutes": 5.0, "resolve_after_minutes": 0.0, "severity": "warning"},
    "slot": {"open_after_minutes": 15.0, "resolve_after_minutes": 30.0, "severity": "warning"},
}
"""Times and severity of each rule; what a fleet's file leaves out is taken from here."""


def _default(rule: RuleName) -> AlertRule:
    return AlertRule.model_validate(DEFAULT_RULES[rule])


class AlertRules(Frozen):
    """The rules; each has defaults of its own, and what is left out of one is taken from there."""

    incident: AlertRule = _default("incident")
    """Incidents of fleet_correlation; of a lone site, see lone_site_after_minutes."""
    region: AlertRule = _default("region")
    """Regions whose health is in a band, see region_band."""
    outlier: AlertRule = _default("outlier")
    """Sites that are persistent outliers."""
    storm: AlertRule = _default("storm")
    """Storms, in which KPIs are sampled."""
    stale: AlertRule = _default("stale")
    """A fleet whose newest window lies far behind, or a region of which no site reports."""
    run: AlertRule = _default("run")
    """Failed runs, until a later run of the same job and partition succeeds."""
    slot: AlertRule = _default("slot")
    """AI slots that leave questions without an answer."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_defaults(cls, raw: Any) -> Any:  # Any: whatever a caller gave
        if not isinstance(raw, dict):
            return raw
        defaults = {str(name): own for name, own in DEFAULT_RULES.items()}
        return {
            name: {**defaults[name], **given}
            if name in defaults and isinstance(given, dict)
            else given
            for name, given in raw.items()
        }


class Destination(Frozen):
    """Where messages go."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
    """Name, by which it is shown; its address never is."""
    url: Annotated[str, Field(min_length=1, repr=False)]
    """Address as Apprise spells it, such as mailtos://… or slack://…; or env:NAME, which reads it from an environment variable and so keeps secrets out of the file."""
    minimum_severity: Severity = "warning"
    """Alerts that are less bad are not sent here."""
    rules: Annotated[tuple[RuleName, ...], Field(min_length=1)] = RULES
    """Rules whose alerts are sent here."""


class AlertSettings(Frozen):
    """Who is told what. Without a destination alerts are recorded and listed, and nothing is sent."""

    rules: AlertRules = AlertRules()
    """When alerts open and resolve."""
    destinations: tuple[Destination, ...] = ()
    """Where messages go."""
    region_band: Literal["critical", "degraded"] = "critical"
    """Band from which a region is an alert."""
    lone_site_after_minutes: _Minutes = 30.0
    """How long an incident of a single site must last before it is an alert: short ones are mostly chance. [min]"""
    stale_after_minutes: Annotated[float, Field(gt=0, le=10_080)] = 30.0
    """How far the newest window may lie behind; never less than two rounds of the schedule. [min]"""
    max_age_hours: Annotated[float, Field(gt=0, le=744)] = 24.0
    """What was over longer ago than this is recorded but not sent, so that imported history sends nothing. [h]"""


def rule_of(settings: AlertSettings, name: str) -> AlertRule:
    """Return one rule by its name."""
    rule: AlertRule = getattr(settings.rules, name)
    return rule


def alert_problems(settings: AlertSettings) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what is wrong with destinations, and where; no address is shown."""
    seen: set[str] = set()
    for i, one in enumerate(settings.destinations):
        place = ("alerts", "destinations", i)
        if one.name in seen:
            words = f"alerts.destinations repeat name {one.name!r}. Rename one of them"
            yield (*place, "name"), words
        seen.add(one.name)
        if not _ADDRESS.fullmatch(one.url):
            yield (
                (*place, "url"),
                (
                    f"alerts.destinations: the url of {one.name!r} is neither an address (SCHEME://…) nor env:NAME. "
                    "See https://appriseit.com for addresses, or name an environment variable that holds one"
                ),
            )


def without_addresses(text: str) -> str:
    """Return text with everything after `SCHEME://` hidden: an address may hold passwords and tokens in any of its parts."""
    return _SECRET.sub(r"\1…", text)
