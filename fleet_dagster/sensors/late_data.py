"""The sensor of late data: lands what was dropped into the watched folder, and requests the windows that landings changed."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

from fleet_dagster.core.windows import DAY, MINUTE, SECOND, Span, floor_to, gaps, union
from fleet_dagster.ingest.drop_folder import Look, Seen, Stamp, take_in
from fleet_dagster.jobs import partitions_at_work, partitions_run_since
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import FleetError
from fleet_dagster.model.tables import FLEET_KPI, SITE_TELEMETRY
from fleet_dagster.partitions import Partitions, instant, keys_touching, span_of
from fleet_dagster.refresh.due import live_holder
from fleet_dagster.refresh.touched import never_computed, standing_and_stale
from fleet_dagster.resources import INBOX_KEY, RESOURCE_KEY
from fleet_dagster.run_requests import storm_in, windows_run
from fleet_dagster.sensors.late_words import (
    date_text,
    days_text,
    landing_words,
    list_text,
    spans_text,
)
from fleet_dagster.sensors.requested import (
    Requested,
    as_json,
    ask,
    from_json,
    spans_of,
    waiting_words,
)
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.coverage import PATIENCE
from fleet_dagster.storage.maintenance import expired_days

if TYPE_CHECKING:
    from pathlib import Path

    from fleet_dagster.sensors import WindowsJob
    from fleet_dagster.storage.store import Store

LATE_TAG = "fleet/late_windows"
"""Run tag: the windows for whose sake the sensor asked for the run."""
EVERY_S = 15
LANDING_S = 20.0
"""Longest that a tick lands files: Dagster gives a tick 60 s."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a tick leaves to the next: the newest landing it knows, windows that are not current yet, files it saw."""

    seq: int | None = None
    asked: Requested = field(default_factory=dict)
    seen: Seen = field(default_factory=dict)
    number: int = 0
    """Number of the last tick; it makes the key of every request its own."""

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """Read the cursor of the tick before; none at the first tick, or where it was reset or is not ours."""
        try:
            known = json.loads(text or "")
            seen = {str(name): Stamp(*map(int, stamp)) for name, stamp in known["seen"].items()}
            seq = None if known["seq"] is None else int(known["seq"])
            return cls(seq, from_json(known["asked"]), seen, int(known["number"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def text(self) -> str:
        """Return the cursor as Dagster keeps it."""
        asked = as_json(self.asked)
        kept = {"seq": self.seq, "asked": asked, "seen": self.seen, "number": self.number}
        return json.dumps(kept)

    def next_number(self, now: int) -> int:
        """Return the number of this tick; a lost cursor begins beyond all that can have been given by `now` [us]."""
        return (self.number or now // SECOND) + 1


@dataclass(frozen=True, slots=True)
class Changed:
    """What landings since the last tick changed, as the commit log and coverage tell."""

    seq: int
    """Number of the newest landing."""
    landed: tuple[Span, ...] = ()
    """What the new landings span; everything at the first tick."""
    windows: tuple[Span, ...] = ()
    """Windows that stand, are no longer current, and that no schedule is about to look at."""
    expired: tuple[Span, ...] = ()
    """Days among them whose telemetry has expired."""
    uncomputed: tuple[Span, ...] = ()
    """Days that hold telemetry, were never computed, and are beyond the schedule's reach."""


@dataclass(frozen=True, slots=True)
class Late:
    """What a tick asks for, partition by partition, what is not current yet, and why there is nothing else."""

    requests: Mapping[str, tuple[Span, ...]]
    asked: Requested
    reasons: tuple[str, ...]


def late_data_sensor(
    config: FleetConfig, partitions: Partitions, job: "WindowsJob"
) -> dg.SensorDefinition:
    """Land what was dropped for a fleet, and recompute the settled windows that late telemetry touches."""

    @dg.sensor(
        name=f"{config.name}_late_data_sensor",
        job=job,
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={RESOURCE_KEY, INBOX_KEY},
        description=(
            f"Lands the files of the watched folder of fleet {config.name}, and requests the partitions whose settled windows "
            "late telemetry has touched. Windows that are not settled are left to the schedule."
        ),
    )
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        store: Store = getattr(context.resources, RESOURCE_KEY)
        inbox: Path = getattr(context.resources, INBOX_KEY)
        before, now, over = Cursor.read(context.cursor), now_us(), time.monotonic() + LANDING_S
        folder, number = inbox / config.name, before.next_number(now)
        look, refusal = _look(
            store,
            config,
            folder,
            now=now,
            seen=before.seen,
            is_over=lambda: time.monotonic() >= over,
        )
        changed = changes_since(store, config, before, now=now)
        busy = left_alone(context.instance, job.name, config, partitions, now=now)
        late = decide(changed, config, partitions, now=now, busy=busy, asked=before.asked)
        message = " ".join([*refusal, *landing_words(look), *late.reasons])
        say = context.log.error if refusal else context.log.info
        say("fleet %s: %s", config.name, message)
        return dg.SensorResult(
            run_requests=_run_requests(store, config, partitions, late, number=number) or None,
            skip_reason=None if late.requests else dg.SkipReason(f"fleet {config.name}: {message}"),
            cursor=Cursor(changed.seq, late.asked, look.seen, number).text(),
        )

    return tick


def changes_since(store: "Store", config: FleetConfig, cursor: Cursor, *, now: int) -> Changed:
    """Ask the commit log what landed since a tick, and Currency which windows that nobody serves have changed by it.

    Without a cursor everything is looked at once; nothing is replayed.
    """
    seq, landed = _landed_since(store, config, cursor)
    reach = floor_to(now - PATIENCE, config.interval_s * SECOND)
    settled = store.history.coverage.settled_through(config.name, FLEET_KPI.name)
    if live_holder(store, config.name) is not None:
        settled = None  # a live engine restates what it keeps current by itself
    whole = Span(0, max(0, reach, settled or 0))
    asked = union([s.clip(whole) for s in (*landed, *spans_of(cursor.asked))])
    stale: list[Span] = []
    if (
        asked
    ):  # what landed changes no window before it, but may change later ones: a new site, a baseline
        stale = standing_and_stale(store, config, Span(floor_to(asked[0].start, DAY), whole.end))
    expired = _days(expired_days(store, config.name, whole))
    uncomputed = never_computed(store, config, Span(0, max(0, reach)))
    return Changed(
        seq,
        tuple(landed),
        tuple(part for s in stale for part in gaps(s, expired)),
        tuple(day for day in expired if any(day.overlaps(s) for s in stale)),
        tuple(day for day in uncomputed if day not in expired),
    )


def left_alone(
    instance: dg.DagsterInstance,
    job: str,
    config: FleetConfig,
    partitions: Partitions,
    *,
    now: int,
) -> set[str]:
    """Return the partitions not to request now: a run is at them, or the schedule serves them anyway.

    Of a live fleet some snapshots are always a little late. The partition that goes on is requested only where the
    schedule has not been at it for a whole period, or every tick would launch a run.
    """
    open_now = set(keys_touching(partitions, Span(now, now + 1), now=now))
    period = config.schedule_minutes * MINUTE
    served = partitions_run_since(instance, job, instant(now - period))
    return partitions_at_work(instance, job) | (open_now & served)


def decide(
    changed: Changed,
    config: FleetConfig,
    partitions: Partitions,
    *,
    now: int,
    busy: set[str],
    asked: Requested | None = None,
) -> Late:
    """Decide what to request: each partition once, none that is busy, and none that was asked for in vain too often."""
    by_key: dict[str, list[Span]] = {}
    for span in changed.windows:
        for key in keys_touching(partitions, span, now=now):
            by_key.setdefault(key, []).append(span.clip(span_of(partitions, key)))
    asking = ask(by_key, asked or {}, busy=busy, news=changed.landed)
    requests = {key: tuple(by_key[key]) for key in asking.now}
    reasons = [_requested(requests)] if requests else []
    if not by_key:
        reasons.append(_why_nothing(changed))
    return Late(
        requests, asking.after, (*reasons, *waiting_words(asking), *_refusals(changed, config))
    )


def _look(
    store: "Store",
    config: FleetConfig,
    folder: "Path",
    *,
    now: int,
    seen: Seen,
    is_over: Callable[[], bool],
) -> tuple[Look, list[str]]:
    """Land what was dropped; a folder that cannot be used keeps no landing of elsewhere from being restated."""
    try:
        return take_in(store, config, folder, now=now, seen=seen, is_over=is_over), []
    except FleetError as error:
        return Look(seen=seen), [f"Nothing was landed from the watched folder. {error}"]


def _landed_since(
    store: "Store", config: FleetConfig, cursor: Cursor
) -> tuple[int, Sequence[Span]]:
    """Return the number of the newest landing, and what was landed after the cursor, or ever."""
    if cursor.seq is None:
        seq = store.history.landing_version(config.name)
        days = store.lake.days(SITE_TELEMETRY, config.name)
        return seq, [Span(day, day + DAY) for day in days]
    entries = store.history.entries(
        SITE_TELEMETRY.name, config.name, after=cursor.seq, kind="append"
    )
    seq = max((e.seq for e in entries), default=cursor.seq)
    return seq, union([e.span for e in entries])


def _run_requests(
    store: "Store", config: FleetConfig, partitions: Partitions, late: Late, *, number: int
) -> list[dg.RunRequest]:
    return [
        windows_run(
            config,
            key,
            run_key=f"{config.name}:late:{key}:{number}",
            storm=storm_in(store, config, span_of(partitions, key)),
            tags={LATE_TAG: spans_text(spans)},
        )
        for key, spans in late.requests.items()
    ]


def _requested(requests: Mapping[str, Sequence[Span]]) -> str:
    named = [f"{key} for {spans_text(spans)}" for key, spans in requests.items()]
    return f"Requested {list_text(named, '; ')}."


def _why_nothing(changed: Changed) -> str:
    if not changed.landed:
        return "Nothing has landed since."
    if changed.windows:
        return "Nothing requested: no partition of the fleet holds the windows that changed."
    if changed.expired:
        return "Nothing requested."
    return "Nothing requested: no settled window has changed, and the schedule computes the others, or a live engine."


def _refusals(changed: Changed, config: FleetConfig) -> list[str]:
    said = []
    if changed.expired:
        kept = f"its telemetry is kept {config.telemetry_retention_days} days after receipt"
        said.append(f"{days_text(changed.expired)} will not be recomputed: {kept}.")
    if changed.uncomputed:
        first, last = date_text(changed.uncomputed[0]), date_text(changed.uncomputed[-1])
        said.append(
            f"Never computed, since history is left to a backfill: {days_text(changed.uncomputed)}. "
            f"fleet run {config.name} --from {first} --to {last}"
        )
    return said


def _days(dates: Sequence[str]) -> list[Span]:
    return [span_of(dg.DailyPartitionsDefinition(start_date=d), d) for d in dates]
