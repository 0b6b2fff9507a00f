"""The fleets that commands show although files are invalid, with a note on each such file."""

from fleet_dagster.cli.terminal import note
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.storage.installation import Installation
from fleet_dagster.storage.standing import Standing


def standing_fleets(installation: Installation) -> Standing:
    """Return the fleets that can be shown; where there is none but invalid files, that is an error."""
    standing = installation.standing()
    if not standing.configs:
        installation.configs()
    for one in standing.invalid:
        note(str(one))
    return standing


def standing_fleet(installation: Installation, fleet: str) -> FleetConfig:
    """Return one fleet, as it was last accepted where its file is invalid now."""
    standing = installation.standing()
    config = standing.of_fleet(fleet)
    for one in standing.invalid_of(fleet):
        note(str(one))
    return config
