"""What tables are made of: columns with their types, units, ranges and meanings, and the names they share."""

from dataclasses import dataclass, field
from typing import Literal

N_KPIS = 16
ALL_DOMAINS = "all"
"""Stands for all KPIs of a site together where a row is about one domain of them."""
SCORE_STATES = ("scored", "warming_up", "not_scored")
PATTERNS = ("isolated", "simultaneous", "cascade", "regional", "fleet_wide")
SEVERITIES = ("info", "warning", "critical")
INCIDENT_PHASES = ("opened", "changed", "merged", "closed")
UNMAPPED = "unmapped"
"""Reserved region of sites that no mapping names."""

ColumnType = Literal[
    "string",
    "date",
    "timestamp",
    "bool",
    "int8",
    "int32",
    "int64",
    "float32",
    "float64",
    "list<string>",
    "list<float32>",
]

ONLINE, DEGRADED, FAULTED, OFFLINE = 0, 1, 2, 3
STATUS_NAMES = ("online", "degraded", "faulted", "offline")
INGESTION_MODES = ("full", "downsample_healthy", "deviation_only", "storm")
DISPOSITIONS = (
    "full",
    "downsampled",
    "deviating",
    "heartbeat",
    "sampled",
    "quiet",
    "sampled_out",
    "stale",
)
"""Why a site-window is published, or, from `quiet` on, why not."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type, unit, allowed range and meaning."""

    name: str
    type: ColumnType
    meaning: str
    unit: str = ""
    nullable: bool = False
    lo: float | None = None
    hi: float | None = None
    values: tuple[str, ...] = ()
    compared: bool = True
    """Whether rows that differ in it alone differ."""


@dataclass(frozen=True, slots=True)
class Table:
    """One lake table: its grain, key and columns, in storage order."""

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    description: str = ""
    retention_days: int = 90
    """How long it is kept, unless a fleet says otherwise. [d]"""
    stream: str | None = None
    by_name: dict[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the columns and refuse a key that is not among them."""
        object.__setattr__(self, "by_name", {c.name: c for c in self.columns})
        missing = [k for k in self.key if k not in self.by_name]
        if missing:
            msg = f"table {self.name}: key columns {missing} are not columns"
            raise ValueError(msg)

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns in storage order."""
        return tuple(c.name for c in self.columns)


def kpi_columns(prefix: str, meaning: str, *, unit: str = "") -> tuple[Column, ...]:
    """Return the sixteen numbered columns of one per-KPI quantity."""
    return tuple(
        Column(f"{prefix}_{k:02d}", "float32", meaning.format(k=k), unit, nullable=True)
        for k in range(N_KPIS)
    )


KPI_NAMES = tuple(f"kpi_{k:02d}" for k in range(N_KPIS))
READING_NAMES = tuple(f"reading_{k:02d}" for k in range(N_KPIS))
CENTRE_NAMES = tuple(f"centre_{k:02d}" for k in range(N_KPIS))
SCALE_NAMES = tuple(f"scale_{k:02d}" for k in range(N_KPIS))

WINDOW = (
    Column("fleet", "string", "Fleet the row belongs to"),
    Column("day", "date", "UTC day of window_start; the partition folder"),
    Column("window_start", "timestamp", "First instant of the window, UTC"),
    Column("window_end", "timestamp", "First instant after the window, UTC"),
)
BANDS = ("healthy", "degraded", "critical")


def share(name: str, meaning: str, *, nullable: bool = False) -> Column:
    """Return a column of shares, 0 to 1."""
    return Column(name, "float64", meaning, "1", nullable=nullable, lo=0.0, hi=1.0)


def count(name: str, meaning: str, *, nullable: bool = False) -> Column:
    """Return a column of counts."""
    return Column(name, "int32", meaning, "1", nullable=nullable, lo=0)
