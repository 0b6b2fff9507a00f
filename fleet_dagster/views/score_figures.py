"""Anomaly scores of a span as a grid, and the figures that sum it up."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fleet_dagster.core.alarm_budget import alarm_rate
from fleet_dagster.core.windows import Span
from fleet_dagster.model.tables import (
    ANOMALY_SCORE,
    BASELINE_MODEL,
    FLEET_CORRELATION,
    SCORE_STATES,
)
from fleet_dagster.storage.anomalies import open_incidents, score_rows
from fleet_dagster.storage.store import Store

Figures = dict[str, float | int | str]
WARMING_UP = SCORE_STATES.index("warming_up")
NOT_SCORED = SCORE_STATES.index("not_scored")


@dataclass(frozen=True, slots=True)
class ScoreGrid:
    """Scores over all KPIs, shape (n_sites, n_windows): NaN where not scored; sites in order of name, windows in time."""

    sites: tuple[str, ...]
    starts: NDArray[np.int64]
    score: NDArray[np.float32]
    is_anomalous: NDArray[np.bool_]
    state: NDArray[np.int8]
    """Position in `SCORE_STATES`; -1 where a site has no row."""

    @classmethod
    def of(cls, rows: pa.Table) -> "ScoreGrid":
        """Arrange rows of `anomaly_score` over all KPIs."""
        starts, window = _coded(rows["window_start"].cast(pa.int64()))
        sites, site = _coded(rows["site_id"])
        states, state_of = _coded(rows["state"])
        shape = (len(sites), len(starts))
        score = np.full(shape, np.nan, dtype=np.float32)
        is_anomalous, state = np.zeros(shape, dtype=np.bool_), np.full(shape, -1, dtype=np.int8)
        score[site, window] = pc.fill_null(rows["score"], float("nan")).to_numpy()
        is_anomalous[site, window] = rows["is_anomalous"].to_numpy()
        numbers = np.array([SCORE_STATES.index(name) for name in states], dtype=np.int8)
        state[site, window] = numbers[state_of]
        return cls(tuple(sites), np.array(starts, dtype=np.int64), score, is_anomalous, state)

    @classmethod
    def read(
        cls, store: Store, fleet: str, span: Span, *, sites: tuple[str, ...] | None = None
    ) -> "ScoreGrid":
        """Read the scores of a span, of all sites or of some."""
        columns = ["window_start", "site_id", "score", "is_anomalous", "state"]
        return cls.of(score_rows(store, fleet, span, columns, sites=sites))

    @property
    def highest(self) -> NDArray[np.float32]:
        """The highest score of each site; -1 for one that was never scored."""
        known = np.where(np.isnan(self.score), np.float32(-1), self.score)
        return np.asarray(known.max(axis=1, initial=-1))

    def worst(self, n: int) -> list[int]:
        """Return the positions of the sites that are anomalous most often, then of those with the highest scores; only scored ones."""
        order = np.lexsort((-self.highest, -self.is_anomalous.sum(axis=1)))
        return [int(i) for i in order if self.highest[i] >= 0][:n]


def worst_sites(store: Store, fleet: str, span: Span, n: int) -> tuple[str, ...]:
    """Return the sites that are anomalous most often in a span, then those with the highest scores; read day by day."""
    columns = ["site_id", "is_anomalous", "score"]
    by_day = [score_rows(store, fleet, day, columns) for day in span.days()]
    sums = [
        pa.table({**_plain(rows), "anomalous": rows["is_anomalous"].cast(pa.int64())})
        .group_by("site_id")
        .aggregate([("anomalous", "sum"), ("score", "max")])
        for rows in by_day
    ]
    if not sums:
        return ()
    sites = pa.concat_tables(sums).to_pandas().groupby("site_id")
    found = sites.agg({"anomalous_sum": "sum", "score_max": "max"}).dropna().reset_index()
    order = found.sort_values(
        ["anomalous_sum", "score_max", "site_id"], ascending=[False, False, True]
    )
    return tuple(str(s) for s in order["site_id"][:n])


def score_figures(store: Store, fleet: str, span: Span) -> Figures:
    """Sum up the scores of a span: how many sites are anomalous, how often, and whether more often than chance explains."""
    grid = ScoreGrid.read(store, fleet, span)
    if not grid.sites:
        return {}
    n_rows, is_scored = int((grid.state >= 0).sum()), ~np.isnan(grid.score)
    rate = alarm_rate(grid.score, grid.is_anomalous)
    figures: Figures = {
        "anomalous_pct": 100.0 * float(grid.is_anomalous.sum() / max(1, is_scored.sum())),
        "sites_anomalous": int(grid.is_anomalous.any(axis=1).sum()),
        "sites_anomalous_in_any_domain": _sites_in_any_domain(store, fleet, span),
        "sites_warming_up": int((grid.state[:, -1] == WARMING_UP).sum()),
        "not_scored_pct": 100.0 * float((grid.state == NOT_SCORED).sum() / n_rows),
        "windows_scored": rate.n_windows,
        "sites_scored": rate.n_sites,
        "chance_alarm_pct": 100.0 * rate.chance_share,
        "lasting_alarm_sites": rate.n_lasting,
        "typical_site_anomalous_pct": 100.0 * rate.typical_share,
    }
    for i in grid.worst(1):
        figures |= {"worst_site": grid.sites[i], "worst_site_score_max": float(grid.highest[i])}
    return figures


def model_figures(store: Store, fleet: str, span: Span) -> Figures:
    """Count the sites that are compared with their own past, and those that still warm up."""
    rows = store.lake.read(BASELINE_MODEL, fleet, span, columns=["scope", "scope_id", "state"])
    is_site = pc.equal(rows["scope"].cast(pa.string()), "site")
    sites = rows.filter(is_site).select(["scope_id", "state"]).to_pandas().astype(str)
    states = sites.drop_duplicates("scope_id")["state"]
    return {
        "sites_trained": int((states == "trained").sum()),
        "sites_warming_up": int((states == "warming_up").sum()),
    }


def incident_figures(store: Store, fleet: str, span: Span) -> Figures:
    """Count the incidents of a span; one that goes on under a new id after midnight was not opened again."""
    columns = ["window_start", "incident_id", "phase", "continues", "n_sites", "severity"]
    rows = store.frame(FLEET_CORRELATION, fleet, span, columns=columns)
    began = rows[(rows["phase"] == "opened") & rows["continues"].isna()]
    return {
        "incidents_opened": len(began),
        "incidents_open_at_end": len(open_incidents(store, fleet, span.end)),
        "incidents_multi_site": int(rows.loc[rows["n_sites"] > 1, "incident_id"].nunique()),
        "incidents_critical": int(
            rows.loc[rows["severity"] == "critical", "incident_id"].nunique()
        ),
    }


def _sites_in_any_domain(store: Store, fleet: str, span: Span) -> int:
    flagged = pc.field("is_anomalous")
    rows = store.lake.read(ANOMALY_SCORE, fleet, span, columns=["site_id"], where=flagged)
    return len(pc.unique(rows["site_id"].cast(pa.string())))


def _plain(rows: pa.Table) -> dict[str, pa.ChunkedArray]:
    return {"site_id": rows["site_id"].cast(pa.string()), "score": rows["score"]}


def _coded(column: pa.ChunkedArray) -> tuple[list[Any], NDArray[np.int64]]:
    """Return the values of a column, in order, and each row's position among them."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    encoded = column.dictionary_encode().combine_chunks()
    order = pc.array_sort_indices(encoded.dictionary).to_numpy()
    position = np.empty(order.size, dtype=np.int64)
    position[order] = np.arange(order.size)
    return encoded.dictionary.take(order).to_pylist(), position[encoded.indices.to_numpy()]
