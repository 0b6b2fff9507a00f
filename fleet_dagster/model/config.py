"""`FleetConfig`: everything that defines a fleet, with every limit enforced when it is made."""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, field_validator, model_validator

from fleet_dagster.model.alerts import AlertSettings
from fleet_dagster.model.errors import RuleError
from fleet_dagster.model.ledger import LedgerSettings
from fleet_dagster.model.names import Identifier
from fleet_dagster.model.profiles import (
    PRESETS,
    PROFILES,
    FleetProfile,
    Frozen,
    HealthWeights,
    fleet_profile_small,
)
from fleet_dagster.model.retention import Retention
from fleet_dagster.model.rules import refuse_broken
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.model.source import SourceMapping, ZoneName
from fleet_dagster.model.streamsight import StreamSightSettings
from fleet_dagster.model.tables import N_KPIS, UNMAPPED

FleetName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]
MAX_WEIGHT = 1e9
MIN_RETENTION_DAYS = 40
"""A baseline learns from 29 days, and the schedule catches up a week: telemetry must outlive both."""
NUMERICS_VERSION = "2"
"""Raised when a node starts to compute other rows from the same inputs: stored rows then no longer count as current."""


class Kpi(Frozen):
    """One key performance indicator: its unit, its range, and which way is better."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
    """Name; also the source column, unless `source.kpis` names another."""
    unit: str = "1"
    """Unit of lo, hi and the target."""
    lo: float = 0.0
    """Lower end of the usual range: 0 after normalising."""
    hi: float = 1.0
    """Upper end of the usual range: 1 after normalising."""
    direction: Literal["higher", "lower", "band"] = "higher"
    """Which way is better; `band` is best between target_lo and target_hi."""
    target_lo: float | None = None
    """Lower end of the target, for `band`."""
    target_hi: float | None = None
    """Upper end of the target, for `band`."""
    domain: str = "general"
    """What it is about: thermal, electrical, mechanical, …"""

    @model_validator(mode="after")
    def _range_and_target_make_sense(self) -> Self:
        if not self.lo < self.hi:
            msg = f"KPI {self.name!r}: lo {self.lo:g} must be below hi {self.hi:g}. Swap them, or widen the range"
            raise ValueError(msg)
        has_target = self.target_lo is not None and self.target_hi is not None
        if self.direction == "band" and not has_target:
            msg = f"KPI {self.name!r}: direction 'band' needs target_lo and target_hi. Add both, or choose 'higher' or 'lower'"
            raise ValueError(msg)
        if self.direction != "band" and (self.target_lo is not None or self.target_hi is not None):
            msg = f"KPI {self.name!r}: target_lo and target_hi go with direction 'band', found {self.direction!r}. Remove them"
            raise ValueError(msg)
        if (
            self.target_lo is not None
            and self.target_hi is not None
            and not self.lo <= self.target_lo <= self.target_hi <= self.hi
        ):
            msg = (
                f"KPI {self.name!r}: the target [{self.target_lo:g}, {self.target_hi:g}] must lie within "
                f"[{self.lo:g}, {self.hi:g}]. Narrow it or widen lo and hi"
            )
            raise ValueError(msg)
        return self


class RegionMapping(Frozen):
    """Puts a site into a region, from an instant on."""

    site_id: Identifier
    """Site, as the source names it."""
    region_id: Identifier
    """Region."""
    weight: Annotated[float, Field(ge=0, le=MAX_WEIGHT)] = 1.0
    """Weight in the means, such as the rated capacity."""
    critical: bool = False
    """Always looked at, even in a storm."""
    depends_on: tuple[Identifier, ...] = ()
    """Sites upstream, whose faults reach this one."""
    baseline_from: AwareDatetime | None = None
    """Forget what was normal before: after a rebuild, say. The site is compared with its region until it has a history again."""
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    """Place. [degrees]"""
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None
    """Place. [degrees]"""
    valid_from: AwareDatetime | None = None
    """Start of validity; None means since the beginning of time."""

    @field_validator("region_id")
    @classmethod
    def _not_reserved(cls, region_id: str) -> str:
        if region_id == UNMAPPED:
            msg = f"{UNMAPPED!r} is reserved for sites that no mapping names. Choose another name"
            raise ValueError(msg)
        return region_id


class HotSettings(Frozen):
    """The part of a configuration that changes without a restart; versioned with `valid_from`."""

    region_mappings: tuple[RegionMapping, ...]
    health_weights: HealthWeights
    ai_models: tuple[AIModelSlot, ...]
    outlier_sigma: float
    anomaly_threshold: float
    deviation_sigma: float
    min_good_pct: float
    staleness_threshold_s: int

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, shortened: equal settings have equal digests."""
        return content_digest(self.model_dump(mode="json"))

    @property
    def rows_digest(self) -> str:
        """The same without the AI models: what all rows but theirs depend on."""
        return content_digest(self.model_dump(mode="json", exclude={"ai_models"}))

    @property
    def slots_digest(self) -> str:
        """The same of the AI models alone."""
        return content_digest([slot.model_dump(mode="json") for slot in self.ai_models])


class FleetConfig(Frozen):
    """Everything that defines one fleet; raises on the first limit that is broken, naming field, value, limit and fix."""

    name: FleetName
    """Name: lower case letters, digits and _."""
    profile: FleetProfile = Field(default_factory=fleet_profile_small)
    """Size class, by name or spelled out."""
    kpis: Annotated[tuple[Kpi, ...], Field(min_length=1, max_length=N_KPIS)]
    """Up to 16 KPIs, most important first."""
    region_mappings: tuple[RegionMapping, ...] = ()
    """Which site lies in which region."""
    health_weights: HealthWeights = PRESETS["energy"]
    """What health is made of: a preset's name, or spelled out."""
    ai_models: tuple[AIModelSlot, ...] | None = None
    """Registered AI models; left out, those that `fleet slots` has registered stay."""
    interval_s: int = 0
    """Window length; 0 takes the profile's. [s]"""
    staleness_threshold_s: Annotated[int, Field(ge=1, le=86_400)] = 120
    """Age of a site's last snapshot from which it counts as offline: at least a window, unless sites send more often. [s]"""
    allowed_lateness_days: Annotated[float, Field(ge=0, le=365)] = 7.0
    """Snapshots that arrive later than this are quarantined; imported history never is. [d]"""
    future_tolerance_s: Annotated[int, Field(ge=0, le=86_400)] = 600
    """How far ahead of its arrival a snapshot may be stamped. [s]"""
    grace_s: Annotated[int, Field(ge=0, le=86_400)] = 120
    """How long after its end a window waits before it is settled. [s]"""
    min_good_pct: Annotated[float, Field(ge=0, le=100)] = 80.0
    """Share of good readings below which a window is marked. [%]"""
    partition: Literal["daily", "hourly"] = "daily"
    """Length of Dagster's partitions."""
    timezone: ZoneName = "UTC"
    """Zone of partitions and of start_date, as an IANA name."""
    start_date: Annotated[dt.date, Field(ge=dt.date(1971, 1, 1))] = dt.date(2026, 1, 1)
    """First day of the fleet's history; earlier telemetry is quarantined."""
    end_date: dt.date | None = None
    """Last day of a fleet whose history is finished; None while it goes on."""
    deviation_sigma: Annotated[float, Field(gt=0)] = 3.0
    """Deviation from the baseline from which a site is published. [scaled MADs]"""
    outlier_sigma: Annotated[float, Field(ge=0)] = 0.0
    """Outlier threshold; 0 takes the profile's. [scaled MADs]"""
    anomaly_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Anomaly threshold; 0 takes the profile's."""
    telemetry_retention_days: Annotated[int, Field(ge=MIN_RETENTION_DAYS, le=3650)] = 90
    """How long telemetry is kept after its receipt. [d]"""
    retention: Retention = Retention()
    """How long computed tables and their streams are kept."""
    schedule_minutes: Annotated[int, Field(ge=1, le=60)] = 5
    """How often the schedule brings the fleet up to date. [min]"""
    source: SourceMapping = SourceMapping()
    """How the columns of telemetry files are called."""
    alerts: AlertSettings = AlertSettings()
    """Who is told what, and when."""
    ledger: LedgerSettings = LedgerSettings()
    """The history of fleet_kpi that cannot be rewritten silently, and who witnesses it."""
    streamsight: StreamSightSettings = StreamSightSettings()
    """What is measured of every node, and when it is a warning."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_names_and_profile(cls, raw: Any) -> Any:  # Any: whatever a caller gave
        if not isinstance(raw, dict):
            return raw
        filled = dict(raw)
        filled["profile"] = _by_name(filled.get("profile", "small"), PROFILES, "profile")
        filled["health_weights"] = _by_name(
            filled.get("health_weights", "energy"), PRESETS, "health_weights"
        )
        profile = filled["profile"]
        for name in ("interval_s", "outlier_sigma", "anomaly_threshold"):
            if not filled.get(name):
                filled[name] = (
                    profile[name]
                    if isinstance(profile, dict) and name in profile
                    else getattr(profile, name, 0)
                )
        return filled

    @field_validator("interval_s")
    @classmethod
    def _interval_divides_the_hour(cls, interval_s: int) -> int:
        if interval_s < 1 or 3600 % interval_s:
            msg = f"found {interval_s}, expected seconds that divide an hour. Use 1, 5, 10, 15, 30, 60, 300, 600, 900, 1800 or 3600"
            raise ValueError(msg)
        return interval_s

    @model_validator(mode="after")
    def _limits(self) -> Self:
        refuse_broken(self)
        return self

    @property
    def hot(self) -> HotSettings:
        """The versioned part of the configuration."""
        values = {name: getattr(self, name) for name in HotSettings.model_fields}
        return HotSettings.model_validate({**values, "ai_models": self.ai_models or ()})

    @property
    def structure_digest(self) -> str:
        """Digest of what rows depend on besides the hot settings: KPIs, profile limits, interval."""
        wanted = {"name", "kpis", "interval_s", "timezone", "start_date"}
        return content_digest([NUMERICS_VERSION, self.model_dump(mode="json", include=wanted)])

    @property
    def kpi_names(self) -> tuple[str, ...]:
        """The names of the KPIs in column order: the k-th feeds `kpi_k`."""
        return tuple(kpi.name for kpi in self.kpis)


def content_digest(content: object) -> str:
    """Return 16 hex digits of the SHA-256 of `content` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# Any: a name, a mapping or the object itself
def _by_name(value: Any, known: Mapping[str, Any], field: str) -> Any:
    if not isinstance(value, str):
        return value
    if value not in known:
        names = ", ".join(sorted(known))
        words = f"{field} {value!r} is unknown. Use one of {names}, or spell out its fields"
        raise RuleError([((field,), words)])
    return known[value]
