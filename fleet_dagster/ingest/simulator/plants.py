"""The kinds of sites that the simulator knows: their sixteen KPIs, and how each follows load and ambient temperature."""

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.model.config import Kpi

Kind = Literal["thermoelectric", "solar", "production", "trucks", "mixed"]
KINDS: tuple[Kind, ...] = ("thermoelectric", "solar", "production", "trucks", "mixed")
_PURE_KINDS: tuple[Kind, ...] = ("thermoelectric", "solar", "production", "trucks")


@dataclass(frozen=True, slots=True)
class KpiModel:
    """One KPI of a kind of site: reading = at_rest + by_load * load + by_ambient * (ambient - 15 degC) + site + noise."""

    name: str
    unit: str
    lo: float
    hi: float
    direction: Literal["higher", "lower", "band"]
    domain: str
    at_rest: float
    by_load: float
    by_ambient: float
    sigma: float
    """Standard deviation of the noise, in the KPI's unit."""
    target: tuple[float, float] | None = None
    rests_at_zero: bool = False
    """Noise and site differences fade with the load: a solar plant at night reads zero."""

    def as_config(self) -> dict[str, object]:
        """Return the KPI as it stands in a fleet's YAML."""
        shown: dict[str, object] = {
            "name": self.name,
            "unit": self.unit,
            "lo": self.lo,
            "hi": self.hi,
            "direction": self.direction,
        }
        if self.target is not None:
            shown |= {"target_lo": self.target[0], "target_hi": self.target[1]}
        return shown | {"domain": self.domain}


_M = KpiModel
MODELS: dict[Kind, tuple[KpiModel, ...]] = {
    "thermoelectric": (
        _M("thermal_efficiency_pct", "%", 20, 45, "higher", "thermal", 34, 6, -0.05, 0.25),
        _M("steam_temp_c", "degC", 480, 580, "band", "thermal", 535, 8, 0, 1.5, (525, 555)),
        _M("steam_pressure_bar", "bar", 100, 200, "band", "thermal", 150, 18, 0, 0.9, (148, 178)),
        _M("heat_rate_kj_kwh", "kJ/kWh", 7500, 12000, "lower", "thermal", 9700, -1000, 2, 45),
        _M("exhaust_temp_c", "degC", 80, 220, "lower", "thermal", 100, 18, 0.3, 1.2),
        _M("condenser_vacuum_mbar", "mbar", 20, 120, "lower", "thermal", 32, 10, 0.8, 0.9),
        _M("net_output_mw", "MW", 0, 60, "higher", "electrical", 0, 58, 0, 0.6),
        _M("bearing_temp_c", "degC", 30, 120, "lower", "mechanical", 46, 14, 0.35, 0.6),
        _M("vibration_mm_s", "mm/s", 0, 12, "lower", "mechanical", 1.2, 0.8, 0, 0.08),
        _M("oil_pressure_bar", "bar", 0, 6, "band", "mechanical", 3.1, 0.2, 0, 0.04, (2.5, 4)),
        _M(
            "generator_voltage_kv",
            "kV",
            10,
            12,
            "band",
            "electrical",
            11,
            0.05,
            0,
            0.02,
            (10.8, 11.2),
        ),
        _M("grid_frequency_hz", "Hz", 49, 51, "band", "electrical", 50, 0, 0, 0.012, (49.9, 50.1)),
        _M("reactive_power_mvar", "Mvar", -30, 30, "band", "electrical", 2, 10, 0, 0.6, (-5, 20)),
        _M("fuel_flow_t_h", "t/h", 0, 20, "lower", "environmental", 1.0, 9, 0, 0.15),
        _M("nox_mg_m3", "mg/m3", 0, 400, "lower", "environmental", 70, 50, 0, 4),
        _M("carbon_kg_mwh", "kg/MWh", 0, 1200, "lower", "environmental", 520, -60, 0, 6),
    ),
    "solar": (
        _M("performance_ratio_pct", "%", 40, 100, "higher", "thermal", 88, 0, -0.12, 0.8),
        _M("module_temp_c", "degC", -20, 90, "lower", "thermal", 13, 26, 1, 0.7),
        _M("inverter_temp_c", "degC", 0, 90, "lower", "thermal", 22, 24, 0.8, 0.6),
        _M("inverter_efficiency_pct", "%", 80, 100, "higher", "electrical", 96, 2, 0, 0.12),
        _M("ac_power_kw", "kW", 0, 1000, "higher", "electrical", 0, 920, 0, 14, None, True),
        _M(
            "irradiance_w_m2",
            "W/m2",
            0,
            1200,
            "higher",
            "environmental",
            0,
            1000,
            0,
            12,
            None,
            True,
        ),
        _M("dc_current_a", "A", 0, 1200, "higher", "electrical", 0, 980, 0, 15, None, True),
        _M("dc_voltage_v", "V", 0, 1500, "band", "electrical", 620, 180, -1, 5, (550, 1000)),
        _M("grid_voltage_v", "V", 360, 440, "band", "electrical", 400, 3, 0, 0.8, (392, 408)),
        _M("grid_frequency_hz", "Hz", 49, 51, "band", "electrical", 50, 0, 0, 0.012, (49.9, 50.1)),
        _M("soiling_loss_pct", "%", 0, 20, "lower", "mechanical", 2.5, 0, 0, 0.08),
        _M("string_mismatch_pct", "%", 0, 15, "lower", "electrical", 1.6, 0.2, 0, 0.07),
        _M("insulation_kohm", "kohm", 0, 3000, "higher", "electrical", 2500, 0, -4, 30),
        _M("tracker_error_deg", "deg", 0, 10, "lower", "mechanical", 0.8, 0, 0, 0.06),
        _M("humidity_pct", "%", 0, 100, "band", "environmental", 62, -8, -0.8, 1.2, (20, 80)),
        _M(
            "carbon_avoided_kg_h",
            "kg/h",
            0,
            500,
            "higher",
            "environmental",
            0,
            410,
            0,
            6,
            None,
            True,
        ),
    ),
    "production": (
        _M("throughput_pcs_h", "1/h", 0, 1000, "higher", "throughput", 150, 850, 0, 12),
        _M("oee_pct", "%", 0, 100, "higher", "throughput", 64, 24, 0, 0.9),
        _M("cycle_time_s", "s", 2, 10, "lower", "throughput", 4.8, -1.6, 0, 0.06),
        _M("first_pass_yield_pct", "%", 80, 100, "higher", "quality", 98.6, 0, 0, 0.15),
        _M("scrap_pct", "%", 0, 10, "lower", "quality", 0.9, 0.4, 0, 0.07),
        _M("spindle_temp_c", "degC", 10, 110, "lower", "thermal", 26, 22, 0.4, 0.5),
        _M("coolant_temp_c", "degC", 5, 60, "band", "thermal", 20, 6, 0.25, 0.25, (15, 32)),
        _M("motor_current_a", "A", 0, 200, "lower", "electrical", 18, 62, 0, 1.1),
        _M("power_kw", "kW", 0, 500, "lower", "electrical", 40, 150, 0.3, 2.4),
        _M("power_factor", "1", 0.5, 1, "higher", "electrical", 0.91, 0.05, 0, 0.003),
        _M(
            "hydraulic_pressure_bar",
            "bar",
            0,
            300,
            "band",
            "mechanical",
            170,
            10,
            0,
            1.2,
            (150, 200),
        ),
        _M("compressed_air_bar", "bar", 0, 12, "band", "mechanical", 7.2, -0.4, 0, 0.05, (6, 8.5)),
        _M("vibration_mm_s", "mm/s", 0, 12, "lower", "mechanical", 0.9, 1.3, 0, 0.07),
        _M("tool_wear_pct", "%", 0, 100, "lower", "mechanical", 22, 3, 0, 0.5),
        _M("queue_length", "1", 0, 200, "lower", "throughput", 12, 18, 0, 1.3),
        _M("energy_per_piece_wh", "Wh", 0, 1000, "lower", "environmental", 260, -60, 0.5, 3.5),
    ),
    "trucks": (
        _M("speed_km_h", "km/h", 0, 100, "higher", "operations", 5, 82, 0, 2.2),
        _M("on_time_pct", "%", 50, 100, "higher", "operations", 96, -2, 0, 0.5),
        _M("fuel_l_100km", "l/100km", 10, 60, "lower", "powertrain", 22, 7, -0.05, 0.4),
        _M("engine_temp_c", "degC", 20, 130, "band", "thermal", 76, 13, 0.15, 0.6, (60, 100)),
        _M("coolant_temp_c", "degC", 20, 120, "band", "thermal", 72, 12, 0.15, 0.5, (55, 95)),
        _M("oil_pressure_bar", "bar", 0, 8, "band", "powertrain", 2.6, 1.6, 0, 0.05, (2, 5.5)),
        _M(
            "engine_speed_rpm", "rpm", 400, 2600, "band", "powertrain", 650, 750, 0, 14, (550, 1700)
        ),
        _M("tyre_pressure_bar", "bar", 5, 12, "band", "chassis", 8.6, 0.3, 0.015, 0.03, (8, 9.6)),
        _M("battery_v", "V", 20, 30, "band", "electrical", 26.4, 1.3, 0, 0.05, (25, 28.6)),
        _M("brake_wear_pct", "%", 0, 100, "lower", "chassis", 28, 1, 0, 0.3),
        _M("axle_vibration_mm_s", "mm/s", 0, 25, "lower", "chassis", 1.5, 4, 0, 0.2),
        _M("idle_pct", "%", 0, 100, "lower", "operations", 18, -9, 0, 0.8),
        _M("adblue_level_pct", "%", 0, 100, "higher", "powertrain", 78, 0, 0, 0.4),
        _M("cargo_temp_c", "degC", -10, 25, "band", "thermal", 4, 0.6, 0.05, 0.15, (1, 8)),
        _M("gps_accuracy_m", "m", 0, 50, "lower", "electrical", 3, 1, 0, 0.25),
        _M("exhaust_nox_mg_km", "mg/km", 0, 1000, "lower", "environmental", 160, 60, 0, 6),
    ),
    "mixed": (
        _M("efficiency_pct", "%", 0, 100, "higher", "thermal", 82, 6, -0.05, 0.6),
        _M("process_temp_c", "degC", 0, 150, "lower", "thermal", 32, 26, 0.5, 0.6),
        _M("cooling_temp_c", "degC", 0, 80, "lower", "thermal", 18, 9, 0.5, 0.4),
        _M("output_pct", "%", 0, 100, "higher", "operations", 5, 92, 0, 1.1),
        _M("availability_pct", "%", 0, 100, "higher", "operations", 98.5, 0, 0, 0.2),
        _M("power_kw", "kW", 0, 1000, "higher", "electrical", 20, 900, 0, 9),
        _M("supply_voltage_v", "V", 360, 440, "band", "electrical", 400, 3, 0, 0.8, (392, 408)),
        _M(
            "supply_frequency_hz", "Hz", 49, 51, "band", "electrical", 50, 0, 0, 0.012, (49.9, 50.1)
        ),
        _M("current_a", "A", 0, 1500, "lower", "electrical", 25, 480, 0, 6),
        _M("vibration_mm_s", "mm/s", 0, 12, "lower", "mechanical", 1.1, 1, 0, 0.08),
        _M("bearing_temp_c", "degC", 0, 120, "lower", "mechanical", 30, 16, 0.4, 0.5),
        _M(
            "hydraulic_pressure_bar",
            "bar",
            0,
            300,
            "band",
            "mechanical",
            170,
            10,
            0,
            1.2,
            (150, 200),
        ),
        _M("wear_pct", "%", 0, 100, "lower", "mechanical", 24, 2, 0, 0.4),
        _M("noise_db", "dB", 30, 110, "lower", "environmental", 48, 14, 0, 0.6),
        _M("humidity_pct", "%", 0, 100, "band", "environmental", 55, -4, -0.8, 1.2, (20, 80)),
        _M("carbon_kg_h", "kg/h", 0, 600, "lower", "environmental", 20, 150, 0, 2.5),
    ),
}

HEALTH_PRESET: dict[Kind, str] = {
    "thermoelectric": "energy",
    "solar": "energy",
    "production": "manufacturing",
    "trucks": "logistics",
    "mixed": "energy",
}
_FALLBACK_SIGMA_SHARE = 0.02
_PEAKS = {"morning": 8.0, "evening": 19.0}
_SHIFT_LEVELS = (0.35, 0.95, 0.8)
"""Load of the night, early and late shift."""


def model_for(kpi: Kpi, kind: Kind) -> KpiModel:
    """Return the model of a KPI: the kind's own, or for a name it does not know one that sits well inside the range."""
    for model in MODELS[kind]:
        if model.name == kpi.name:
            return model
    span = kpi.hi - kpi.lo
    share = {"higher": 0.75, "lower": 0.25, "band": 0.5}[kpi.direction]
    centre = kpi.lo + share * span
    if kpi.target_lo is not None and kpi.target_hi is not None:
        centre = (kpi.target_lo + kpi.target_hi) / 2
    return KpiModel(
        kpi.name,
        kpi.unit,
        kpi.lo,
        kpi.hi,
        kpi.direction,
        kpi.domain,
        centre,
        0.05 * span,
        0.0,
        _FALLBACK_SIGMA_SHARE * span,
    )


def site_kind(kind: Kind, site_no: int) -> Kind:
    """Return what the site is; the sites of a mixed fleet take turns."""
    return _PURE_KINDS[site_no % len(_PURE_KINDS)] if kind == "mixed" else kind


def daily_load(kind: Kind, hour: NDArray[np.float64], site_id: str) -> NDArray[np.float64]:
    """Return the load by hour of the day [h], between 0 and 1, before weather."""
    shift = (zlib.crc32(site_id.encode()) % 1000) / 1000 - 0.5
    if kind == "solar":
        return np.asarray(
            np.clip(np.sin(np.pi * (hour - 6.0 - 0.2 * shift) / 12.0), 0, None) ** 1.3, np.float64
        )
    if kind == "production":
        return _shift_load(hour + 0.5 * shift)
    if kind == "trucks":
        out, back = _bump(hour, 8.0 + 2 * shift, 2.2), _bump(hour, 15.0 + 2 * shift, 2.6)
        return np.asarray(np.clip(0.04 + 0.9 * np.maximum(out, back), 0, 1), np.float64)
    peaks = _bump(hour, _PEAKS["morning"] + shift, 2.5) + 1.1 * _bump(
        hour, _PEAKS["evening"] + shift, 2.8
    )
    return np.asarray(np.clip(0.58 + 0.3 * peaks, 0, 1), np.float64)


def _bump(hour: NDArray[np.float64], centre: float, width: float) -> NDArray[np.float64]:
    distance = np.abs((hour - centre + 12.0) % 24.0 - 12.0)
    return np.asarray(np.exp(-0.5 * (distance / width) ** 2), np.float64)


def _shift_load(hour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Three shifts from 06, 14 and 22 h, each ramping over half an hour."""
    night, early, late = _SHIFT_LEVELS
    knots = [0.0, 6.0, 6.5, 14.0, 14.5, 22.0, 22.5, 24.0]
    return np.asarray(
        np.interp(hour % 24.0, knots, [night, night, early, early, late, late, night, night]),
        np.float64,
    )
