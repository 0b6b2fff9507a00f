"""The fleet profiles and health-weight presets: ready-made settings, no logic."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fleet_dagster.model.tables import N_KPIS

_ROUNDING = 1e-12


class Frozen(BaseModel):
    """Base of every configuration record: immutable, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FleetProfile(Frozen):
    """The size class of a fleet: its limits and default thresholds."""

    name: str
    """Name of the size class."""
    max_sites: Annotated[int, Field(ge=1, le=1000)]
    """Sites at most."""
    max_regions: Annotated[int, Field(ge=1, le=64)]
    """Regions at most."""
    ai_slots: Annotated[int, Field(ge=0, le=16)]
    """Number of AI slots."""
    interval_s: Annotated[int, Field(ge=1, le=3600)]
    """Window length. [s]"""
    anomaly_threshold: Annotated[float, Field(gt=0, lt=1)]
    """Anomaly score from which a site is anomalous."""
    outlier_sigma: Annotated[float, Field(gt=0)]
    """Modified Z-score from which a site is an outlier."""


class HealthWeights(Frozen):
    """What a site's health is made of: KPI weights, and the shares of uptime and of the absence of faults.

    KPI goodness carries `1 - uptime_weight - fault_weight`, shared out in proportion to `weights`.
    """

    weights: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=1, max_length=N_KPIS)
    ]
    """Weight of each KPI, in KPI order; 0 leaves one out."""
    uptime_weight: Annotated[float, Field(ge=0, le=1)]
    """Share of uptime in the health."""
    fault_weight: Annotated[float, Field(ge=0, le=1)]
    """Share of the absence of faults in the health."""

    @property
    def weight_count(self) -> int:
        """Number of KPI weights given."""
        return len(self.weights)

    @property
    def kpi_share(self) -> float:
        """Share of the health that KPI goodness carries."""
        return max(0.0, 1.0 - self.uptime_weight - self.fault_weight)

    @model_validator(mode="after")
    def _shares_fit_into_one(self) -> Self:
        taken = self.uptime_weight + self.fault_weight
        if taken > 1.0 + _ROUNDING:
            msg = (
                f"uptime_weight {self.uptime_weight} + fault_weight {self.fault_weight} = {taken:.3g}, "
                "at most 1 is allowed. Lower one of them"
            )
            raise ValueError(msg)
        if self.kpi_share > _ROUNDING and sum(self.weights) <= 0:
            msg = f"weights sum to 0 although KPIs carry {self.kpi_share:.3g} of the health. Give at least one KPI a weight above 0"
            raise ValueError(msg)
        return self


def fleet_profile_small() -> FleetProfile:
    """Return the profile for up to 50 sites in 4 regions."""
    return FleetProfile(
        name="small",
        max_sites=50,
        max_regions=4,
        ai_slots=2,
        interval_s=60,
        anomaly_threshold=0.7,
        outlier_sigma=3.0,
    )


def fleet_profile_medium() -> FleetProfile:
    """Return the profile for up to 200 sites in 16 regions."""
    return FleetProfile(
        name="medium",
        max_sites=200,
        max_regions=16,
        ai_slots=8,
        interval_s=60,
        anomaly_threshold=0.6,
        outlier_sigma=2.5,
    )


def fleet_profile_large() -> FleetProfile:
    """Return the profile for up to 1,000 sites in 64 regions."""
    return FleetProfile(
        name="large",
        max_sites=1000,
        max_regions=64,
        ai_slots=16,
        interval_s=30,
        anomaly_threshold=0.5,
        outlier_sigma=2.0,
    )


def default_weights_energy() -> HealthWeights:
    """Return the energy preset: uptime and the leading (thermal) KPIs count most."""
    kpis = (
        0.20,
        0.15,
        0.15,
        0.10,
        0.10,
        0.10,
        0.05,
        0.05,
        0.03,
        0.03,
        0.02,
        0.01,
        0.01,
        0.0,
        0.0,
        0.0,
    )
    return HealthWeights(weights=kpis, uptime_weight=0.30, fault_weight=0.20)


def default_weights_manufacturing() -> HealthWeights:
    """Return the manufacturing preset: the leading (throughput) KPIs and the fault rate count most."""
    kpis = (
        0.25,
        0.20,
        0.15,
        0.10,
        0.10,
        0.05,
        0.05,
        0.05,
        0.03,
        0.02,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
    )
    return HealthWeights(weights=kpis, uptime_weight=0.25, fault_weight=0.25)


def default_weights_logistics() -> HealthWeights:
    """Return the logistics preset: all sixteen KPIs count alike."""
    return HealthWeights(weights=(1 / N_KPIS,) * N_KPIS, uptime_weight=0.25, fault_weight=0.25)


PROFILES = {
    p.name: p for p in (fleet_profile_small(), fleet_profile_medium(), fleet_profile_large())
}
PRESETS = {
    "energy": default_weights_energy(),
    "manufacturing": default_weights_manufacturing(),
    "logistics": default_weights_logistics(),
}
