"""What a dashboard shows of a fleet at one instant: the document that `dashboard_sink` makes and every client draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Instant = str
"""UTC, ISO 8601 with microseconds and a `Z`."""
Band = Literal["healthy", "degraded", "critical"]


@dataclass(frozen=True, slots=True)
class WindowShown:
    """The newest window that has its regions and ranks too."""

    start: Instant
    end: Instant
    interval_s: int
    state: Literal["provisional", "final", "restated"]
    revision: int
    partition: str
    """Dagster partition that holds it; every number of the window was made there."""


@dataclass(frozen=True, slots=True)
class HealthShown:
    """Health of the fleet or of a region: a score, and the parts that sum to it."""

    score: float
    kpi: float
    uptime: float
    fault: float
    band: Band
    stderr: float | None
    """Standard error of a storm's estimate; None where nothing is estimated."""
    lowest: float | None
    """Lowest health of a site that reports."""
    highest: float | None


@dataclass(frozen=True, slots=True)
class StormShown:
    """A storm that the window lies in, or that is recorded as going on."""

    episode_id: str
    start: Instant
    end: Instant | None
    cause: str
    is_held: bool
    """Whether only a person may end it."""


@dataclass(frozen=True, slots=True)
class RegionShown:
    """One region in the window."""

    region_id: str
    health: HealthShown
    n_sites: int
    online: int
    degraded: int
    faulted: int
    offline: int
    coverage: float
    anomalies: int | None
    worst_site_id: str | None


@dataclass(frozen=True, slots=True)
class SitesShown:
    """Every site, a column for each figure, all of one length and in order of `site_id`: a thousand sites are 100 kB."""

    site_id: Sequence[str]
    region_id: Sequence[str]
    status: Sequence[int]
    """0 online, 1 degraded, 2 faulted, 3 offline."""
    health: Sequence[float | None]
    """Composite score of the newest ranking; None where it was never ranked, or is offline."""
    rank_in_fleet: Sequence[int | None]
    rank_in_region: Sequence[int | None]
    modified_z_fleet: Sequence[float | None]
    modified_z_region: Sequence[float | None]
    is_outlier: Sequence[bool]
    is_persistent_outlier: Sequence[bool]
    ranked_windows_ago: Sequence[int | None]
    """0 where the site is published in the window; more where its newest ranking is older."""
    anomaly_score: Sequence[float | None]
    is_anomalous: Sequence[bool | None]
    disposition: Sequence[str]
    fault_count: Sequence[int | None]
    uptime_pct: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class AcknowledgementShown:
    """What somebody said of an incident."""

    by: str
    at: Instant
    truth: str
    note: str | None


@dataclass(frozen=True, slots=True)
class IncidentShown:
    """One incident, open or lately closed."""

    incident_id: str
    is_open: bool
    severity: Literal["info", "warning", "critical"]
    pattern: str
    domain: str
    since: Instant
    """Where the first site's deviation began."""
    changed: Instant
    """Window of its newest change."""
    partition: str
    """Dagster partition of that window."""
    sites: Sequence[str]
    regions: Sequence[str]
    root_cause_site: str | None
    root_cause_kpi: str | None
    candidates: Sequence[str]
    confidence: float
    acknowledgement: AcknowledgementShown | None


@dataclass(frozen=True, slots=True)
class NodeShown:
    """What one node did last."""

    node: str
    """Name of the node."""
    asset: str
    """Table that its figures link to."""
    recorded_at: Instant | None
    """None where it has not reported."""
    source: str | None
    """Who ran it: `live`, `run`, or `cli`."""
    windows: int
    rows_in: int
    rows_out: int
    shed: int
    quarantined: int
    duration_s: float | None
    lag_s: float | None
    anomaly_score: float | None
    """How unusual its duration is among its own last reports; None while there are too few."""
    is_within_thresholds: bool | None


@dataclass(frozen=True, slots=True)
class SlotShown:
    """One AI slot, and how its answers of the window went."""

    slot_id: int
    model_id: str
    version: str
    active: bool
    outcomes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LedgerShown:
    """How far the ledger is."""

    size: int
    pending: int
    witnesses_needed: int
    witnesses: int
    checkpoint_at: Instant | None


@dataclass(frozen=True, slots=True)
class LiveShown:
    """The live engine that closes this fleet's windows."""

    holder: str
    since: Instant | None


@dataclass(frozen=True, slots=True)
class PipelineShown:
    """How the figures come to be: who computes them, how far behind, and what stands in the way."""

    newest_telemetry: Instant | None
    settled_through: Instant | None
    live: LiveShown | None
    """None where only the schedule computes."""
    nodes: Sequence[NodeShown]
    slots: Sequence[SlotShown]
    ledger: LedgerShown | None
    quarantined_last_day: Mapping[str, int]
    """Snapshots by reason."""


@dataclass(frozen=True, slots=True)
class TroubleShown:
    """Storage that cannot be read: the rest of the picture stands as it was before."""

    since: Instant
    problem: str
    """What is wrong and what to do, in words."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A fleet as it stands. Without any window, only `fleet`, `pipeline` and what is configured are known."""

    fleet: str
    seq: int
    """Number of the last entry of the commit log when it was taken."""
    taken_at: Instant
    patience_s: int
    """Age of the window's end from which on the picture is old, and must not be taken for the fleet as it is now."""
    window: WindowShown | None
    health: HealthShown | None
    total_sites: int
    online: int
    degraded: int
    faulted: int
    offline: int
    unmapped: int
    coverage: float
    """Share of the weight that reports; at 0 the fleet is silent, and its health is no measurement."""
    anomalies: int | None
    ingestion_mode: str | None
    sampled_fraction: float
    published_fraction: float | None
    storm: StormShown | None
    regions: Sequence[RegionShown]
    sites: SitesShown
    incidents: Sequence[IncidentShown]
    pipeline: PipelineShown
    trouble: TroubleShown | None = None
    """What is in the way of a newer picture, if anything."""
