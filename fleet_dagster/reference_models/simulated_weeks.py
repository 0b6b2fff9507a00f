"""Days of simulated fleets with planted faults, as the product sees them, and the truth about them."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fleet_dagster.ai.inputs import Grid, SlotInputs
from fleet_dagster.ai.router import question
from fleet_dagster.core.windows import DAY, HOUR, Span
from fleet_dagster.frames.columns import telemetry_frame
from fleet_dagster.ingest.simulator import Event, Scenario, demo_config, plain, simulate
from fleet_dagster.ingest.simulator.faults import events_between
from fleet_dagster.ingest.simulator.fleet import SimulatedFleet
from fleet_dagster.ingest.snapshots import landed_table
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.features import MAX_REACH
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.model.yaml_file import validate_config
from fleet_dagster.pipeline import evaluate_landed, frame_reader
from fleet_dagster.training import Samples, train

MONDAY = 1_767_571_200_000_000
"""2026-01-05T00:00Z: a training day, and the first that models are trained or measured on."""
FAULTS = {"site": 5.0, "cascade": 3.0, "region": 0.7, "storm": 0.5, "drift": 1.0, "dropout": 2.0}
"""Planted faults per day that models are trained and measured on."""
PAST_FAULTS = {"site": 1.0, "cascade": 0.25}
"""Planted faults per day of the history: no baseline is learnt from one without any."""


@dataclass(frozen=True)
class Effect:
    """What one fault does to one site: its windows, and how far it moves each of its KPIs."""

    event: Event
    site: int
    windows: slice
    size_sigma: NDArray[np.float64]
    """Standard deviations of the KPI's noise, by window; oscillations count with their amplitude."""


@dataclass(frozen=True)
class SimulatedWeek:
    """A thermoelectric fleet in windows of a minute: a history almost without faults, then days with many."""

    seed: int
    n_days: int = 4
    n_sites: int = 15
    n_regions: int = 3
    history_days: int = 15
    """Days before Monday. A fleet keeps a Monday's baseline for a week once it is older than two weeks."""

    @property
    def span(self) -> Span:
        """The windows that are learnt from, or measured on."""
        return Span(MONDAY, MONDAY + self.n_days * DAY)

    @cached_property
    def config(self) -> FleetConfig:
        """The fleet: chains of five sites that depend on each other."""
        since = pd.Timestamp(MONDAY - self.history_days * DAY, unit="us").date()
        content = demo_config(
            "simulated",
            "thermoelectric",
            n_sites=self.n_sites,
            n_regions=self.n_regions,
            start_date=since,
        )
        return validate_config(content, source="reference models")

    @cached_property
    def scenario(self) -> Scenario:
        """What is simulated: heavy-tailed noise, statuses that flicker, and faults."""
        return Scenario(
            seed=self.seed,
            n_sites=self.n_sites,
            n_regions=self.n_regions,
            step_s=self.config.interval_s,
            noise="t5",
            faults=FAULTS,
        )

    @cached_property
    def inputs(self) -> SlotInputs:
        """What models may be fed, from the product's own tables."""
        fleet, read = Fleet.of(self.config), frame_reader(self.landed())
        trained = train(fleet, read, MONDAY, Samples())
        # the first windows have a past too: they are evaluated as well
        reach = -(-MAX_REACH * fleet.interval // HOUR) * HOUR
        found = evaluate_landed(fleet, read, self.span.widen(before=reach), trained)
        return SlotInputs.of(
            fleet,
            found.site_kpi,
            found.anomaly_score,
            found.site_assignment,
            self.span,
            reach=reach // fleet.interval,
        )

    @cached_property
    def effects(self) -> tuple[Effect, ...]:
        """What the planted faults do to the sites, in order of their start."""
        simulated = SimulatedFleet(self.config, self.scenario)
        events = events_between(
            self.scenario, simulated.topology, simulated.models, self.span.start, self.span.end
        )
        return tuple(effect for event in events for effect in self._effects(event))

    @cached_property
    def sound_readings(self) -> Grid:
        """The normalised KPIs of the same fleet had nothing been planted, shape (n_sites, n_windows, n_kpis)."""
        nothing = replace(self.scenario, faults={})
        rows = plain(self.config, nothing, self.span.start, self.span.end)
        window = (rows["timestamp_us"] - self.span.start) // self._interval
        low = np.array([kpi.lo for kpi in self.config.kpis])
        high = np.array([kpi.hi for kpi in self.config.kpis])
        out = np.full((self.n_sites, self.n_windows, low.size), np.nan)
        out[rows["site_no"], window] = (rows["readings"] - low) / (high - low)
        return out

    @property
    def n_windows(self) -> int:
        """Windows of the span."""
        return (self.span.end - self.span.start) // self._interval

    def rows(
        self, slot: AIModelSlot, every: int = 1
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the sites and windows that a slot is asked about, of every so many windows."""
        asked = question(self.inputs, slot.model_copy(update={"rate_limit_hz": 1e6}), self.span)
        is_used = asked.window % every == 0
        return asked.site[is_used], asked.window[is_used]

    def own(self, kpi: str) -> Grid:
        """Return a KPI as published, normalised, shape (n_sites, n_windows)."""
        return self.inputs.own(self.inputs.sites.kpis[self.config.kpi_names.index(kpi)])

    def sound(self, kpi: str) -> Grid:
        """Return a KPI had nothing been planted, normalised, shape (n_sites, n_windows)."""
        return np.asarray(self.sound_readings[:, :, self.config.kpi_names.index(kpi)])

    def noise(self, kpi: str) -> float:
        """Return the standard deviation of a KPI's noise, normalised."""
        place = self.config.kpi_names.index(kpi)
        own = self.config.kpis[place]
        return SimulatedFleet(self.config, self.scenario).models[place].sigma / (own.hi - own.lo)

    def blank(self) -> Grid:
        """Return zeros, shape (n_sites, n_windows)."""
        return np.zeros((self.n_sites, self.n_windows))

    def landed(self) -> pd.DataFrame:
        """Return the snapshots of the past and of the days that are looked at."""
        past = Span(MONDAY - self.history_days * DAY, MONDAY - DAY)
        quiet = replace(self.scenario, faults=PAST_FAULTS)
        parts = [
            simulate(self.config, quiet, past.start, past.end).telemetry,
            simulate(self.config, self.scenario, past.end, self.span.end).telemetry,
        ]
        judged = landed_table(
            self.config,
            pa.concat_tables(parts),
            batch_id="simulated",
            received_at_us=self.span.end,
            historical=True,
            admit=lambda seen: {site for site, _ in seen},
        )
        return telemetry_frame(judged)

    @property
    def _interval(self) -> int:
        return self.config.interval_s * 1_000_000

    def _effects(self, event: Event) -> Iterator[Effect]:
        for site, onset in zip(event.sites, event.onsets_us, strict=True):
            first, end = (
                -(-(at - self.span.start) // self._interval) for at in (onset, event.end_us)
            )
            windows = slice(max(0, first), min(self.n_windows, end))
            at = self.span.start + np.arange(windows.start, windows.stop) * self._interval
            share = (at - onset) / (event.end_us - onset)
            growth = {"drift": share, "ramp": np.minimum(1.0, 0.2 + 1.6 * share)}
            size = growth.get(event.shape, np.ones(at.size)) * event.magnitude_sigma
            if at.size:
                yield Effect(event, site, windows, np.asarray(size, dtype=np.float64))


def evaluated(weeks: Sequence[SimulatedWeek], processes: int) -> list[SimulatedWeek]:
    """Return weeks whose inputs are computed, several at the same time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        return list(pool.map(_evaluated, weeks))


def _evaluated(week: SimulatedWeek) -> SimulatedWeek:
    _ = week.inputs
    return week
