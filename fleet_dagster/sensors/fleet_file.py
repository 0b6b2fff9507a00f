"""The sensor of a fleet's file: an edit of its hot settings takes effect without a restart.

It also sees to windows that settings changed from the command line have altered.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from fleet_dagster.core.windows import DAY, SECOND, Span, floor_to
from fleet_dagster.model.config import FleetConfig, HotSettings, content_digest
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.yaml_file import load_config
from fleet_dagster.partitions import Partitions, keys_touching, span_of
from fleet_dagster.refresh.touched import touched
from fleet_dagster.resources import FILES_KEY, RESOURCE_KEY
from fleet_dagster.run_requests import storm_in, windows_run
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

    @classmethod
    def parse(cls, cursor: str | None) -> "Seen":
        """Read a cursor; one that is not ours counts as none."""
        file, version_no, outdated = [*(cursor or "").split(":"), "", "", ""][:3]
        return cls(file, int(version_no), outdated) if version_no.isdigit() else cls()

    def __str__(self) -> str:
        """Write the cursor."""
        return f"{self.file}:{self.version_no or 0}:{self.outdated}"


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
        looked = look_at_file(store, config, files.file_of(config.name), before)
        dealt = known if before.version_no is None else before.version_no
        newest = store.registry.newest_version(config.name)
        fresh = store.registry.versions(config.name)[dealt:] if newest > dealt else []
        after = Seen(looked.seen.file, newest, looked.seen.outdated)
        keys = altered(store, config, partitions, fresh)
        if not keys:
            return dg.SensorResult(skip_reason=looked.words, cursor=str(after))
        context.log.info(looked.words)
        requests = [request(store, config, partitions, key, version_no=newest) for key in keys]
        return dg.SensorResult(run_requests=requests, cursor=str(after))

    return tick


def request(
    store: "Store", config: FleetConfig, partitions: Partitions, key: str, *, version_no: int
) -> dg.RunRequest:
    """Request a partition once for a version, however often that is asked."""
    return windows_run(
        config,
        key,
        run_key=f"{config.name}:settings:{version_no}:{key}",
        storm=storm_in(store, config, span_of(partitions, key)),
        tags={VERSION_TAG: str(version_no)},
    )


@dataclass(frozen=True, slots=True)
class Looked:
    """What looking at a fleet's file came to."""

    seen: Seen
    words: str


def look_at_file(store: "Store", config: FleetConfig, path: Path | None, before: Seen) -> Looked:
    """Apply a fleet's file if its bytes are new; `config` is the structure that the code location has loaded.

    Raises
    ------
    ConfigError
        The file is invalid; nothing was applied, and the next tick looks again.
    """
    if path is None:
        words = f"fleet {config.name} has no file in the fleets folder, it is defined in Python: there is no edit to notice"
        return Looked(Seen(), words)
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
        standing = with_settings(config, wanted.hot, source=str(path)) if moved else wanted
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
    """Return the keys of the partitions with computed windows that newly recorded settings have altered.

    A site that joins the fleet in the middle of a day touches the whole day.
    """
    if not versions:
        return []
    now = now_us()
    closed = floor_to(now, config.interval_s * SECOND)
    start = floor_to(min(v.valid_from for v in versions), DAY)
    spans = touched(store, config, Span(start, max(start, closed)))
    return list(dict.fromkeys(k for s in spans for k in keys_touching(partitions, s, now=now)))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _structure(config: FleetConfig) -> str:
    return content_digest(config.model_dump(mode="json", include=set(_STRUCTURE)))
