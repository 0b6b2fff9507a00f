"""The yardstick of P4: a code location with the shape of a fleet's assets, none of which does anything."""

import os
from collections.abc import Iterator

import dagster as dg

NODES: dict[str, dict[str, tuple[str, ...]]] = {
    "region_mapper": {"site_assignment": ()},
    "site_ingest": dict.fromkeys(("site_kpi", "quarantine", "ingest_stats"), ("site_assignment",)),
    "baseline": dict.fromkeys(("baseline", "baseline_model"), ("site_assignment",)),
    "anomaly_scorer": {"anomaly_score": ("site_kpi", "site_assignment", "baseline_model")},
    "anomaly_correlator": {"fleet_correlation": ("anomaly_score", "site_assignment")},
    "fleet_aggregator": dict.fromkeys(
        ("fleet_kpi", "region_kpi"), ("site_kpi", "site_assignment", "anomaly_score")
    ),
    "regional_scorer": {"regional_health": ("region_kpi",)},
    "performance_comparator": {"site_ranking": ("site_kpi", "baseline", "site_assignment")},
}
GROUP = "noop"
START_VARIABLE, PER_RUN_VARIABLE = "NOOP_START_DATE", "NOOP_PARTITIONS_PER_RUN"


@dg.definitions
def defs() -> dg.Definitions:
    """Load the code location; the environment says since when, and how many partitions a run takes."""
    partitions = dg.DailyPartitionsDefinition(os.environ[START_VARIABLE], end_offset=1)
    policy = dg.BackfillPolicy.multi_run(int(os.environ[PER_RUN_VARIABLE]))
    return dg.Definitions(
        assets=[_node(name, tables, partitions, policy) for name, tables in NODES.items()],
        executor=dg.in_process_executor,
    )


def _node(
    name: str,
    tables: dict[str, tuple[str, ...]],
    partitions: dg.DailyPartitionsDefinition,
    policy: dg.BackfillPolicy,
) -> dg.AssetsDefinition:
    specs = [
        dg.AssetSpec(
            [GROUP, table],
            deps=[dg.AssetKey([GROUP, dep]) for dep in deps],
            group_name=GROUP,
            partitions_def=partitions,
        )
        for table, deps in tables.items()
    ]

    @dg.multi_asset(name=f"{GROUP}__{name}", specs=specs, backfill_policy=policy)
    def node() -> Iterator[dg.MaterializeResult[None]]:
        for spec in specs:
            yield dg.MaterializeResult(spec.key)

    return node
