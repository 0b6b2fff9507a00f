"""Where a ledger's private keys are: a file that nobody else may read, or an environment variable."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fleet_dagster.ledger.entries import KEY_ROTATION, read_entry
from fleet_dagster.ledger.key_files import new_keys, parse_private, read_private, write_private
from fleet_dagster.ledger.log import Log
from fleet_dagster.ledger.signing import Kind, SigningKey, VerifierKey
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.model.ledger import FROM_ENVIRONMENT
from fleet_dagster.storage.store import Store

KINDS = (Kind.ED25519, Kind.MLDSA44_COSIGNATURE)
"""A note's signature for the tools of today, and a lattice signature for those to come."""
Keys = tuple[SigningKey, ...]


@dataclass(frozen=True, slots=True)
class KeyStore:
    """The private keys of one fleet's ledger."""

    folder: Path
    origin: str
    variable: str = ""
    """Environment variable that holds them; empty where they are in a file."""

    @classmethod
    def of(cls, store: Store, config: FleetConfig) -> "KeyStore":
        """Return where a fleet's keys are."""
        settings = config.ledger
        variable = settings.keys.removeprefix(FROM_ENVIRONMENT)
        return cls(store.keys / config.name, settings.origin_of(config.name), variable)

    @property
    def path(self) -> Path:
        """The file with the keys in force."""
        return self.folder / "log.pem"

    @property
    def coming(self) -> Path:
        """The file with the keys of a rotation that is under way."""
        return self.folder / "next.pem"

    @property
    def place(self) -> str:
        """Where the keys are, in words."""
        return f"environment variable {self.variable}" if self.variable else str(self.path)

    def is_there(self) -> bool:
        """Tell whether there are keys, be they readable or not."""
        if self.variable:
            return bool(os.environ.get(self.variable))
        try:
            return self.path.exists()
        except PermissionError:
            return True

    def load(self) -> Keys:
        """Return the keys.

        Raises
        ------
        LedgerError
            There are none, others may read them, or they are not what a ledger signs with.
        """
        if not self.variable:
            return self._whole(read_private(self.path, self.origin, kinds=KINDS))
        pem = os.environ.get(self.variable, "")
        if not pem:
            raise LedgerError(
                f"keys of ledger {self.origin!r}",
                f"the environment variable {self.variable} is not set",
                "Set it to the content of a key file, or remove ledger.keys from the fleet's file",
            )
        return self._whole(parse_private(pem, self.origin, what=self.place, kinds=KINDS))

    def create(self) -> Keys:
        """Make new keys.

        Raises
        ------
        LedgerError
            There are keys already, or they come from an environment variable.
        """
        self._refuse_variable("made")
        keys = new_keys(self.origin, KINDS)
        write_private(self.path, keys)
        return keys

    def successors(self) -> Keys:
        """Return the keys of the rotation that is under way, or of one that begins with this."""
        self._refuse_variable("rotated")
        if not self.coming.exists():
            write_private(self.coming, new_keys(self.origin, KINDS))
        return read_private(self.coming, self.origin, kinds=KINDS)

    def promote(self) -> None:
        """Put the new keys in force; the old ones are gone. Whoever looks at the ledger just then may do it first."""
        with suppress(FileNotFoundError):
            self.coming.replace(self.path)

    def in_force(self, log: Log) -> Keys:
        """Return the keys that the log's own entries name, with a rotation that was cut off finished.

        Raises
        ------
        LedgerError
            The log says that it is signed with other keys.
        """
        keys, rotation = self.load(), newest_rotation(log)
        if rotation is None or rotation == vkeys(keys):
            return keys
        if not self.variable:
            if rotation == self._coming_vkeys():
                self.promote()
            keys = self.load()  # another process may have finished the rotation just now
            if rotation == vkeys(keys):
                return keys
        raise LedgerError(
            f"keys of ledger {self.origin!r}",
            f"the log was handed over to other keys than those in {self.place}",
            "Put the newest keys back: the old ones are no longer trusted",
        )

    def _coming_vkeys(self) -> list[str] | None:
        """Return the public halves of the keys of a rotation that is under way; None where there is none."""
        try:
            return vkeys(read_private(self.coming, self.origin, kinds=KINDS))
        except LedgerError:
            if self.coming.exists():
                raise
            return None

    def _whole(self, keys: Keys) -> Keys:
        if len(keys) != len(KINDS):
            raise LedgerError(
                self.place,
                f"found {len(keys)} key, expected an Ed25519 and an ML-DSA-44 key",
                "Put the whole file back from its safe copy",
            )
        return keys

    def _refuse_variable(self, what: str) -> None:
        if self.variable:
            raise LedgerError(
                f"keys of ledger {self.origin!r}",
                f"they come from the {self.place}, so they cannot be {what} here",
                "Remove ledger.keys from the fleet's file first, or keep them in a file",
            )


def vkeys(keys: Sequence[SigningKey]) -> list[str]:
    """Return the public halves as C2SP writes them."""
    return [key.verifier.vkey for key in keys]


def verifiers(keys: Sequence[SigningKey]) -> tuple[VerifierKey, ...]:
    """Return the public halves."""
    return tuple(key.verifier for key in keys)


def newest_rotation(log: Log) -> list[str] | None:
    """Return the keys that the log was handed over to last; None where it has had one set only."""
    found = log.of_kind(KEY_ROTATION)
    return list(read_entry(found[-1].leaf.entry)["new"]) if found else None
