"""The sensor of a fleet's file: an edit of its hot settings takes effect without a restart.

It also sees to windows that settings changed from the command line have altered.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from fleet_dagster.core.windows import SECOND, Span, floor_to, union
from fleet_dagster.jobs import partitions_at_work
from fleet_dagster.model.config import FleetConfig, HotSettings, content_digest
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.yaml_file import load_config
from fleet_dagster.partitions import Partitions, keys_touching, span_of
from fleet_dagster.refresh.touched import shared, touched
from fleet_dagster.resources import FILES_KEY, RESOURCE_KEY
from fleet_dagster.run_requests import storm_in, windows_run
from fleet_dagster.sensors.requested import (
    Requested,
    as_json,
    ask,
    from_json,
    spans_of,
    waiting_words,
)
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.versions import Version, with_settings

if TYPE_CHECKING:
    from fleet_dagster.sensors import WindowsJob
    from fleet_dagster.storage.installation import Installation
    from fleet_dagster.storage.store import Store

INTERVAL_S = 15
VERSION_TAG = "fleet/settings_version"
"""Run tag: the version of the settings that the run was requested for."""
_RELOAD = "Reload the code location (Deployment, Reload all; or start `fleet up` again)"
_STRUCTURE = [name for name in FleetConfig.model_fields if name not in HotSettings.model_fields]


@dataclass(frozen=True, slots=True)
class Seen:
    """What earlier ticks have dealt with: the file's bytes, a version of the settings, and a structure to be reloaded."""

    file: str = ""
    version_no: int | None = None
    outdated: str = ""
    """Digest of the loaded structure, where the file asks for another."""
    asked: Requested = field(default_factory=dict)
    """Windows that settings have altered and that are not current yet."""

    @classmethod
    def parse(cls, cursor: str | None) -> "Seen":
        """Read a cursor; one that is not ours counts as none."""
        try:
            known = json.loads(cursor or "")
            asked = from_json(known["asked"])
            return cls(str(known["file"]), int(known["version_no"]), str(known["outdated"]), asked)
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def __str__(self) -> str:
        """Write the cursor."""
        kept = {"file": self.file, "version_no": self.version_no or 0, "outdated": self.outdated}
        return json.dumps({**kept, "asked": as_json(self.asked)})


def fleet_file_sensor(
    config: FleetConfig, partitions: Partitions, job: "WindowsJob"
) -> dg.SensorDefinition:
    """Apply edits of the fleet's file, and request the windows that a change of settings has altered."""

    @dg.sensor(
        name=f"{config.name}_file_sensor",
        job=job,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={RESOURCE_KEY, FILES_KEY},
        description=(
            f"Puts edits of fleet {config.name}'s file in force: mappings, weights, thresholds, slots. An invalid file is "
            "refused whole. Requests the computed windows that changed settings have altered, whoever changed them."
        ),
    )
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        store: Store = getattr(context.resources, RESOURCE_KEY)
        files: Installation = getattr(context.resources, FILES_KEY)
        before = Seen.parse(context.cursor)
        known = store.registry.newest_version(config.name)
        looked = _look(store, config, files.file_of(config.name), before)
        dealt = known if before.version_no is None else before.version_no
        newest = store.registry.newest_version(config.name)
        fresh = store.registry.versions(config.name)[dealt:] if newest > dealt else []
        news = altered_windows(store, config, fresh)
        spans = union([*news, *_still_stale(store, config, before)])
        busy = partitions_at_work(context.instance, job.name)
        asking = ask(_by_key(partitions, spans), before.asked, busy=busy, news=news)
        if looked.refusal and not asking.now:
            raise looked.refusal
        after = replace(looked.seen, version_no=newest, asked=asking.after)
        said = " ".join([looked.words, *waiting_words(asking)])
        if not asking.now:
            return dg.SensorResult(skip_reason=said, cursor=str(after))
        (context.log.error if looked.refusal else context.log.info)(said)
        requests = [
            request(
                store, config, partitions, key, version_no=newest, attempt=asking.after[key].attempt
            )
            for key in asking.now
        ]
        return dg.SensorResult(run_requests=requests, cursor=str(after))

    return tick


def request(
    store: "Store",
    config: FleetConfig,
    partitions: Partitions,
    key: str,
    *,
    version_no: int,
    attempt: int,
) -> dg.RunRequest:
    """Request a partition once for a version and attempt, however often that is asked."""
    return windows_run(
        config,
        key,
        run_key=f"{config.name}:settings:{version_no}:{key}:{attempt}",
        storm=storm_in(store, config, span_of(partitions, key)),
        tags={VERSION_TAG: str(version_no)},
    )


@dataclass(frozen=True, slots=True)
class Looked:
    """What looking at a fleet's file came to."""

    seen: Seen
    words: str
    refusal: ConfigError | None = None
    """Why the file was refused, if it was."""


def look_at_file(store: "Store", config: FleetConfig, path: Path | None, before: Seen) -> Looked:
    """Apply a fleet's file if its bytes are new; `config` is the structure that the code location has loaded.

    Raises
    ------
    ConfigError
        The file is invalid; nothing was applied, and the next tick looks again.
    """
    if path is None and before.file:
        gone = (
            f"the file of fleet {config.name} is gone from the fleets folder: its settings stay in force. Put it back; or, if the "
            "fleet is defined in Python now, reset the cursor of this sensor"
        )
        return Looked(before, gone)
    if path is None:
        told = f"fleet {config.name} has no file in the fleets folder, it is defined in Python: there is no edit to notice"
        return Looked(Seen(), told)
    digest, structure = _digest(path), _structure(config)
    is_seen = before.file == digest
    if is_seen and not before.outdated:
        return Looked(before, f"{path.name} is unchanged")
    if is_seen and before.outdated == structure:
        return Looked(before, f"{path.name} is unchanged since its structure changed. {_RELOAD}")
    return _apply(store, config, path, Seen(file=digest))


def _apply(store: "Store", config: FleetConfig, path: Path, seen: Seen) -> Looked:
    wanted = load_config(path)
    moved = [n for n in _STRUCTURE if getattr(wanted, n) != getattr(config, n)]
    try:
        standing = wanted
        if moved:
            kept = with_settings(config, wanted.hot, source=str(path))
            standing = kept.model_copy(update={"ai_models": wanted.ai_models})
    except ConfigError as error:
        words = f"{path.name} changes {', '.join(moved)}, and its settings need that: nothing was applied. {_RELOAD}. {error}"
        return Looked(Seen(), words)
    is_new = store.registry.apply(standing, source=str(path))
    words = f"{path.name}: " + ("its settings were put in force" if is_new else "already applied")
    if not moved:
        return Looked(seen, words)
    words = f"{words}. It also changes {', '.join(moved)}, which is structure. {_RELOAD}"
    return Looked(Seen(file=seen.file, outdated=_structure(config)), words)


def altered(
    store: "Store", config: FleetConfig, partitions: Partitions, versions: Sequence[Version]
) -> list[str]:
    """Return the keys of the partitions with computed windows that newly recorded settings have altered."""
    return list(_by_key(partitions, altered_windows(store, config, versions)))


def altered_windows(store: "Store", config: FleetConfig, versions: Sequence[Version]) -> list[Span]:
    """Return the computed windows that newly recorded settings have altered: none before the first window they govern."""
    if not versions:
        return []
    start = min(v.valid_from for v in versions)
    closed = floor_to(now_us(), config.interval_s * SECOND)
    return touched(store, config, Span(start, closed)) if start < closed else []


def _look(store: "Store", config: FleetConfig, path: Path | None, before: Seen) -> Looked:
    """Look at the file; one that is refused is told with the rest, so that it holds up no windows altered otherwise."""
    try:
        return look_at_file(store, config, path, before)
    except ConfigError as error:
        return Looked(before, str(error), error)


def _still_stale(store: "Store", config: FleetConfig, before: Seen) -> list[Span]:
    """Return the windows altered before that are not current yet; not those that late telemetry has touched since."""
    known = spans_of(before.asked)
    if not known:
        return []
    return shared(known, touched(store, config, Span(known[0].start, known[-1].end)))


def _by_key(partitions: Partitions, spans: Sequence[Span]) -> dict[str, list[Span]]:
    """Return the part of each partition, of those that have begun."""
    now, found = now_us(), dict[str, list[Span]]()
    for span in spans:
        for key in keys_touching(partitions, span, now=now):
            found.setdefault(key, []).append(span.clip(span_of(partitions, key)))
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _structure(config: FleetConfig) -> str:
    return content_digest(config.model_dump(mode="json", include=set(_STRUCTURE)))
