"""How a source's columns become snapshots: names, units, time zone and defaults (`source:` in a fleet's YAML)."""

import codecs
import zoneinfo
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from fleet_dagster.model.profiles import Frozen


def known_zone(name: str) -> str:
    """Return the name of an IANA time zone as it is; refuse any other."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = f"found {name!r}, expected an IANA time zone. Use a name such as 'UTC' or 'Europe/Berlin'"
        raise ValueError(msg) from error
    return name


def _known_encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except (LookupError, ValueError) as error:
        msg = f"found {name!r}, expected an encoding. Use a name such as 'utf-8' or 'latin-1'"
        raise ValueError(msg) from error
    return name


ZoneName = Annotated[str, AfterValidator(known_zone)]


class KpiColumn(Frozen):
    """Where a KPI's reading comes from, and in which unit the source gives it."""

    column: str
    """Column of the source."""
    unit: str | None = None
    """Unit of the source column; None means the KPI's own unit."""


class Defaults(Frozen):
    """What to assume where the source has no such column, or leaves it empty."""

    status: Annotated[int, Field(ge=0, le=3)] = 0
    """0 online, 1 degraded, 2 faulted, 3 offline."""
    uptime_pct: Annotated[float, Field(ge=0, le=100)] = 100.0
    """Share of time in operation. [%]"""
    fault_count: Annotated[int, Field(ge=0)] = 0
    """Active faults."""
    quality: Annotated[int, Field(ge=0, le=2)] = 0
    """0 good, 1 uncertain, 2 bad."""


class SourceMapping(Frozen):
    """Names the columns of the files that a fleet's telemetry arrives in.

    A KPI that `kpis` does not name is read from the column of its own name, and is simply absent where there is none;
    a column that `kpis` does name must exist.
    """

    site_id: str = "site_id"
    """Column of the site."""
    timestamp: str = "timestamp"
    """Column of the time stamp."""
    status: str | None = "status"
    """Column of the status."""
    uptime_pct: str | None = "uptime_pct"
    """Column of the uptime."""
    fault_count: str | None = "fault_count"
    """Column of the active faults."""
    quality: str | None = "quality"
    """Column of the quality."""
    sequence: str | None = "sequence"
    """Column of the source's sequence number: of equal stamps the highest counts."""
    received_at: str | None = None
    """Column that tells when each snapshot was first received (replays); None means the moment of import."""
    kpis: dict[str, KpiColumn] = Field(default_factory=dict)
    """Column and unit of each KPI whose column is not called like it, or has another unit."""
    defaults: Defaults = Defaults()
    """What to assume where a cell or a column is missing."""
    timezone: ZoneName = "UTC"
    """Zone of stamps that carry no offset, as an IANA name."""
    time_format: Literal["iso8601", "unix_s", "unix_ms"] = "iso8601"
    """How time stamps are written."""
    status_values: dict[str, Annotated[int, Field(ge=0, le=3)]] = Field(default_factory=dict)
    """Source words for status, e.g. {RUN: 0, TRIP: 2}; numbers 0..3 and our own names are always understood."""
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8"
    """Encoding of text files."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Delimiter of CSV files."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of CSV files."""

    @model_validator(mode="after")
    def _columns_are_distinct(self) -> Self:
        named = [self.site_id, self.timestamp, *(k.column for k in self.kpis.values())]
        twice = sorted({c for c in named if named.count(c) > 1})
        if twice:
            msg = f"columns {twice} feed more than one field. Give each field a column of its own"
            raise ValueError(msg)
        return self
