"""Planted faults: which, where and when follows from (seed, day) alone, so any span finds the same ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fleet_dagster.ingest.simulator.noise import generator
from fleet_dagster.ingest.simulator.plants import KpiModel
from fleet_dagster.ingest.simulator.scenario import FAULT_KINDS, Scenario
from fleet_dagster.ingest.zones import DAY_US, SECOND_US

Shape = Literal["step", "ramp", "oscillation", "stuck", "drift", "storm", "silent"]
MINUTE_US = 60 * SECOND_US
LONGEST_DAYS = 6
"""No fault lasts longer, so a span needs to look only that far back."""

_SITE_SHAPES: tuple[Shape, ...] = ("step", "ramp", "oscillation", "stuck")
_CASCADE_SHAPES: tuple[Shape, ...] = (*_SITE_SHAPES, "drift")
_MAX_CASCADE = 6
_STORM_SHARE = 0.5
_STORM_ONSET_US = 3 * MINUTE_US


@dataclass(frozen=True, slots=True)
class Topology:
    """Where the sites are and what depends on what, by position."""

    sites: tuple[str, ...]
    regions: tuple[str, ...]
    """Region of each site."""
    depends_on: Mapping[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Event:
    """One planted fault and its truth."""

    event_id: str
    kind: str
    shape: Shape
    sites: tuple[int, ...]
    onsets_us: tuple[int, ...]
    """When each site is first affected, microseconds UTC."""
    start_us: int
    end_us: int
    kpis: tuple[int, ...]
    signs: tuple[int, ...]
    """Direction of each KPI's change."""
    magnitude_sigma: float
    root: int | None


def events_between(
    scenario: Scenario, topology: Topology, models: Sequence[KpiModel], start_us: int, end_us: int
) -> tuple[Event, ...]:
    """Return the planted faults that touch [start, end), in order of start."""
    days = range(start_us // DAY_US - LONGEST_DAYS, (end_us - 1) // DAY_US + 1)
    found = [event for day in days for event in events_of_day(scenario, topology, models, day)]
    touching = [e for e in found if e.start_us < end_us and e.end_us > start_us]
    return tuple(sorted(touching, key=lambda e: (e.start_us, e.event_id)))


def events_of_day(
    scenario: Scenario, topology: Topology, models: Sequence[KpiModel], day: int
) -> list[Event]:
    """Return the faults that begin on a day, counted in days since 1970."""
    events = []
    for kind in FAULT_KINDS:
        rng = generator(scenario.seed, f"fault-{kind}", day)
        for i in range(int(rng.poisson(scenario.faults.get(kind, 0.0)))):
            draft = _Draft(rng, topology, models, f"{np.datetime64(day, 'D')}-{kind}-{i + 1}", day)
            event = _MAKERS[kind](draft)
            if event is not None:
                events.append(event)
    return events


@dataclass(frozen=True, slots=True)
class _Draft:
    rng: np.random.Generator
    topology: Topology
    models: Sequence[KpiModel]
    event_id: str
    day: int

    def start_us(self) -> int:
        return self.day * DAY_US + int(self.rng.integers(0, 24 * 60)) * MINUTE_US

    def minutes_us(self, least: int, most: int) -> int:
        return int(self.rng.integers(least, most + 1)) * MINUTE_US

    def site(self) -> int:
        return int(self.rng.integers(len(self.topology.sites)))

    def kpis(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Choose up to three KPIs of one domain, and the direction that makes each worse."""
        domains = sorted({m.domain for m in self.models})
        domain = domains[int(self.rng.integers(len(domains)))]
        members = [k for k, m in enumerate(self.models) if m.domain == domain]
        chosen = sorted(self.rng.permutation(members)[:3].tolist())
        worse = {"higher": -1, "lower": 1}
        signs = [
            worse.get(self.models[k].direction, 1 - 2 * int(self.rng.integers(2))) for k in chosen
        ]
        return tuple(chosen), tuple(signs)


def _site_event(draft: _Draft) -> Event:
    start, site = draft.start_us(), draft.site()
    kpis, signs = draft.kpis()
    shape = _SITE_SHAPES[int(draft.rng.integers(len(_SITE_SHAPES)))]
    end = start + draft.minutes_us(20, 150)
    return Event(
        draft.event_id,
        "site",
        shape,
        (site,),
        (start,),
        start,
        end,
        kpis,
        signs,
        float(np.round(draft.rng.uniform(5, 14), 2)),
        site,
    )


def _cascade_event(draft: _Draft) -> Event | None:
    """Spread one disturbance downstream: every site has its shape and size, and the root no more of it than the rest."""
    followers: dict[int, list[int]] = {}
    for site, upstream in sorted(draft.topology.depends_on.items()):
        for up in upstream:
            followers.setdefault(up, []).append(site)
    if not followers:
        return None
    roots = sorted(followers)
    root = roots[int(draft.rng.integers(len(roots)))]
    start = draft.start_us()
    onsets = {root: start}
    queue = [root]
    while queue and len(onsets) < _MAX_CASCADE:
        up = queue.pop(0)
        for site in followers.get(up, []):
            if site not in onsets:
                onsets[site] = onsets[up] + draft.minutes_us(1, 3)
                queue.append(site)
    kpis, signs = draft.kpis()
    end = max(onsets.values()) + draft.minutes_us(25, 90)
    size = float(np.round(draft.rng.uniform(7, 14), 2))
    shape = _CASCADE_SHAPES[int(draft.rng.integers(len(_CASCADE_SHAPES)))]
    return Event(
        draft.event_id,
        "cascade",
        shape,
        tuple(onsets),
        tuple(onsets.values()),
        start,
        end,
        kpis,
        signs,
        size,
        root,
    )


def _region_event(draft: _Draft) -> Event:
    start = draft.start_us()
    region = draft.topology.regions[draft.site()]
    sites = tuple(i for i, r in enumerate(draft.topology.regions) if r == region)
    kpis, signs = draft.kpis()
    end = start + draft.minutes_us(20, 90)
    size = float(np.round(draft.rng.uniform(6, 12), 2))
    return Event(
        draft.event_id,
        "region",
        "step",
        sites,
        (start,) * len(sites),
        start,
        end,
        kpis,
        signs,
        size,
        None,
    )


def _storm_event(draft: _Draft) -> Event:
    start, n = draft.start_us(), len(draft.topology.sites)
    sites = tuple(sorted(draft.rng.permutation(n)[: max(1, round(_STORM_SHARE * n))].tolist()))
    onsets = tuple(start + int(us) for us in draft.rng.integers(0, _STORM_ONSET_US, len(sites)))
    kpis, signs = draft.kpis()
    end = start + draft.minutes_us(12, 45)
    return Event(
        draft.event_id,
        "storm",
        "storm",
        sites,
        onsets,
        start,
        end,
        kpis,
        signs,
        float(np.round(draft.rng.uniform(4, 9), 2)),
        None,
    )


def _drift_event(draft: _Draft) -> Event:
    start, site = draft.start_us(), draft.site()
    kpis, signs = draft.kpis()
    end = start + draft.minutes_us(24 * 60, (LONGEST_DAYS - 1) * 24 * 60)
    return Event(
        draft.event_id,
        "drift",
        "drift",
        (site,),
        (start,),
        start,
        end,
        kpis,
        signs,
        float(np.round(draft.rng.uniform(6, 12), 2)),
        site,
    )


def _dropout_event(draft: _Draft) -> Event:
    start, site = draft.start_us(), draft.site()
    end = start + draft.minutes_us(5, 180)
    return Event(
        draft.event_id, "dropout", "silent", (site,), (start,), start, end, (), (), 0.0, site
    )


_MAKERS: Mapping[str, Callable[[_Draft], Event | None]] = {
    "site": _site_event,
    "cascade": _cascade_event,
    "region": _region_event,
    "storm": _storm_event,
    "drift": _drift_event,
    "dropout": _dropout_event,
}
