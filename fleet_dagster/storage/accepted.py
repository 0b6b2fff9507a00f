"""The fleets' files as they were when they were last valid: what runs on while a file is broken."""

import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.yaml_file import parse_config, text_of


@dataclass(frozen=True, slots=True)
class AcceptedFiles:
    """Copies of valid fleet files by fleet, and which fleet each file defined; they are a help, so a failure to write is none."""

    home: Path

    def keep(self, fleet: str, text: str, path: Path) -> None:
        """Remember a fleet's valid file. Where there is no home yet nothing has run, and nothing is remembered."""
        with suppress(OSError):
            if self.home.is_dir():
                _write(self._copy(fleet), text)
                _write(self._named(path), fleet)

    def config(self, fleet: str) -> FleetConfig | None:
        """Return a fleet as its file last defined it; None where that is not known, or no longer valid."""
        copy = self._copy(fleet)
        try:
            return parse_config(text_of(copy), source=str(copy))
        except ConfigError:
            return None

    def fleet_of(self, path: Path) -> str | None:
        """Return the fleet that a file of this name last defined."""
        try:
            return self._named(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def _copy(self, fleet: str) -> Path:
        return self.home / "accepted" / f"{fleet}.yaml"

    def _named(self, path: Path) -> Path:
        return self.home / "accepted" / "files" / path.name


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all, and only where it differs: every process that loads the fleets comes by here."""
    content = text.encode()
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
