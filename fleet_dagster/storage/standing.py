"""The fleets that stand while some of their files are invalid: one fleet's fault never stops another."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ConfigError, UnknownFleetError
from fleet_dagster.model.yaml_file import parse_config, text_of
from fleet_dagster.storage.accepted import AcceptedFiles

_NAME_LINE = re.compile(
    r"""^(?:\{\s*)?["']?name["']?\s*:\s*["']?([a-z][a-z0-9_]*)["']?\s*(?=[#,}]|$)""", re.MULTILINE
)
"""The line of a fleet's file that names the fleet."""


class Consequence(StrEnum):
    """What becomes of a fleet with an invalid file."""

    ACCEPTED = "goes on as its file last was when it was valid"
    OTHER_FILE = "goes by another file"
    LEFT_OUT = "is left out"


@dataclass(frozen=True, slots=True)
class InvalidFile:
    """A file of the fleets folder that does not count."""

    error: ConfigError
    fleet: str
    """The fleet it is about, as far as that can be told."""
    consequence: Consequence

    def __str__(self) -> str:
        """Say in one line what is wrong, and what follows."""
        found = " ".join(f"{self.error.source}: {'; '.join(self.error.problems)}".split())
        return f"{found.removesuffix('.')}. Until that is mended, fleet {self.fleet} {self.consequence}"


@dataclass(frozen=True, slots=True)
class Standing:
    """The fleets that can run, and the files that do not count."""

    configs: dict[str, FleetConfig]
    invalid: tuple[InvalidFile, ...]

    @classmethod
    def of(cls, files: Sequence[Path], accepted: AcceptedFiles) -> "Standing":
        """Read the files; a valid one is remembered, for an invalid one stands what is remembered."""
        found, broken = _read(files)
        configs: dict[str, FleetConfig] = {}
        invalid = []
        # A file named after its fleet comes before a copy of it, wherever the names sort them.
        for path, text, config in sorted(found, key=lambda one: one[0].stem != one[2].name):
            if config.name in configs:
                twice = defined_twice(path, config.name)
                invalid.append(InvalidFile(twice, config.name, Consequence.OTHER_FILE))
                continue
            configs[config.name] = config
            accepted.keep(config.name, text, path)
        invalid += [_replace(configs, accepted, error, path) for path, error in broken]
        return cls(dict(sorted(configs.items())), tuple(invalid))

    def of_fleet(self, fleet: str) -> FleetConfig:
        """Return what stands of one fleet."""
        if fleet in self.configs:
            return self.configs[fleet]
        self.refuse_invalid(fleet)
        names = [Path(one.error.source).name for one in self.invalid]
        raise UnknownFleetError(fleet, list(self.configs), names)

    def invalid_of(self, fleet: str) -> list[InvalidFile]:
        """Return the files about one fleet that do not count."""
        return [one for one in self.invalid if one.fleet == fleet]

    def refuse_invalid(self, fleet: str) -> None:
        """Raise what is wrong with a fleet's own file."""
        for one in self.invalid_of(fleet):
            raise one.error

    def replaced(self) -> set[str]:
        """Return the fleets that stand as they were last accepted."""
        return {one.fleet for one in self.invalid if one.consequence is Consequence.ACCEPTED}


def name_in(path: Path) -> str | None:
    """Return the fleet that a file names, valid or not; only the line with the name is looked at."""
    try:
        named = _NAME_LINE.search(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return named.group(1) if named else None


def defined_twice(path: Path, fleet: str) -> ConfigError:
    """Return the error of a second file for one fleet."""
    problem = f"name: fleet {fleet!r} is defined by another file too. Rename one of them"
    return ConfigError(str(path), [problem])


def _read(
    files: Sequence[Path],
) -> tuple[list[tuple[Path, str, FleetConfig]], list[tuple[Path, ConfigError]]]:
    found, broken = [], []
    for path in files:
        try:
            text = text_of(path)
            found.append((path, text, parse_config(text, source=str(path))))
        except ConfigError as error:
            broken.append((path, error))
    return found, broken


def _replace(
    configs: dict[str, FleetConfig], accepted: AcceptedFiles, error: ConfigError, path: Path
) -> InvalidFile:
    """Let what was last accepted stand in for a broken file, where no other file defines its fleet."""
    named = name_in(path)
    if named in configs:
        return InvalidFile(error, named, Consequence.OTHER_FILE)
    guessed = [n for n in (named, accepted.fleet_of(path), path.stem) if n and n not in configs]
    for fleet in guessed:
        config = accepted.config(fleet)
        if config is not None:
            configs[fleet] = config
            return InvalidFile(error, fleet, Consequence.ACCEPTED)
    return InvalidFile(error, next(iter(guessed), path.name), Consequence.LEFT_OUT)
