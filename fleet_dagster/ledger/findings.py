"""What a verification finds, and what it says of a ledger in the end."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fleet_dagster.core.windows import iso

Kind = Literal[
    "altered",
    "missing",
    "malformed",
    "unsigned",
    "bad_checkpoint",
    "bad_root",
    "bad_tile",
    "bad_signature",
    "bad_rotation",
    "bad_pin",
    "bad_imprint",
    "beyond",
    "row_edited",
    "row_without_entry",
    "entry_without_row",
]
Verdict = Literal["valid", "unwitnessed", "invalid", "empty"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be."""

    kind: Kind
    problem: str
    """What was found and what was expected, in words."""
    number: int | None = None
    """Number of the entry that is bad, or the first that may be."""
    window_start: int | None = None
    """Window that it is about [us]."""

    def __str__(self) -> str:
        """Say it in a line."""
        place = "" if self.number is None else f"entry {self.number}"
        window = "" if self.window_start is None else f"window {iso(self.window_start)}"
        where = ", ".join(part for part in (place, window) if part)
        return f"{where}: {self.problem}" if where else self.problem


@dataclass(frozen=True, slots=True)
class Report:
    """What a ledger is worth."""

    fleet: str
    origin: str
    verdict: Verdict
    size: int = 0
    """Entries that were checked."""
    root: str = ""
    """Root over them, in hexadecimal."""
    n_rows: int = 0
    """Of these, rows of windows."""
    n_windows: int = 0
    """Windows that these rows are of."""
    n_checkpoints: int = 0
    n_pending: int = 0
    """Windows that were written or removed since the ledger was brought up to date."""
    n_expired: int = 0
    """Windows whose rows are gone because their retention was over, as the ledger says."""
    witnessed_size: int = 0
    """Entries for which enough witnesses have vouched."""
    witnesses: Mapping[str, dt.datetime] | None = None
    """Who vouched for the newest checkpoint that enough have vouched for, and when."""
    n_needed: int = 0
    """Witnesses that are needed."""
    pinned_size: int = 0
    """Entries that the checkpoint had that was seen last time; 0 where none was."""
    n_findings: int = 0
    findings: tuple[Finding, ...] = ()
    """The first of them, in the order of the ledger."""

    @property
    def first_bad(self) -> Finding | None:
        """Whatever is wrong first."""
        return self.findings[0] if self.findings else None
