"""What a change of settings did, for people and machines: versions, changes, and the stored days they alter."""

import datetime as dt
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass

import click

from fleet_dagster.cli.place import Place
from fleet_dagster.cli.terminal import counted, note, print_json, utc
from fleet_dagster.core.windows import SECOND, ceil_to
from fleet_dagster.model.changes import Change
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.fleet import BEGINNING
from fleet_dagster.partitions import partitions_of
from fleet_dagster.sensors.fleet_file import altered
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.status import instant
from fleet_dagster.storage.store import Store
from fleet_dagster.storage.versions import Edit, VersionHistory

_LINES = 20
"""Changes shown of one version; `--json` has them all."""
from_instant = click.option(
    "--from",
    "start",
    metavar="DAY|INSTANT",
    help="First instant, rounded up to a window. Without an offset: the fleet's time zone. [default: now]",
)


@dataclass(frozen=True, slots=True)
class OpenFleet:
    """One fleet of an installation, opened."""

    store: Store
    config: FleetConfig
    path: str

    @classmethod
    def of(cls, place: Place, fleet: str) -> "OpenFleet":
        """Open a fleet of the installation."""
        installation = place.installation()
        config = installation.config(fleet)
        return cls(place.store(), config, str(installation.file_of(fleet)))

    def next_window(self, at: int | None = None) -> int:
        """Return the start of the first window at or after an instant, by default now [us]."""
        return ceil_to(now_us() if at is None else at, self.config.interval_s * SECOND)


def edit_settings(fleet: OpenFleet, edit: Edit, *, start: int | None, source: str) -> None:
    """Record a partial edit, and warn where the file has changes of its own that wait."""
    versions = fleet.store.registry.versions(fleet.config.name)
    if versions and versions[-1].source_digest != fleet.config.hot.digest:
        note(
            f"{fleet.path} has edits that are not applied yet. Once they are, they replace this change from then on: "
            f"fleet config diff {fleet.config.name}"
        )
    fleet.store.registry.edit(fleet.config, edit, source=source, valid_from=start)


def show_recorded(
    fleet: OpenFleet, *, after: int, asked: int | None, as_json: bool, nothing: str
) -> None:
    """Say which versions were recorded after a number, what they change, and how stored days follow."""
    name = fleet.config.name
    made = fleet.store.registry.history(name)[after:]
    versions = [one.version for one in made]
    keys = altered(fleet.store, fleet.config, partitions_of(fleet.config), versions)
    command = _recompute(fleet.config, keys)
    if as_json:
        print_json(
            {
                "fleet": name,
                "versions": [as_record(one) for one in made],
                "partitions": keys,
                "recompute": command,
            }
        )
        return
    if not made:
        note(f"Fleet {name}: {nothing}")
    for one in made:
        _show(fleet, one, asked)
    if command:
        click.echo(
            f"Stored windows of {counted(len(keys), 'partition')} are no longer current ({keys[0]} to {keys[-1]}). While Dagster "
            f"runs, {name}_file_sensor recomputes them; or now: {command}"
        )


def as_record(one: VersionHistory) -> dict[str, object]:
    """Return a version as machines read it."""
    version = one.version
    return {
        "version_no": version.version_no,
        "valid_from": None if version.valid_from == BEGINNING else instant(version.valid_from),
        "applied_at": instant(version.applied_at),
        "source": version.source,
        "digest": version.digest,
        "is_in_force": one.is_in_force,
        "changes": change_records(one.changes),
    }


def change_records(changes: Sequence[Change]) -> list[dict[str, object]]:
    """Return changes as machines read them."""
    return [{"setting": c.setting, "old": c.old, "new": c.new} for c in changes]


def since(valid_from: int) -> str:
    """Show when a version begins."""
    return "the beginning" if valid_from == BEGINNING else utc(instant(valid_from))


def show_changes(changes: Sequence[Change]) -> None:
    """List changes, not too many."""
    for change in changes[:_LINES]:
        click.echo(f"  {change}")
    if len(changes) > _LINES:
        click.echo(f"  and {len(changes) - _LINES} more (--json lists them all)")


def _show(fleet: OpenFleet, one: VersionHistory, asked: int | None) -> None:
    version, rounded = one.version, ""
    if asked is not None and asked != version.valid_from == fleet.next_window(asked):
        rounded = f" (the first window at or after {utc(instant(asked))})"
    start = since(version.valid_from)
    click.echo(
        f"Fleet {fleet.config.name}: version {version.version_no} is in force from {start}{rounded}"
    )
    show_changes(one.changes)
    if not one.changes and version.version_no > 1:
        click.echo("  nothing differs from what was in force")


def _recompute(config: FleetConfig, keys: Sequence[str]) -> str | None:
    if not keys:
        return None
    partitions = partitions_of(config)
    zone = zoneinfo.ZoneInfo(config.timezone)
    first = partitions.time_window_for_partition_key(keys[0]).start.astimezone(zone)
    end = partitions.time_window_for_partition_key(keys[-1]).end.astimezone(zone)
    last = end - dt.timedelta(microseconds=1)
    return f"fleet run {config.name} --from {first.date()} --to {last.date()}"
