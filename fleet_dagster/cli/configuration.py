"""`fleet config`: a fleet's hot settings, from its file or one by one, and their history."""

import click

from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.recorded import (
    OpenFleet,
    as_record,
    change_records,
    edit_settings,
    from_instant,
    show_changes,
    show_recorded,
    since,
)
from fleet_dagster.cli.setup import schema_text
from fleet_dagster.cli.sites import fleet_with, refuse_unmapped
from fleet_dagster.cli.spans import read_instant
from fleet_dagster.cli.terminal import json_option, note, print_json, utc
from fleet_dagster.model.changes import differences
from fleet_dagster.model.config import HotSettings
from fleet_dagster.model.edits import SETTABLE, rebaseline_site, set_values
from fleet_dagster.storage.status import instant
from fleet_dagster.storage.versions import VersionHistory, completed


@click.group()
def config() -> None:
    """Put settings in force without a restart, and show what was changed when.

    Region mappings, weights, thresholds and model slots are hot. A fleet's file is applied once for each content; after that,
    changes made here win until the file changes again.
    """


@config.command()
def schema() -> None:
    """Print the JSON Schema of a fleet's file, for editors."""
    click.echo(schema_text(), nl=False)


@config.command()
@click.argument("fleet")
@from_instant
@click.option(
    "--again", is_flag=True, help="Return to the file, also where its content was applied before."
)
@json_option
@installation_options
@click.pass_obj
def apply(place: Place, fleet: str, *, start: str | None, again: bool, as_json: bool) -> None:
    """Put the hot settings of a fleet's file in force.

    They stand from --from on, whatever was recorded before. Without --from they hold from the next window on, and mappings
    with a valid_from of their own from then on. A content that was applied before is left alone, unless --from reaches
    further back or --again is given.
    """
    opened = OpenFleet.of(place, fleet)
    asked = read_instant(opened.config, start, name="--from") if start else None
    after = opened.store.registry.newest_version(fleet)
    opened.store.registry.apply(opened.config, source=opened.path, valid_from=asked, again=again)
    nothing = (
        f"already applied: {opened.path}. What was changed since stands: fleet config diff {fleet}. To return to the file: "
        f"{_return(fleet)}"
    )
    show_recorded(opened, after=after, asked=asked, as_json=as_json, nothing=nothing)


@config.command()
@click.argument("fleet")
@json_option
@installation_options
@click.pass_obj
def diff(place: Place, fleet: str, *, as_json: bool) -> None:
    """Compare a fleet's file with what is in force from the next window on.

    Each line names a setting, what is in force, and what the file says. Exit code 1 when they differ.
    """
    opened = OpenFleet.of(place, fleet)
    versions = opened.store.registry.versions(fleet)
    current = _in_force(opened)
    found = differences(current, completed(opened.config, current).hot)
    is_applied = bool(versions) and versions[-1].source_digest == opened.config.hot.digest
    if as_json:
        print_json({"fleet": fleet, "is_applied": is_applied, "differences": change_records(found)})
    elif found:
        click.echo(f"Fleet {fleet}: in force → {opened.path}")
        show_changes(found)
        note(_advice(fleet, is_applied=is_applied))
    else:
        click.echo(f"Fleet {fleet}: what is in force is what {opened.path} says")
    if found:
        raise SystemExit(1)


@config.command()
@click.argument("fleet")
@json_option
@installation_options
@click.pass_obj
def history(place: Place, fleet: str, *, as_json: bool) -> None:
    """List every version of a fleet's hot settings: from when it holds, who made it, what it changed."""
    opened = OpenFleet.of(place, fleet)
    versions = opened.store.registry.history(fleet)
    if as_json:
        print_json([as_record(one) for one in versions])
        return
    if not versions:
        note(
            f"Fleet {fleet}: no settings are in force yet. Apply its file: fleet config apply {fleet}"
        )
        return
    for one in versions:
        _show_version(one)


@config.command("set")
@click.argument("fleet")
@click.argument("values", nargs=-1, required=True, metavar="NAME=VALUE...")
@from_instant
@json_option
@installation_options
@click.pass_obj
def set_(
    place: Place, fleet: str, values: tuple[str, ...], *, start: str | None, as_json: bool
) -> None:
    """Set thresholds and weights of a fleet, all or none.

    NAME is outlier_sigma, anomaly_threshold, deviation_sigma, min_good_pct, staleness_threshold_s, health_weights (a preset),
    uptime_weight, fault_weight or weight.KPI. 0 gives outlier_sigma and anomaly_threshold the profile's value.
    """
    opened = OpenFleet.of(place, fleet)
    asked = read_instant(opened.config, start, name="--from") if start else None
    wanted = _pairs(values)
    after = opened.store.registry.newest_version(fleet)

    def edit(settings: HotSettings, _at: int) -> HotSettings:
        return set_values(settings, wanted, opened.config.kpi_names)

    edit_settings(opened, edit, start=asked, source=f"fleet config set {' '.join(values)}")
    nothing = "nothing to change: those values are in force already"
    show_recorded(opened, after=after, asked=asked, as_json=as_json, nothing=nothing)


@config.command()
@click.argument("site")
@click.option(
    "--from",
    "start",
    required=True,
    metavar="DAY|INSTANT",
    help="What the site sent before is forgotten; rounded up to a window. Without an offset: the fleet's time zone.",
)
@click.option("--fleet", help="Fleet of the site. [default: the fleet that has it]")
@json_option
@installation_options
@click.pass_obj
def rebaseline(place: Place, site: str, *, start: str, fleet: str | None, as_json: bool) -> None:
    """Let a site forget what was normal before an instant.

    For a site that was rebuilt, repaired or is operated differently: its anomaly scores are those of a stranger until it has
    learnt again. Baselines of training days after that instant leave out what it sent before. Until one has 200 windows of the
    site it is compared with its region, and its scores say `warming_up`.
    """
    opened = OpenFleet.of(place, fleet or fleet_with(place, site))
    asked = read_instant(opened.config, start, name="--from")
    refuse_unmapped(opened, site, opened.next_window(asked))
    after = opened.store.registry.newest_version(opened.config.name)

    def edit(settings: HotSettings, at: int) -> HotSettings:
        return rebaseline_site(settings, site, at=at)

    source = f"fleet config rebaseline {site} --from {start}"
    edit_settings(opened, edit, start=asked, source=source)
    nothing = f"nothing to change: site {site} forgets what it sent before then already"
    show_recorded(opened, after=after, asked=asked, as_json=as_json, nothing=nothing)


def _pairs(values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    wrong = next((name for name, sign, text in pairs if not (sign and text)), None)
    if wrong is not None:
        message = f"{wrong!r} is not of the form NAME=VALUE. NAME is one of {', '.join(SETTABLE)}."
        raise click.BadParameter(message, param_hint="NAME=VALUE")
    names = [name for name, _, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise click.BadParameter(f"{twice} is given twice. Keep one.", param_hint="NAME=VALUE")
    return {name: text for name, _, text in pairs}


def _show_version(one: VersionHistory) -> None:
    version = one.version
    click.echo(
        f"version {version.version_no} ({version.digest})  from {since(version.valid_from)}, recorded {utc(instant(version.applied_at))} by "
        f"{version.source}{'' if one.is_in_force else '; later versions have taken all of its windows'}"
    )
    show_changes(one.changes)


def _in_force(opened: OpenFleet) -> HotSettings:
    return opened.store.registry.fleet(opened.config).settings_at(opened.next_window())


def _advice(fleet: str, *, is_applied: bool) -> str:
    if is_applied:
        return (
            "The file was applied before these changes were made; they win until its settings are edited. Copy into it what is "
            f"to stay, or return to the file: {_return(fleet)}"
        )
    return (
        f"The file has not been applied as it is now. Put it in force: fleet config apply {fleet}"
    )


def _return(fleet: str) -> str:
    return f"fleet config apply {fleet} --again"
