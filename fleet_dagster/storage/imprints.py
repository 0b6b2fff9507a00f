"""Imprints: what software computed rows, and where it ran, so that the commit log can say so."""

import functools
import hashlib
import json
import platform
import socket
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path

import sqlalchemy as sa

from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import imprints

PACKAGE = "fleet-dagster"
LIBRARIES = ("deltalake", "numpy", "pandas", "pyarrow", "scipy")
"""Those that rows are computed and written with."""


class Imprints:
    """Keeps imprints in the control database, each once."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self._own: str | None = None

    def own(self) -> str:
        """Return the digest of this process's imprint, which is kept from then on."""
        if self._own is None:
            document = imprint_document()
            digest = _digest(document)
            if digest not in self.documents([digest]):
                row = {"digest": digest, "document": document, "recorded_at": now_us()}
                try:
                    with self.control.transaction() as tx:
                        tx.execute(sa.insert(imprints), [row])
                except sa.exc.IntegrityError:  # another process of the same software was quicker
                    pass
            self._own = digest
        return self._own

    def documents(self, digests: Collection[str]) -> dict[str, str]:
        """Return the documents of imprints, as JSON, by digest."""
        query = sa.select(imprints.c.digest, imprints.c.document)
        with self.control.reading() as tx:
            rows = tx.execute(query.where(imprints.c.digest.in_(list(digests))))
            return {str(r.digest): str(r.document) for r in rows}


def altered(documents: Mapping[str, str]) -> list[str]:
    """Return the digests of the documents that they were not taken of."""
    return sorted(d for d, text in documents.items() if _digest(text) != d)


def _digest(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()


@functools.cache
def imprint_document() -> str:
    """Return what this process runs and where, as JSON: version and digest of the package, interpreter, libraries, machine."""
    content = {
        "code_version": metadata.version(PACKAGE),
        "package_digest": package_digest(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "host": socket.gethostname(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


@functools.cache
def package_digest() -> str:
    """Return the SHA-256 over the package's source files as they are installed, in order of path."""
    folder = Path(__file__).parents[1]
    sha = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes()
        sha.update(f"{path.relative_to(folder).as_posix()}\n{len(content)}\n".encode() + content)
    return sha.hexdigest()
