"""How a fleet's ledger is called, where its keys are, and who witnesses it."""

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from fleet_dagster.model.profiles import Frozen

FROM_ENVIRONMENT = "env:"
_KEYS = re.compile(r"|env:[A-Za-z_][A-Za-z0-9_]*")
_ADDRESS = re.compile(r"https?://[^\s@]+")


class LedgerWitness(Frozen):
    """Somebody else, who vouches that the ledger only grew."""

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\s+]+$")]
    """Name, the one in its key."""
    url: Annotated[str, Field(min_length=1)]
    """Where it takes checkpoints, without `/add-checkpoint`."""
    key: Annotated[str, Field(min_length=1)]
    """Its public key, NAME+ID+KEY, as `fleet witness show` prints it."""


class LedgerSettings(Frozen):
    """What is recorded of fleet_kpi so that it cannot be rewritten silently. It begins once the fleet has keys: `fleet keys init`."""

    origin: Annotated[str, Field(max_length=200, pattern=r"^[^\s+]*$")] = ""
    """Name of the ledger, in the whole world if others witness it, and for ever; empty takes esn/fleet/NAME."""
    keys: str = ""
    """Where the private keys are: empty takes the file that `fleet keys init` writes; env:NAME reads an environment variable."""
    witnesses: Annotated[tuple[LedgerWitness, ...], Field(max_length=32)] = ()
    """Who vouches for it."""
    quorum: Annotated[int, Field(ge=0, le=32)] = 0
    """How many of them must have vouched; 0 takes more than half."""

    def origin_of(self, fleet: str) -> str:
        """Return the name of a fleet's ledger."""
        return self.origin or f"esn/fleet/{fleet}"

    @property
    def n_needed(self) -> int:
        """Number of witnesses that must have vouched; 0 where there are none."""
        return self.quorum or (len(self.witnesses) // 2 + 1 if self.witnesses else 0)


def ledger_problems(settings: LedgerSettings) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what is wrong with a ledger's settings, and where."""
    if not _KEYS.fullmatch(settings.keys):
        yield (
            ("ledger", "keys"),
            "ledger.keys is neither empty nor env:NAME. Keys never stand in the file: run `fleet keys init`, or name a variable",
        )
    if settings.quorum > len(settings.witnesses):
        yield (
            ("ledger", "quorum"),
            f"ledger.quorum is {settings.quorum}, but there are {len(settings.witnesses)} witnesses. Lower it, or name more",
        )
    for field in ("name", "key"):
        values = [getattr(one, field) for one in settings.witnesses]
        for i, value in enumerate(values):
            if value in values[:i]:
                yield (
                    ("ledger", "witnesses", i, field),
                    f"ledger.witnesses repeat the {field} of another. A witness counts once: remove one of them",
                )
    for i, one in enumerate(settings.witnesses):
        if not one.key.startswith(f"{one.name}+"):
            yield (
                ("ledger", "witnesses", i, "key"),
                f"ledger.witnesses: the key is not one of {one.name!r}. Give NAME+ID+KEY, with the same name",
            )
        if not _ADDRESS.fullmatch(one.url):
            yield (
                ("ledger", "witnesses", i, "url"),
                f"ledger.witnesses: the address of {one.name!r} is none. Give http://… or https://…, without a password",
            )
