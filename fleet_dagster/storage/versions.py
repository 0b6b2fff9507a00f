"""The recorded versions of a fleet's hot settings: which is in force when, and how a new one is appended."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from fleet_dagster.core.windows import SECOND, ceil_to
from fleet_dagster.model.changes import Change, differences
from fleet_dagster.model.config import FleetConfig, HotSettings
from fleet_dagster.model.edits import redate_sites, redated_sites
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.yaml_file import validate_config
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.schema import config_versions

Edit = Callable[[HotSettings, int], HotSettings]
"""Returns settings as edited from an instant on [us]."""


@dataclass(frozen=True, slots=True)
class Version:
    """One recorded version of the hot settings."""

    version_no: int
    valid_from: int
    digest: str
    content: str
    kpis: str
    source: str
    source_digest: str
    applied_at: int

    def settings(self) -> HotSettings:
        """Return the settings themselves."""
        return HotSettings.model_validate_json(self.content)


@dataclass(frozen=True, slots=True)
class Draft:
    """A version about to be recorded: the configuration as a whole, in force from a window on [us]."""

    valid_from: int
    config: FleetConfig


@dataclass(frozen=True, slots=True)
class VersionHistory:
    """One version and what it changed in the windows from its valid_from on."""

    version: Version
    changes: tuple[Change, ...]
    is_in_force: bool
    """Whether it governs any window; a later version that reaches further back takes all of its windows."""


def read_versions(tx: sa.Connection, fleet: str) -> list[Version]:
    """Return every version of a fleet, in the order in which they were recorded."""
    query = sa.select(config_versions).where(config_versions.c.fleet == fleet)
    rows = tx.execute(query.order_by(config_versions.c.version_no)).mappings()
    return [Version(**{n: row[n] for n in Version.__slots__}) for row in rows]


def in_force(versions: Sequence[Version]) -> list[Version]:
    """Return the versions that govern any window, in order of time: a later one stands from its valid_from on."""
    found: list[Version] = []
    for version in sorted(versions, key=lambda v: v.version_no):
        while found and found[-1].valid_from >= version.valid_from:
            found.pop()
        found.append(version)
    return found


def version_at(versions: Sequence[Version], instant: int) -> Version:
    """Return the version in force at an instant [us]."""
    return [v for v in in_force(versions) if v.valid_from <= instant][-1]


def history_of(versions: Sequence[Version]) -> list[VersionHistory]:
    """Return what each version changed, in the order in which they were recorded."""
    governing = set(in_force(versions))
    return [
        VersionHistory(version, tuple(_changes(versions, version)), version in governing)
        for version in versions
    ]


def edited(
    config: FleetConfig,
    versions: Sequence[Version],
    edit: Edit,
    *,
    start: int,
    end: int = 2**63,
    source: str,
) -> list[Draft]:
    """Return an edit from a window on as versions to record, one for each that is in force from there to `end` [us].

    Each result is checked as a whole. Windows before the first that changes get no new version; an edit that changes nothing
    gives none at all.
    """
    first = version_at(versions, start)
    later = [v for v in in_force(versions) if start < v.valid_from < end]
    drafts: list[Draft] = []
    for since, version in [(start, first), *((v.valid_from, v) for v in later)]:
        before = version.settings()
        draft = Draft(since, with_settings(config, edit(before, start), source=source))
        if drafts or draft.config.hot != before:
            drafts.append(draft)
    return drafts


def dated(
    config: FleetConfig, versions: Sequence[Version], start: int, *, source: str
) -> list[Draft]:
    """Return the versions by which mappings that a configuration dates before `start` hold from their dates on [us]."""
    current = version_at(versions, start).settings()
    sites = redated_sites(current.region_mappings, config.region_mappings, before=start)
    reach = min(
        (ceil_to(first, config.interval_s * SECOND) for first in sites.values()), default=start
    )
    if reach >= start:
        return []

    def edit(settings: HotSettings, _at: int) -> HotSettings:
        return redate_sites(settings, config.region_mappings, sites)

    return edited(config, versions, edit, start=reach, end=start, source=source)


def with_settings(config: FleetConfig, settings: HotSettings, *, source: str) -> FleetConfig:
    """Return a configuration with other hot settings; refuses them whole where they break a rule."""
    content = {**config.model_dump(), **settings.model_dump(warnings=False)}
    return validate_config(content, source=source)


def completed(config: FleetConfig, current: HotSettings) -> FleetConfig:
    """Return a configuration with what it does not state itself: the AI models that are registered."""
    if config.ai_models is not None:
        return config
    return config.model_copy(update={"ai_models": current.ai_models})


def append(
    tx: sa.Connection,
    known: Sequence[Version],
    drafts: Sequence[Draft],
    *,
    source: str,
    source_digest: str,
) -> list[Version]:
    """Record versions after those known, all as of one instant."""
    applied_at = now_us()
    made = [
        Version(
            version_no=len(known) + n,
            valid_from=draft.valid_from,
            digest=draft.config.hot.digest,
            content=draft.config.hot.model_dump_json(),
            kpis=kpi_positions(draft.config),
            source=source[:512],
            source_digest=source_digest,
            applied_at=applied_at,
        )
        for n, draft in enumerate(drafts, start=1)
    ]
    rows = [
        {"fleet": drafts[0].config.name, **{n: getattr(v, n) for n in Version.__slots__}}
        for v in made
    ]
    if rows:
        tx.execute(sa.insert(config_versions), rows)
    return made


def remember_kpis(tx: sa.Connection, config: FleetConfig, newest: Version) -> None:
    """Keep the places of KPIs that were appended: they may not move from now on either."""
    here = (
        config_versions.c.fleet == config.name,
        config_versions.c.version_no == newest.version_no,
    )
    tx.execute(sa.update(config_versions).where(*here).values(kpis=kpi_positions(config)))


def kpi_positions(config: FleetConfig) -> str:
    """Return the KPIs in order, as they are remembered."""
    return json.dumps([[kpi.name, kpi.unit] for kpi in config.kpis])


def refuse_moved_kpis(config: FleetConfig, source: str, known: Sequence[Version]) -> None:
    """Refuse a configuration in which a KPI has another place or unit: landed readings are kept by place."""
    if not known:
        return
    before = [tuple(kpi) for kpi in json.loads(known[-1].kpis)]
    now = [(kpi.name, kpi.unit) for kpi in config.kpis]
    moved = [old for old, new in zip(before, now, strict=False) if old != new] + before[len(now) :]
    if moved:
        name, unit = moved[0]
        problem = (
            f"kpis: {name!r} [{unit}] no longer has its place (number {before.index(moved[0])}) or unit, and landed "
            "readings are kept by place. Put it back and append new KPIs at the end, or define a new fleet"
        )
        raise ConfigError(source, [problem])


def _changes(versions: Sequence[Version], version: Version) -> list[Change]:
    """Return what a version changed in the first window it governs; versions recorded together are one change."""
    earlier = [
        v
        for v in versions
        if v.version_no < version.version_no and v.applied_at != version.applied_at
    ]
    if not earlier:
        return []
    before = version_at(earlier, version.valid_from)
    return differences(before.settings(), version.settings())
