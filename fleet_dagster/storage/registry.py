"""What is registered: sites in order of registration, and the versions of each fleet's hot settings."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from fleet_dagster.core.windows import ceil_to, floor_to
from fleet_dagster.model.config import FleetConfig, HotSettings, content_digest, larger_profile
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.fleet import BEGINNING, ConfigVersion, Fleet, Site, first_mapped
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import config_versions, sites
from fleet_dagster.storage.storms import read_storms


class Registry:
    """Reads and writes sites and settings in the control database."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def apply(
        self, config: FleetConfig, *, source: str = "python", valid_from: int | None = None
    ) -> bool:
        """Put a configuration in force, once per content; tells whether that made a new version.

        The first version is valid from the beginning of time, later ones from `valid_from` (by default: now). The sites it
        maps are registered, in the order in which it names them.
        """
        source_digest = content_digest(config.hot.model_dump(mode="json"))
        with self.control.transaction() as tx:
            self.control.serialize(tx, "registry")
            known = tx.execute(
                sa.select(config_versions)
                .where(config_versions.c.fleet == config.name)
                .order_by(config_versions.c.version_no)
            ).all()
            _refuse_moved_kpis(config, source, known)
            if known and known[-1].source_digest == source_digest:
                self._remember_kpis(tx, config, known[-1])
                return False
            start = BEGINNING if not known else (now_us() if valid_from is None else valid_from)
            window = ceil_to(start, config.interval_s * 1_000_000)
            mapped = [(site, max(first, window)) for site, first in first_mapped(config).items()]
            _refuse_too_many(config, source, _active_from(tx, config.name).keys() | dict(mapped))
            _register(tx, config.name, mapped)
            tx.execute(
                sa.insert(config_versions).values(
                    fleet=config.name,
                    version_no=len(known) + 1,
                    valid_from=start,
                    digest=config.hot.digest,
                    content=config.hot.model_dump_json(),
                    kpis=_kpi_positions(config),
                    source=source[:512],
                    source_digest=source_digest,
                    applied_at=now_us(),
                )
            )
        return True

    def ensure(self, config: FleetConfig) -> None:
        """Put a configuration in force if its fleet has none yet; refuse one whose KPIs have moved."""
        with self.control.reading() as tx:
            newest = tx.execute(
                sa.select(config_versions)
                .where(config_versions.c.fleet == config.name)
                .order_by(config_versions.c.version_no.desc())
                .limit(1)
            ).all()
        _refuse_moved_kpis(config, "code location", newest)
        if not newest:
            self.apply(config, source="code location")
        elif newest[0].kpis != _kpi_positions(config):
            with self.control.transaction() as tx:
                self._remember_kpis(tx, config, newest[0])

    @staticmethod
    def _remember_kpis(tx: sa.Connection, config: FleetConfig, newest: Any) -> None:  # Any: a row
        """Keep the places of KPIs that were appended: they may not move from now on either."""
        here = (
            config_versions.c.fleet == config.name,
            config_versions.c.version_no == newest.version_no,
        )
        tx.execute(sa.update(config_versions).where(*here).values(kpis=_kpi_positions(config)))

    def fleet(self, config: FleetConfig) -> Fleet:
        """Return the fleet as of every window: the given structure, the recorded settings, sites and storms."""
        with self.control.reading() as tx:
            versions = tx.execute(
                sa.select(config_versions)
                .where(config_versions.c.fleet == config.name)
                .order_by(config_versions.c.valid_from, config_versions.c.version_no)
            ).all()
            storms = [recorded.episode for recorded in read_storms(tx, config.name)]
            registered = tx.execute(
                sa.select(sites).where(sites.c.fleet == config.name).order_by(sites.c.site_no)
            ).all()
        episodes = _on_windows(storms, config.interval_s * 1_000_000)
        if not versions:
            return Fleet.of(config, storms=episodes)
        return Fleet(
            config,
            tuple(
                ConfigVersion(v.valid_from, HotSettings.model_validate_json(v.content), v.digest)
                for v in _in_force(versions)
            ),
            tuple(Site(s.site_id, s.site_no, s.active_from) for s in registered),
            tuple(episodes),
        )

    def admit(self, config: FleetConfig, seen: Sequence[tuple[str, int]]) -> set[str]:
        """Register sites that telemetry names, as far as the profile allows; returns those that are registered.

        `seen` gives each site and its earliest usable snapshot. [us] A site that no mapping names belongs to the fleet from
        the window of its earliest snapshot on.
        """
        interval = config.interval_s * 1_000_000
        with self.control.transaction() as tx:
            self.control.serialize(tx, "registry")
            known = _active_from(tx, config.name)
            room = max(0, config.profile.max_sites - len(known))
            windows = [(site, floor_to(first, interval)) for site, first in seen]
            strangers = [(site, first) for site, first in windows if site not in known][:room]
            _register(
                tx, config.name, [*strangers, *((s, first) for s, first in windows if s in known)]
            )
        return known.keys() | {site for site, _ in strangers}


def _in_force(versions: Sequence[Any]) -> list[Any]:  # Any: rows of config_versions
    """Return the versions that govern any window: a later one stands for every window from its valid_from on.

    `versions` are in order of valid_from.
    """
    found: list[Any] = []
    for version in versions:
        if found and version.version_no < found[-1].version_no:
            continue
        if found and version.valid_from == found[-1].valid_from:
            found.pop()
        found.append(version)
    return found


def _on_windows(storms: Sequence[StormEpisode], interval: int) -> list[StormEpisode]:
    """Return episodes that begin and end between windows, also where the interval has changed since they were recorded."""
    placed = [
        replace(
            e,
            start=ceil_to(e.start, interval),
            end=e.end if e.is_open else ceil_to(e.end, interval),
        )
        for e in storms
    ]
    return [e for e in placed if e.start < e.end]


def _active_from(tx: sa.Connection, fleet: str) -> dict[str, int]:
    rows = tx.execute(sa.select(sites).where(sites.c.fleet == fleet))
    return {row.site_id: int(row.active_from) for row in rows}


def _register(tx: sa.Connection, fleet: str, wanted: Sequence[tuple[str, int]]) -> None:
    """Register new sites, numbered on; a known one belongs to the fleet from earlier on, where that is said."""
    known = _active_from(tx, fleet)
    fresh = {site: first for site, first in wanted if site not in known}
    rows = [
        {"fleet": fleet, "site_id": site, "site_no": len(known) + i, "active_from": first}
        for i, (site, first) in enumerate(fresh.items())
    ]
    if rows:
        tx.execute(sa.insert(sites), rows)
    for site, first in wanted:
        if first < known.get(site, first):
            here = (sites.c.fleet == fleet, sites.c.site_id == site)
            tx.execute(sa.update(sites).where(*here).values(active_from=first))


def _refuse_too_many(config: FleetConfig, source: str, sites: Collection[str]) -> None:
    """Refuse a configuration that would give the fleet more sites than its profile holds, earlier ones included."""
    most = config.profile.max_sites
    if len(sites) > most:
        problem = (
            f"region_mappings: with those registered before the fleet would have {len(sites)} sites, profile "
            f"{config.profile.name!r} allows {most}. {larger_profile(len(sites))}"
        )
        raise ConfigError(source, [problem])


def _kpi_positions(config: FleetConfig) -> str:
    return json.dumps([[kpi.name, kpi.unit] for kpi in config.kpis])


def _refuse_moved_kpis(config: FleetConfig, source: str, known: Sequence[Any]) -> None:  # Any: rows
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
