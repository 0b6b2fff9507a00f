"""What is registered: sites in order of registration, and the versions of each fleet's hot settings."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import takewhile

import sqlalchemy as sa

from fleet_dagster.core.windows import ceil_to, floor_to
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.fleet import BEGINNING, ConfigVersion, Fleet, Site, first_mapped
from fleet_dagster.model.rules import larger_profile
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import config_versions, sites
from fleet_dagster.storage.storms import read_storms
from fleet_dagster.storage.versions import (
    Draft,
    Edit,
    Version,
    VersionHistory,
    append,
    completed,
    dated,
    edited,
    history_of,
    in_force,
    kpi_positions,
    read_versions,
    refuse_moved_kpis,
    remember_kpis,
    version_at,
)

# Asked again and again: made once, for making a query takes longer than answering it.
_SITES = (
    sa.select(sites.c.site_id, sites.c.site_no, sites.c.active_from)
    .where(sites.c.fleet == sa.bindparam("of_fleet"))
    .order_by(sites.c.site_no)
)


class Registry:
    """Reads and writes sites and settings in the control database."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self._last: dict[str, tuple[list[Version], Fleet]] = {}

    def apply(
        self,
        config: FleetConfig,
        *,
        source: str = "python",
        valid_from: int | None = None,
        again: bool = False,
    ) -> bool:
        """Put a configuration in force, once per content; tells whether that made a new version.

        The first version is valid from the beginning of time, later ones from `valid_from` rounded up to a window (by
        default: the next). They stand from there on, whatever was recorded before. Mappings that the configuration dates
        in the past hold from their dates on, unless `valid_from` is given. The same content once more makes no version,
        even where partial edits have changed things since, unless it is to reach further back, or is put in
        force `again`. The sites it maps are registered, in the order in which it names them.
        """
        with self.control.transaction() as tx:
            known = self._locked_versions(tx, config, source)
            if not again and _is_applied(config, known, valid_from):
                remember_kpis(tx, config, known[-1])
                return False
            drafts = [Draft(BEGINNING, config)]
            if known:
                start = _window(config, valid_from)
                past = dated(config, known, start, source=source) if valid_from is None else []
                current = version_at(known, start).settings()
                drafts = [*past, Draft(start, completed(config, current))]
            self._record(tx, known, drafts, source=source, source_digest=config.hot.digest)
        return True

    def edit(
        self, config: FleetConfig, edit: Edit, *, source: str, valid_from: int | None = None
    ) -> list[Version]:
        """Change a part of the settings from a window on, all or nothing; returns the versions that made, if any.

        `valid_from` is rounded up to a window (by default: the next). Every version in force from there on gets the
        edit. Where the fleet has no settings yet, those of `config` are put in force first.
        """
        with self.control.transaction() as tx:
            known = self._locked_versions(tx, config, source)
            if not known:
                first = [Draft(BEGINNING, config)]
                known = self._record(
                    tx, [], first, source="first settings", source_digest=config.hot.digest
                )
            start = _window(config, valid_from)
            drafts = edited(config, known, edit, start=start, source=source)
            kept = known[-1].source_digest
            return self._record(tx, known, drafts, source=source, source_digest=kept)

    def ensure(self, config: FleetConfig) -> None:
        """Put a configuration in force if its fleet has none yet; refuse one whose KPIs have moved."""
        with self.control.reading() as tx:
            known = read_versions(tx, config.name)
        refuse_moved_kpis(config, "code location", known)
        if not known:
            self.apply(config, source="code location")
        elif known[-1].kpis != kpi_positions(config):
            with self.control.transaction() as tx:
                remember_kpis(tx, config, known[-1])

    def history(self, fleet: str) -> list[VersionHistory]:
        """Return every version of a fleet's settings and what it changed, in the order in which they were recorded."""
        return history_of(self.versions(fleet))

    def versions(self, fleet: str) -> list[Version]:
        """Return every version of a fleet's settings, in the order in which they were recorded."""
        with self.control.reading() as tx:
            return read_versions(tx, fleet)

    def newest_version(self, fleet: str) -> int:
        """Return the number of the version recorded last; 0 before the first."""
        query = sa.select(sa.func.max(config_versions.c.version_no))
        with self.control.reading() as tx:
            return int(tx.execute(query.where(config_versions.c.fleet == fleet)).scalar() or 0)

    def fleet(self, config: FleetConfig) -> Fleet:
        """Return the fleet as of every window: the given structure, the recorded settings, sites and storms.

        While nothing changes it is the same object, with all that it has worked out.
        """
        with self.control.reading() as tx:
            versions = read_versions(tx, config.name)
            storms = [recorded.episode for recorded in read_storms(tx, config.name)]
            registered = tx.execute(_SITES, {"of_fleet": config.name}).all()
        episodes = tuple(_on_windows(storms, config.interval_s * 1_000_000))
        if not versions:
            return Fleet.of(config, storms=episodes)
        numbered = tuple(Site(*row) for row in registered)
        last = self._last.get(config.name)
        if last and last[1].config is config and last[0] == versions:
            known = last[1]
            if (known.sites, known.storms) != (numbered, episodes):
                known = replace(known, sites=numbered, storms=episodes)
        else:
            governing = in_force(versions)
            settings = tuple(ConfigVersion(v.valid_from, v.settings(), v.digest) for v in governing)
            known = Fleet(config, settings, numbered, episodes)
        self._last[config.name] = (versions, known)
        return known

    def _locked_versions(
        self, tx: sa.Connection, config: FleetConfig, source: str
    ) -> list[Version]:
        """Return the versions, while no other transaction changes settings or sites."""
        self.control.serialize(tx, "registry")
        known = read_versions(tx, config.name)
        refuse_moved_kpis(config, source, known)
        return known

    @staticmethod
    def _record(
        tx: sa.Connection,
        known: Sequence[Version],
        drafts: Sequence[Draft],
        *,
        source: str,
        source_digest: str,
    ) -> list[Version]:
        """Record versions and register the sites they map, from the window in which each is first mapped."""
        first: dict[str, int] = {}
        for draft in drafts:
            for site, start in first_mapped(draft.config).items():
                window = max(start, draft.valid_from)
                first[site] = min(window, first.get(site, window))
        if drafts:
            config = drafts[0].config
            known_sites = _active_from(tx, config.name).keys()
            _refuse_too_many(config, source, known_sites | first.keys())
            _register(tx, config.name, list(first.items()))
        return append(tx, known, drafts, source=source, source_digest=source_digest)

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


def _window(config: FleetConfig, instant: int | None) -> int:
    """Return the start of the first window at or after an instant, by default now; never before time begins [us]."""
    wanted = now_us() if instant is None else max(BEGINNING, instant)
    return ceil_to(wanted, config.interval_s * 1_000_000)


def _is_applied(config: FleetConfig, known: Sequence[Version], valid_from: int | None) -> bool:
    """Tell whether a content was applied last, and is not to reach further back than it did then."""
    digest = config.hot.digest
    lasting = list(takewhile(lambda v: v.source_digest == digest, reversed(known)))
    applied = [v.valid_from for v in lasting if v.digest == digest]
    if not lasting:
        return False
    return valid_from is None or _window(config, valid_from) >= min(applied, default=BEGINNING)


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
