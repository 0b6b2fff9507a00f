"""What a training set says of itself: where its rows come from, what its columns and labels mean, and how each day stands."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fleet_dagster.core.windows import SECOND, Span, iso
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.fleet import BEGINNING
from fleet_dagster.storage.store import Store
from fleet_dagster.training_sets.choice import NO_LABEL, TRUTHS, Choice, normalised, reading
from fleet_dagster.training_sets.folder import FORMAT

COPIES = (
    "Training sets are copies. Where the stored rows of a day have expired, its file is kept as it was last written (state "
    "'kept'); only its labels still follow what people say of incidents."
)
State = Literal["current", "kept", "missed"]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a training set."""

    state: State
    """`current`: as stored rows were at `log_position`; `kept`: these have expired since; `missed`: they had before they were read."""
    n_rows: int
    labels: Mapping[str, int]
    """Labelled rows by truth."""
    label_digest: str
    log_position: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A training set's state; instants in microseconds."""

    choice: Choice
    start: int
    end: int | None
    """None where the set follows the fleet."""
    log_position: int
    """Number of the last entry of the commit log that the set reflects."""
    days: Mapping[dt.date, Day] = field(default_factory=dict)

    def as_json(self, store: Store, config: FleetConfig) -> Json:
        """Return the content of the manifest's file."""
        days = sorted(self.days.items())
        truths = {t: sum(d.labels.get(t, 0) for _, d in days) for t in TRUTHS}
        return {
            "format": FORMAT,
            "fleet": config.name,
            "from": iso(self.start),
            "to": None if self.end is None else iso(self.end),
            "interval_s": config.interval_s,
            "sites": None if self.choice.sites is None else list(self.choice.sites),
            "kpis": [_kpi(k.model_dump(mode="json"), k.name) for k in self.choice.kpis],
            "columns": {name: meaning for name, (_, meaning) in self.choice.columns.items()},
            "labels": {**TRUTHS, "none": NO_LABEL},
            "settings": _settings(store, config, self.start, self.end),
            "log_position": self.log_position,
            "rows": sum(d.n_rows for _, d in days),
            "labelled_rows": truths,
            "copies": COPIES,
            "days": {str(day): _day(one) for day, one in days},
        }

    @classmethod
    def from_json(cls, content: Json, config: FleetConfig) -> "Manifest":
        """Read a manifest of the same fleet, whose KPIs are what they were.

        Raises
        ------
        ConfigError
            It is of another fleet, or of KPIs that have other units or ranges now.
        """
        where = "the training set"
        if content["fleet"] != config.name:
            problem = f"it is of fleet {content['fleet']}. Name another folder for {config.name}"
            raise ConfigError(where, [problem])
        names = tuple(k["name"] for k in content["kpis"])
        choice = Choice.of(config, names, tuple(content["sites"] or ()))
        if [_kpi(k.model_dump(mode="json"), k.name) for k in choice.kpis] != content["kpis"]:
            problem = "its KPIs have other units or ranges now. Write a new set to another folder"
            raise ConfigError(where, [problem])
        days = {
            dt.date.fromisoformat(day): Day(
                one["state"], one["rows"], one["labels"], one["label_digest"], one["log_position"]
            )
            for day, one in content["days"].items()
        }
        end = content["to"]
        return cls(
            choice,
            _instant(content["from"]),
            None if end is None else _instant(end),
            content["log_position"],
            days,
        )


def _kpi(content: Json, name: str) -> Json:
    return {**content, "column": normalised(name), "reading_column": reading(name)}


def _day(one: Day) -> Json:
    return {
        "state": one.state,
        "rows": one.n_rows,
        "labels": dict(one.labels),
        "label_digest": one.label_digest,
        "log_position": one.log_position,
    }


def _settings(store: Store, config: FleetConfig, start: int, end: int | None) -> list[Json]:
    """Return the versions of the settings that are in force in a span."""
    found = [one.version for one in store.registry.history(config.name) if one.is_in_force]
    until = [v.valid_from for v in found[1:]] + [2**62]
    return [
        {
            "version_no": v.version_no,
            "valid_from": None if v.valid_from == BEGINNING else iso(v.valid_from),
            "digest": v.digest,
        }
        for v, last in zip(found, until, strict=True)
        if last > start and (end is None or v.valid_from < end)
    ]


def _instant(text: str) -> int:
    stamp = dt.datetime.fromisoformat(text)
    return (stamp - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def span_of(day: dt.date) -> Span:
    """Return a UTC day's span."""
    start = (day - dt.date(1970, 1, 1)).days * 86_400 * SECOND
    return Span(start, start + 86_400 * SECOND)
