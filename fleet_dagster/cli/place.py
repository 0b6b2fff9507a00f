"""Where a command works: `--home` and `--fleets`, before or after the command's name."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from fleet_dagster.storage.installation import Installation
    from fleet_dagster.storage.store import Store

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(slots=True)
class Place:
    """The folders that the command line names; what it leaves out comes from the environment, else from here."""

    home: str | None = None
    fleets: str | None = None

    def environment(self) -> Mapping[str, str]:
        """Return the environment as the options change it."""
        given = {"FLEET_HOME": self.home, "FLEET_FLEETS": self.fleets}
        chosen = {name: str(Path(value).absolute()) for name, value in given.items() if value}
        return {**os.environ, **chosen}

    def installation(self) -> "Installation":
        """Return the installation, unopened."""
        from fleet_dagster.storage.installation import Installation  # noqa: PLC0415 - keeps `fleet --help` quick

        return Installation.from_environment(self.environment(), folder=Path.cwd())

    def store(self) -> "Store":
        """Open the installation's storage until the command ends."""
        return click.get_current_context().with_resource(self.installation().store())


def installation_options(command: Decorated) -> Decorated:
    """Add `--home` and `--fleets` to a command; they end up in its `Place`."""
    folder = click.Path(file_okay=False)
    home = click.option(
        "--home",
        type=folder,
        expose_value=False,
        callback=_keep,
        help="Folder of the lake and the databases. [default: $FLEET_HOME or ./.fleet]",
    )
    fleets = click.option(
        "--fleets",
        type=folder,
        expose_value=False,
        callback=_keep,
        help="Folder of the fleets' files. [default: $FLEET_FLEETS or ./fleets]",
    )
    return home(fleets(command))


def _keep(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    place = ctx.ensure_object(Place)
    if value and option.name:
        setattr(place, option.name, value)
