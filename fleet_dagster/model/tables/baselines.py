"""Tables of training days: what is normal."""

from fleet_dagster.model.tables.columns import (
    ALL_DOMAINS,
    WINDOW,
    Column,
    Table,
    count,
    kpi_columns,
)

BASELINE = Table(
    name="baseline",
    grain="training day x scope (site, region or fleet)",
    key=("fleet", "window_start", "scope", "scope_id"),
    retention_days=730,
    description="What normal looks like on a training day: centre and scale per site and KPI, long-run spread per group, message rate.",
    columns=(
        *WINDOW,
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
        count("n_hours", "Whole hours in the sample"),
    ),
)


BASELINE_MODEL = Table(
    name="baseline_model",
    grain="training day x scope (site or region) x domain",
    key=("fleet", "window_start", "scope", "scope_id", "domain"),
    retention_days=730,
    description="What the anomaly score compares with: the covariance spectrum of normal windows, the level that is rarely exceeded, and how often alarms begin.",
    columns=(
        *WINDOW,
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
        count("n_hours", "Whole hours in the sample"),
        Column(
            "learnt_from", "timestamp", "Start of the first window learnt from, UTC", nullable=True
        ),
        Column(
            "learnt_until", "timestamp", "End of the last window learnt from, UTC", nullable=True
        ),
    ),
)
