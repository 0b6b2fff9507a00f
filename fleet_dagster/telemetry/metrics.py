"""The metrics at /metrics: names, types, labels and meanings. Declared here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "info"]
PER_FLEET = ("fleet",)
PER_NODE = ("fleet", "node")


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of series."""

    name: str
    """Without the `_total` of a counter and the like."""
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    unit: str = ""
    """Unit, which the name ends in; empty where it is a number of something."""

    @property
    def series(self) -> tuple[str, ...]:
        """Names under which its series are queried."""
        endings = {
            "counter": ("_total", "_created"),
            "gauge": ("",),
            "histogram": ("_bucket", "_count", "_sum"),
            "info": ("_info",),
        }
        return tuple(f"{self.name}{ending}" for ending in endings[self.kind])


_ALL = (
    Metric("fleet_dagster", "info", ("version",), "Version of the software"),
    # nodes
    Metric("fleet_node_reports", "counter", PER_NODE, "Refreshes in which the node computed something"),
    Metric("fleet_node_windows", "counter", PER_NODE, "Windows computed; of baselines, training days"),
    Metric("fleet_node_rows_in", "counter", PER_NODE, "Rows read; of site_ingest, snapshots landed"),
    Metric("fleet_node_rows_out", "counter", PER_NODE, "Rows written: what stood already is not written again"),
    Metric("fleet_node_shed", "counter", PER_NODE, "Site-windows left out to save work: not published, scored or asked about"),
    Metric("fleet_node_quarantined", "counter", PER_NODE, "Snapshots that could not be used"),
    Metric("fleet_node_breaches", "counter", PER_NODE, "Thresholds of the node that its reports were beyond"),
    Metric("fleet_node_window_duration_seconds", "histogram", PER_NODE, "Windows by how long they took, each as long as the mean of its refresh", "seconds"),
    Metric("fleet_node_duration_seconds", "gauge", PER_NODE, "How long the newest refresh took", "seconds"),
    Metric("fleet_node_lag_seconds", "gauge", PER_NODE, "Age of the newest window of the node's table, now", "seconds"),
    Metric("fleet_node_watermark_timestamp_seconds", "gauge", PER_NODE, "Until when the windows of the node's table are settled", "seconds"),
    Metric("fleet_node_report_timestamp_seconds", "gauge", PER_NODE, "When the node's newest report began", "seconds"),
    Metric("fleet_node_anomaly_score", "gauge", PER_NODE, "How unusually slow the newest refresh was, against the node's own past, in scaled MADs"),
    Metric("fleet_node_breached", "gauge", PER_NODE, "Thresholds that the newest report is beyond"),
    # the fleet
    Metric("fleet_health", "gauge", PER_FLEET, "Health of the newest window, from 0 to 1; 0 where nothing reports"),
    Metric("fleet_coverage", "gauge", PER_FLEET, "Share of the weight that reports in the newest window, from 0 to 1"),
    Metric("fleet_sites", "gauge", ("fleet", "status"), "Sites by status in the newest window"),
    Metric("fleet_unmapped_sites", "gauge", PER_FLEET, "Sites that no region mapping names"),
    Metric("fleet_anomalous_sites", "gauge", PER_FLEET, "Anomalous sites; absent while nothing is scored"),
    Metric("fleet_region_health", "gauge", ("fleet", "region"), "Health of a region in the newest window, from 0 to 1"),
    Metric("fleet_region_coverage", "gauge", ("fleet", "region"), "Share of a region's weight that reports, from 0 to 1"),
    Metric("fleet_incidents", "gauge", ("fleet", "severity"), "Open incidents"),
    Metric("fleet_storm", "gauge", PER_FLEET, "1 while a storm goes on, in which KPIs are sampled"),
    Metric("fleet_ingestion_mode", "gauge", ("fleet", "mode"), "1 for the mode of the newest window, 0 for the others"),
    Metric("fleet_slot_outcomes", "gauge", ("fleet", "slot", "outcome"), "What became of an AI slot's questions in its newest window"),
    Metric("fleet_interval_seconds", "gauge", PER_FLEET, "Length of a window", "seconds"),
    Metric("fleet_window_age_seconds", "gauge", PER_FLEET, "How long ago the newest window ended", "seconds"),
    Metric("fleet_telemetry_age_seconds", "gauge", PER_FLEET, "How old the newest landed snapshot is", "seconds"),
    Metric("fleet_live_engine_up", "gauge", PER_FLEET, "1 while a live engine is at work on the fleet"),
    # streams and ledger
    Metric("fleet_stream_windows", "counter", ("fleet", "stream", "kind"), "Windows committed to a stream: append, restate, expire"),
    Metric("fleet_stream_lag_entries", "gauge", ("fleet", "stream", "consumer"), "Entries that a consumer has not read"),
    Metric("fleet_stream_missed_days", "gauge", ("fleet", "stream", "consumer"), "Days that expired before a consumer had read them"),
    Metric("fleet_ledger_entries", "gauge", PER_FLEET, "Entries of the ledger; absent where there is none"),
    Metric("fleet_ledger_pending_entries", "gauge", PER_FLEET, "Commits that the ledger has not recorded"),
    Metric("fleet_ledger_unwitnessed_entries", "gauge", PER_FLEET, "Entries that not enough witnesses have vouched for; absent where none are configured"),
    # sites
    Metric("fleet_site_health", "gauge", ("fleet", "region", "site"), "Health of a site when it was last published; only with streamsight.per_site"),
    Metric("fleet_site_status", "gauge", ("fleet", "region", "site"), "Status of a site in the newest window: 0 online, 1 degraded, 2 faulted, 3 offline; only with streamsight.per_site"),
    Metric("fleet_site_anomaly_score", "gauge", ("fleet", "region", "site"), "Anomaly score of a site over all its KPIs, from 0 to 1; only with streamsight.per_site"),
    # the exporter itself
    Metric("fleet_scrape_duration_seconds", "gauge", (), "How long these figures took to gather", "seconds"),
    Metric("fleet_scrape_failed", "gauge", PER_FLEET, "1 where a fleet's storage could not be read: its other series are then absent"),
)  # fmt: skip
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric by name."""
