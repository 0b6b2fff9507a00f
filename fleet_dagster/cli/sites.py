"""Finding the site that a command names."""

import difflib

import click

from fleet_dagster.cli.place import Place
from fleet_dagster.cli.recorded import OpenFleet
from fleet_dagster.cli.standing import standing_fleets
from fleet_dagster.cli.terminal import utc
from fleet_dagster.model.fleet import Fleet, mappings_as_of
from fleet_dagster.storage.status import instant


def fleet_with(place: Place, site: str) -> str:
    """Return the fleet that has a site; wrong use where none or several have it."""
    configs = standing_fleets(place.installation()).configs
    if len(configs) == 1:
        return next(iter(configs))
    registry = place.store().registry
    owners = [c.name for c in configs.values() if site in registry.fleet(c).site_numbers]
    if len(owners) == 1:
        return owners[0]
    found = f"Fleets {', '.join(owners)} have" if owners else "No fleet has"
    message = f"{found} a site {site!r}. Name its fleet with --fleet: {', '.join(configs)}."
    raise click.BadParameter(message, param_hint="SITE")


def refuse_unmapped(opened: OpenFleet, site: str, window: int) -> None:
    """Refuse a site that the fleet does not have, or that no mapping names in a window [us]."""
    name, fleet = opened.config.name, opened.store.registry.fleet(opened.config)
    mapped = mappings_as_of(fleet.settings_at(window).region_mappings, window)
    if site in mapped:
        return
    if site in fleet.site_numbers:
        message = (
            f"no mapping names site {site} of fleet {name} at {utc(instant(window))}, and what is forgotten is noted in its "
            f"mapping. Put it into a region first: fleet regions move {name} {site} REGION --from {instant(window):%Y-%m-%d}"
        )
        raise click.BadParameter(message, param_hint="SITE")
    message = f"fleet {name} has no site {site!r}{_close_to(site, fleet)}. See them: fleet regions list {name}"
    raise click.BadParameter(message, param_hint="SITE")


def _close_to(site: str, fleet: Fleet) -> str:
    close = difflib.get_close_matches(site, fleet.site_numbers, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else ""
