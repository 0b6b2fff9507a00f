"""P4: a backfill by the real Dagster daemon, beside one of as many assets that do nothing."""

import datetime as dt
import json
import os
import socket
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import yaml

from benchmarks import noop
from benchmarks.report import Figure, Result, ratios, seconds
from benchmarks.telemetry import NAME, START, START_DATE, Workload, landed_hours
from fleet_dagster.cli.children import HOST, Child
from fleet_dagster.cli.dagster_home import prepare_dagster_home
from fleet_dagster.cli.webserver import webserver
from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.partitions import partitions_per_run
from fleet_dagster.storage.installation import Installation
from fleet_dagster.storage.store import Store

WORK = Workload(n_sites=10, n_regions=2, step_s=60)
DAYS, PAIRS = 30, 3
MOST = 1.5
_PATIENCE_S, _POLL_S = 600.0, 0.25
_DONE = {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "COMPLETED", "FAILED", "CANCELED"}
_ASSETS = "{ assetNodes { assetKey { path } groupName isMaterializable } }"
_LAUNCH = """mutation Launch($given: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $given) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_FAILED = """{ runsOrError(filter: {statuses: [FAILURE]}, limit: 5) { ... on Runs { results {
  eventConnection(limit: 500) { events {
    ... on ExecutionStepFailureEvent { error { message causes { message } } }
    ... on RunFailureEvent { error { message causes { message } } } } } } } } }"""
_RUNS = """query Runs($id: String!) {
  runsOrError(filter: {tags: [{key: "dagster/backfill", value: $id}]}) {
    ... on Runs { results { startTime endTime } } } }"""
_STATUS = """query Status($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename ... on PartitionBackfill { status numPartitions error { message } } } }"""


@dataclass(frozen=True, slots=True)
class Backfill:
    """One backfill: from launch to success, to the end of its last run, and from the start of its first run to that."""

    total_s: float
    to_last_run_s: float
    running_s: float
    n_runs: int


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running Dagster, asked over GraphQL."""

    url: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:  # Any: JSON
        """Return the answer to a query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self.url}/graphql", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - our own address
            answer: dict[str, Any] = json.load(response)
        if answer.get("errors"):
            raise RuntimeError(str(answer["errors"])[:500])
        found: dict[str, Any] = answer["data"]
        return found

    def assets(self, group: str) -> list[list[str]]:
        """Return the keys of a group's assets that can be materialized."""
        nodes = self.ask(_ASSETS)["assetNodes"]
        return [
            n["assetKey"]["path"]
            for n in nodes
            if n["groupName"] == group and n["isMaterializable"]
        ]

    def failures(self) -> list[str]:
        """Return what failed steps and runs said."""
        runs = self.ask(_FAILED)["runsOrError"]["results"]
        errors = [
            e["error"] for r in runs for e in r["eventConnection"]["events"] if e.get("error")
        ]
        return [cause["message"] for e in errors for cause in (e, *e["causes"])]

    def backfill(self, assets: Sequence[Sequence[str]], days: Sequence[str]) -> "Backfill":
        """Backfill a range of days, and wait until it is called a success."""
        chosen = {"range": {"start": days[0], "end": days[-1]}}
        given = {
            "partitionsByAssets": [
                {"assetKey": {"path": key}, "partitions": chosen} for key in assets
            ]
        }
        launched_at, began = time.time(), time.perf_counter()
        launched = self.ask(_LAUNCH, given=given)["launchPartitionBackfill"]
        if "backfillId" not in launched:
            raise RuntimeError(f"backfill was not launched: {launched}")
        status, found = "", {}
        while status not in _DONE:
            if time.perf_counter() - began > _PATIENCE_S:
                raise RuntimeError(f"backfill has not ended after {_PATIENCE_S:.0f} s: {status}")
            time.sleep(_POLL_S)
            found = self.ask(_STATUS, id=launched["backfillId"])["partitionBackfillOrError"]
            status = found["status"]
        if status != "COMPLETED_SUCCESS":
            raise RuntimeError(
                f"backfill ended otherwise than in success: {found}: {self.failures()}"
            )
        total_s = time.perf_counter() - began
        runs = self.ask(_RUNS, id=launched["backfillId"])["runsOrError"]["results"]
        first, last = min(r["startTime"] for r in runs), max(r["endTime"] for r in runs)
        return Backfill(total_s, last - launched_at, last - first, len(runs))


def p4() -> Result:
    """Measure a backfill of a small fleet; each pair takes days that nothing has computed yet."""
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation.from_environment({}, folder=Path(folder))
        _prepare(installation)
        pairs = _measure(installation)
    noops, ours = ([p[i] for p in pairs] for i in range(2))
    n_assets = sum(len(tables) for tables in noop.NODES.values())
    work = f"{DAYS} days x {n_assets} assets"
    return Result(
        "backfill by the daemon",
        f"{DAYS} days of {WORK.n_sites} sites at {WORK.step_s} s in `dagster dev`, with the settings of `dagster.yaml`, launched "
        "over GraphQL. The yardstick has as many assets, operations and partitions, "
        f"{partitions_per_run(WORK.config)} partitions a run and the in-process executor, but no checks, metadata or code of "
        f"ours. {PAIRS} interleaved pairs, each on days of its own, after a start of both with one day; {ours[0].n_runs} runs "
        f"against {noops[0].n_runs}. The daemon looks at backfills every 30 s, so the first figure comes in steps of that and "
        "hides what a run costs; the other two do not, and the last leaves out the wait for the first look.",
        (
            _figure(f"{work}, launch to COMPLETED_SUCCESS", "total_s", ours, noops),
            _figure(f"{work}, launch to end of last run", "to_last_run_s", ours, noops),
            _figure(f"{work}, start of first to end of last run", "running_s", ours, noops),
        ),
    )


def _figure(work: str, measure: str, ours: Sequence[Backfill], noops: Sequence[Backfill]) -> Figure:
    own, bare = ([getattr(b, measure) for b in backfills] for backfills in (ours, noops))
    ratio = median(ratios(own, bare))
    return Figure(
        work, seconds(own), f"no-op {seconds(bare)}", f"{ratio:.2f}", f"≤ {MOST}", ratio <= MOST
    )


def _prepare(installation: Installation) -> None:
    """Write the fleet's file, and land every day that a pair will take."""
    installation.fleets_folder.mkdir(parents=True)
    content = WORK.config.model_dump(mode="json", exclude_defaults=True)
    path = installation.fleets_folder / f"{NAME}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    config = installation.config(NAME)
    with installation.store() as store:
        store.registry.apply(config)
        for day in Span(START, START + (PAIRS + 1) * DAYS * DAY).days():
            _land(store, day)


def _land(store: Store, day: Span) -> None:
    rows = pa.concat_tables(list(landed_hours(WORK, day)))
    name = f"day-{day.start // DAY}"
    store.landing.append(
        NAME, rows, batch_id=name, idempotency_key=name, source="benchmark", historical=False
    )


def _measure(installation: Installation) -> list[tuple[Backfill, Backfill]]:
    variables = {
        noop.START_VARIABLE: START_DATE.isoformat(),
        noop.PER_RUN_VARIABLE: str(partitions_per_run(WORK.config)),
    }
    os.environ.update(variables)
    workspace = prepare_dagster_home(installation)
    both = [
        {
            "python_module": {
                "module_name": module,
                "working_directory": str(Path(__file__).parents[1]),
            }
        }
        for module in ("fleet_dagster.definitions", noop.__name__)
    ]
    workspace.write_text(yaml.safe_dump({"load_from": both}), encoding="utf-8")
    with webserver(installation, workspace, _free_port()) as server:
        server.wait_until_up()
        return _pairs(server)


def _pairs(server: Child) -> list[tuple[Backfill, Backfill]]:
    daemon = Daemon(server.url)
    ours, noops = daemon.assets(NAME), daemon.assets(noop.GROUP)
    if len(ours) != len(noops):
        raise RuntimeError(
            f"the fleet has {len(ours)} assets, the yardstick {len(noops)}. Make NODES alike"
        )
    for assets in (noops, ours):
        daemon.backfill(assets, _days(0, 1))
    pairs = []
    for i in range(1, PAIRS + 1):
        days = _days(i * DAYS, DAYS)
        pairs.append((daemon.backfill(noops, days), daemon.backfill(ours, days)))
    return pairs


def _days(first: int, n_days: int) -> list[str]:
    return [(START_DATE + dt.timedelta(days=first + i)).isoformat() for i in range(n_days)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
