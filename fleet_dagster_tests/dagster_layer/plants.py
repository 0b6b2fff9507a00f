"""Small installations for the Dagster tests: fleet files, landed telemetry, a Dagster instance, runs."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from fleet_dagster.core.windows import DAY
from fleet_dagster.definitions import build_defs
from fleet_dagster.ingest.simulator import Scenario, demo_config, simulate
from fleet_dagster.ingest.snapshots import landed_table
from fleet_dagster.jobs import windows_job_name
from fleet_dagster.storage.installation import Installation
from fleet_dagster_tests.installations import N_KPIS, new_home

FIRST_DAY = dt.date(2026, 1, 1)
FIRST = 1_767_225_600_000_000
"""2026-01-01T00:00Z."""
SCENARIO = Scenario(
    seed=7,
    kind="mixed",
    n_sites=6,
    n_regions=2,
    step_s=300,
    duplicates_share=0.01,
    absent_share=0.01,
    malformed_share=0.01,
)
DERIVED = (
    "site_assignment",
    "site_kpi",
    "quarantine",
    "ingest_stats",
    "baseline",
    "baseline_model",
    "anomaly_score",
    "fleet_correlation",
    "fleet_kpi",
    "region_kpi",
    "regional_health",
    "site_ranking",
)


def content(name: str = "plant", **changes: Any) -> dict[str, Any]:  # Any: what YAML holds
    """Return a fleet file's content: six sites in two regions, five-minute windows, as many KPIs as other test fleets."""
    fleet = demo_config(
        name,
        SCENARIO.kind,
        n_sites=SCENARIO.n_sites,
        n_regions=SCENARIO.n_regions,
        start_date=FIRST_DAY,
    )
    kpis = fleet["kpis"][:N_KPIS]
    return {**fleet, "kpis": kpis, "interval_s": 300, "staleness_threshold_s": 600, **changes}


def install(folder: Path, *fleets: Mapping[str, Any]) -> Installation:
    """Write fleet files into a folder and return its installation, whose storage is there."""
    installation = Installation.from_environment({}, folder=folder)
    new_home(installation.home)
    installation.fleets_folder.mkdir(parents=True, exist_ok=True)
    for fleet in fleets:
        file = installation.fleets_folder / f"{fleet['name']}.yaml"
        file.write_text(yaml.safe_dump(dict(fleet), sort_keys=False), encoding="utf-8")
    return installation


def land(
    installation: Installation,
    start: int,
    end: int,
    *,
    fleet: str = "plant",
    scenario: Scenario = SCENARIO,
    batch: str = "batch-1",
) -> int:
    """Land simulated telemetry of a span [us]; returns the rows landed."""
    config = installation.config(fleet)
    with installation.store() as store:
        store.registry.apply(config)
        rows = landed_table(
            config,
            simulate(config, scenario, start, end).telemetry,
            batch_id=batch,
            received_at_us=end,
            historical=False,
            admit=lambda seen: store.registry.admit(config, seen),
        )
        store.landing.append(
            fleet, rows, batch_id=batch, idempotency_key=batch, source="test", historical=False
        )
    return int(rows.num_rows)


@contextmanager
def instance_in(folder: Path) -> Iterator[dg.DagsterInstance]:
    """Open a Dagster instance that keeps its history in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        yield instance


@contextmanager
def instance_in_memory(folder: Path) -> Iterator[dg.DagsterInstance]:
    """Open a Dagster instance that keeps its history in memory, which is faster; schedules need one that is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    with dg.DagsterInstance.ephemeral(tempdir=str(folder)) as instance:
        yield instance


def run(
    installation: Installation,
    instance: dg.DagsterInstance,
    *keys: str,
    fleet: str = "plant",
    tags: Mapping[str, str] | None = None,
    table: str | None = None,
) -> dg.ExecuteInProcessResult:
    """Run a fleet's job for one partition, or for the range from the first to the last key; of all tables, or just one."""
    job = build_defs(installation).resolve_job_def(windows_job_name(fleet))
    only = [dg.AssetKey([fleet, table])] if table else None
    if len(keys) == 1:
        return job.execute_in_process(
            instance=instance, partition_key=keys[0], tags=dict(tags or {}), asset_selection=only
        )
    span = {
        "dagster/asset_partition_range_start": keys[0],
        "dagster/asset_partition_range_end": keys[-1],
    }
    return job.execute_in_process(
        instance=instance, tags={**span, **(tags or {})}, asset_selection=only
    )


def metadata(
    instance: dg.DagsterInstance, table: str, *, fleet: str = "plant"
) -> dict[str, dict[str, Any]]:  # Any: figures of several kinds
    """Return the newest materialization's metadata of every partition of a table."""
    records = instance.fetch_materializations(dg.AssetKey([fleet, table]), limit=200).records
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        event = record.asset_materialization
        if event is not None and record.partition_key is not None:
            values = {name: value.value for name, value in event.metadata.items()}
            found.setdefault(record.partition_key, values)
    return found


def written(result: dg.ExecuteInProcessResult) -> dict[str, int]:
    """Return the rows that a run wrote, by table."""
    counts: dict[str, int] = {}
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key:
            table, found = event.asset_key.path[-1], event.materialization.metadata
            if table in DERIVED:
                counts[table] = counts.get(table, 0) + int(str(found["rows_written"].value))
    return counts


def days(first: int, last: int) -> Sequence[str]:
    """Return the keys of the n-th to the m-th day of the fleet, counted from 0."""
    return [(FIRST_DAY + dt.timedelta(days=n)).isoformat() for n in range(first, last + 1)]


def day_start(n: int) -> int:
    """Return the start of the fleet's n-th day [us]."""
    return FIRST + n * DAY
