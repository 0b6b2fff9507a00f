"""A stretch of landed telemetry in which everything happens that event time can bring.

Duplicates, late, too late and malformed snapshots, dropouts, planted faults, storms found and begun by hand, and a change
of mapping and thresholds in the middle of a day.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from fleet_dagster.core.windows import DAY, HOUR, Span
from fleet_dagster.ingest.simulator import DEMO_FAULTS, Scenario, simulate
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.refresh.storm_watch import StormWatch
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at


@dataclass(frozen=True)
class EventWeek:
    """What is simulated; equal weeks are equal telemetry."""

    n_sites: int
    n_days: int
    interval_s: int
    n_regions: int = 3

    @property
    def config(self) -> FleetConfig:
        """The configuration with which the fleet begins."""
        return at.plant(
            n_sites=self.n_sites,
            n_regions=self.n_regions,
            interval_s=self.interval_s,
            staleness_threshold_s=self.interval_s + 600,
        )

    @property
    def changed_at(self) -> int:
        """When two sites move and thresholds change, in the middle of a day [us]."""
        return at.FIRST + self.n_days // 2 * DAY + 2 * HOUR

    @property
    def busy_hours(self) -> Span:
        """Six hours around midnight that hold the change and two storms, one after the other."""
        return Span(self.changed_at - 5 * HOUR, self.changed_at + HOUR)

    @property
    def by_hand(self) -> list[StormEpisode]:
        """Storms that an operator began: two back to back over midnight, the second with the change within."""
        midnight = self.changed_at - 2 * HOUR
        first = StormEpisode.of(midnight - HOUR, midnight + HOUR, cause="by hand")
        return [first, StormEpisode.of(first.end, first.end + HOUR + HOUR // 2, cause="by hand")]

    def land(self, store: Store) -> list[StormEpisode]:
        """Land the telemetry, make the change, and record the storms; returns those found in the telemetry."""
        at.land(store, self.config, self.telemetry, batch_id="week")
        store.registry.apply(self.changed, source="test", valid_from=self.changed_at)
        store.storms.record(at.NAME, self.by_hand, by="test")
        span = at.days(0, self.n_days)
        found = [
            e
            for e in StormWatch(store, self.config).detect(span)
            if not any(e.start < own.end and own.start < e.end for own in self.by_hand)
        ]
        return store.storms.record(at.NAME, found, by="test")

    @property
    def changed(self) -> FleetConfig:
        """The configuration after the change: two sites in other regions, one heavier, other thresholds."""
        content = self.config.model_dump()
        first, second = content["region_mappings"][0], content["region_mappings"][-1]
        first["region_id"], second["region_id"] = second["region_id"], first["region_id"]
        first["weight"] = 7.5
        changes = {"outlier_sigma": 2.25, "deviation_sigma": 4.0, "min_good_pct": 70.0}
        return FleetConfig.model_validate({**content, **changes})

    @property
    def telemetry(self) -> pa.Table:
        """Simulated snapshots, two a window."""
        scenario = Scenario(
            seed=5,
            kind="mixed",
            n_sites=self.n_sites,
            n_regions=self.n_regions,
            step_s=self.interval_s // 2,
            faults={**DEMO_FAULTS, "dropout": 12.0, "storm": 1.0},
            duplicates_share=0.01,
            late_share=0.01,
            too_late_share=0.1,
            malformed_share=0.002,
            absent_share=0.01,
        )
        return simulate(self.config, scenario, at.FIRST, at.FIRST + self.n_days * DAY).telemetry

    def refresh(self, store: Store, spans: Iterable[Span]) -> None:
        """Refresh spans in the order given."""
        for span in spans:
            at.refresh_all(store, self.config, span)
