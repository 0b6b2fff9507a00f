"""Every table's columns, types, units, ranges and meanings: the single source.

Delta schemas, Dagster column schemas, blocking asset checks and the reference pages are generated from here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

N_KPIS = 16
ALL_DOMAINS = "all"
"""Stands for all KPIs of a site together where a row is about one domain of them."""
SCORE_STATES = ("scored", "warming_up", "not_scored")
PATTERNS = ("isolated", "simultaneous", "cascade", "regional", "fleet_wide")
SEVERITIES = ("info", "warning", "critical")
INCIDENT_PHASES = ("opened", "changed", "merged", "closed")
UNMAPPED = "unmapped"
"""Reserved region of sites that no mapping names."""

ColumnType = Literal[
    "string",
    "date",
    "timestamp",
    "bool",
    "int8",
    "int32",
    "int64",
    "float32",
    "float64",
    "list<string>",
    "list<float32>",
]

ONLINE, DEGRADED, FAULTED, OFFLINE = 0, 1, 2, 3
STATUS_NAMES = ("online", "degraded", "faulted", "offline")
INGESTION_MODES = ("full", "downsample_healthy", "deviation_only", "storm")
DISPOSITIONS = (
    "full",
    "downsampled",
    "deviating",
    "heartbeat",
    "sampled",
    "quiet",
    "sampled_out",
    "stale",
)
"""Why a site-window is published, or, from `quiet` on, why not."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type, unit, allowed range and meaning."""

    name: str
    type: ColumnType
    meaning: str
    unit: str = ""
    nullable: bool = False
    lo: float | None = None
    hi: float | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """One lake table: its grain, key and columns, in storage order."""

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    description: str = ""
    retention_days: int | None = None
    stream: str | None = None
    by_name: dict[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the columns and refuse a key that is not among them."""
        object.__setattr__(self, "by_name", {c.name: c for c in self.columns})
        missing = [k for k in self.key if k not in self.by_name]
        if missing:
            msg = f"table {self.name}: key columns {missing} are not columns"
            raise ValueError(msg)

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns in storage order."""
        return tuple(c.name for c in self.columns)


def kpi_columns(prefix: str, meaning: str, *, unit: str = "") -> tuple[Column, ...]:
    """Return the sixteen numbered columns of one per-KPI quantity."""
    return tuple(
        Column(f"{prefix}_{k:02d}", "float32", meaning.format(k=k), unit, nullable=True)
        for k in range(N_KPIS)
    )


KPI_NAMES = tuple(f"kpi_{k:02d}" for k in range(N_KPIS))
READING_NAMES = tuple(f"reading_{k:02d}" for k in range(N_KPIS))
CENTRE_NAMES = tuple(f"centre_{k:02d}" for k in range(N_KPIS))
SCALE_NAMES = tuple(f"scale_{k:02d}" for k in range(N_KPIS))

_WINDOW = (
    Column("fleet", "string", "Fleet the row belongs to"),
    Column("day", "date", "UTC day of window_start; the partition folder"),
    Column("window_start", "timestamp", "First instant of the window, UTC"),
    Column("window_end", "timestamp", "First instant after the window, UTC"),
)
_BANDS = ("healthy", "degraded", "critical")


def _share(name: str, meaning: str, *, nullable: bool = False) -> Column:
    return Column(name, "float64", meaning, "1", nullable=nullable, lo=0.0, hi=1.0)


def _count(name: str, meaning: str, *, nullable: bool = False) -> Column:
    return Column(name, "int32", meaning, "1", nullable=nullable, lo=0)


def _health_parts(subject: str) -> tuple[Column, ...]:
    return (
        _share("kpi_part", f"Share of the {subject} health that comes from KPI goodness"),
        _share("uptime_part", f"Share of the {subject} health that comes from uptime"),
        _share(
            "fault_part", f"Share of the {subject} health that comes from the absence of faults"
        ),
    )


SITE_TELEMETRY = Table(
    name="site_telemetry",
    grain="landed snapshot",
    key=("fleet", "batch_id", "row_no"),
    retention_days=90,
    description="Raw snapshots as they were landed, in physical units; the only input of every derived table.",
    columns=(
        Column("fleet", "string", "Fleet the row belongs to"),
        Column("day", "date", "UTC day of timestamp; the partition folder"),
        Column(
            "site_id", "string", "Site as named by the source; empty where the source gave none"
        ),
        Column(
            "timestamp",
            "timestamp",
            "Instant of the snapshot, UTC; received_at where it is unusable",
        ),
        *kpi_columns("reading", "Reading of KPI {k}, in its physical unit"),
        Column(
            "status",
            "int8",
            "0 online, 1 degraded, 2 faulted, 3 offline",
            nullable=True,
            lo=0,
            hi=3,
        ),
        Column(
            "uptime_pct", "float32", "Share of time in operation", "%", nullable=True, lo=0, hi=100
        ),
        Column("fault_count", "int32", "Active faults, a gauge", "1", nullable=True, lo=0),
        Column("quality", "int8", "OPC UA quality: 0 good, 1 uncertain, 2 bad", lo=0, hi=2),
        Column("sequence", "int64", "Sequence number of the source", nullable=True),
        Column("received_at", "timestamp", "Instant of landing, UTC"),
        Column("batch_id", "string", "Landing batch"),
        Column("row_no", "int64", "Row within the batch, from 0", lo=0),
        Column("historical", "bool", "Imported history: never too late"),
        Column(
            "problem", "string", "Why the snapshot cannot be used; null where it can", nullable=True
        ),
        Column(
            "detail", "string", "The problem in words: what was found and expected", nullable=True
        ),
        Column("raw", "string", "Original text of an unusable snapshot", nullable=True),
    ),
)

SITE_ASSIGNMENT = Table(
    name="site_assignment",
    grain="site x run of windows with one assignment",
    key=("fleet", "window_start", "site_id"),
    retention_days=730,
    description="Which region each registered site belongs to, as of each window, and the weight it carries there.",
    columns=(
        *_WINDOW,
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
        *_WINDOW,
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

QUARANTINE = Table(
    name="quarantine",
    grain="unusable snapshot",
    key=("fleet", "batch_id", "row_no"),
    retention_days=90,
    description="Snapshots that could not be used, each with its reason and original text, in the window they were filed under.",
    columns=(
        *_WINDOW,
        Column("site_id", "string", "Site as named by the source; empty where it gave none"),
        Column("problem", "string", "Reason, as a code"),
        Column("detail", "string", "Reason, in words"),
        Column("raw", "string", "Original text", nullable=True),
        Column("received_at", "timestamp", "Instant of landing, UTC"),
        Column("batch_id", "string", "Landing batch"),
        Column("row_no", "int64", "Row within the batch, from 0", lo=0),
    ),
)

INGEST_STATS = Table(
    name="ingest_stats",
    grain="landing batch x window",
    key=("fleet", "window_start", "batch_id"),
    retention_days=90,
    description="Where every landed snapshot went: landed = used + duplicates + quarantined + sampled_out.",
    columns=(
        *_WINDOW,
        Column("batch_id", "string", "Landing batch"),
        Column("landed", "int64", "Snapshots landed", "1", lo=0),
        Column("used", "int64", "Snapshots that entered a window's reduction", "1", lo=0),
        Column(
            "duplicates",
            "int64",
            "Snapshots replaced by another of the same site and timestamp",
            "1",
            lo=0,
        ),
        Column("quarantined", "int64", "Snapshots that could not be used", "1", lo=0),
        Column(
            "sampled_out", "int64", "Snapshots whose KPIs were not read during a storm", "1", lo=0
        ),
    ),
)

_STATUS_COUNTS = tuple(_count(f"sites_{name}", f"Sites {name}") for name in STATUS_NAMES)
_MEANS = kpi_columns("mean_kpi", "Weighted mean over fresh sites of KPI {k}", unit="1")
_COVERAGE = _share("coverage", "Share of the registered weight that reports")
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
        *_WINDOW,
        Column("region_id", "string", "Region"),
        _count("n_sites", "Registered sites"),
        *_STATUS_COUNTS,
        Column("weight", "float64", "Weight of the fresh sites", "1", lo=0),
        Column("registered_weight", "float64", "Weight of the registered sites", "1", lo=0),
        *_health_parts("region's"),
        _share("health_min", "Lowest site health; null when no site is fresh", nullable=True),
        Column(
            "worst_site_id",
            "string",
            "Site of health_min; first registered of equals",
            nullable=True,
        ),
        *_MEANS,
        _count(
            "anomaly_count",
            "Sites that are anomalous in any domain; null where no site is scored",
            nullable=True,
        ),
        _share("sampled_fraction", "Share of sites whose KPIs were read"),
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
        *_WINDOW,
        _count("total_sites", "Registered sites"),
        *_STATUS_COUNTS,
        _count("unmapped_count", "Registered sites that no mapping names"),
        *_MEANS,
        _share("fleet_health", "Weighted mean health of fresh sites; 0 when none is"),
        *_health_parts("fleet"),
        _share("health_min", "Lowest site health; null when no site is fresh", nullable=True),
        _share("health_max", "Highest site health; null when no site is fresh", nullable=True),
        _STDERR,
        _count(
            "anomaly_count",
            "Sites that are anomalous in any domain; null where no site is scored",
            nullable=True,
        ),
        Column("ingestion_mode", "string", "How the window was ingested", values=INGESTION_MODES),
        _COVERAGE,
        _share("sampled_fraction", "Share of sites whose KPIs were read"),
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
        *_WINDOW,
        Column("region_id", "string", "Region"),
        _count("n_sites", "Registered sites"),
        *_STATUS_COUNTS,
        _share("health_score", "Weighted mean health of fresh sites; 0 when none is"),
        *_health_parts("region's"),
        _share("health_min", "Lowest site health; null when no site is fresh", nullable=True),
        Column(
            "worst_site_id",
            "string",
            "Site of health_min; first registered of equals",
            nullable=True,
        ),
        *_MEANS,
        _count(
            "anomaly_count",
            "Sites that are anomalous in any domain; null where no site is scored",
            nullable=True,
        ),
        _COVERAGE,
        _STDERR,
        Column(
            "band", "string", "healthy from 0.8, degraded from 0.5, else critical", values=_BANDS
        ),
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
        *_WINDOW,
        Column("site_id", "string", "Site"),
        Column("region_id", "string", "Region of the site as of the window"),
        _share("composite_score", "Site health"),
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

BASELINE = Table(
    name="baseline",
    grain="training day x scope (site, region or fleet)",
    key=("fleet", "window_start", "scope", "scope_id"),
    retention_days=730,
    description="What normal looks like on a training day: centre and scale per site and KPI, long-run spread per group, message rate.",
    columns=(
        *_WINDOW,
        Column("scope", "string", "What the row describes", values=("site", "region", "fleet")),
        Column("scope_id", "string", "Site, region or fleet"),
        Column("n_windows", "int32", "Windows of the sample that the row rests on", "1", lo=0),
        Column(
            "state",
            "string",
            "warming_up below 200 windows of a site",
            values=("trained", "warming_up"),
        ),
        *kpi_columns("centre", "Median of the normalised KPI {k}", unit="1"),
        *kpi_columns(
            "scale", "Scaled median absolute deviation of the normalised KPI {k}", unit="1"
        ),
        Column(
            "mad",
            "float64",
            "Long-run MAD of site health within the group",
            "1",
            nullable=True,
            lo=0,
        ),
        Column(
            "message_rate",
            "float64",
            "Median snapshots per window; fleet scope only",
            "1",
            nullable=True,
            lo=0,
        ),
        _count("n_hours", "Whole hours in the sample"),
    ),
)

BASELINE_MODEL = Table(
    name="baseline_model",
    grain="training day x scope (site or region) x domain",
    key=("fleet", "window_start", "scope", "scope_id", "domain"),
    retention_days=730,
    description="What the anomaly score compares with: the covariance spectrum of normal windows, the level that is rarely exceeded, and how often alarms begin.",
    columns=(
        *_WINDOW,
        Column("scope", "string", "What the row describes", values=("site", "region")),
        Column("scope_id", "string", "Site or region"),
        Column("domain", "string", f"Domain of the KPIs; '{ALL_DOMAINS}' for all of them"),
        Column(
            "state",
            "string",
            "warming_up below 200 windows: a site's region is used instead",
            values=("trained", "warming_up"),
        ),
        Column("kpis", "list<string>", "KPIs that were learnt from, in the fleet's order"),
        Column("centre", "list<float32>", "Mean of each KPI", "1"),
        Column(
            "scale",
            "list<float32>",
            "Standard deviation of each KPI; 0 for one that was never seen",
            "1",
        ),
        Column(
            "mean",
            "list<float32>",
            "Mean of the vectors: standardised KPIs, smoothed over ten windows, of five windows in a row",
            "1",
        ),
        Column(
            "variances",
            "list<float32>",
            "Variance of a new window along each direction: eigenvalues of their covariance, a little more where few independent windows were seen",
        ),
        Column(
            "directions", "list<float32>", "Eigenvectors of their covariance, one after the other"
        ),
        Column(
            "level",
            "float64",
            "Error that one fault-free fleet-window in 100 exceeds (U)",
            "1",
            nullable=True,
            lo=0,
        ),
        Column(
            "error_mean",
            "float64",
            "Mean out-of-sample error of normal windows",
            "1",
            nullable=True,
            lo=0,
        ),
        Column("error_sd", "float64", "Its standard deviation", "1", nullable=True, lo=0),
        Column(
            "n_onsets", "int32", "Alarms that began in the sample, fault-free or not", "1", lo=0
        ),
        Column("exposure_h", "float64", "Hours of the sample that were scored", "h", lo=0),
        Column("n_windows", "int32", "Windows learnt from", "1", lo=0),
        _count("n_hours", "Whole hours in the sample"),
        Column(
            "learnt_from", "timestamp", "Start of the first window learnt from, UTC", nullable=True
        ),
        Column(
            "learnt_until", "timestamp", "End of the last window learnt from, UTC", nullable=True
        ),
    ),
)

ANOMALY_SCORE = Table(
    name="anomaly_score",
    grain="site x domain x window",
    key=("fleet", "window_start", "site_id", "domain"),
    retention_days=90,
    description="How far each site is from its own normal, over all KPIs and in each domain, and which KPIs say so.",
    columns=(
        *_WINDOW,
        Column("site_id", "string", "Site"),
        Column("region_id", "string", "Region of the site as of the window"),
        Column(
            "domain",
            "string",
            f"Domain of the KPIs; '{ALL_DOMAINS}' for all of them, and the only row of a site that is not scored",
        ),
        Column(
            "score",
            "float32",
            "1 - 2^(-E/U): 0.5 at the level U that one fault-free fleet-window in 100 exceeds, 0.7 at 1.74 U",
            "1",
            nullable=True,
            lo=0,
            hi=1,
        ),
        Column(
            "reconstruction_error",
            "float32",
            "Reconstruction error E",
            "1",
            nullable=True,
            lo=0,
        ),
        Column(
            "t2_part",
            "float32",
            "Part of E squared within the model: known directions, unusual amounts",
            "1",
            nullable=True,
            lo=0,
        ),
        Column(
            "q_part",
            "float32",
            "Part of E squared outside the model: directions that normal windows hardly have",
            "1",
            nullable=True,
            lo=0,
        ),
        Column(
            "baseline_sigma",
            "float32",
            "(E - mean)/sd on normal windows",
            "1",
            nullable=True,
        ),
        Column("is_anomalous", "bool", "score is above the fleet's anomaly threshold"),
        Column(
            "onset",
            "timestamp",
            "Where the deviation began, by CUSUM backtrack, UTC; null unless anomalous",
            nullable=True,
        ),
        Column(
            "top_kpis",
            "list<string>",
            "KPIs that contribute most to E, largest first; null unless anomalous",
            nullable=True,
        ),
        Column(
            "top_shares",
            "list<float32>",
            "Their shares of E squared",
            "1",
            nullable=True,
        ),
        Column(
            "baseline_version",
            "string",
            "Training day of the baseline compared with, and whose it is; null where there is none",
            nullable=True,
        ),
        Column(
            "state",
            "string",
            "warming_up: compared with its region's baseline; not_scored: nothing to score or to compare with",
            values=SCORE_STATES,
        ),
    ),
)

FLEET_CORRELATION = Table(
    name="fleet_correlation",
    grain="incident x window of change",
    key=("fleet", "window_start", "incident_id"),
    retention_days=90,
    stream="fleet_correlation_stream",
    description="Which anomalies belong together, since when, how sure that is, and where they began.",
    columns=(
        *_WINDOW,
        Column("incident_id", "string", "Incident: a hash of fleet, first site and first onset"),
        Column("phase", "string", "What happened in this window", values=INCIDENT_PHASES),
        Column(
            "continues",
            "string",
            "Id that the incident had until midnight, if another",
            nullable=True,
        ),
        Column(
            "merged_into", "string", "Incident that this one turned out to belong to", nullable=True
        ),
        Column("pattern", "string", "Shape of the incident", values=PATTERNS),
        Column(
            "domain", "string", f"Domain that deviates most; '{ALL_DOMAINS}' if none stands out"
        ),
        Column("sites", "list<string>", "Sites of the incident, by onset"),
        _count("n_sites", "Sites of the incident"),
        Column("regions", "list<string>", "Regions of these sites"),
        Column("onset", "timestamp", "Where the first site's deviation began, UTC"),
        Column("root_cause_site", "string", "Where it began; null if undetermined", nullable=True),
        Column("root_cause_kpi", "string", "KPI that deviates most at that site", nullable=True),
        Column("candidates", "list<string>", "Sites it may have begun at, most likely first"),
        Column("severity", "string", "How bad it is", values=SEVERITIES),
        _share(
            "confidence",
            "Calibrated probability that the sites share one cause; for one site, that it has a fault",
        ),
        _share(
            "p_value",
            "Chance that unrelated sites show so many alarms at once within a day; null for one site, and where the alarms are older than two days",
            nullable=True,
        ),
        Column("peak_ratio", "float64", "Median over its sites of their largest E/U", "1", lo=0),
    ),
)

BASELINES = (BASELINE, BASELINE_MODEL)
"""The tables of training days."""

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        SITE_TELEMETRY,
        SITE_ASSIGNMENT,
        SITE_KPI,
        QUARANTINE,
        INGEST_STATS,
        REGION_KPI,
        FLEET_KPI,
        REGIONAL_HEALTH,
        SITE_RANKING,
        BASELINE,
        BASELINE_MODEL,
        ANOMALY_SCORE,
        FLEET_CORRELATION,
    )
}


def superseded(table: Table) -> Table:
    """Return the table that keeps `table`'s earlier values after a restatement."""
    extra = (
        Column("intent_id", "string", "The write that replaced the row"),
        Column("superseded_at", "timestamp", "When it was replaced, UTC"),
    )
    return replace(table, name=f"{table.name}_superseded", columns=(*table.columns, *extra))


def trial(table: Table) -> Table:
    """Return the table that keeps what runs tried out of `table` under an override."""
    extra = (
        Column("run_id", "string", "The run that tried it out"),
        Column("tried_at", "timestamp", "When it was tried out, UTC"),
    )
    return replace(
        table,
        name=f"{table.name}_trial",
        key=(*table.key, "run_id"),
        columns=(*table.columns, *extra),
        stream=None,
    )


def derived_tables() -> Iterator[Table]:
    """Yield every table that is computed from telemetry, in pipeline order."""
    return (t for t in TABLES.values() if t is not SITE_TELEMETRY)
