"""The rows of one day of a training set, from stored tables."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fleet_dagster.core.windows import Span
from fleet_dagster.frames.columns import microseconds
from fleet_dagster.frames.site_grids import site_grids
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import (
    ANOMALY_SCORE,
    FLEET_KPI,
    SITE_KPI,
    STATUS_NAMES,
    Table,
)
from fleet_dagster.storage.anomalies import score_rows
from fleet_dagster.storage.store import Store
from fleet_dagster.training_sets.choice import LABELS, Choice, normalised, reading

SOURCES: tuple[Table, ...] = (SITE_KPI, ANOMALY_SCORE, FLEET_KPI)
"""Tables that rows are made from."""


def day_rows(store: Store, config: FleetConfig, day: Span, choice: Choice) -> pa.Table:
    """Return the rows of a span within one day, by window and site, unlabelled; none where the site rows are gone."""
    rows = _site_rows(store, config, day)
    if choice.sites is not None:
        rows = rows[rows["site_id"].isin(list(choice.sites))]
    rows = rows.merge(_scores(store, config.name, day), "left", ["window_start", "site_id"])
    rows = rows.merge(_fleet_health(store, config.name, day), "left", ["window_start"])
    rows = rows.sort_values(["window_start", "site_id"], kind="stable")
    columns = {name: rows[name] for name in choice.columns if name in rows}
    for kpi in choice.kpis:
        share = rows[f"kpi_{config.kpi_names.index(kpi.name):02d}"]
        columns[normalised(kpi.name)] = share
        columns[reading(kpi.name)] = kpi.lo + share.astype(np.float64) * (kpi.hi - kpi.lo)
    columns |= {name: _nothing(len(rows)) for name in LABELS}
    schema = choice.schema
    arrays = [pa.Array.from_pandas(columns[field.name], type=field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _site_rows(store: Store, config: FleetConfig, day: Span) -> pd.DataFrame:
    """Return site rows, each with its health, worked out as rankings do, for sites that are not published too."""
    site_kpi = store.frame(SITE_KPI, config.name, day)
    fleet = store.registry.fleet(config)
    health = site_grids(fleet, site_kpi, day).health.score
    site = site_kpi["site_id"].astype("str").map(fleet.site_numbers).to_numpy(np.int64)
    window = (microseconds(site_kpi["window_start"]) - day.start) // fleet.interval
    names = dict(enumerate(STATUS_NAMES))
    return site_kpi.assign(
        site_id=site_kpi["site_id"].astype("str"),
        region_id=site_kpi["region_id"].astype("str"),
        status=site_kpi["status"].map(names).astype("str"),
        health=health[site, window],
    )


def _scores(store: Store, fleet: str, day: Span) -> pd.DataFrame:
    columns = ["window_start", "site_id", "score", "state"]
    rows = _plain(score_rows(store, fleet, day, columns))
    return rows.rename(columns={"score": "anomaly_score", "state": "anomaly_state"})


def _fleet_health(store: Store, fleet: str, day: Span) -> pd.DataFrame:
    columns = ["window_start", "fleet_health", "coverage"]
    rows = _plain(store.lake.read(FLEET_KPI, fleet, day, columns=columns))
    known = rows["fleet_health"].where(rows["coverage"] > 0)
    return rows[["window_start"]].assign(fleet_health=known)


def _plain(rows: pa.Table) -> pd.DataFrame:
    """Return rows with names spelled out, so that they can be joined."""
    frame: pd.DataFrame = rows.to_pandas()
    texts = [n for n in frame if isinstance(frame[n].dtype, pd.CategoricalDtype)]
    return frame.astype(dict.fromkeys(texts, "str"))


def _nothing(n_rows: int) -> "pd.Series[Any]":
    return pd.Series([None] * n_rows, dtype=object)
