"""What Dagster shows of a table: its columns once, and figures for each partition that plot over time."""

import re
from collections.abc import Callable, Mapping, Sequence

import dagster as dg
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fleet_dagster.core.windows import Span, iso, union
from fleet_dagster.model.config import FleetConfig, Kpi
from fleet_dagster.model.node_report import JudgedReport
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import (
    AI_INFERENCE,
    ANOMALY_SCORE,
    BASELINE_MODEL,
    FLEET_CORRELATION,
    Column,
    Table,
)
from fleet_dagster.storage.anomalies import open_incidents
from fleet_dagster.storage.store import Store
from fleet_dagster.views.incident_table import incident_table
from fleet_dagster.views.score_figures import (
    Figures,
    ScoreGrid,
    incident_figures,
    model_figures,
    score_figures,
    worst_sites,
)
from fleet_dagster.views.score_plot import SITES, plot_in_markdown
from fleet_dagster.views.slot_health import SLOT_COLUMNS, slot_health, slot_table
from fleet_dagster.views.table_figures import SUMMARIES


def column_schema(table: Table, kpis: Sequence[Kpi]) -> dg.TableSchema:
    """Return a table's columns as Dagster shows them; numbered KPI columns say which KPI that is in this fleet."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=c.name,
                type=c.type,
                description=_meaning(c, kpis),
                constraints=dg.TableColumnConstraints(
                    nullable=c.nullable, unique=False, other=_limits(c)
                ),
            )
            for c in table.columns
        ]
    )


def partition_figures(
    store: Store, table: Table, fleet: str, spans: Mapping[str, Span], written: Sequence[Span]
) -> dict[str, Figures]:
    """Return the figures of each partition, from one read of what is stored; `written` are the windows just written."""
    if table.name in _READERS:
        return _read_figures(store, table, fleet, spans, written)
    summarise, columns = SUMMARIES.get(table.name, (_no_more, ()))
    whole = Span(min(s.start for s in spans.values()), max(s.end for s in spans.values()))
    rows = store.lake.read(table, fleet, whole, columns=["window_start", *columns])
    starts = rows.column("window_start").cast(pa.int64()).to_numpy()
    fresh = _within(starts, union(list(written)))
    figures: dict[str, Figures] = {}
    for key, span in spans.items():
        own = (starts >= span.start) & (starts < span.end)
        figures[key] = {
            **summarise(rows.filter(pa.array(own))),
            "dagster/row_count": int(own.sum()),
            "rows_written": int((own & fresh).sum()),
        }
    return figures


def pictures(
    store: Store, table: Table, config: FleetConfig, span: Span
) -> dict[str, dg.MetadataValue]:
    """Return what a run shows once of the windows that it was asked for: the worst sites' scores, the open incidents, or the AI slots."""
    if table is ANOMALY_SCORE:
        settings = store.registry.fleet(config).settings_at(max(span.start, span.end - 1))
        names = worst_sites(store, config.name, span, SITES)
        grid = ScoreGrid.read(store, config.name, span, sites=names)
        plot = plot_in_markdown(grid, span, settings.anomaly_threshold)
        return {"worst_sites": dg.MetadataValue.md(plot)}
    if table is FLEET_CORRELATION:
        incidents = open_incidents(store, config.name, span.end)
        return {"open_incidents": dg.MetadataValue.md(incident_table(incidents, iso(span.end)))}
    if table is AI_INFERENCE:
        rows = store.lake.read(table, config.name, span, columns=list(SLOT_COLUMNS))
        return {"slots": dg.MetadataValue.md(slot_table(slot_health(rows)))}
    return {}


def work_figures(reports: Sequence[JudgedReport]) -> Figures:
    """Return what a node did in a run, in figures that plot over time; none where nothing was to be computed."""
    if not reports:
        return {}
    done, newest = [one.report for one in reports], reports[-1]
    n_windows = sum(own.windows for own in done)
    scores = [s for one in reports if (s := one.judgement.anomaly_score) is not None]
    lag_s = newest.report.lag_s
    return {
        "rows_in": sum(own.rows_in for own in done),
        "rows_out": sum(own.rows_out for own in done),
        "rows_shed": sum(own.shed for own in done),
        "rows_quarantined": sum(own.quarantined for own in done),
        "window_duration_s": sum(own.duration_s for own in done) / max(1, n_windows),
        **({} if lag_s is None else {"lag_s": lag_s}),
        **({"duration_anomaly_score": max(scores)} if scores else {}),
        **({} if newest.report.watermark is None else {"watermark": iso(newest.report.watermark)}),
    }


def storm_state(storm: StormEpisode | None) -> Figures:
    """Return what an asset tells of the storm that is on."""
    if storm is None:
        return {"storm": "none"}
    return {"storm": storm.episode_id, "storm_since": iso(storm.start), "storm_cause": storm.cause}


def _read_figures(
    store: Store, table: Table, fleet: str, spans: Mapping[str, Span], written: Sequence[Span]
) -> dict[str, Figures]:
    """Return the figures of tables that are too large to be read whole, or that need more than a partition's rows."""
    fresh = union(list(written))
    return {
        key: {
            **_READERS[table.name](store, fleet, span),
            "dagster/row_count": store.lake.count(table, fleet, [span]),
            "rows_written": store.lake.count(table, fleet, [s.clip(span) for s in fresh]),
        }
        for key, span in spans.items()
    }


def _within(starts: NDArray[np.int64], spans: Sequence[Span]) -> NDArray[np.bool_]:
    """Tell which windows lie in one of the spans, which are in order and apart."""
    if not spans:
        return np.zeros(starts.size, bool)
    place = np.searchsorted([s.start for s in spans], starts, side="right") - 1
    ends = np.array([s.end for s in spans], np.int64)
    return (place >= 0) & (starts < ends[place])


def _meaning(column: Column, kpis: Sequence[Kpi]) -> str:
    text = f"{column.meaning}{_unit(column.unit, ' [{}]')}"
    numbered = re.search(r"_(\d\d)$", column.name)
    if not numbered:
        return text
    k = int(numbered[1])
    if k >= len(kpis):
        return f"{text}: none, this fleet has {len(kpis)}"
    own = kpis[k]
    return f"{text}: {own.name} ({own.lo:g} to {own.hi:g}{_unit(own.unit, ' {}')})"


def _unit(unit: str, how: str) -> str:
    return "" if unit in ("", "1") else how.format(unit)


def _limits(column: Column) -> list[str]:
    limits = [f">= {column.lo:g}"] if column.lo is not None else []
    limits += [f"<= {column.hi:g}"] if column.hi is not None else []
    return limits + ([f"one of {', '.join(column.values)}"] if column.values else [])


def _no_more(_rows: pa.Table) -> Figures:
    return {}


_READERS: dict[str, Callable[[Store, str, Span], Figures]] = {
    ANOMALY_SCORE.name: score_figures,
    BASELINE_MODEL.name: model_figures,
    FLEET_CORRELATION.name: incident_figures,
}
