"""What to simulate: the scenario, and the demo fleets that suit it."""

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet_dagster.ingest.simulator.noise import NoiseKind
from fleet_dagster.ingest.simulator.plants import HEALTH_PRESET, MODELS, Kind
from fleet_dagster.model.profiles import PROFILES

FAULT_KINDS = ("site", "cascade", "region", "storm", "drift", "dropout")
DEMO_FAULTS: Mapping[str, float] = {
    "site": 4.0,
    "cascade": 1.0,
    "region": 0.5,
    "storm": 0.25,
    "drift": 0.3,
    "dropout": 2.0,
}
"""Planted faults per day of a demo fleet, on average."""

_CHAIN = 5
_PREFIX: Mapping[Kind, str] = {
    "thermoelectric": "TH",
    "solar": "SO",
    "production": "PL",
    "trucks": "TR",
    "mixed": "MX",
}
_PLACES = (
    (52.5, 13.4),
    (48.1, 11.6),
    (45.5, 9.2),
    (40.4, -3.7),
    (48.9, 2.4),
    (59.3, 18.1),
    (50.1, 14.4),
    (41.9, 12.5),
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A simulation: equal scenarios give equal telemetry, however the span is cut."""

    seed: int = 0
    kind: Kind = "thermoelectric"
    n_sites: int = 12
    n_regions: int = 3
    step_s: int = 60
    """Period of the snapshots of one site; divides an hour. [s]"""
    noise: NoiseKind = "gaussian"
    phi: float = 0.9
    faults: Mapping[str, float] = field(default_factory=dict)
    """Planted faults per day by kind, on average; see `FAULT_KINDS`."""
    duplicates_share: float = 0.0
    late_share: float = 0.0
    too_late_share: float = 0.0
    """Share of the late snapshots that arrive after more than a week."""
    malformed_share: float = 0.0
    absent_share: float = 0.0
    """Share of the snapshots that lack one reading."""
    flicker_share: float = 0.0005
    """Share of healthy snapshots that say `degraded` for no reason."""

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        if self.step_s < 1 or 3600 % self.step_s:
            msg = f"step_s {self.step_s} must divide an hour (3600 s). Use 1, 5, 10, 15, 30, 60, 300, 600, 900, 1800 or 3600"
            raise ValueError(msg)
        if not 0 <= self.phi < 1:
            msg = f"phi {self.phi} must lie in [0, 1). Use 0 for white noise, 0.9 for slow noise"
            raise ValueError(msg)
        unknown = sorted(set(self.faults) - set(FAULT_KINDS))
        if unknown:
            msg = f"faults names {unknown[0]!r}, expected some of {', '.join(FAULT_KINDS)}"
            raise ValueError(msg)


def demo_scenario(
    kind: Kind, *, n_sites: int, n_regions: int, seed: int = 0, step_s: int = 60
) -> Scenario:
    """Return the scenario of a demo fleet: some of every fault and of every kind of bad snapshot."""
    return Scenario(
        seed=seed,
        kind=kind,
        n_sites=n_sites,
        n_regions=n_regions,
        step_s=step_s,
        noise="t5",
        faults=dict(DEMO_FAULTS),
        duplicates_share=0.002,
        late_share=0.001,
        too_late_share=0.02,
        malformed_share=0.0005,
        absent_share=0.001,
    )


def demo_config(
    name: str,
    kind: Kind,
    *,
    n_sites: int,
    n_regions: int,
    start_date: dt.date | str,
    profile: str | None = None,
) -> dict[str, Any]:  # Any: the content of a YAML file
    """Return the content of a demo fleet's YAML file: sixteen KPIs, and sites in regions with chains of dependence."""
    fitting = [
        p
        for p in sorted(PROFILES.values(), key=lambda p: p.max_sites)
        if n_sites <= p.max_sites and n_regions <= p.max_regions
    ]
    chosen = profile or (fitting[0].name if fitting else "large")
    return {
        "name": name,
        "profile": chosen,
        "start_date": str(start_date),
        "health_weights": HEALTH_PRESET[kind],
        "kpis": [model.as_config() for model in MODELS[kind]],
        "region_mappings": [_mapping(kind, i, n_sites, n_regions) for i in range(n_sites)],
        "source": {"received_at": "received_at"},
    }


def site_name(kind: Kind, site_no: int) -> str:
    """Return the id of a simulated site."""
    return f"{_PREFIX[kind]}-{site_no + 1:04d}"


def region_name(region_no: int) -> str:
    """Return the id of a simulated region."""
    return f"region-{region_no + 1:02d}"


def region_of(site_no: int, n_sites: int, n_regions: int) -> int:
    """Return which region a simulated site lies in: equal runs of neighbouring sites."""
    return site_no * n_regions // max(n_sites, 1)


def _mapping(
    kind: Kind, site_no: int, n_sites: int, n_regions: int
) -> dict[str, Any]:  # Any: the content of a YAML file
    region = region_of(site_no, n_sites, n_regions)
    first = math.ceil(region * n_sites / n_regions)
    place = site_no - first
    latitude, longitude = _PLACES[region % len(_PLACES)]
    mapping: dict[str, Any] = {
        "site_id": site_name(kind, site_no),
        "region_id": region_name(region),
        "weight": float(1 + site_no * 7 % 5),
        "latitude": round(latitude + 0.1 * (site_no * 7 % 11 - 5), 3),
        "longitude": round(longitude + 0.1 * (site_no * 5 % 13 - 6), 3),
    }
    if place == 0:
        mapping["critical"] = True
    if place % _CHAIN:
        mapping["depends_on"] = [site_name(kind, site_no - 1)]
    return mapping
