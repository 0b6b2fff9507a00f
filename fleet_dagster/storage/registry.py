"""What is registered: sites in order of registration, and the versions of each fleet's hot settings."""

from collections.abc import Sequence

import sqlalchemy as sa

from fleet_dagster.core.windows import floor_to
from fleet_dagster.model.config import FleetConfig, HotSettings, content_digest
from fleet_dagster.model.fleet import BEGINNING, ConfigVersion, Fleet, Site
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import config_versions, sites


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
            known = tx.execute(
                sa.select(config_versions)
                .where(config_versions.c.fleet == config.name)
                .order_by(config_versions.c.version_no)
            ).all()
            _register(tx, config.name, [(m.site_id, BEGINNING) for m in config.region_mappings])
            if any(row.source_digest == source_digest for row in known):
                return False
            start = BEGINNING if not known else (now_us() if valid_from is None else valid_from)
            tx.execute(
                sa.insert(config_versions).values(
                    fleet=config.name,
                    version_no=len(known) + 1,
                    valid_from=start,
                    digest=config.hot.digest,
                    content=config.hot.model_dump_json(),
                    source=source[:512],
                    source_digest=source_digest,
                    applied_at=now_us(),
                )
            )
        return True

    def ensure(self, config: FleetConfig) -> None:
        """Put a configuration in force if its fleet has none yet."""
        with self.control.reading() as tx:
            known = tx.execute(
                sa.select(config_versions.c.version_no)
                .where(config_versions.c.fleet == config.name)
                .limit(1)
            ).first()
        if known is None:
            self.apply(config, source="code location")

    def fleet(self, config: FleetConfig) -> Fleet:
        """Return the fleet as of every window: the given structure, the recorded settings and sites."""
        with self.control.reading() as tx:
            versions = tx.execute(
                sa.select(config_versions)
                .where(config_versions.c.fleet == config.name)
                .order_by(config_versions.c.valid_from, config_versions.c.version_no)
            ).all()
            registered = tx.execute(
                sa.select(sites).where(sites.c.fleet == config.name).order_by(sites.c.site_no)
            ).all()
        if not versions:
            return Fleet.of(config)
        newest = {v.valid_from: v for v in versions}
        return Fleet(
            config,
            tuple(
                ConfigVersion(v.valid_from, HotSettings.model_validate_json(v.content), v.digest)
                for v in newest.values()
            ),
            tuple(Site(s.site_id, s.site_no, s.active_from) for s in registered),
        )

    def admit(self, config: FleetConfig, seen: Sequence[tuple[str, int]]) -> set[str]:
        """Register sites that telemetry names, as far as the profile allows; returns those that are registered.

        `seen` gives each site and its earliest usable snapshot. [us] A site that no mapping names belongs to the fleet from
        the window of its earliest snapshot on.
        """
        interval = config.interval_s * 1_000_000
        with self.control.transaction() as tx:
            known = set(
                tx.execute(sa.select(sites.c.site_id).where(sites.c.fleet == config.name)).scalars()
            )
            room = config.profile.max_sites - len(known)
            wanted = [
                (site, floor_to(first, interval)) for site, first in seen if site not in known
            ]
            _register(tx, config.name, wanted[: max(room, 0)])
            _advance(
                tx,
                config.name,
                [(site, floor_to(first, interval)) for site, first in seen if site in known],
            )
        return known | {site for site, _ in wanted[: max(room, 0)]}


def _register(tx: sa.Connection, fleet: str, wanted: Sequence[tuple[str, int]]) -> None:
    """Register sites that are new, numbered on; a mapped site belongs to the fleet since the beginning."""
    known = {row.site_id: row for row in tx.execute(sa.select(sites).where(sites.c.fleet == fleet))}
    fresh = {site: first for site, first in wanted if site not in known}
    rows = [
        {"fleet": fleet, "site_id": site, "site_no": len(known) + i, "active_from": first}
        for i, (site, first) in enumerate(fresh.items())
    ]
    if rows:
        tx.execute(sa.insert(sites), rows)
    _advance(tx, fleet, [(site, first) for site, first in wanted if site in known])


def _advance(tx: sa.Connection, fleet: str, seen: Sequence[tuple[str, int]]) -> None:
    """Let a site belong to the fleet from earlier on, where older telemetry or a mapping says so."""
    for site, first in seen:
        tx.execute(
            sa.update(sites)
            .where(sites.c.fleet == fleet, sites.c.site_id == site, sites.c.active_from > first)
            .values(active_from=first)
        )
