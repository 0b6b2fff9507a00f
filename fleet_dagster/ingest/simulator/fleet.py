"""One simulated hour of a whole fleet on the regular grid: readings, status, uptime and faults, with planted faults in effect."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.ingest.simulator.faults import MINUTE_US, Event, Topology
from fleet_dagster.ingest.simulator.noise import HourlyNoise, generator, slow_weather
from fleet_dagster.ingest.simulator.plants import daily_load, model_for, site_kind
from fleet_dagster.ingest.simulator.scenario import Scenario, region_name, region_of, site_name
from fleet_dagster.ingest.zones import SECOND_US
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import DEGRADED, FAULTED

HOUR_US = 3600 * SECOND_US
_DAY_MINUTES = 24 * 60
_SITE_SPREAD_SIGMA = 1.5
_OSCILLATION_US = 12 * MINUTE_US
_FAULTED_FROM_SIGMA = 9.0
_UPTIME = 99.6


@dataclass(slots=True)
class Hour:
    """The grid of one hour; every array starts with (steps, sites)."""

    t_us: NDArray[np.int64]
    """Instants, shape (steps,)."""
    readings: NDArray[np.float32]
    """Shape (steps, sites, KPIs), physical units."""
    status: NDArray[np.int8]
    uptime_pct: NDArray[np.float32]
    fault_count: NDArray[np.int32]
    is_silent: NDArray[np.bool_]
    is_storm: NDArray[np.bool_]
    """Steps of a message burst, shape (steps,)."""


class SimulatedFleet:
    """A fleet that can be asked for any hour; hours asked in order are cheaper."""

    def __init__(self, config: FleetConfig, scenario: Scenario) -> None:
        self.scenario = scenario
        self.models = tuple(model_for(kpi, scenario.kind) for kpi in config.kpis)
        self.topology, longitudes = _topology(config, scenario)
        self.steps = 3600 // scenario.step_s
        n = len(self.topology.sites)
        self._region_names = tuple(dict.fromkeys(self.topology.regions))
        self._region_no = np.array(
            [self._region_names.index(r) for r in self.topology.regions], np.int64
        )
        self._is_solar = np.array([site_kind(scenario.kind, i) == "solar" for i in range(n)], bool)
        minutes = np.arange(_DAY_MINUTES) / 60.0
        self._load = np.stack(
            [
                daily_load(site_kind(scenario.kind, i), (minutes + longitudes[i] / 15.0) % 24.0, s)
                for i, s in enumerate(self.topology.sites)
            ],
            axis=1,
        )
        sigma = np.array([m.sigma for m in self.models])
        spread = generator(scenario.seed, "sites").uniform(
            -_SITE_SPREAD_SIGMA, _SITE_SPREAD_SIGMA, (n, len(self.models))
        )
        self._offset = (spread * sigma).astype(np.float32)
        self._noise = HourlyNoise(
            seed=scenario.seed,
            n_series=(n, len(self.models) + 1),
            steps=self.steps,
            phi=scenario.phi,
            noise=scenario.noise,
        )
        self._decimals = [max(0, int(np.ceil(-np.log10(m.sigma / 50)))) for m in self.models]

    def hour(self, hour: int, events: Sequence[Event]) -> Hour:
        """Return the grid of one hour, counted since 1970."""
        t_us = (
            hour * HOUR_US
            + np.arange(self.steps, dtype=np.int64) * self.scenario.step_s * SECOND_US
        )
        noise = self._noise.hour(hour)
        load, ambient = self._weather(hour, t_us)
        load = np.clip(load * (1 + 0.02 * noise[:, :, -1]), 0, 1).astype(np.float32)
        readings = self._readings(load, ambient, noise)
        shape = readings.shape[:2]
        grid = Hour(
            t_us=t_us,
            readings=readings,
            status=np.zeros(shape, np.int8),
            uptime_pct=(_UPTIME + 0.3 * np.tanh(noise[:, :, 0])).astype(np.float32),
            fault_count=np.zeros(shape, np.int32),
            is_silent=np.zeros(shape, bool),
            is_storm=np.zeros(self.steps, bool),
        )
        self._flicker(grid, hour)
        for event in events:
            if (
                event.start_us < t_us[-1] + self.scenario.step_s * SECOND_US
                and event.end_us > t_us[0]
            ):
                self._apply(grid, event)
        self._tidy(grid)
        return grid

    def _weather(
        self, hour: int, t_us: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return load and ambient temperature [degC] of every site, shared within a region."""
        within = ((t_us - hour * HOUR_US) / HOUR_US)[:, None]
        ends = {
            name: slow_weather(self.scenario.seed, name, (hour, hour + 1), len(self._region_names))
            for name in ("cloud", "warmth", "demand")
        }
        now = {name: pair[0] + (pair[1] - pair[0]) * within for name, pair in ends.items()}
        sunlight = 1.0 - 0.6 / (1.0 + np.exp(-1.5 * now["cloud"]))
        demand = 1.0 + 0.04 * now["demand"]
        factor = np.where(self._is_solar, sunlight[:, self._region_no], demand[:, self._region_no])
        minute = (t_us // MINUTE_US) % _DAY_MINUTES
        day_of_year = (hour / 24.0) % 365.25
        cycle = (
            13.0
            - 9.0 * np.cos(2 * np.pi * (day_of_year - 20) / 365.25)
            + 5.0 * np.sin(2 * np.pi * (minute / 60.0 - 9.0) / 24.0)
        )
        ambient = cycle[:, None] + 2.0 * now["warmth"]
        return (self._load[minute] * factor).astype(np.float32), ambient[:, self._region_no].astype(
            np.float32
        )

    def _readings(
        self, load: NDArray[np.float32], ambient: NDArray[np.float32], noise: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        readings = np.empty((*load.shape, len(self.models)), np.float32)
        for k, m in enumerate(self.models):
            own = np.float32(m.sigma) * noise[:, :, k] + self._offset[:, k]
            if m.rests_at_zero:
                own *= np.minimum(1, 4 * load)
            readings[:, :, k] = (
                m.at_rest
                + np.float32(m.by_load) * load
                + np.float32(m.by_ambient) * (ambient - 15)
                + own
            )
        return readings

    def _flicker(self, grid: Hour, hour: int) -> None:
        if self.scenario.flicker_share > 0:
            drawn = generator(self.scenario.seed, "flicker", hour).random(
                grid.status.shape, dtype=np.float32
            )
            grid.status[drawn < self.scenario.flicker_share] = DEGRADED

    def _apply(self, grid: Hour, event: Event) -> None:
        if event.shape == "storm":
            grid.is_storm |= (grid.t_us >= event.start_us) & (grid.t_us < event.end_us)
        for site, onset in zip(event.sites, event.onsets_us, strict=True):
            rows = np.flatnonzero((grid.t_us >= onset) & (grid.t_us < event.end_us))
            if not len(rows):
                continue
            if event.shape == "silent":
                grid.is_silent[rows, site] = True
                continue
            elapsed = grid.t_us[rows] - onset
            size = _size(event, elapsed, event.end_us - onset)
            for k, sign in zip(event.kpis, event.signs, strict=True):
                change = sign * size * event.magnitude_sigma
                self._disturb(grid, rows, site, k, change=change, is_stuck=event.shape == "stuck")
            self._report(grid, event, rows, site, size)

    def _disturb(
        self,
        grid: Hour,
        rows: NDArray[np.int64],
        site: int,
        kpi: int,
        *,
        change: NDArray[np.float64],
        is_stuck: bool,
    ) -> None:
        model = self.models[kpi]
        if is_stuck:
            load = 0.0 if model.rests_at_zero else 0.5
            held = (
                model.at_rest
                + model.by_load * load
                + float(self._offset[site, kpi])
                + float(change[0]) * model.sigma
            )
            grid.readings[rows, site, kpi] = np.float32(held)
        else:
            grid.readings[rows, site, kpi] += (change * model.sigma).astype(np.float32)

    def _report(
        self,
        grid: Hour,
        event: Event,
        rows: NDArray[np.int64],
        site: int,
        size: NDArray[np.float64],
    ) -> None:
        """Let the site itself notice: status, faults and uptime."""
        severity = np.abs(size) * event.magnitude_sigma
        level = np.where(severity >= _FAULTED_FROM_SIGMA, FAULTED, DEGRADED).astype(np.int8)
        if event.shape == "drift":
            level = np.where(severity >= _FAULTED_FROM_SIGMA, DEGRADED, 0).astype(np.int8)
        if event.shape == "oscillation":
            level[:] = DEGRADED
        if event.shape == "storm":
            ticks = grid.t_us[rows] // (self.scenario.step_s * SECOND_US)
            level = np.array([1, 0, 2, 1], np.int8)[(ticks * 5 + site * 3) % 4]
        grid.status[rows, site] = np.maximum(grid.status[rows, site], level)
        faults = np.array([0, 1, 3], np.int32)[level]
        grid.fault_count[rows, site] = np.maximum(grid.fault_count[rows, site], faults)
        loss = np.array([0, 3, 35], np.float32)[level]
        grid.uptime_pct[rows, site] -= loss

    def _tidy(self, grid: Hour) -> None:
        """Keep readings physical and to the digits a sensor gives."""
        np.clip(grid.uptime_pct, 0, 100, out=grid.uptime_pct)
        np.round(grid.uptime_pct, 2, out=grid.uptime_pct)
        for k, m in enumerate(self.models):
            if m.lo >= 0:
                np.maximum(grid.readings[:, :, k], 0, out=grid.readings[:, :, k])
            if m.unit == "%":
                np.minimum(grid.readings[:, :, k], 100, out=grid.readings[:, :, k])
            grid.readings[:, :, k] = np.round(grid.readings[:, :, k], self._decimals[k])


def _size(event: Event, elapsed: NDArray[np.int64], whole: int) -> NDArray[np.float64]:
    """Return the disturbance over time as a share of the event's magnitude."""
    share = elapsed / whole
    if event.shape == "ramp":
        return np.asarray(np.minimum(1.0, 0.2 + 1.6 * share), np.float64)
    if event.shape == "drift":
        return np.asarray(share, np.float64)
    if event.shape == "oscillation":
        return np.asarray(np.sin(2 * np.pi * elapsed / _OSCILLATION_US), np.float64)
    return np.ones(len(elapsed))


def _topology(config: FleetConfig, scenario: Scenario) -> tuple[Topology, list[float]]:
    """Return the mapped sites, or made-up ones where the configuration maps none, with their longitudes."""
    mappings = {m.site_id: m for m in config.region_mappings}
    if not mappings:
        sites = tuple(site_name(scenario.kind, i) for i in range(scenario.n_sites))
        regions = tuple(
            region_name(region_of(i, scenario.n_sites, scenario.n_regions))
            for i in range(scenario.n_sites)
        )
        return Topology(sites, regions, {}), [0.0] * len(sites)
    place: Mapping[str, int] = {s: i for i, s in enumerate(mappings)}
    links = {
        place[s]: tuple(place[up] for up in m.depends_on)
        for s, m in mappings.items()
        if m.depends_on
    }
    topology = Topology(tuple(mappings), tuple(m.region_id for m in mappings.values()), links)
    return topology, [m.longitude or 0.0 for m in mappings.values()]
