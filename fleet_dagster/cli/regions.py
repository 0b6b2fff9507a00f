"""`fleet regions`: which site lies in which region, and moving one without a restart."""

from typing import Any

import click
from rich.table import Table

from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.recorded import OpenFleet, edit_settings, from_instant, show_recorded
from fleet_dagster.cli.spans import read_instant
from fleet_dagster.cli.terminal import console, json_option, note, print_json, utc
from fleet_dagster.core.windows import SECOND, floor_to
from fleet_dagster.model.config import HotSettings, RegionMapping
from fleet_dagster.model.edits import move_site, unmap_site
from fleet_dagster.model.fleet import Fleet, mappings_as_of
from fleet_dagster.model.tables import UNMAPPED
from fleet_dagster.storage.status import instant


@click.group()
def regions() -> None:
    """Show and change which site lies in which region, without a restart."""


@regions.command("list")
@click.argument("fleet")
@click.option(
    "--at",
    metavar="INSTANT",
    help="As of the window that holds this instant. [default: the next window]",
)
@json_option
@installation_options
@click.pass_obj
def list_(place: Place, fleet: str, *, at: str | None, as_json: bool) -> None:
    """List a fleet's sites by region, those that no mapping names last."""
    opened = OpenFleet.of(place, fleet)
    asked = read_instant(opened.config, at, name="--at") if at else None
    interval = opened.config.interval_s * SECOND
    window = opened.next_window() if asked is None else floor_to(asked, interval)
    rows = _rows(opened.store.registry.fleet(opened.config), window)
    if as_json:
        print_json(rows)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("region", "site", "weight", "critical", "depends on"):
        table.add_column(name, justify="right" if name == "weight" else "left")
    for row in rows:
        is_critical = "critical" if row["critical"] else "-"
        upstream = ", ".join(row["depends_on"]) or "-"
        table.add_row(row["region_id"], row["site_id"], f"{row['weight']:g}", is_critical, upstream)
    console().print(table)
    note(f"As of {utc(instant(window))}.")


@regions.command()
@click.argument("fleet")
@click.argument("site")
@click.argument("region")
@from_instant
@click.option("--weight", type=float, help="Weight in the means. [default: as before, else 1]")
@click.option("--critical/--not-critical", default=None, help="Whether storms always look at it.")
@click.option(
    "--depends-on",
    multiple=True,
    metavar="SITE",
    help="Site upstream; may be repeated. [default: as before]",
)
@json_option
@installation_options
@click.pass_obj
def move(
    place: Place,
    fleet: str,
    site: str,
    region: str,
    *,
    start: str | None,
    weight: float | None,
    critical: bool | None,
    depends_on: tuple[str, ...],
    as_json: bool,
) -> None:
    """Put a site into a region, from a window on.

    What is not named stays: weight, critical, upstream sites, place. A site that was not mapped before is added. Mappings of
    the site that begin later stay as they are.
    """
    opened = OpenFleet.of(place, fleet)
    asked = read_instant(opened.config, start, name="--from") if start else None
    given = {"weight": weight, "critical": critical, "depends_on": depends_on or None}
    changes = {name: value for name, value in given.items() if value is not None}
    after = opened.store.registry.newest_version(fleet)

    def edit(settings: HotSettings, at: int) -> HotSettings:
        return move_site(settings, site, region, at=at, **changes)

    edit_settings(opened, edit, start=asked, source=f"fleet regions move {site} {region}")
    nothing = f"nothing to change: site {site} lies in {region} already"
    show_recorded(opened, after=after, asked=asked, as_json=as_json, nothing=nothing)


@regions.command()
@click.argument("fleet")
@click.argument("site")
@from_instant
@json_option
@installation_options
@click.pass_obj
def unmap(place: Place, fleet: str, site: str, *, start: str | None, as_json: bool) -> None:
    """Take a site out of its region, from a window on; it then counts as region `unmapped`."""
    opened = OpenFleet.of(place, fleet)
    asked = read_instant(opened.config, start, name="--from") if start else None
    after = opened.store.registry.newest_version(fleet)

    def edit(settings: HotSettings, _at: int) -> HotSettings:
        return unmap_site(settings, site)

    edit_settings(opened, edit, start=asked, source=f"fleet regions unmap {site}")
    nothing = (
        f"nothing to change: no mapping names site {site}. See them: fleet regions list {fleet}"
    )
    show_recorded(opened, after=after, asked=asked, as_json=as_json, nothing=nothing)


def _rows(fleet: Fleet, window: int) -> list[dict[str, Any]]:  # Any: a mapping's fields
    mapped = mappings_as_of(fleet.settings_at(window).region_mappings, window)
    registered = [fleet.sites[i].site_id for i in fleet.sites_at(window)]
    rows = [_row(mapping.region_id, mapping) for mapping in mapped.values()]
    strangers = [
        RegionMapping(site_id=site, region_id="none") for site in registered if site not in mapped
    ]
    ordered = sorted(rows, key=lambda row: (row["region_id"], row["site_id"]))
    return ordered + [_row(UNMAPPED, site) for site in strangers]


def _row(region: str, mapping: RegionMapping) -> dict[str, Any]:  # Any: a mapping's fields
    fields = mapping.model_dump(mode="json", exclude={"valid_from", "region_id"})
    return {"region_id": region, **fields}
