"""Resources: a door to the installation's storage, the folder of its fleets' files, and its watched folders."""

import functools
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from fleet_dagster.storage.installation import Installation
from fleet_dagster.storage.store import Store

RESOURCE_KEY = "installation"
FILES_KEY = "fleet_files"
INBOX_KEY = "inbox"


class InstallationResource(dg.ConfigurableResource["Store"]):
    """Opens the lake and the control database; what is left empty comes from FLEET_HOME, FLEET_LAKE, FLEET_CONTROL_URL."""

    home: str = ""
    lake_root: str = ""
    control_url: str = ""

    def create_resource(self, context: dg.InitResourceContext) -> Store:  # noqa: ARG002 - Dagster's signature
        """Open the storage."""
        return self.installation().store()

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[Store]:
        """Open the storage for a run or a tick, and close it afterwards."""
        with self.create_resource(context) as store:
            yield store

    def installation(self) -> Installation:
        """Return where the storage is."""
        given = {
            "FLEET_HOME": self.home,
            "FLEET_LAKE": self.lake_root,
            "FLEET_CONTROL_URL": self.control_url,
        }
        environment = {**os.environ, **{name: value for name, value in given.items() if value}}
        return Installation.from_environment(environment, folder=Path.cwd())


class FleetFilesResource(dg.ConfigurableResource["Installation"]):
    """Tells where the fleets' files are; what is left empty comes from FLEET_FLEETS."""

    fleets_folder: str = ""

    def create_resource(self, context: dg.InitResourceContext) -> Installation:  # noqa: ARG002 - Dagster's signature
        """Return the installation whose folder it is."""
        given = {"FLEET_FLEETS": self.fleets_folder} if self.fleets_folder else {}
        return Installation.from_environment({**os.environ, **given}, folder=Path.cwd())


@functools.cache
def files_of(installation: Installation | None) -> FleetFilesResource:
    """Return the resource of an installation's fleet files, or of the environment's; one object each, too."""
    if installation is None:
        return FleetFilesResource()
    return FleetFilesResource(fleets_folder=str(installation.fleets_folder))


class InboxResource(dg.ConfigurableResource[Path]):
    """Names the folder of the fleets' watched folders; what is left empty comes from FLEET_INBOX, else from FLEET_HOME."""

    folder: str = ""

    def create_resource(self, context: dg.InitResourceContext) -> Path:  # noqa: ARG002 - Dagster's signature
        """Return the folder."""
        given = {"FLEET_INBOX": self.folder} if self.folder else {}
        return Installation.from_environment({**os.environ, **given}, folder=Path.cwd()).inbox_root


@functools.cache
def inbox_of(installation: Installation | None) -> InboxResource:
    """Return the watched folders of an installation, or of the environment's; one object each."""
    return (
        InboxResource()
        if installation is None
        else InboxResource(folder=str(installation.inbox_root))
    )


@functools.cache
def resource_of(installation: Installation | None) -> InstallationResource:
    """Return the resource of an installation, or of the environment's; one object each, or definitions would not merge."""
    if installation is None:
        return InstallationResource()
    return InstallationResource(
        home=str(installation.home),
        lake_root=installation.lake_root,
        control_url=installation.control_url,
    )
