"""The models folder: files named by their digest, so that an upgrade never overwrites what older windows were computed with."""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fleet_dagster.model.errors import ModelError
from fleet_dagster.model.slots import AIModelSlot

MAX_BYTES = 256 * 1024 * 1024
"""Size above which a file is refused unread."""
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """Where the files of models are."""

    root: Path

    def add(self, source: Path) -> tuple[str, str]:
        """Copy a file into the folder; returns its name there and its SHA-256.

        Raises
        ------
        ModelError
            It is no file, or too large.
        """
        if not source.is_file():
            raise ModelError(str(source), "is no file", "Name the file of the trained model")
        if source.stat().st_size > MAX_BYTES:
            raise ModelError(str(source), _too_large(source), "Train a smaller model")
        self.root.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=self.root, prefix=".part-")
        try:
            digest = hashlib.sha256()
            with os.fdopen(handle, "wb") as out, source.open("rb") as content:
                while chunk := content.read(_CHUNK):
                    digest.update(chunk)
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            name = f"{digest.hexdigest()[:16]}-{source.name}"
            shutil.move(part, self.root / name)
        finally:
            Path(part).unlink(missing_ok=True)
        return name, digest.hexdigest()

    def read(self, slot: AIModelSlot) -> bytes:
        """Return the file of a slot's model, if it is the one that was pinned.

        What is loaded are these very bytes: a file that is swapped after the check is not looked at again.

        Raises
        ------
        ModelError
            There is none, it lies outside the folder, is too large, or has another digest.
        """
        name = f"model {slot.model_id!r}"
        if not slot.artifact or not slot.sha256:
            raise ModelError(
                name, "has no file that a digest pins", "Register it with `fleet slots add`"
            )
        path = self._inside(slot.artifact, name)
        if not path.is_file():
            raise ModelError(
                name,
                f"file {slot.artifact!r} is not in {self.root}",
                "Put it back, or register the model again",
            )
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(name, _too_large(path), "Train a smaller model")
        content = path.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != slot.sha256:
            raise ModelError(
                name,
                f"file {slot.artifact!r} has SHA-256 {found[:16]}…, {slot.sha256[:16]}… was registered",
                "Put the right file back, or register this one as a new version",
            )
        return content

    def _inside(self, artifact: str, name: str) -> Path:
        path = (self.root / artifact).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise ModelError(
                name,
                f"file {artifact!r} lies outside {self.root}",
                "Register it with `fleet slots add`, which copies it there",
            )
        return path


def _too_large(path: Path) -> str:
    return f"{path.name} has {path.stat().st_size / 1e6:,.0f} MB, at most {MAX_BYTES / 1e6:,.0f} MB are read"
