"""Small installations for tests: a simulated fleet, landed in a store, and what a store then holds."""

import atexit
import datetime as dt
import functools
import hashlib
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.ingest.simulator import DEMO_FAULTS, Scenario, demo_config, simulate
from fleet_dagster.ingest.snapshots import landed_table
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import (
    SITE_TELEMETRY,
    TABLES,
    Table,
    derived_tables,
    superseded,
)
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.control import schema
from fleet_dagster.storage.landing import Batch
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.ai_models import onnx_model
from fleet_dagster_tests.fleets import spelled_out

FIRST = int(dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000
"""First instant of the test fleets."""
NAME = "plant"
Tables = dict[str, pd.DataFrame]
"""Rows by table."""
ROOT = Path(__file__).parent.parent


def days(first: int, end: int) -> Span:
    """Return whole days of the test fleets, counted from their first."""
    return Span(FIRST + first * DAY, FIRST + end * DAY)


N_KPIS = 6
"""KPIs of a test fleet, of three domains: baselines of sixteen take ten times as long."""


def plant(
    *, n_sites: int = 6, n_regions: int = 2, interval_s: int = 600, **changes: Any
) -> FleetConfig:
    """Return a fleet with a mixed plant's first KPIs; any of its settings may be changed."""
    content = demo_config(
        NAME, "mixed", n_sites=n_sites, n_regions=n_regions, start_date=dt.date(2026, 1, 1)
    )
    kpis = content["kpis"][:N_KPIS]
    settings = {**content, "kpis": kpis, "interval_s": interval_s, **changes}
    return FleetConfig.model_validate(settings)


def coarse(interval_s: int = 1800) -> FleetConfig:
    """Return a fleet whose sites stay fresh for one more window than they send in."""
    return plant(interval_s=interval_s, staleness_threshold_s=interval_s + 600)


FED: tuple[dict[str, Any], ...] = (
    {"features": ["efficiency_pct@1", "mean(region(process_temp_c), 4)", "site.health"]},
    {
        "features": ["site.anomaly_score", "std(efficiency_pct, 3)", "time.hour_sin"],
        "domain": "thermal",
        "rate_limit_hz": 2 / 1800,
    },
)
"""Two models of a test fleet: lags, surroundings and scores, and one that is asked about a few sites only."""


def with_models(config: FleetConfig) -> FleetConfig:
    """Return a fleet with two models; their file is in the folder that `put_model` fills."""
    digest = hashlib.sha256(_model()).hexdigest()
    pinned = {"backend": "onnx", "artifact": "linear.onnx", "sha256": digest}
    slots = [{"slot_id": n, "model_id": f"m{n}", **pinned, **own} for n, own in enumerate(FED)]
    return FleetConfig.model_validate({**config.model_dump(), "ai_models": slots})


def put_model(store: Store) -> None:
    """Put the file of these models where a store looks for it."""
    store.models.mkdir(parents=True, exist_ok=True)
    (store.models / "linear.onnx").write_bytes(_model())


def _model() -> bytes:
    return bytes(onnx_model((0.3, -0.7, 0.5)).SerializeToString())


@functools.cache
def telemetry(
    n_days: int, *, n_sites: int = 6, n_regions: int = 2, step_s: int = 120, seed: int = 1
) -> pa.Table:
    """Return simulated snapshots with duplicates, late and malformed ones, dropouts and planted faults."""
    scenario = Scenario(
        seed=seed,
        kind="mixed",
        n_sites=n_sites,
        n_regions=n_regions,
        step_s=step_s,
        faults={**DEMO_FAULTS, "dropout": 6.0},
        duplicates_share=0.01,
        late_share=0.01,
        too_late_share=0.1,
        malformed_share=0.005,
        absent_share=0.01,
    )
    settings = plant(n_sites=n_sites, n_regions=n_regions)
    return simulate(settings, scenario, FIRST, FIRST + n_days * DAY).telemetry


def new_home(home: Path) -> Path:
    """Put what `Store.at` makes of an empty folder into one, unless something is there; a copy takes a tenth of the time."""
    if not (home / "control.db").exists():
        shutil.copytree(_new_home(), home, dirs_exist_ok=True)
    return home


@functools.cache
def _new_home() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fleet-home-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Store.at(folder).close()
    return folder


def land(
    store: Store,
    config: FleetConfig,
    raw: pa.Table,
    *,
    batch_id: str,
    key: str | None = None,
    received_at: int = FIRST + 400 * DAY,
    historical: bool = False,
) -> Batch:
    """Judge raw snapshots and land them, as an import does."""
    store.registry.ensure(config)
    rows = landed_table(
        config,
        raw,
        batch_id=batch_id,
        received_at_us=received_at,
        historical=historical,
        admit=lambda seen: store.registry.admit(config, seen),
    )
    return store.landing.append(
        config.name,
        rows,
        batch_id=batch_id,
        idempotency_key=key or batch_id,
        source="simulator",
        historical=historical,
    )


def snapshots(
    site: str,
    stamps: Sequence[int],
    config: FleetConfig,
    *,
    received: int | None = None,
    share: float = 0.5,
) -> pa.Table:
    """Return plain snapshots of one site, every KPI at the same share of its range."""
    received_at = [_text(received if received is not None else t) for t in stamps]
    columns: dict[str, Any] = {
        "site_id": [site] * len(stamps),
        "timestamp": [_text(t) for t in stamps],
        "status": ["0"] * len(stamps),
        "uptime_pct": ["100"] * len(stamps),
        "fault_count": ["0"] * len(stamps),
        "received_at": received_at,
    }
    for kpi in config.kpis:
        columns[kpi.name] = [str(kpi.lo + share * (kpi.hi - kpi.lo))] * len(stamps)
    return pa.table(columns)


def rows_of(
    store: Store, table: Table, span: Span | None = None, *, fleet: str = NAME
) -> pd.DataFrame:
    """Return a table's stored rows, in the order of its key."""
    found = store.lake.read(
        table,
        fleet,
        span or days(-60, 500),
        time_column="timestamp" if table.name == "site_telemetry" else "window_start",
    )
    return by_key(table, found.to_pandas())


def by_key(table: Table, rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows as comparable values, in the order of the table's key."""
    left_out = {"fleet", "day", *(c.name for c in table.columns if not c.compared)}
    spelled = rows[[c for c in table.column_names if c in rows and c not in left_out]].copy()
    for name in spelled:
        if isinstance(spelled[name].dtype, pd.CategoricalDtype):
            spelled[name] = spelled[name].astype(object)
    for column in table.columns:
        if (column.type.startswith("list") and column.name in spelled) or (
            column.type == "string" and column.name in spelled
        ):
            spelled[column.name] = spelled_out(spelled[column.name])
    for name in ("fault_count", "anomaly_count", "sequence"):
        if name in spelled:
            spelled[name] = spelled[name].astype("Float64").astype(float)
    keys = [k for k in table.key if k in spelled]
    return spelled.sort_values(keys, kind="stable", ignore_index=True)


def assert_same(table: Table, left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Assert that two sets of a table's rows are equal, bit for bit."""
    pd.testing.assert_frame_equal(
        by_key(table, left),
        by_key(table, right),
        check_exact=True,
        check_dtype=False,
        obj=table.name,
    )


def tables_of(store: Store, span: Span | None = None) -> Tables:
    """Return every derived table's stored rows."""
    return {t.name: rows_of(store, t, span) for t in derived_tables()}


def assert_same_tables(left: Tables, right: Tables) -> int:
    """Assert that two stores hold the same rows of every derived table; returns how many."""
    assert left.keys() == right.keys()
    for name in left:
        assert_same(TABLES[name], left[name], right[name])
    return sum(len(rows) for rows in left.values())


def replaced_rows(store: Store) -> Tables:
    """Return every superseded row, without what says when and by whom."""
    found = {}
    for table in derived_tables():
        rows = rows_of(store, superseded(table))
        kept = rows.drop(columns=["intent_id", "superseded_at"])
        found[table.name] = kept.sort_values(
            [k for k in table.key if k in kept], kind="stable", ignore_index=True
        )
    return found


def books(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the control database holds, without clock times and random names."""
    skipped = {"recorded_at", "landed_at", "applied_at", "intent_id", "run_id"}
    found = {}
    with store.control.reading() as tx:
        for table in schema.metadata.sorted_tables:
            columns = [c for c in table.columns if c.name not in skipped]
            query = sa.select(*columns).order_by(*table.primary_key.columns)
            found[table.name] = [tuple(row) for row in tx.execute(query)]
    return found


def refresh_all(store: Store, config: FleetConfig, span: Span, **options: Any) -> int:
    """Refresh every table of a span; returns how many rows were written."""
    return sum(o.rows_written for o in Refresh(store, config, **options).everything(span))


def recomputed(store: Store, config: FleetConfig, span: Span) -> Tables:
    """Return the tables as another store gives them that has the same inputs and computes everything from the start."""
    with Store.at(new_home(Path(store.lake.root).parent / "fresh")) as other:
        rows = store.lake.read(SITE_TELEMETRY, NAME, days(-60, 500), time_column="timestamp")
        plain = rows.select(schema_of(SITE_TELEMETRY).names).cast(schema_of(SITE_TELEMETRY))
        names = {"batch_id": "copy", "idempotency_key": "copy", "source": "copy"}
        other.landing.append(NAME, plain, **names, historical=False)
        with store.control.reading() as tx, other.control.transaction() as there:
            for table in (schema.sites, schema.config_versions, schema.storm_episodes):
                copied = [dict(row) for row in tx.execute(sa.select(table)).mappings()]
                if copied:
                    there.execute(sa.insert(table), copied)
        refresh_all(other, config, span)
        return tables_of(other)


def shuffled(items: Iterable[Any], seed: int) -> list[Any]:
    """Return items in an order drawn from a seed."""
    listed = list(items)
    return [listed[i] for i in np.random.default_rng(seed).permutation(len(listed))]


@functools.cache
def processes() -> ForkServerContext:
    """Return what starts processes that have loaded everything already; they share nothing with this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fleet_dagster_tests.worker"])
    return context


@contextmanager
def at_work(work: Callable[..., None], *shares: Sequence[object]) -> Iterator[list[BaseProcess]]:
    """Start one process for each share of some work, see `worker.py`; they begin together, once all are ready."""
    everybody = processes().Barrier(len(shares) + 1)
    workers = [
        processes().Process(target=worker_main, args=(everybody, work, share)) for share in shares
    ]
    for worker in workers:
        worker.start()
    everybody.wait(timeout=120)
    yield list(workers)
    for worker in workers:
        worker.join(timeout=600)
    assert None not in [worker.exitcode for worker in workers]


def worker_main(everybody: Barrier, work: Callable[..., None], share: Sequence[object]) -> None:
    """Wait for all the others, then do a share of the work."""
    everybody.wait(timeout=120)
    work(*share)


def run_together(
    store: Store, work: Callable[..., None], shares: Sequence[Sequence[object]]
) -> None:
    """Let one process for each share of some work run at the same time, on the same store."""
    control = store.control.engine.url.render_as_string(hide_password=False)
    with at_work(work, *((store.lake.root, control, *share) for share in shares)) as workers:
        pass
    assert [worker.exitcode for worker in workers] == [0] * len(workers)


def _text(instant: int) -> str:
    return dt.datetime.fromtimestamp(instant / 1_000_000, tz=dt.UTC).isoformat()
