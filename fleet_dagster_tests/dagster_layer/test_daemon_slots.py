"""Sixteen AI slots under the real daemon: some sound, some ill in every way, changed while it runs."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.cli.dagster_home import prepare_dagster_home
from fleet_dagster.cli.webserver import webserver
from fleet_dagster.core.windows import HOUR, MINUTE, Span, floor_to
from fleet_dagster.jobs import ai_inference_job_name
from fleet_dagster.model.config import HotSettings
from fleet_dagster.model.slot_edits import change_slot
from fleet_dagster.model.tables import AI_INFERENCE, SITE_KPI
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.installation import Installation
from fleet_dagster_tests import ai_models as models
from fleet_dagster_tests.dagster_layer.graphql import Client, wait_for
from fleet_dagster_tests.dagster_layer.plants import content, install, land
from fleet_dagster_tests.ports import free_port

PATIENCE_S = 300.0
FEATURES = ["efficiency_pct", "process_temp_c", "cooling_temp_c"]
KPIS = ("kpi_00", "kpi_01", "kpi_02")
WEIGHTS = {n: tuple(np.roll([0.5, 0.25, 0.125], n)) for n in range(8)}
"""Of the four models of scikit-learn, and of the four of ONNX."""
HTTP, RAISES, HANGS, CORRUPT = 8, 9, 10, 11
ILL = {
    RAISES: "RuntimeError: the model is broken",
    HANGS: "did not answer within 0.2 s",
    CORRUPT: "was registered",
}
DISABLED = (12, 13, 14, 15)
LAUNCH = """mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message }
  }
}"""
CHECK = """query Check($keys: [AssetKeyInput!]) {
  assetNodes(assetKeys: $keys) { assetChecksOrError { ... on AssetChecks { checks {
    name executionForLatestMaterialization { status evaluation {
      severity metadataEntries { label ... on MarkdownMetadataEntry { mdStr } }
    } }
  } } } }
}"""
LOCATION = """{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"""


def sixteen(folder: ModelFolder, tmp_path: Path, url: str) -> list[dict[str, Any]]:
    own: dict[str, Any] = {"features": FEATURES}
    slots: list[dict[str, Any]] = []
    for n, weights in WEIGHTS.items():
        make = models.sklearn_file if n < 4 else models.onnx_file
        pinned = models.pinned(folder, make(tmp_path, weights=weights))
        slots.append({**own, "backend": "sklearn" if n < 4 else "onnx", **pinned})
    slots.append({**own, "backend": "http", "artifact": url})
    slots.append({**own, "backend": "entry_point", "artifact": "raises"})
    slots.append({**own, "backend": "entry_point", "artifact": "hangs", "timeout_s": 0.2})
    corrupt = models.pinned(folder, models.sklearn_file(tmp_path, weights=(9.0, 9.0, 9.0)))
    (folder.root / corrupt["artifact"]).write_bytes(b"overwritten")
    slots.append({**own, **corrupt})
    slots += [{**slots[0], "active": False} for _ in DISABLED]
    return [{"slot_id": n, "model_id": f"model-{n}", **slot} for n, slot in enumerate(slots)]


def answers(installation: Installation, span: Span) -> pd.DataFrame:
    with installation.store() as store:
        return store.frame(AI_INFERENCE, "plant", span).sort_values(["window_start", "slot_id"])


def covered_until(installation: Installation) -> int:
    with installation.store() as store:
        return store.history.coverage.newest_end(AI_INFERENCE.name, "plant") or 0


def assert_right(rows: pd.DataFrame, site_kpi: pd.DataFrame) -> None:
    """Every published site-window has one outcome a slot, and those of sound slots are what their weights give."""
    published = site_kpi[site_kpi["published"]]
    keys = ["window_start", "site_id"]
    both = rows.merge(published[[*keys, *KPIS]], on=keys)
    for n in range(12):
        own = both[both["slot_id"] == n]
        assert len(own) == len(published) > 100
        assert not own.duplicated(keys).any()
        values = own[list(KPIS)].to_numpy(np.float64)
        is_whole = ~np.isnan(values).any(axis=1)
        outcomes = own["outcome"].astype("str").to_numpy()
        if n in ILL:
            assert set(outcomes) <= {"failed", "timed_out"}
            assert own["error"].astype("str").str.contains(ILL[n], regex=False).any()
            continue
        assert (outcomes == np.where(is_whole, "ok", "failed")).all()
        wanted = values[is_whole].sum(axis=1) if n == HTTP else values[is_whole] @ WEIGHTS[n]
        np.testing.assert_allclose(own["prediction"].to_numpy()[is_whole], wanted, atol=1e-5)
    n_windows = site_kpi["window_start"].nunique()
    for n in DISABLED:
        own = rows[rows["slot_id"] == n]
        assert len(own) == n_windows
        assert (own["outcome"] == "disabled").all()


@pytest.mark.services
def test_sixteen_slots_sound_and_ill_answer_and_change_under_the_real_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.install_plugin(tmp_path, monkeypatch)
    start = floor_to(now_us() - 2 * HOUR, HOUR)
    day = dt.datetime.fromtimestamp(start / 1e6, tz=dt.UTC).date().isoformat()
    fleet = content(start_date=day, schedule_minutes=1, interval_s=60, profile="large")
    with models.server(lambda rows: {"predictions": [sum(r) for r in rows]}) as (url, _):
        installation = install(tmp_path, fleet)
        folder = ModelFolder(installation.models_folder)
        fleet["ai_models"] = sixteen(folder, tmp_path, url)
        install(tmp_path, fleet)
        land(installation, start, now_us() + 9 * MINUTE)
        with webserver(installation, prepare_dagster_home(installation), free_port()) as server:
            server.wait_until_up()
            ui = Client(server.url)
            wait_for(
                "the schedule asked the models",
                lambda: covered_until(installation) > start,
                at_most_s=PATIENCE_S,
            )
            until = covered_until(installation)
            wait_for("the check has run", lambda: ill_slots(ui) != "", at_most_s=PATIENCE_S)
            says = ill_slots(ui)
            trial = launchpad(ui, day)
            changed = change(installation)
            wait_for(
                "windows after the change were answered",
                lambda: covered_until(installation) >= changed + 2 * MINUTE,
                at_most_s=PATIENCE_S,
            )
            assert [
                r["status"] for r in ui.runs(pipelineName=ai_inference_job_name("plant"))
            ].count("FAILURE") == 0
            wait_for("the trial ended", lambda: ended(ui, trial), at_most_s=PATIENCE_S)
    span = Span(start, until)
    with installation.store() as store:
        site_kpi = store.frame(SITE_KPI, "plant", span)
        tried = store.trials.frame(AI_INFERENCE, "plant", span, run_id=trial)
    rows = answers(installation, span)
    assert_right(rows, site_kpi)
    for n, words in ILL.items():
        assert f"slot {n} (model-{n} 1)" in says
        assert words in says
    assert "slot 0 (" not in says
    assert set(tried[tried["slot_id"] == 0]["version"]) == {"tried"}
    assert set(rows[rows["slot_id"] == 0]["version"]) == {"1"}
    after = answers(installation, Span(changed, changed + 2 * MINUTE))
    before = answers(installation, Span(changed - 2 * MINUTE, changed))
    by_slot = {n: after[after["slot_id"] == n] for n in (0, 1, 12)}
    assert set(by_slot[0]["version"]) == {"2"}
    assert set(by_slot[1]["outcome"].astype("str")) == {"disabled"}
    assert "ok" in set(by_slot[12]["outcome"].astype("str"))
    assert set(before[before["slot_id"] == 0]["version"]) == {"1"}
    assert "disabled" not in set(before[before["slot_id"] == 1]["outcome"].astype("str"))


def ill_slots(ui: Client) -> str:
    """Return what the UI's check says of the slots that are ill; nothing while it is about to."""
    node = ui.ask(CHECK, keys=[{"path": ["plant", "ai_inference"]}])["assetNodes"][0]
    checks = {
        c["name"]: c["executionForLatestMaterialization"]
        for c in node["assetChecksOrError"]["checks"]
    }
    found = checks["every_slot_answers"]
    if found is None or found["status"] == "IN_PROGRESS":
        return ""
    assert found["status"] == "FAILED"
    assert found["evaluation"]["severity"] == "WARN"
    entries = {e["label"]: e.get("mdStr") for e in found["evaluation"]["metadataEntries"]}
    return str(entries["ill_slots"])


def launchpad(ui: Client, partition: str) -> str:
    """Launch a run with another version in slot 0, as the Launchpad does; returns its id."""
    (node,) = ui.ask(LOCATION)["repositoriesOrError"]["nodes"]
    slot = {"slot_00": {"config": {"version": "tried", "confidence_threshold": 0.9}}}
    params = {
        "selector": {
            "repositoryName": node["name"],
            "repositoryLocationName": node["location"]["name"],
            "jobName": ai_inference_job_name("plant"),
        },
        "mode": "default",
        "runConfigData": {"ops": {"plant__ai_inference": {"ops": slot}}},
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
    }
    done = ui.ask(LAUNCH, params=params)["launchRun"]
    assert done["__typename"] == "LaunchRunSuccess", done
    return str(done["run"]["runId"])


def ended(ui: Client, run_id: str) -> bool:
    (run,) = ui.runs(runIds=[run_id])
    assert run["status"] not in ("FAILURE", "CANCELED")
    return bool(run["status"] == "SUCCESS")


def change(installation: Installation) -> int:
    """Upgrade slot 0, disable slot 1 and enable slot 12; returns the window from which that holds [us]."""
    changes: dict[int, dict[str, Any]] = {
        0: {"version": "2"},
        1: {"active": False},
        12: {"active": True},
    }

    def edit(settings: HotSettings, _at: int) -> HotSettings:
        for slot_id, what in changes.items():
            settings = change_slot(settings, slot_id, **what)
        return settings

    with installation.store() as store:
        (version,) = store.registry.edit(installation.config("plant"), edit, source="test")
    return version.valid_from
