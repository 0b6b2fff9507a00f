"""Computing a fleet's partitions through Dagster, a few at a time, as `fleet run` and `fleet up` do."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from fleet_dagster.assets.shell import RECOMPUTE_TAG
from fleet_dagster.core.windows import DAY, SECOND, Span
from fleet_dagster.definitions import create_fleet
from fleet_dagster.jobs import ai_inference_job_name, windows_job_name
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import SpanError
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import FLEET_KPI, REGIONAL_HEALTH, SITE_RANKING, SITE_TELEMETRY
from fleet_dagster.partitions import (
    closed_span,
    keys_touching,
    microseconds,
    partitions_of,
    partitions_per_run,
    span_of,
)
from fleet_dagster.refresh.currency import Currency
from fleet_dagster.storage.installation import Installation
from fleet_dagster.storage.status import instant
from fleet_dagster.storage.store import Store

_RANGE_START, _RANGE_END = (
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)
_INTERRUPTED = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
Progress = Callable[[int, int, str], None]
"""Called after each run with the partitions done, all of them, and the last one."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed: where, and in whose words."""

    run_id: str
    step: str
    message: str


@dataclass(frozen=True, slots=True)
class BackfillReport:
    """What a backfill did."""

    partitions: tuple[str, ...]
    n_done: int
    rows_written: int
    failure: Failure | None


def partitions_between(config: FleetConfig, span: Span, *, now: int) -> list[str]:
    """Return the keys of the partitions that a span touches.

    Raises
    ------
    SpanError
        The span begins before the fleet's first day, or ends after its last one or the current partition: Dagster would clip
        it silently.
    """
    partitions, start = partitions_of(config), Fleet.of(config).start
    if span.start < start:
        message = (
            f"the span starts at {instant(span.start):%Y-%m-%d %H:%M} UTC, fleet {config.name!r} on {config.start_date} "
            f"({config.timezone}). Start later, or set an earlier start_date in the fleet's file"
        )
        raise SpanError(message)
    if partitions.end is not None and span.end > microseconds(partitions.end):
        message = (
            f"the span ends at {instant(span.end):%Y-%m-%d %H:%M} UTC, fleet {config.name!r} with {config.end_date} "
            f"({config.timezone}). End there at the latest, or set a later end_date in the fleet's file"
        )
        raise SpanError(message)
    if partitions.end is not None and now >= microseconds(partitions.end):
        return list(keys_touching(partitions, span, now=now))
    last = (
        partitions.get_last_partition_key()
        if now < start
        else keys_touching(partitions, Span(now, now + 1), now=now)[-1]
    )
    end = span_of(partitions, last).end if last else start
    if span.end > end:
        message = (
            f"the span ends at {instant(span.end):%Y-%m-%d %H:%M} UTC, which is in the future. The current partition of fleet "
            f"{config.name!r} is {last}: end there at the latest"
        )
        raise SpanError(message)
    return list(keys_touching(partitions, span, now=now))


def partitions_with_telemetry(store: Store, config: FleetConfig, *, now: int) -> list[str]:
    """Return the keys of the partitions in which any snapshot was filed."""
    partitions, start = partitions_of(config), Fleet.of(config).start
    days = (
        Span(max(day, start), day + DAY)
        for day in store.lake.days(SITE_TELEMETRY, config.name)
        if day + DAY > start
    )
    return list(dict.fromkeys(k for day in days for k in keys_touching(partitions, day, now=now)))


def stale_partitions(store: Store, config: FleetConfig, span: Span, *, now: int) -> list[str]:
    """Return the keys of the partitions in which closed windows are missing or out of date."""
    fleet = store.registry.fleet(config)
    currency = Currency(fleet, store.history)
    closed = closed_span(span, now, config.interval_s * SECOND)
    stale = [
        s
        for table in (FLEET_KPI, REGIONAL_HEALTH, SITE_RANKING)
        for s in currency.stale(table, closed)
    ]
    partitions = partitions_of(config)
    keys = keys_touching(partitions, closed, now=now) if not closed.is_empty else []
    return [k for k in keys if any(span_of(partitions, k).overlaps(s) for s in stale)]


def backfill(
    installation: Installation,
    instance: dg.DagsterInstance,
    config: FleetConfig,
    keys: Sequence[str],
    *,
    recompute: bool = False,
    progress: Progress = lambda _done, _total, _key: None,
) -> BackfillReport:
    """Run the fleet's job over the partitions and wait; stops at the first run that fails."""
    own = create_fleet(config, installation)
    names = [windows_job_name(config.name)]
    if asks_models(installation, config):
        names.append(ai_inference_job_name(config.name))
    jobs = [own.resolve_job_def(name) for name in names]
    n_done, rows = 0, 0
    progress(0, len(keys), "")
    for part in _runs(config, keys):
        tags = {
            _RANGE_START: part[0],
            _RANGE_END: part[-1],
            **({RECOMPUTE_TAG: "true"} if recompute else {}),
        }
        for job in jobs:
            result = job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
            if not result.success:
                return BackfillReport(tuple(keys), n_done, rows, _failure(result))
            rows += _rows_written(result)
        n_done += len(part)
        progress(n_done, len(keys), part[-1])
    return BackfillReport(tuple(keys), n_done, rows, None)


def asks_models(installation: Installation, config: FleetConfig) -> bool:
    """Tell whether any AI model is, or ever was, registered."""
    with installation.store() as store:
        fleet = store.registry.fleet(config)
    return any(version.settings.ai_models for version in fleet.versions)


def _runs(config: FleetConfig, keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut keys into runs: neighbours only, since a run takes a range, and not too many."""
    partitions = partitions_of(config)
    most = partitions_per_run(config)
    part: list[str] = []
    for key in keys:
        is_next = bool(part) and span_of(partitions, part[-1]).end == span_of(partitions, key).start
        if part and (not is_next or len(part) == most):
            yield part
            part = []
        part.append(key)
    if part:
        yield part


def _failure(result: "dg.ExecuteInProcessResult") -> Failure:
    """Return where a run failed and why; Ctrl-C, which Dagster records as a failure, is raised again."""
    for event in result.all_events:
        error = getattr(event.event_specific_data, "error", None)
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None and error.cls_name in _INTERRUPTED:
            raise KeyboardInterrupt
        if event.is_step_failure:
            message = "no message" if error is None else " ".join(error.message.split())
            return Failure(result.run_id, str(event.step_key), message)
    return Failure(result.run_id, "the run", "see its log in the UI")


def _rows_written(result: "dg.ExecuteInProcessResult") -> int:
    """Add up the rows written, table by table and partition by partition."""
    n_rows = 0
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            found = event.materialization.metadata.get("rows_written")
            n_rows += 0 if found is None else int(str(found.value))
    return n_rows
