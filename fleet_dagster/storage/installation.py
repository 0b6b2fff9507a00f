"""Where an installation keeps things: its fleets' files, watched folders, lake, control database and Dagster home."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet_dagster.model.config import FleetConfig
from fleet_dagster.storage.accepted import AcceptedFiles
from fleet_dagster.storage.standing import Standing, name_in
from fleet_dagster.storage.store import Store


@dataclass(frozen=True, slots=True)
class Installation:
    """The folders and addresses of one installation; opening it is up to the caller."""

    home: Path
    fleets_folder: Path
    lake_root: str
    control_url: str
    inbox_root: Path
    """Holds one watched folder for each fleet."""
    models_folder: Path
    """Holds the files of AI models."""
    keys_folder: Path
    """Holds the ledgers' private keys."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *, folder: Path) -> "Installation":
        """Read FLEET_HOME, FLEET_FLEETS, FLEET_LAKE, FLEET_CONTROL_URL, FLEET_INBOX, FLEET_MODELS and FLEET_KEYS; by default all lies below `folder`."""
        home = Path(environment.get("FLEET_HOME") or folder / ".fleet").expanduser().absolute()
        return cls(
            home=home,
            fleets_folder=Path(environment.get("FLEET_FLEETS") or folder / "fleets")
            .expanduser()
            .absolute(),
            lake_root=environment.get("FLEET_LAKE") or str(home / "lake"),
            control_url=environment.get("FLEET_CONTROL_URL") or f"sqlite:///{home / 'control.db'}",
            inbox_root=Path(environment.get("FLEET_INBOX") or home / "inbox")
            .expanduser()
            .absolute(),
            models_folder=Path(environment.get("FLEET_MODELS") or home / "models")
            .expanduser()
            .absolute(),
            keys_folder=Path(environment.get("FLEET_KEYS") or home / "keys")
            .expanduser()
            .absolute(),
        )

    @property
    def dagster_home(self) -> Path:
        """Dagster's own folder."""
        return self.home / "dagster"

    def environment(self) -> dict[str, str]:
        """Return the variables that make another process use this installation."""
        return {
            "FLEET_HOME": str(self.home),
            "FLEET_FLEETS": str(self.fleets_folder),
            "FLEET_LAKE": self.lake_root,
            "FLEET_CONTROL_URL": self.control_url,
            "FLEET_INBOX": str(self.inbox_root),
            "FLEET_MODELS": str(self.models_folder),
            "FLEET_KEYS": str(self.keys_folder),
            "DAGSTER_HOME": str(self.dagster_home),
        }

    def store(self) -> Store:
        """Open the storage, creating what is missing."""
        self.home.mkdir(parents=True, exist_ok=True)
        return Store.of(
            self.lake_root,
            self.control_url,
            models=self.models_folder,
            keys=self.keys_folder,
            snapshots=self.home / "snapshots",
        )

    def files(self) -> list[Path]:
        """Return the fleets' files, in order of name."""
        return sorted([*self.fleets_folder.glob("*.yaml"), *self.fleets_folder.glob("*.yml")])

    def file_of(self, fleet: str) -> Path | None:
        """Return the file that defines a fleet, valid or not; None where no file does.

        Only the line with the name is looked at: a file named after the fleet first, then the others. Of files without
        such a line, the one counts that is named after the fleet or last defined it.
        """
        unnamed = []
        for path in sorted(self.files(), key=lambda p: p.stem != fleet):
            named = name_in(path)
            if named == fleet:
                return path
            if named is None and fleet in (path.stem, self._accepted.fleet_of(path)):
                unnamed.append(path)
        return unnamed[0] if unnamed else None

    def standing(self) -> Standing:
        """Return the fleets that can run, whichever files are invalid, and those files.

        A fleet whose file is broken stands as it was last accepted.
        """
        return Standing.of(self.files(), self._accepted)

    def configs(self) -> dict[str, FleetConfig]:
        """Read every fleet file of the folder, by fleet name.

        Raises
        ------
        ConfigError
            A file is invalid, or two files define the same fleet.
        """
        standing = self.standing()
        for one in standing.invalid:
            raise one.error
        return standing.configs

    def config(self, fleet: str) -> FleetConfig:
        """Return the configuration of one fleet as its file has it; other fleets' files may be invalid.

        Raises
        ------
        ConfigError
            The fleet's file is invalid, or two files define it.
        UnknownFleetError
            No file defines it.
        """
        standing = self.standing()
        standing.refuse_invalid(fleet)
        return standing.of_fleet(fleet)

    @property
    def _accepted(self) -> AcceptedFiles:
        return AcceptedFiles(self.home)
