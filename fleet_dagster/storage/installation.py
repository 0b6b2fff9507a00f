"""Where an installation keeps things: its fleets' files, watched folders, lake, control database and Dagster home."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ConfigError, UnknownFleetError
from fleet_dagster.model.yaml_file import load_config
from fleet_dagster.storage.store import Store

_NAME_LINE = re.compile(r"""^(?:\{\s*)?["']?name["']?\s*:\s*["']?([a-z][a-z0-9_]*)""", re.MULTILINE)
"""The line of a fleet's file that names the fleet."""


@dataclass(frozen=True, slots=True)
class Installation:
    """The folders and addresses of one installation; opening it is up to the caller."""

    home: Path
    fleets_folder: Path
    lake_root: str
    control_url: str
    inbox_root: Path
    """Holds one watched folder for each fleet."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *, folder: Path) -> "Installation":
        """Read FLEET_HOME, FLEET_FLEETS, FLEET_LAKE, FLEET_CONTROL_URL and FLEET_INBOX; by default all lies below `folder`."""
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
            "DAGSTER_HOME": str(self.dagster_home),
        }

    def store(self) -> Store:
        """Open the storage, creating what is missing."""
        self.home.mkdir(parents=True, exist_ok=True)
        return Store.of(self.lake_root, self.control_url)

    def files(self) -> list[Path]:
        """Return the fleets' files, in order of name."""
        return sorted([*self.fleets_folder.glob("*.yaml"), *self.fleets_folder.glob("*.yml")])

    def file_of(self, fleet: str) -> Path | None:
        """Return the file that defines a fleet, valid or not; None where no file does.

        Only the line with the name is looked at: a file named after the fleet first, then the others.
        """
        for path in sorted(self.files(), key=lambda p: p.stem != fleet):
            named = _NAME_LINE.search(path.read_text(encoding="utf-8", errors="replace"))
            if named.group(1) == fleet if named else path.stem == fleet:
                return path
        return None

    def configs(self) -> dict[str, FleetConfig]:
        """Read every fleet file of the folder, by fleet name.

        Raises
        ------
        ConfigError
            A file is invalid, or two files define the same fleet.
        """
        found: dict[str, FleetConfig] = {}
        for path in self.files():
            config = load_config(path)
            if config.name in found:
                raise ConfigError(
                    str(path),
                    [
                        f"name: fleet {config.name!r} is defined by another file too. Rename one of them"
                    ],
                )
            found[config.name] = config
        return found

    def config(self, fleet: str) -> FleetConfig:
        """Return the configuration of one fleet."""
        configs = self.configs()
        if fleet not in configs:
            raise UnknownFleetError(fleet, list(configs))
        return configs[fleet]
