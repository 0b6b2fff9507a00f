"""Incidents as they are told of: one alert for the whole life of one, whatever ids it has on its way."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fleet_dagster.alerting.book import SOON, Book
from fleet_dagster.alerting.signs import Condition, Sign
from fleet_dagster.core.windows import MINUTE
from fleet_dagster.model.alerts import AlertSettings
from fleet_dagster.storage.alerts import Alert

Row = Mapping[Hashable, Any]  # Any: cells of several types
_KEPT = ("pattern", "domain", "root_cause_site", "root_cause_kpi")


@dataclass(frozen=True, slots=True)
class Life:
    """An incident from its first row to its last, under all its ids: `continues` and `merged_into` lead to the same life."""

    ids: tuple[str, ...]
    """In order of time."""
    opened: int
    closed: int | None
    last_change: int
    """Start of the window of its last row."""
    newest: Row
    """What is told of it last."""

    @property
    def sites(self) -> frozenset[str]:
        """Sites of the incident."""
        return frozenset(str(s) for s in self.newest["sites"])


def lives_in(rows: Sequence[Row]) -> list[Life]:
    """Join rows of `fleet_correlation`, in order of time, to lives, in order of their opening."""
    whole: dict[str, str] = {}
    for row in rows:
        own = _root(whole, str(row["incident_id"]))
        for other in (row["continues"], row["merged_into"]):
            if not _is_null(other):
                whole[_root(whole, str(other))] = own
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(_root(whole, str(row["incident_id"])), []).append(row)
    return sorted(map(_life, parts.values()), key=lambda life: (life.opened, life.ids))


def follow(book: Book, lives: Iterable[Life]) -> None:
    """Bring the alerts of a book in line with the lives of incidents, in order of their opening."""
    for life in lives:
        known = [a for a in book.of_rule("incident") if _ids(a) & set(life.ids)]
        active = sorted((a for a in known if a.is_active), key=_precedence)
        if life.closed is not None and known and all(_has_ended_so(a, life) for a in active):
            continue
        subject = (active or known)[0].subject if known else _again(book, life) or life.ids[0]
        for other in active[1:]:
            book.fold(other.key, ("incident", subject), life.closed or life.opened)
        ids = [i for a in active for i in a.detail["incident_ids"]]
        condition = _condition(book.settings, life, list(dict.fromkeys([*ids, *life.ids])))
        book.see(Sign(life.opened, "incident", subject, condition))
        if life.closed is not None:
            book.see(Sign(life.closed, "incident", subject, None))


def withdrawn(book: Book, lives: Iterable[Life]) -> list[Alert]:
    """Return the alerts of incidents that are not in the table any more: late telemetry has shown that there were none."""
    found = {i for life in lives for i in life.ids}
    own = [a for a in book.active.values() if a.rule == "incident" and a.is_present]
    return [a for a in own if not _ids(a) & found]


def _life(rows: Sequence[Row]) -> Life:
    """Return the life of the rows of one incident. It is over when all ids are that neither went on nor merged into others."""
    newest = {str(r["incident_id"]): r for r in rows}
    left = {str(r["continues"]) for r in rows if not _is_null(r["continues"])}
    last = [r for i, r in newest.items() if i not in left and r["phase"] != "merged"] or [rows[-1]]
    is_over = all(r["phase"] in ("closed", "merged") for r in last)
    return Life(
        ids=tuple(dict.fromkeys(str(r["incident_id"]) for r in rows)),
        opened=_us(rows[0]["window_end"]),
        closed=max(_us(r["window_end"]) for r in last) if is_over else None,
        last_change=_us(rows[-1]["window_start"]),
        newest=last[-1],
    )


def _root(whole: dict[str, str], name: str) -> str:
    while whole.get(name, name) != name:
        name = whole[name]
    return name


def _ids(alert: Alert) -> set[str]:
    return set(alert.detail["incident_ids"])


def _precedence(alert: Alert) -> tuple[bool, int, int]:
    """Let the alert go on that people were told of, then the one that began first."""
    return not alert.told, alert.first_at, alert.alert_id


def _has_ended_so(alert: Alert, life: Life) -> bool:
    """Tell whether the end of a life is known: rows are delivered again after a crash, or for the windows around them."""
    return (
        not alert.is_present
        and set(life.ids) <= _ids(alert)
        and (life.closed or 0) <= alert.changed_at
    )


def _again(book: Book, life: Life) -> str | None:
    """Return the subject of an incident of the same sites that ended a little before, if any."""
    for alert in book.of_rule("incident"):
        sites = set(alert.detail["sites"])
        is_close = 0 <= life.opened - alert.changed_at <= SOON + alert.patience_us
        n_least = min(len(sites), len(life.sites))
        if not alert.is_present and is_close and 2 * len(sites & life.sites) >= n_least:
            return alert.subject
    return None


def _condition(settings: AlertSettings, life: Life, ids: Sequence[str]) -> Condition:
    row, rule = life.newest, settings.rules.incident
    sites, regions = [str(s) for s in row["sites"]], [str(r) for r in row["regions"]]
    lone = settings.lone_site_after_minutes if len(sites) == 1 else 0.0
    what = str(row["pattern"]).replace("_", "-").capitalize()
    where = f"{len(regions)} regions" if len(regions) > 1 else f"region {regions[0]}"
    who = f"{len(sites)} sites" if len(sites) > 1 else f"site {sites[0]}"
    return Condition(
        severity=rule.severity or row["severity"],
        headline=f"{what} incident: {who} in {where}",
        detail={
            "incident_ids": list(ids),
            "since": _us(row["onset"]),
            "sites": sites,
            "regions": regions,
            "candidates": [str(s) for s in row["candidates"]],
            "confidence": round(float(row["confidence"]), 4),
            **{name: None if _is_null(row[name]) else str(row[name]) for name in _KEPT},
        },
        hold_us=round(max(rule.open_after_minutes, lone) * MINUTE),
    )


def _is_null(value: Any) -> bool:  # Any: a cell of a frame
    return bool(pd.isna(value))


def _us(stamp: Any) -> int:  # Any: pandas' time stamp
    return int(pd.Timestamp(stamp).value) // 1000
