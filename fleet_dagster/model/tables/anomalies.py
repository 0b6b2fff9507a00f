"""Tables of anomalies and incidents."""

from fleet_dagster.model.tables.columns import (
    ALL_DOMAINS,
    INCIDENT_PHASES,
    PATTERNS,
    SCORE_STATES,
    SEVERITIES,
    WINDOW,
    Column,
    Table,
    count,
    share,
)

ANOMALY_SCORE = Table(
    name="anomaly_score",
    grain="site x domain x window",
    key=("fleet", "window_start", "site_id", "domain"),
    retention_days=90,
    description="How far each site is from its own normal, over all KPIs and in each domain, and which KPIs say so.",
    columns=(
        *WINDOW,
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
        *WINDOW,
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
        count("n_sites", "Sites of the incident"),
        Column("regions", "list<string>", "Regions of these sites"),
        Column("onset", "timestamp", "Where the first site's deviation began, UTC"),
        Column("root_cause_site", "string", "Where it began; null if undetermined", nullable=True),
        Column("root_cause_kpi", "string", "KPI that deviates most at that site", nullable=True),
        Column("candidates", "list<string>", "Sites it may have begun at, most likely first"),
        Column("severity", "string", "How bad it is", values=SEVERITIES),
        share(
            "confidence",
            "Calibrated probability that the sites share one cause; for one site, that it has a fault",
        ),
        share(
            "p_value",
            "Chance that unrelated sites show so many alarms at once within a day; null for one site, and where the alarms are older than two days",
            nullable=True,
        ),
        Column("peak_ratio", "float64", "Median over its sites of their largest E/U", "1", lo=0),
    ),
)
