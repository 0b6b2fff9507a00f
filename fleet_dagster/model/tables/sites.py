"""Tables of sites: where they belong, how they do, and how they compare."""

from fleet_dagster.model.tables.columns import (
    DISPOSITIONS,
    N_KPIS,
    UNMAPPED,
    WINDOW,
    Column,
    Table,
    kpi_columns,
    share,
)

SITE_ASSIGNMENT = Table(
    name="site_assignment",
    grain="site x run of windows with one assignment",
    key=("fleet", "window_start", "site_id"),
    retention_days=730,
    description="Which region each registered site belongs to, as of each window, and the weight it carries there.",
    columns=(
        *WINDOW,
        Column("site_id", "string", "Site"),
        Column("site_no", "int32", "Registration order of the site within the fleet, from 0", lo=0),
        Column(
            "region_id", "string", f"Region of the site; '{UNMAPPED}' where no mapping names it"
        ),
        Column(
            "weight", "float64", "Weight in region and fleet means, e.g. rated capacity", "1", lo=0
        ),
        Column("critical", "bool", "Always part of a storm sample"),
        Column("is_mapped", "bool", "A mapping names the site as of the window"),
        Column("config_version", "string", "Version of the mapping that assigned it"),
    ),
)


SITE_KPI = Table(
    name="site_kpi",
    grain="site x window",
    key=("fleet", "window_start", "site_id"),
    retention_days=35,
    description="Each site's snapshots reduced to one row a window: mean KPIs (0 = lo, 1 = hi), last status, mean uptime, most faults.",
    columns=(
        *WINDOW,
        Column("site_id", "string", "Site"),
        Column("region_id", "string", "Region of the site as of the window"),
        *kpi_columns(
            "kpi",
            "Normalised mean of good readings (0 = lo, 1 = hi, unclipped) of KPI {k}",
            unit="1",
        ),
        Column("kpi_count", "int8", "KPIs present", "1", lo=0, hi=N_KPIS),
        Column(
            "status", "int8", "Last status: 0 online, 1 degraded, 2 faulted, 3 offline", lo=0, hi=3
        ),
        Column(
            "uptime_pct",
            "float32",
            "Mean uptime; null while stale",
            "%",
            nullable=True,
            lo=0,
            hi=100,
        ),
        Column(
            "fault_count", "int32", "Most active faults; null while stale", "1", nullable=True, lo=0
        ),
        Column("n_snapshots", "int32", "Snapshots used", "1", lo=0),
        Column("n_duplicates", "int32", "Snapshots set aside as duplicates", "1", lo=0),
        Column(
            "good_pct",
            "float32",
            "Share of snapshots of good quality; null without any",
            "%",
            nullable=True,
            lo=0,
            hi=100,
        ),
        Column("is_low_quality", "bool", "good_pct is below the fleet's min_good_pct"),
        Column(
            "last_seen",
            "timestamp",
            "Last usable snapshot within the staleness threshold, UTC",
            nullable=True,
        ),
        Column(
            "disposition",
            "string",
            "Why the row is published, or why not",
            values=DISPOSITIONS,
        ),
        Column("published", "bool", "Ranked, sent to AI slots and streamed"),
    ),
)


SITE_RANKING = Table(
    name="site_ranking",
    grain="published fresh site x window",
    key=("fleet", "window_start", "site_id"),
    retention_days=90,
    stream="site_ranking_stream",
    description="Each site's place within its region and the fleet, and whether it is the odd one out.",
    columns=(
        *WINDOW,
        Column("site_id", "string", "Site"),
        Column("region_id", "string", "Region of the site as of the window"),
        share("composite_score", "Site health"),
        Column("rank_in_region", "int32", "Competition rank, best = 1, ties equal", "1", lo=1),
        Column("rank_in_fleet", "int32", "Competition rank, best = 1, ties equal", "1", lo=1),
        Column(
            "percentile",
            "float64",
            "Share of the fleet's fresh sites that do no better",
            "%",
            lo=0,
            hi=100,
        ),
        Column(
            "modified_z_region",
            "float64",
            "Modified Z-score within the region; null below 3 sites",
            "1",
            nullable=True,
        ),
        Column(
            "modified_z_fleet",
            "float64",
            "Modified Z-score within the fleet; null below 3 sites",
            "1",
            nullable=True,
        ),
        Column("is_outlier", "bool", "Beyond the outlier threshold in region or fleet"),
        Column("is_persistent_outlier", "bool", "An outlier in 3 of the last 5 windows"),
        Column(
            "outlier_scope",
            "string",
            "Where it is an outlier",
            values=("none", "region", "fleet", "both"),
        ),
    ),
)
