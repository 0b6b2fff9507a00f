"""What the tests ask a running Dagster over GraphQL, in the words of its UI."""

import json
import os
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

LAUNCH = """mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}"""
BACKFILL = """query Backfill($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename ... on PartitionBackfill { status error { message } }
  }
}"""
NEWEST = """query Newest($keys: [AssetKeyInput!], $partitions: [String!]) {
  assetNodes(assetKeys: $keys) {
    latestMaterializationByPartition(partitions: $partitions) {
      partition runId
      metadataEntries {
        label
        ... on IntMetadataEntry { intRepr } ... on FloatMetadataEntry { floatRepr }
        ... on TextMetadataEntry { text }
      }
    }
    partitionStats { numMaterialized numPartitions numFailed }
  }
}"""
SCHEDULES = """{
  repositoriesOrError { ... on RepositoryConnection { nodes { schedules {
    name scheduleState { status ticks(limit: 5) { status skipReason runIds error { message } } }
  } } } }
}"""
RUNS = """query Runs($filter: RunsFilter) {
  runsOrError(filter: $filter, limit: 500) {
    ... on Runs { results { runId status jobName startTime endTime tags { key value } } }
  }
}"""
CHECKS = """query Checks($keys: [AssetKeyInput!]) {
  assetNodes(assetKeys: $keys) {
    assetKey { path }
    assetChecksOrError { ... on AssetChecks { checks {
      name blocking executionForLatestMaterialization { status evaluation { success severity } }
    } } }
  }
}"""
FINISHED = {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "COMPLETED", "FAILED", "CANCELED"}
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Client:
    """A client of one web server."""

    url: str

    def ask(self, query: str, **variables: Any) -> Any:  # Any: JSON in, JSON out
        """Return what a query gives."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self.url}/graphql", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own address
            content = json.load(answer)
        assert not content.get("errors"), content["errors"]
        return content["data"]

    def backfill(self, fleet: str, tables: Sequence[str], first: str, last: str) -> str:
        """Launch a backfill of assets, as the UI's dialogue does; returns its id."""
        span = {"range": {"start": first, "end": last}}
        assets = [{"assetKey": {"path": [fleet, t]}, "partitions": span} for t in tables]
        done = self.ask(LAUNCH, params={"partitionsByAssets": assets})["launchPartitionBackfill"]
        assert done["__typename"] == "LaunchBackfillSuccess", done
        return str(done["backfillId"])

    def backfill_status(self, backfill_id: str) -> str:
        """Return the state of a backfill."""
        return str(self.ask(BACKFILL, id=backfill_id)["partitionBackfillOrError"]["status"])

    def figures(self, fleet: str, table: str, partition: str) -> dict[str, float | str]:
        """Return the figures of a partition's newest materialization; empty where there is none."""
        keys = [{"path": [fleet, table]}]
        node = self.ask(NEWEST, keys=keys, partitions=[partition])["assetNodes"][0]
        found = node["latestMaterializationByPartition"][0]
        return {} if found is None else dict(_figure(e) for e in found["metadataEntries"])

    def n_materialized(self, fleet: str, table: str) -> int:
        """Return how many partitions of a table are materialized."""
        node = self.ask(NEWEST, keys=[{"path": [fleet, table]}], partitions=[])["assetNodes"][0]
        return int(node["partitionStats"]["numMaterialized"])

    def checks(self, fleet: str, table: str) -> dict[str, str]:
        """Return the state of each check of a table's newest materialization."""
        node = self.ask(CHECKS, keys=[{"path": [fleet, table]}])["assetNodes"][0]
        return {
            c["name"]: (c["executionForLatestMaterialization"] or {"status": "NONE"})["status"]
            for c in node["assetChecksOrError"]["checks"]
        }

    def runs(self, **wanted: Any) -> list[dict[str, Any]]:  # Any: JSON in, JSON out
        """Return runs."""
        return list(self.ask(RUNS, filter=wanted)["runsOrError"]["results"])


def wait_for(what: str, is_so: Callable[[], bool], *, at_most_s: float) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + at_most_s
    while not is_so():
        assert time.monotonic() < deadline, f"not within {at_most_s} s: {what}"
        time.sleep(POLL_S)


def alive_in_session(leader: int) -> list[str]:
    """Return the processes of a session that still run; those that only wait to be collected do not count."""
    found = []
    for process in psutil.process_iter(["pid", "status", "cmdline"]):
        try:
            is_ours = process.status() != psutil.STATUS_ZOMBIE and os.getsid(process.pid) == leader
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
        if is_ours:
            found.append(" ".join(process.info["cmdline"] or []))
    return found


def _figure(entry: dict[str, Any]) -> tuple[str, float | str]:  # Any: JSON
    for name, kind in (("intRepr", int), ("floatRepr", float)):
        if entry.get(name) is not None:
            return entry["label"], kind(entry[name])
    return entry["label"], str(entry.get("text"))
