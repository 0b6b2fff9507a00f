"""Who belongs together in a fleet as of each window: regions, dependences, and how often sites have alarmed."""

import bisect
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from fleet_dagster.core.neighbourhood import Neighbourhood, neighbourhood
from fleet_dagster.core.sampling import training_day_in_force
from fleet_dagster.core.windows import Span, ceil_to
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.config import RegionMapping
from fleet_dagster.model.fleet import Fleet, mappings_as_of, valid_from
from fleet_dagster.model.tables import UNMAPPED

PRIOR_ONSETS, PRIOR_H = 0.5, 28 * 24.0
"""What a site is given besides its history: half an alarm in 28 days."""
NO_HISTORY = PRIOR_ONSETS / PRIOR_H


@dataclass(frozen=True)
class Surroundings:
    """The neighbourhoods of a fleet, each made when a window first asks for it."""

    fleet: Fleet
    models: pd.DataFrame
    span: Span
    _made: dict[int, Neighbourhood] = field(default_factory=dict)

    @cached_property
    def cuts(self) -> list[int]:
        """Where anything may change [us]."""
        fleet, span = self.fleet, self.span
        cuts = {day.start for day in span.days()} | {site.active_from for site in fleet.sites}
        return sorted({max(cut, span.start) for cut in cuts | _mapping_cuts(fleet, span)})

    def at(self, window: int) -> Neighbourhood:
        """Return the neighbourhood as of a window, counted since 1970."""
        instant = window * self.fleet.interval
        place = max(0, bisect.bisect_right(self.cuts, instant) - 1)
        if place not in self._made:
            self._made[place] = self._make(instant)
        return self._made[place]

    @property
    def regions(self) -> tuple[str, ...]:
        """All regions that any version of the settings names, and the reserved one."""
        named = {m.region_id for v in self.fleet.versions for m in v.settings.region_mappings}
        return (*sorted(named), UNMAPPED)

    def _make(self, instant: int) -> Neighbourhood:
        fleet = self.fleet
        current = mappings_as_of(fleet.settings_at(instant).region_mappings, instant)
        number = {name: i for i, name in enumerate(self.regions)}
        region = np.full(len(fleet.sites), -1, dtype=np.int64)
        for i in fleet.sites_at(instant):
            mapping = current.get(fleet.sites[i].site_id)
            region[i] = number[mapping.region_id if mapping else UNMAPPED]
        edges = _edges(fleet, current)
        rates = onset_rates(self._models_at(instant))
        names = [self.regions[r] for r in region]
        rate = [
            rates.get(("site", site.site_id), rates.get(("region", name), NO_HISTORY))
            for site, name in zip(fleet.sites, names, strict=True)
        ]
        return neighbourhood(region, edges, np.array(rate, dtype=np.float64))

    def _models_at(self, instant: int) -> pd.DataFrame:
        day = training_day_in_force(self.fleet.start, instant)
        if day is None or self.models.empty:
            return self.models.iloc[:0]
        rows: pd.DataFrame = self.models[frames.microseconds(self.models["window_start"]) == day]
        return rows


def dependences(fleet: Fleet, span: Span) -> Iterator[tuple[Span, list[tuple[int, int]]]]:
    """Yield the runs of a span's windows with what depends on what in each: pairs of a site and one that depends on it."""
    cuts = sorted(cut for cut in _mapping_cuts(fleet, span) if span.start < cut < span.end)
    for start, end in itertools.pairwise([span.start, *cuts, span.end]):
        mappings = fleet.settings_at(start).region_mappings
        yield Span(start, end), _edges(fleet, mappings_as_of(mappings, start))


def _mapping_cuts(fleet: Fleet, span: Span) -> set[int]:
    """Return where settings change, and mappings begin [us]."""
    cuts = set()
    for run in fleet.settings_runs(span.start, span.end):
        cuts |= {run.start}
        for mapping in run.version.settings.region_mappings:
            cuts.add(ceil_to(valid_from(mapping), fleet.interval))
    return cuts


def _edges(fleet: Fleet, current: Mapping[str, RegionMapping]) -> list[tuple[int, int]]:
    return [
        (fleet.site_numbers[up], fleet.site_numbers[m.site_id])
        for m in current.values()
        for up in m.depends_on
        if up in fleet.site_numbers and m.site_id in fleet.site_numbers
    ]


def onset_rates(models: pd.DataFrame) -> Mapping[tuple[str, str], float]:
    """Return how often an alarm of a site has begun, by scope and scope id: (onsets + 0.5) / (exposure + 28 d) [1/h].

    An alarm is one in any domain; those of several domains count each, for mere chance seldom strikes two at once. Sites
    that are still warming up are left to their region.
    """
    if models.empty:
        return {}
    own = models[(models["scope"] == "region") | (models["state"] == "trained")]
    counts = own.groupby(["scope", "scope_id"], observed=True)
    onsets, hours = counts["n_onsets"].sum(), counts["exposure_h"].max()
    rate = (onsets + PRIOR_ONSETS) / (hours + PRIOR_H)
    scope, name = (rate.index.get_level_values(i).astype("str") for i in (0, 1))
    return dict(zip(zip(scope, name, strict=True), rate.tolist(), strict=True))
