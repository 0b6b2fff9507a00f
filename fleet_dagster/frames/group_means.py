"""Weighted means of regions and of the fleet over a run of windows: exact, or in a storm estimated from the panel."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.exact import power_of_two_above
from fleet_dagster.core.health import HealthParts, combine_parts
from fleet_dagster.core.panel import Panel, panel_of
from fleet_dagster.core.rollup import GroupSums, group_sums
from fleet_dagster.core.storm_design import Population
from fleet_dagster.core.storm_estimate import storm_means
from fleet_dagster.core.windows import Span
from fleet_dagster.frames.assignment import AssignedRun
from fleet_dagster.frames.site_grids import SiteGrids
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.profiles import HealthWeights

Grid = NDArray[np.float64]
_N_PARTS = 3


@dataclass(frozen=True, slots=True)
class Means:
    """Means of some groups: grids of shape (n_groups, n_windows), the last two of shape (n_groups,)."""

    parts: list[Grid]
    """Parts of the health: KPIs, uptime, faults; 0 where nobody reports."""
    kpis: list[Grid]
    weight: Grid
    """Weight of the fresh sites."""
    stderr: Grid
    registered: NDArray[np.float64]
    """Weight of the registered sites, fresh or not."""
    sampled_fraction: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GroupMeans:
    """The means of every region, and of the fleet as one group."""

    of_regions: Means
    of_fleet: Means


def group_means(
    fleet: Fleet, grids: SiteGrids, run: AssignedRun
) -> Iterator[tuple[AssignedRun, GroupMeans]]:
    """Yield the run cut where storms begin and end, or settings change in one, each part with its means."""
    for part in fleet.mode_runs(run.span.start, run.span.end):
        span = Span(part.start, part.end)
        if part.episode is None:
            yield replace(run, span=span), _exact(fleet, grids, replace(run, span=span))
            continue
        panel = panel_of(fleet, part.episode)
        for settings in fleet.settings_runs(span.start, span.end):
            own = replace(run, span=Span(settings.start, settings.end))
            weights = settings.version.settings.health_weights
            yield own, _estimated(fleet, grids, own, panel, weights)


def _scale(run: AssignedRun) -> float:
    """Return what brings the weights of a run into [0, 1] without losing a bit."""
    return power_of_two_above(float(run.weight.max(initial=0.0)))


def _sums(values: list[Grid], run: AssignedRun) -> GroupSums:
    return group_sums(values, run.weight / _scale(run), run.region, len(run.regions))


def _exact(fleet: Fleet, grids: SiteGrids, run: AssignedRun) -> GroupMeans:
    part = grids.window_slice(run.span, fleet.interval)
    health = grids.health
    parts = [grid[:, part] for grid in (health.kpi, health.uptime, health.fault)]
    sums = _sums([*parts, *(kpi[:, part] for kpi in grids.kpis)], run)

    def means(own: GroupSums, registered: NDArray[np.float64]) -> Means:
        found = own.means()
        nothing = np.zeros(own.shape)
        return Means(
            parts=[np.nan_to_num(mean) for mean in found[:_N_PARTS]],
            kpis=found[_N_PARTS:],
            weight=own.weights()[0] * _scale(run),
            stderr=nothing,
            registered=registered,
            sampled_fraction=np.ones(own.shape[0]),
        )

    by_region, whole = _registered(run)
    return GroupMeans(means(sums, by_region), means(sums.whole(), whole))


def _estimated(
    fleet: Fleet, grids: SiteGrids, run: AssignedRun, panel: Panel, weights: HealthWeights
) -> GroupMeans:
    """Estimate the KPIs' part from the panel; uptime, faults and weights are known of every site."""
    part = grids.window_slice(run.span, fleet.interval)
    is_fresh = grids.is_fresh[:, part]
    known = _without_kpis(grids, part, weights)
    exact = _sums([known.uptime, known.fault, np.where(is_fresh, 1.0, np.nan)], run)
    read = panel.is_read[:, None] & is_fresh
    own = grids.health.score[:, part] - known.score
    found = storm_means(
        [np.where(read, own, np.nan), *(kpi[:, part] for kpi in grids.kpis)],
        Population(
            run.weight / _scale(run), run.region, len(run.regions), grids.status[:, part], is_fresh
        ),
        panel,
    )

    def means(sums: GroupSums, groups: slice, registered: NDArray[np.float64]) -> Means:
        uptime, fault = (np.nan_to_num(mean) for mean in sums.means()[:2])
        kpi = np.nan_to_num(found.means[0][groups], nan=0.0)
        unknown = np.isnan(found.means[0][groups])
        kpi = np.where(unknown, _renormalised(uptime + fault, weights), kpi)
        return Means(
            parts=[np.clip(kpi, 0.0, np.maximum(0.0, 1.0 - uptime - fault)), uptime, fault],
            kpis=[mean[groups] for mean in found.means[1:]],
            weight=sums.weights()[2] * _scale(run),
            stderr=found.stderr[groups],
            registered=registered,
            sampled_fraction=_share_read(run, panel, n_groups=sums.shape[0]),
        )

    n, (by_region, whole) = len(run.regions), _registered(run)
    return GroupMeans(
        means(exact, slice(0, n), by_region), means(exact.whole(), slice(n, None), whole)
    )


def _without_kpis(grids: SiteGrids, part: slice, weights: HealthWeights) -> HealthParts:
    """Return what uptime and faults contribute to each site's health where its KPIs are present; NaN where it is stale."""
    uptime, faults = grids.uptime[:, part], grids.faults[:, part]
    parts = combine_parts(np.zeros(uptime.shape), weights, uptime, faults)
    fresh = grids.is_fresh[:, part]
    return HealthParts(
        *(np.where(fresh, p, np.nan) for p in (parts.kpi, parts.uptime, parts.fault))
    )


def _renormalised(known: Grid, weights: HealthWeights) -> Grid:
    """Return what uptime and faults gain where no KPI is known of anyone."""
    rest = 1.0 - weights.kpi_share
    return known * (weights.kpi_share / rest) if rest > 0 else np.zeros(known.shape)


def _registered(run: AssignedRun) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weight of registered sites, fresh or not, by region and in all: what coverage is a share of."""
    sums = _sums([np.ones((run.weight.size, 1))], run)
    scale = _scale(run)
    return sums.weights()[0].ravel() * scale, sums.whole().weights()[0].ravel() * scale


def _share_read(run: AssignedRun, panel: Panel, *, n_groups: int) -> NDArray[np.float64]:
    groups = run.region if n_groups == len(run.regions) else np.where(run.is_active, 0, -1)
    here = groups >= 0
    n_sites = np.bincount(groups[here], minlength=n_groups)
    n_read = np.bincount(groups[here & panel.is_read], minlength=n_groups)
    return np.divide(n_read, n_sites, out=np.ones(n_groups), where=n_sites > 0)
