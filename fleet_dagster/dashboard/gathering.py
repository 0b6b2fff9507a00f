"""Takes the picture that a dashboard shows: reads the newest window's rows and what else is known, and joins them."""

import pandas as pd
import pyarrow.compute as pc

from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.dashboard.pipeline_figures import PipelineFigures
from fleet_dagster.dashboard.remembered import SITE_COLUMNS, RememberedRanks, RememberedRows
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.snapshot import AcknowledgementShown, Snapshot, StormShown
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import (
    ALL_DOMAINS,
    ANOMALY_SCORE,
    FLEET_CORRELATION,
    FLEET_KPI,
    REGIONAL_HEALTH,
    SITE_KPI,
    Table,
)
from fleet_dagster.nodes.dashboard_sink import (
    Asked,
    WindowRows,
    dashboard_sink,
    instant_text,
    patience_s,
)
from fleet_dagster.storage.alerts import Alert, Alerts
from fleet_dagster.storage.anomalies import newest_changes, reach_of_incidents
from fleet_dagster.storage.status import newest_whole_end, with_history
from fleet_dagster.storage.store import Store
from fleet_dagster.storage.storms import HELD, RecordedStorm

CLOSED_SHOWN = DAY
"""How long after its end an incident is still shown [us]."""
_SCORE_COLUMNS = ("window_start", "site_id", "score", "is_anomalous")


class Gathering:
    """Takes one fleet's pictures. What has not changed since the last one is not read again."""

    def __init__(self, store: Store, config: FleetConfig) -> None:
        self.store, self.config = store, config
        self.rows = RememberedRows(store, config.name)
        self.ranks = RememberedRanks(store, config.name)
        self.pipeline = PipelineFigures(store, config, self.rows)
        self._n_registered = 0

    def snapshot(self, now: int) -> Snapshot:
        """Return the fleet as it stands at an instant of the wall clock [us]."""
        store, fleet = self.store, self.config.name
        seq = store.history.last_number()
        end = newest_whole_end(store, fleet, patience_s=patience_s(self.config))
        row = self._fleet_row(end)
        window = None if row is None else Span(*(_us(row[c].iloc[0]) for c in _EDGES))
        storm = self._storm(window)
        asked = Asked(
            taken_at=now,
            seq=seq,
            n_registered=self._registered() if window is None else 0,
            storm=None if storm is None else _shown(storm),
            acknowledged=self._acknowledged(),
            pipeline=self.pipeline.taken(window, now),
        )
        episode = None if storm is None else storm.episode
        rows = None if window is None or row is None else self._window_rows(row, window, episode)
        return dashboard_sink(self.config, rows, self._incidents(window), asked)

    def _fleet_row(self, end: int | None) -> pd.DataFrame | None:
        """Return the row of the newest window, with its state and revision; None where there is none."""
        if end is None:
            return None
        wanted = [c for c in FLEET_KPI.column_names if c not in ("fleet", "day")]
        longest = self.config.interval_s * 1_000_000
        rows = self.rows.rows(FLEET_KPI, Span(max(0, end - longest), end), wanted)
        if rows.empty:  # windows of another length, from before the interval was changed
            rows = self.store.frame(FLEET_KPI, self.config.name, Span(max(0, end - DAY), end))
        newest = rows.tail(1)
        return (
            None if newest.empty else with_history(self.store, FLEET_KPI, self.config.name, newest)
        )

    def _window_rows(
        self, row: pd.DataFrame, window: Span, storm: StormEpisode | None
    ) -> WindowRows:
        sites = self.rows.rows(SITE_KPI, window, SITE_COLUMNS)
        return WindowRows(
            fleet_kpi=row,
            regional_health=self.rows.rows(REGIONAL_HEALTH, window, _all(REGIONAL_HEALTH)),
            site_kpi=sites,
            last_ranked=self.ranks.of(window, storm, sites),
            anomaly_score=self.rows.rows(
                ANOMALY_SCORE, window, _SCORE_COLUMNS, where=pc.field("domain") == ALL_DOMAINS
            ),
        )

    def _incidents(self, window: Span | None) -> pd.DataFrame:
        """Return the incidents that are open, and those lately closed."""
        span = Span(0, 0) if window is None else reach_of_incidents(window.end)
        rows = self.rows.rows(FLEET_CORRELATION, span, _all(FLEET_CORRELATION))
        found = newest_changes(rows)
        since = pd.Timestamp(max(0, span.end - CLOSED_SHOWN), unit="us", tz="UTC")
        is_lately_closed = (found["phase"] == "closed") & (found["window_start"] >= since)
        return found[found["is_open"] | is_lately_closed]

    def _storm(self, window: Span | None) -> RecordedStorm | None:
        """Return the storm that the window lies in, else the one that is recorded as going on."""
        recorded = self.store.storms.recorded(self.config.name)
        holds = [r for r in recorded if window and r.episode.start < window.end <= r.episode.end]
        return next(iter([*holds, *(r for r in recorded if r.episode.is_open)]), None)

    def _acknowledged(self) -> dict[str, AcknowledgementShown]:
        said = Alerts(self.store.control).acknowledged(self.config.name, "incident")
        return {
            str(own): _acknowledgement(alert)
            for alert in said
            for own in alert.detail["incident_ids"]
        }

    def _registered(self) -> int:
        sites = self.store.registry.fleet(self.config).sites
        return len(sites) or len({m.site_id for m in self.config.region_mappings})


_EDGES = ("window_start", "window_end")


def _all(table: Table) -> list[str]:
    return [name for name in table.column_names if name not in ("fleet", "day")]


def _shown(storm: RecordedStorm) -> StormShown:
    episode = storm.episode
    return StormShown(
        episode.episode_id,
        instant_text(episode.start),
        None if episode.is_open else instant_text(episode.end),
        episode.cause,
        storm.started_by == HELD,
    )


def _acknowledgement(alert: Alert) -> AcknowledgementShown:
    return AcknowledgementShown(
        by=str(alert.acked_by),
        at=instant_text(int(alert.acked_at or 0)),
        truth=alert.truth or "unknown",
        note=alert.note,
    )


def _us(stamp: pd.Timestamp) -> int:
    return int(stamp.value) // 1000
