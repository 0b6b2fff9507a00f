"""Tables of regions and the fleet."""

from fleet_dagster.model.tables.columns import (
    BANDS,
    INGESTION_MODES,
    STATUS_NAMES,
    WINDOW,
    Column,
    Table,
    count,
    kpi_columns,
    share,
)


def _health_parts(subject: str) -> tuple[Column, ...]:
    return (
        share("kpi_part", f"Share of the {subject} health that comes from KPI goodness"),
        share("uptime_part", f"Share of the {subject} health that comes from uptime"),
        share("fault_part", f"Share of the {subject} health that comes from the absence of faults"),
    )


_STATUS_COUNTS = tuple(count(f"sites_{name}", f"Sites {name}") for name in STATUS_NAMES)
_MEANS = kpi_columns("mean_kpi", "Weighted mean over fresh sites of KPI {k}", unit="1")
_COVERAGE = share("coverage", "Share of the registered weight that reports")
_STDERR = Column(
    "health_stderr",
    "float64",
    "Standard error of the health: +- 1.96 of it is a 95 % interval; 0 where all sites are read, null where too few are",
    "1",
    nullable=True,
    lo=0,
)


REGION_KPI = Table(
    name="region_kpi",
    grain="region x window",
    key=("fleet", "window_start", "region_id"),
    retention_days=365,
    description="Weighted rollup of sites to regions: what regional health is scored from.",
    columns=(
        *WINDOW,
        Column("region_id", "string", "Region"),
        count("n_sites", "Registered sites"),
        *_STATUS_COUNTS,
        Column("weight", "float64", "Weight of the fresh sites", "1", lo=0),
        Column("registered_weight", "float64", "Weight of the registered sites", "1", lo=0),
        *_health_parts("region's"),
        share("health_min", "Lowest site health; null when no site is fresh", nullable=True),
        Column(
            "worst_site_id",
            "string",
            "Site of health_min; first registered of equals",
            nullable=True,
        ),
        *_MEANS,
        count(
            "anomaly_count",
            "Sites that are anomalous in any domain; null where no site is scored",
            nullable=True,
        ),
        share("sampled_fraction", "Share of sites whose KPIs were read"),
        _STDERR,
    ),
)


FLEET_KPI = Table(
    name="fleet_kpi",
    grain="window",
    key=("fleet", "window_start"),
    retention_days=730,
    stream="fleet_kpi_stream",
    description="One honest answer a window: how healthy the whole fleet is, and how much of it that speaks for.",
    columns=(
        *WINDOW,
        count("total_sites", "Registered sites"),
        *_STATUS_COUNTS,
        count("unmapped_count", "Registered sites that no mapping names"),
        *_MEANS,
        share("fleet_health", "Weighted mean health of fresh sites; 0 when none is"),
        *_health_parts("fleet"),
        share("health_min", "Lowest site health; null when no site is fresh", nullable=True),
        share("health_max", "Highest site health; null when no site is fresh", nullable=True),
        _STDERR,
        count(
            "anomaly_count",
            "Sites that are anomalous in any domain; null where no site is scored",
            nullable=True,
        ),
        Column("ingestion_mode", "string", "How the window was ingested", values=INGESTION_MODES),
        _COVERAGE,
        share("sampled_fraction", "Share of sites whose KPIs were read"),
    ),
)


REGIONAL_HEALTH = Table(
    name="regional_health",
    grain="region x window",
    key=("fleet", "window_start", "region_id"),
    retention_days=365,
    stream="regional_health_stream",
    description="Each region's health score and the three parts that sum to it, banded for people.",
    columns=(
        *WINDOW,
        Column("region_id", "string", "Region"),
        count("n_sites", "Registered sites"),
        *_STATUS_COUNTS,
        share("health_score", "Weighted mean health of fresh sites; 0 when none is"),
        *_health_parts("region's"),
        share("health_min", "Lowest site health; null when no site is fresh", nullable=True),
        Column(
            "worst_site_id",
            "string",
            "Site of health_min; first registered of equals",
            nullable=True,
        ),
        *_MEANS,
        count(
            "anomaly_count",
            "Sites that are anomalous in any domain; null where no site is scored",
            nullable=True,
        ),
        _COVERAGE,
        _STDERR,
        Column(
            "band", "string", "healthy from 0.8, degraded from 0.5, else critical", values=BANDS
        ),
    ),
)
