"""Figures of one partition's rows, table by table: what plots over time."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from fleet_dagster.model.tables import (
    AI_INFERENCE,
    FLEET_KPI,
    INGEST_STATS,
    QUARANTINE,
    REGIONAL_HEALTH,
    SITE_KPI,
    SITE_RANKING,
    UNMAPPED,
)
from fleet_dagster.views.score_figures import Figures
from fleet_dagster.views.slot_health import SLOT_COLUMNS, slot_figures


def _float(value: pa.Scalar) -> float:
    return float(value.as_py())


def _fleet_figures(rows: pa.Table) -> Figures:
    if not rows.num_rows:
        return {}
    last = rows.take(pc.sort_indices(rows, sort_keys=[("window_start", "descending")])[:1])
    return {
        "fleet_health_mean": _float(pc.mean(rows["fleet_health"])),
        "fleet_health_min": _float(pc.min(rows["fleet_health"])),
        "fleet_health_newest": _float(last["fleet_health"][0]),
        "coverage_mean": _float(pc.mean(rows["coverage"])),
        "ingestion_mode_newest": str(last["ingestion_mode"][0].as_py()),
        "storm_windows": int(
            pc.sum(pc.equal(rows["ingestion_mode"].cast(pa.string()), "storm")).as_py()
        ),
        "sites_not_online_max": int(
            pc.max(pc.subtract(rows["total_sites"], rows["sites_online"])).as_py()
        ),
    }


def _regional_figures(rows: pa.Table) -> Figures:
    """Look at the regions that mappings name: what nobody mapped has no region to blame."""
    regions = rows["region_id"].cast(pa.string())
    mapped = pc.not_equal(regions, UNMAPPED)
    rows, regions = rows.filter(mapped), regions.filter(mapped)
    if not rows.num_rows:
        return {}
    plain = pa.table({"region_id": regions, "health_score": rows["health_score"]})
    means = plain.group_by("region_id").aggregate([("health_score", "mean")])
    worst = means.take(pc.sort_indices(means, sort_keys=[("health_score_mean", "ascending")])[:1])
    return {
        "regions": means.num_rows,
        "worst_region": str(worst["region_id"][0].as_py()),
        "worst_region_health_mean": _float(worst["health_score_mean"][0]),
        "critical_region_windows": int(
            pc.sum(pc.equal(rows["band"].cast(pa.string()), "critical")).as_py()
        ),
    }


def _ranking_figures(rows: pa.Table) -> Figures:
    if not rows.num_rows:
        return {}
    lasting = rows.filter(rows["is_persistent_outlier"])
    return {
        "outlier_pct": 100.0 * _float(pc.mean(rows["is_outlier"].cast(pa.int8()))),
        "persistent_outlier_sites": len(pc.unique(lasting["site_id"].cast(pa.string()))),
    }


def _site_figures(rows: pa.Table) -> Figures:
    if not rows.num_rows:
        return {}
    return {
        "snapshots_used": int(pc.sum(rows["n_snapshots"]).as_py() or 0),
        "duplicates": int(pc.sum(rows["n_duplicates"]).as_py() or 0),
        "stale_pct": 100.0 * rows["last_seen"].null_count / rows.num_rows,
        "low_quality_pct": 100.0 * _float(pc.mean(rows["is_low_quality"].cast(pa.int8()))),
        "kpis_present_mean": _float(pc.mean(rows["kpi_count"])),
        "published_pct": 100.0 * _float(pc.mean(rows["published"].cast(pa.int8()))),
    }


def _book_figures(rows: pa.Table) -> Figures:
    names = ("landed", "used", "duplicates", "quarantined", "sampled_out")
    return {name: int(pc.sum(rows[name]).as_py() or 0) for name in names}


def _quarantine_figures(rows: pa.Table) -> Figures:
    counts = sorted(
        (
            (c["values"], c["counts"])
            for c in pc.value_counts(rows["problem"].cast(pa.string())).to_pylist()
        ),
        key=str,
    )
    return {f"problem_{name}": int(count) for name, count in counts}


SUMMARIES: dict[str, tuple[Callable[[pa.Table], Figures], tuple[str, ...]]] = {
    FLEET_KPI.name: (
        _fleet_figures,
        ("fleet_health", "coverage", "total_sites", "sites_online", "ingestion_mode"),
    ),
    REGIONAL_HEALTH.name: (_regional_figures, ("region_id", "health_score", "band")),
    SITE_RANKING.name: (_ranking_figures, ("site_id", "is_outlier", "is_persistent_outlier")),
    SITE_KPI.name: (
        _site_figures,
        ("n_snapshots", "n_duplicates", "last_seen", "is_low_quality", "kpi_count", "published"),
    ),
    INGEST_STATS.name: (
        _book_figures,
        ("landed", "used", "duplicates", "quarantined", "sampled_out"),
    ),
    QUARANTINE.name: (_quarantine_figures, ("problem",)),
    AI_INFERENCE.name: (slot_figures, SLOT_COLUMNS),
}
