"""What each rule but that of incidents sees in rows and records: plain functions from those to signs."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fleet_dagster.ai.answers import ABSENT
from fleet_dagster.alerting.signs import Condition, Sign
from fleet_dagster.core.windows import MINUTE, SECOND, iso
from fleet_dagster.model.alerts import AlertSettings, RuleName, rule_of
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables.columns import BANDS
from fleet_dagster.storage.alerts import Alert
from fleet_dagster.storage.storms import RecordedStorm

REGION_COLUMNS = (
    "window_end",
    "region_id",
    "n_sites",
    "band",
    "health_score",
    "coverage",
    "worst_site_id",
)
OUTLIER_COLUMNS = (
    "window_end",
    "site_id",
    "region_id",
    "is_persistent_outlier",
    "outlier_scope",
    "modified_z_region",
    "modified_z_fleet",
    "composite_score",
    "rank_in_fleet",
)
SLOT_COLUMNS = ("window_end", "slot_id", "model_id", "outcome", "error")
WHOLE_FLEET = "fleet"
"""Subject of what is wrong with all of a fleet."""
SILENT_WINDOWS = 20
"""After so many windows without a row nothing is known any more: a site that reports is ranked every tenth window at least."""
_UNANSWERED = ("failed", "timed_out")


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """A run of one of the fleet's jobs that has ended [us]."""

    run_id: str
    job: str
    partition: str
    """Partition, or first and last of a range; empty where there is none."""
    ended_at: int
    error: str | None
    """First line of what went wrong; None where it succeeded."""

    @property
    def subject(self) -> str:
        """What it brings up to date: a later run of the same that succeeds makes up for it."""
        return f"{self.job} {self.partition}".strip()


def region_signs(settings: AlertSettings, rows: pd.DataFrame) -> Iterator[Sign]:
    """Yield what is seen of regions' health. A region of which nobody reports has none: that is the rule of stale regions."""
    bad = BANDS[BANDS.index(settings.region_band) :]
    for row in _records(rows, REGION_COLUMNS):
        at, region = row["window_end"], str(row["region_id"])
        is_silent = row["coverage"] == 0 and settings.rules.stale.enabled
        if not row["n_sites"] or is_silent or row["band"] not in bad:
            yield Sign(at, "region", region, None)
            continue
        health = float(row["health_score"])
        worst = None if pd.isna(row["worst_site_id"]) else str(row["worst_site_id"])
        condition = _condition(
            settings,
            "region",
            f"Region {region} is {row['band']} (health {health:.2f})",
            regions=[region],
            health=round(health, 4),
            coverage=round(float(row["coverage"]), 4),
            worst_site=worst,
            as_of=at,
        )
        yield Sign(at, "region", region, condition)


def silent_region_signs(settings: AlertSettings, rows: pd.DataFrame) -> Iterator[Sign]:
    """Yield which regions no site reports from."""
    for row in _records(rows, REGION_COLUMNS):
        at, region, condition = row["window_end"], str(row["region_id"]), None
        if row["n_sites"] and row["coverage"] == 0:
            headline = f"No site of region {region} reports"
            condition = _condition(settings, "stale", headline, regions=[region], as_of=at)
        yield Sign(at, "stale", f"region {region}", condition)


def outlier_signs(settings: AlertSettings, rows: pd.DataFrame) -> Iterator[Sign]:
    """Yield which sites are persistent outliers for the worse, row by row; those that do better than all others need nobody."""
    for row in _records(rows, OUTLIER_COLUMNS):
        at, site = row["window_end"], str(row["site_id"])
        if not row["is_persistent_outlier"] or not _is_worse(row):
            yield Sign(at, "outlier", site, None)
            continue
        score = float(row["composite_score"])
        condition = _condition(
            settings,
            "outlier",
            f"Site {site} is a persistent outlier (health {score:.2f}, rank {row['rank_in_fleet']})",
            sites=[site],
            regions=[str(row["region_id"])],
            score=round(score, 4),
            as_of=at,
        )
        yield Sign(at, "outlier", site, condition)


def vanished_signs(alerts: Iterable[Alert], *, newest: int, interval: int) -> Iterator[Sign]:
    """Yield the end of what has had no row for long: a site that is silent, a region or a slot that is gone [us]."""
    for alert in alerts:
        last = int(alert.detail.get("as_of", newest)) + SILENT_WINDOWS * interval
        if alert.is_present and last < newest:
            yield Sign(last, alert.rule, alert.subject, None)


def slot_signs(settings: AlertSettings, rows: pd.DataFrame) -> Iterator[Sign]:
    """Yield which slots leave questions without an answer for reasons of their own, window by window, as `every_slot_answers` counts."""
    asked = rows[~rows["outcome"].astype("str").isin(["disabled", "rate_limited"])]
    ill = asked["outcome"].astype("str").isin(_UNANSWERED) & (
        asked["error"].astype("str") != ABSENT
    )
    told = asked.assign(is_ill=ill).groupby(["window_end", "slot_id"], observed=True, sort=True)
    for key, own in told:
        end, slot_id = key[0], int(str(key[1]))
        subject, own_ill = f"slot {slot_id}", own[own["is_ill"]]
        if own_ill.empty:
            yield Sign(_us(end), "slot", subject, None)
            continue
        first = own_ill.iloc[0]
        headline = (
            f"Slot {slot_id} ({first['model_id']}): {len(own_ill)} of {len(own)} without an answer"
        )
        condition = _condition(
            settings, "slot", headline, error=str(first["error"]), slot=slot_id, as_of=_us(end)
        )
        yield Sign(_us(end), "slot", subject, condition)


def storm_signs(
    settings: AlertSettings,
    recorded: Sequence[RecordedStorm],
    known: Sequence[Alert],
    *,
    since: int,
    clock: int,
) -> Iterator[Sign]:
    """Yield the beginning and end of storms, given the alerts there are; what ended before `since` is no news [us]."""
    newest = max((int(a.detail["since"]) for a in known), default=0)
    is_on = any(a.is_present for a in known)
    if is_on and all(one.episode.start != newest for one in recorded):
        yield Sign(clock, "storm", "storm", None)  # it was recorded by mistake, and forgotten
        is_on = False
    for one in recorded:
        storm = one.episode
        is_the_one = storm.start == newest and is_on
        if not is_the_one and (storm.start <= newest or storm.end <= since):
            continue
        headline = f"Storm {storm.episode_id} is on: {storm.cause}"[:200]
        condition = _condition(settings, "storm", headline, since=storm.start)
        yield Sign(storm.start, "storm", "storm", condition)
        if not storm.is_open:
            yield Sign(storm.end, "storm", "storm", None)


def stale_sign(
    config: FleetConfig, *, newest: int | None, landed_at: int | None, now: int
) -> Sign | None:
    """Return whether a fleet's newest window lies far behind now; None for one that has no window, or whose history is finished [us]."""
    if newest is None:
        return None
    if is_finished(config, now) or now - newest <= stale_after(config):
        return Sign(now, "stale", WHOLE_FLEET, None)
    silent = landed_at is None or now - landed_at > stale_after(config)
    last = "never" if landed_at is None else iso(landed_at - landed_at % SECOND)
    condition = _condition(
        config.alerts,
        "stale",
        f"The newest window of the fleet is {(now - newest) // MINUTE:,} minutes old",
        since=newest,
        why=(
            f"Telemetry has stopped: the last that could be used was landed {last}."
            if silent
            else f"Telemetry still lands (last {last}), but its windows are not computed: see the schedule and its runs."
        ),
    )
    return Sign(now, "stale", WHOLE_FLEET, condition)


def stale_after(config: FleetConfig) -> int:
    """Return how far the newest window may lie behind [us]: two rounds of the schedule are no news."""
    rounds = 2 * config.schedule_minutes * MINUTE + (config.interval_s + config.grace_s) * SECOND
    return max(round(config.alerts.stale_after_minutes * MINUTE), rounds)


def run_signs(settings: AlertSettings, runs: Iterable[RunOutcome]) -> Iterator[Sign]:
    """Yield failed runs, and those that made up for them."""
    for run in sorted(runs, key=lambda r: (r.ended_at, r.run_id)):
        condition = None
        if run.error is not None:
            condition = _condition(
                settings,
                "run",
                f"A run of {run.subject} failed",
                since=run.ended_at,
                run_id=run.run_id,
                error=run.error,
            )
        yield Sign(run.ended_at, "run", run.subject, condition)


def is_finished(config: FleetConfig, now: int) -> bool:
    """Tell whether a fleet's history is over: its last day has passed everywhere."""
    if config.end_date is None:
        return False
    midnight = pd.Timestamp(config.end_date, tz="UTC") + pd.Timedelta(days=2)
    return now >= _us(midnight)


def _is_worse(row: Mapping[str, Any]) -> bool:  # Any: cells of several types
    """Tell whether a site lies below the others, where it is an outlier; in a window in which it is none, anywhere."""
    places = {"region": ("region",), "fleet": ("fleet",)}.get(
        row["outlier_scope"], ("region", "fleet")
    )
    scores = [row[f"modified_z_{place}"] for place in places]
    return any(not pd.isna(z) and z < 0 for z in scores)


def sites_to_read(flagged: Collection[str], alerts: Iterable[Alert]) -> list[str]:
    """Return the sites whose ranking is to be read: outliers, and those that were."""
    return sorted({*flagged, *(a.subject for a in alerts)})


def _condition(
    settings: AlertSettings,
    rule: RuleName,
    headline: str,
    *,
    since: int | None = None,
    **detail: object,
) -> Condition:
    own = rule_of(settings, rule)
    kept = {"sites": [], "regions": [], **({} if since is None else {"since": since}), **detail}
    hold_us = round(own.open_after_minutes * MINUTE)
    return Condition(own.severity or "warning", headline, kept, hold_us)


def _records(
    rows: pd.DataFrame, columns: Sequence[str]
) -> Iterator[dict[str, Any]]:  # Any: cells of several types
    ordered = rows[list(columns)].sort_values("window_end", kind="stable")
    ends = ordered["window_end"].dt.tz_convert(None).to_numpy("M8[us]").astype("int64").tolist()
    cells = {name: ordered[name].tolist() for name in columns if name != "window_end"}
    for i, end in enumerate(ends):
        yield {"window_end": end, **{name: column[i] for name, column in cells.items()}}


def _us(stamp: Any) -> int:  # Any: pandas' time stamp
    return int(pd.Timestamp(stamp).value) // 1000
