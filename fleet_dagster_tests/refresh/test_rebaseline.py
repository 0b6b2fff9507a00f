"""A site that is told to forget what was normal: compared with its region until it has a new past of its own, then with that."""

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from fleet_dagster.core.windows import DAY, HOUR, Span
from fleet_dagster.ingest.simulator import Scenario, simulate
from fleet_dagster.model.config import HotSettings
from fleet_dagster.model.edits import rebaseline_site
from fleet_dagster.model.tables import ANOMALY_SCORE, BASELINE_MODEL
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at

INTERVAL_S = 300
KPIS = at.plant().kpis[:3]
CONFIG = at.plant(
    n_sites=3, n_regions=1, interval_s=INTERVAL_S, staleness_threshold_s=2 * INTERVAL_S, kpis=KPIS
)
OTHER, SITE, _ = (mapping.site_id for mapping in CONFIG.region_mappings)
REBUILT = at.FIRST + 2 * DAY
"""From here on the site runs differently."""
A_DAY = 288
"""Windows of a day; 200 make a baseline, which the second day after learns from."""
NOONS = {n: Span(noon, noon + HOUR) for n in (2, 3, 4) for noon in [at.FIRST + n * DAY + 12 * HOUR]}
"""An hour of each day that is looked at, by the day's number."""
SHIFT = 0.3
"""How far the first KPI moves, of its range."""


@functools.cache
def telemetry() -> pa.Table:
    """Return five days of three healthy sites, one of which is rebuilt."""
    scenario = Scenario(seed=7, kind="mixed", n_sites=3, n_regions=1, step_s=INTERVAL_S)
    raw = simulate(CONFIG, scenario, at.FIRST, at.FIRST + 5 * DAY).telemetry
    stamp = pd.to_datetime(raw["timestamp"].to_pandas(), utc=True)
    since = pd.Timestamp(REBUILT, unit="us", tz="UTC")
    is_new = (raw["site_id"].to_pandas() == SITE) & (stamp >= since)
    first = KPIS[0]
    moved = raw[first.name].to_numpy() + np.where(is_new, SHIFT * (first.hi - first.lo), 0.0)
    place = raw.column_names.index(first.name)
    return raw.set_column(place, first.name, pa.array(moved))


def forget(store: Store) -> None:
    """Tell the site to forget, as `fleet config rebaseline` does."""

    def edit(settings: HotSettings, at_us: int) -> HotSettings:
        return rebaseline_site(settings, SITE, at=at_us)

    assert store.registry.edit(CONFIG, edit, source="test", valid_from=REBUILT)


def score(store: Store, days: Sequence[int]) -> pd.DataFrame:
    """Refresh the scores of some days' noons, and return the rows of all domains together."""
    for day in days:
        Refresh(store, CONFIG).anomaly_scorer(NOONS[day])
    rows = at.rows_of(store, ANOMALY_SCORE).query("domain == 'all'")
    return rows.assign(day=rows["window_start"].dt.day - 1)


def by_day(rows: pd.DataFrame, site: str, column: str) -> list[set[object]]:
    """Return what a site's rows say on each day."""
    own = rows[rows["site_id"] == site]
    return [set(values) for _, values in own.groupby("day")[column]]


def test_a_site_that_forgets_is_a_stranger_until_it_has_a_new_past(store: Store) -> None:
    at.land(store, CONFIG, telemetry(), batch_id="five days")
    before = score(store, [2])
    assert by_day(before, SITE, "state") == [{"scored"}]
    assert by_day(before, SITE, "is_anomalous") == [{True}]
    forget(store)
    rows = score(store, [2, 3, 4])
    assert by_day(rows, SITE, "state") == [{"warming_up"}, {"warming_up"}, {"scored"}]
    assert by_day(rows, SITE, "baseline_version") == [
        {"2026-01-03 region-01"},
        {"2026-01-04 region-01"},
        {"2026-01-05"},
    ]
    assert by_day(rows, SITE, "is_anomalous")[-1] == {False}
    assert by_day(rows, OTHER, "state") == [{"scored"}] * 3
    models = at.rows_of(store, BASELINE_MODEL, at.days(4, 5)).query("domain == 'all'")
    learnt = models.set_index("scope_id")["n_windows"]
    assert learnt[SITE] == A_DAY
    assert learnt[OTHER] > 2 * A_DAY
