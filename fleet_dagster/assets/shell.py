"""What every node's shell does alike: refresh a table's partitions, report figures, check."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from fleet_dagster import checks
from fleet_dagster.assets.site_telemetry import landed
from fleet_dagster.assets.spec import asset_key, asset_spec
from fleet_dagster.core.windows import SECOND, Span
from fleet_dagster.metadata import partition_figures, pictures, storm_state, work_figures
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.node_report import JudgedReport
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import FLEET_KPI, INGEST_STATS, Table
from fleet_dagster.partitions import Partitions, closed_span, partitions_per_run, span_of
from fleet_dagster.refresh.node_work import Observe, unobserved
from fleet_dagster.refresh.refresh import Outcome, Refresh
from fleet_dagster.resources import RESOURCE_KEY
from fleet_dagster.run_requests import STORM_CONFIG
from fleet_dagster.storage.store import Store
from fleet_dagster.telemetry.observer import Observer, standing
from fleet_dagster.telemetry.otlp import exporter
from fleet_dagster.views.score_figures import Figures

RECOMPUTE_TAG = "fleet/recompute"
"""Run tag: compute windows even where they are proven current."""
Node = Callable[[Refresh, Span], list[Outcome]]


def node_assets(
    config: FleetConfig,
    partitions: Partitions,
    *,
    name: str,
    description: str,
    tables: Mapping[Table, Sequence[str]],
    refresh: Node,
    config_schema: Mapping[str, dg.Field] | None = None,
) -> dg.AssetsDefinition:
    """Build the shell of a node: one asset for each table it yields, with what that table depends on.

    A node always brings all its tables up to date; a run that selects only some of them reports only those.
    """
    keys = {table: asset_key(config, table.name) for table in tables}

    @dg.multi_asset(
        name=f"{config.name}__{name}",
        description=description,
        specs=[
            asset_spec(config, table, deps, partitions, made_by=f"`{name}`: {description}")
            for table, deps in tables.items()
        ],
        check_specs=[spec for t, key in keys.items() for spec in checks.specs_of(key, t)],
        can_subset=True,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(partitions_per_run(config)),
        required_resource_keys={RESOURCE_KEY},
        config_schema=dict(config_schema or {}),
        op_tags={"fleet": config.name, "node": name},
    )
    def shell(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        step = Step.of(context, config, partitions)
        step.warn_of_unknown_storm()
        began, observer = time.perf_counter(), step.observer()
        with observer.refreshing(step.whole, source="run", run_id=context.run.run_id):
            outcomes = refresh(step.refresh(observer), step.whole)
        done = Done(name, time.perf_counter() - began, observer.judged)
        for outcome in outcomes:
            if keys[outcome.table] in context.selected_asset_keys:
                yield step.report(outcome, done)
            elif outcome.violations:
                context.log.error("%s: %s", outcome.table.name, "; ".join(outcome.violations))

    return shell


@dataclass(frozen=True, slots=True)
class Done:
    """What a node's refresh took, and what was reported meanwhile."""

    node: str
    duration_s: float
    reports: Sequence[JudgedReport]

    @property
    def own(self) -> list[JudgedReport]:
        """The node's own reports: baselines that it had to train first are not among them."""
        return [one for one in self.reports if one.report.node == self.node]


@dataclass(frozen=True, slots=True)
class Step:
    """One node at work on the closed windows of some partitions."""

    context: dg.AssetExecutionContext
    config: FleetConfig
    store: Store
    spans: Mapping[str, Span]

    @classmethod
    def of(
        cls, context: dg.AssetExecutionContext, config: FleetConfig, partitions: Partitions
    ) -> "Step":
        """Look up the storage and the closed windows of the partitions."""
        interval, now = config.interval_s * SECOND, _begun(context)
        keys = context.partition_keys
        spans = {k: closed_span(span_of(partitions, k), now, interval) for k in keys}
        return cls(context, config, getattr(context.resources, RESOURCE_KEY), spans)

    @property
    def whole(self) -> Span:
        """From the first window of all partitions to the last that has closed."""
        spans = self.spans.values()
        return Span(min(s.start for s in spans), max(s.end for s in spans))

    def observer(self) -> Observer:
        """Return what takes and judges the nodes' reports."""
        return Observer(self.store, self.config, otlp=exporter(), say=self.context.log.warning)

    def refresh(self, observe: Observe = unobserved) -> Refresh:
        """Return the refresh that does the work, telling the run's log how far it is."""
        return Refresh(
            self.store,
            self.config,
            run_id=self.context.run.run_id,
            recompute=self.context.run.tags.get(RECOMPUTE_TAG) == "true",
            progress=self._log_progress,
            observe=observe,
            source="run",
        )

    def warn_of_unknown_storm(self) -> None:
        """Say so where a run is configured for a storm that is not recorded any more; windows follow what is recorded."""
        wanted = (self.context.op_execution_context.op_config or {}).get(STORM_CONFIG)
        recorded = [r.episode.episode_id for r in self.store.storms.recorded(self.config.name)]
        if wanted and wanted not in recorded:
            self.context.log.warning(
                "fleet %s: this run is configured for %r, which is not a recorded storm episode (newest: %s). "
                "Windows are computed by the episodes that are recorded",
                self.config.name,
                wanted,
                ", ".join(recorded[-3:]) or "none",
            )

    def report(self, outcome: Outcome, done: Done) -> "dg.MaterializeResult[None]":
        """Tell Dagster what one table holds now, partition by partition, and how its checks went."""
        key = asset_key(self.config, outcome.table.name)
        written = [s for r in outcome.reports for s in (*r.appended, *r.restated)]
        figures = partition_figures(
            self.store, outcome.table, self.config.name, self.spans, written
        )
        of_the_run = {
            "node_duration_s": done.duration_s,
            **work_figures(done.own),
            **(storm_state(self._storm) if outcome.table is FLEET_KPI else {}),
            "table_uri": dg.MetadataValue.path(self.store.lake.uri(outcome.table)),
        }
        shown_once = pictures(self.store, outcome.table, self.config, self.whole)
        newest = max(self.spans, key=lambda partition: self.spans[partition].start)
        for partition, own in figures.items():
            once = shown_once if partition == newest else {}
            self.context.add_asset_metadata(
                {**own, **self._windows_done(outcome, partition), **of_the_run, **once},
                asset_key=key,
                partition_key=partition,
            )
        if outcome.table is INGEST_STATS:
            for seen in landed(self.config, figures):
                self.context.log_event(seen)
        return dg.MaterializeResult(
            asset_key=key,
            check_results=[
                result
                for result in checks.results_of(key, outcome, figures, newest=self._newest(done))
                if dg.AssetCheckKey(key, str(result.check_name))
                in self.context.selected_asset_check_keys
            ],
        )

    def _newest(self, done: Done) -> JudgedReport | None:
        """Return the node's newest report: of this run, or, where nothing was to be computed, the one before."""
        return done.own[-1] if done.own else standing(self.store, self.config.name).get(done.node)

    @property
    def _storm(self) -> StormEpisode | None:
        return self.store.storms.open(self.config.name)

    def _windows_done(self, outcome: Outcome, partition: str) -> Figures:
        span = self.spans[partition]
        return {
            "windows": self._count([span]),
            "windows_computed": self._count([s.clip(span) for s in outcome.computed]),
            "windows_restated": self._count([s.clip(span) for s in outcome.restated]),
        }

    def _count(self, spans: Sequence[Span]) -> int:
        return sum(len(s.starts(self.config.interval_s * SECOND)) for s in spans)

    def _log_progress(self, node: str, chunk: Span, span: Span) -> None:
        share_pct = 100 * (chunk.end - span.start) / max(1, span.end - span.start)
        self.context.log.info("%s: %.0f %% of %d windows", node, share_pct, self._count([span]))


def _begun(context: dg.AssetExecutionContext) -> int:
    """Return when the run began [us]: all nodes of a run agree on which windows have closed."""
    record = context.instance.get_run_record_by_id(context.run.run_id)
    if record is None:  # it was deleted while it ran
        raise dg.Failure(
            f"Run {context.run.run_id} is not in the instance any more. Launch it again"
        )
    begun: float = record.start_time or record.create_timestamp.timestamp()
    return round(begun * 1_000_000)
