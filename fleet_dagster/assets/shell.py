"""What every node's shell does alike: specs from the table definitions, refresh, figures, checks."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import dagster as dg

from fleet_dagster import checks
from fleet_dagster.core.windows import SECOND, Span
from fleet_dagster.metadata import column_schema, partition_figures
from fleet_dagster.model.config import NUMERICS_VERSION, FleetConfig
from fleet_dagster.model.tables import Table
from fleet_dagster.partitions import Partitions, closed_span, span_of
from fleet_dagster.refresh.refresh import Outcome, Refresh
from fleet_dagster.resources import RESOURCE_KEY
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.store import Store

PARTITIONS_PER_RUN = 10
"""Partitions that one run of a backfill takes on."""
RECOMPUTE_TAG = "fleet/recompute"
"""Run tag: compute windows even where they are proven current."""
Node = Callable[[Refresh, Span], list[Outcome]]


def asset_key(config: FleetConfig, name: str) -> dg.AssetKey:
    """Return the key of one of a fleet's assets."""
    return dg.AssetKey([config.name, name])


def asset_spec(config: FleetConfig, table: Table, deps: Sequence[str], partitions: Partitions) -> dg.AssetSpec:
    """Describe a table as an asset."""
    return dg.AssetSpec(
        asset_key(config, table.name),
        deps=[asset_key(config, dep) for dep in deps],
        description=f"{table.description}\n\nOne row per {table.grain}.",
        group_name=config.name,
        kinds={"deltalake", "numpy"},
        owners=["team:fleet-operations"],
        code_version=NUMERICS_VERSION,
        partitions_def=partitions,
        metadata={
            "dagster/column_schema": column_schema(table),
            "dagster/table_name": table.name,
            "kept_days": table.retention_days or 0,
            **({"stream": f"esn/fleet/{config.name}/{table.stream}"} if table.stream else {}),
        },
    )


def node_assets(
    config: FleetConfig, partitions: Partitions, *, name: str, description: str, tables: Mapping[Table, Sequence[str]], refresh: Node
) -> dg.AssetsDefinition:
    """Build the shell of a node: one asset for each table it yields, with what that table depends on."""

    @dg.multi_asset(
        name=f"{config.name}__{name}",
        description=description,
        specs=[asset_spec(config, table, deps, partitions) for table, deps in tables.items()],
        check_specs=[spec for table in tables for spec in checks.specs_of(asset_key(config, table.name), table)],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(PARTITIONS_PER_RUN),
        required_resource_keys={RESOURCE_KEY},
        op_tags={"fleet": config.name, "node": name},
    )
    def shell(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        store: Store = getattr(context.resources, RESOURCE_KEY)
        spans = {key: closed_span(span_of(partitions, key), now_us(), config.interval_s * SECOND) for key in context.partition_keys}
        outcomes, duration_s = _refresh(context, store, config, spans, refresh)
        for outcome in outcomes:
            yield _report(context, store, config, outcome, spans, duration_s)

    return shell


def _refresh(
    context: dg.AssetExecutionContext, store: Store, config: FleetConfig, spans: Mapping[str, Span], refresh: Node
) -> tuple[list[Outcome], float]:
    whole = Span(min(s.start for s in spans.values()), max(s.end for s in spans.values()))
    run = Refresh(
        store,
        config,
        run_id=context.run.run_id,
        recompute=context.run.tags.get(RECOMPUTE_TAG) == "true",
        progress=lambda node, chunk, span: context.log.info(
            "%s: %.0f %% of %d windows", node, 100 * (chunk.end - span.start) / (span.end - span.start), _windows(config, span)
        ),
    )
    began = time.perf_counter()
    outcomes = refresh(run, whole)
    return outcomes, time.perf_counter() - began


def _report(
    context: dg.AssetExecutionContext,
    store: Store,
    config: FleetConfig,
    outcome: Outcome,
    spans: Mapping[str, Span],
    duration_s: float,
) -> "dg.MaterializeResult[None]":
    key = asset_key(config, outcome.table.name)
    figures = partition_figures(store, outcome.table, config.name, spans)
    for partition, own in figures.items():
        context.add_asset_metadata(
            {**own, "windows": _windows(config, spans[partition]), "windows_restated": _restated(config, outcome, spans[partition])},
            asset_key=key,
            partition_key=partition,
        )
    return dg.MaterializeResult(
        asset_key=key,
        metadata={
            "windows_computed": sum(_windows(config, s) for s in outcome.computed),
            "rows_written": outcome.rows_written,
            "duration_s": duration_s,
            "table_uri": dg.MetadataValue.path(store.lake.uri(outcome.table)),
        },
        check_results=checks.results_of(key, outcome, figures),
    )


def _windows(config: FleetConfig, span: Span) -> int:
    return (span.end - span.start) // (config.interval_s * SECOND)


def _restated(config: FleetConfig, outcome: Outcome, span: Span) -> int:
    return sum(_windows(config, s.clip(span)) for s in outcome.restated)
