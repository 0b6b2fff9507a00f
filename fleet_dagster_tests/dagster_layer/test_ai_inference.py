"""The slots as a Dagster graph: what a run shows, ranges, and what the Launchpad changes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.core.windows import Span
from fleet_dagster.definitions import build_defs, create_fleet
from fleet_dagster.jobs import ai_inference_job_name
from fleet_dagster.model.slot_edits import change_slot
from fleet_dagster.model.tables import AI_INFERENCE, BASELINES, derived_tables
from fleet_dagster.refresh.currency import Currency
from fleet_dagster.sensors.fleet_file import altered_windows
from fleet_dagster.storage.installation import Installation
from fleet_dagster_tests import ai_models as models
from fleet_dagster_tests.dagster_layer.plants import (
    content,
    day_start,
    days,
    install,
    instance_in_memory,
    land,
    metadata,
    run,
)

FEATURES = ["efficiency_pct", "process_temp_c@1", "mean(cooling_temp_c, 4)"]
JOB = ai_inference_job_name("plant")


class Plant:
    """Two computed days; slot 0 is sound, slot 1 holds a file that was swapped."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.installation = install(folder, content(interval_s=1800, staleness_threshold_s=3600))
        home = ModelFolder(self.installation.models_folder)
        own = {"model_id": "linear", "features": FEATURES}
        sound = models.pinned(home, models.sklearn_file(folder))
        swapped = models.pinned(home, models.sklearn_file(folder, weights=(0.0, 1.0, 0.0)))
        (home.root / swapped["artifact"]).write_bytes(b"swapped")
        slots = [{**own, **sound, "slot_id": 0}, {**own, **swapped, "slot_id": 1}]
        install(folder, content(interval_s=1800, staleness_threshold_s=3600, ai_models=slots))
        land(self.installation, day_start(0), day_start(2))
        run(self.installation, instance, *days(0, 1))
        self.done = self.ask("2026-01-01", "2026-01-02")
        self.figures = metadata(instance, "ai_inference")
        self.stored = rows(self.installation)

    def ask(
        self, first: str, last: str, config: dict[str, Any] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Run the job of the models over a range, with slots configured as in the Launchpad."""
        job = build_defs(self.installation).resolve_job_def(JOB)
        span = {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        }
        ops = {"ops": {"plant__ai_inference": {"ops": config or {}}}}
        return job.execute_in_process(
            instance=self.instance, tags=span, run_config=ops, raise_on_error=False
        )


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("slots")
    with instance_in_memory(folder / "dagster") as instance:
        yield Plant(folder, instance)


def rows(installation: Installation) -> Any:  # Any: a frame
    with installation.store() as store:
        return store.frame(AI_INFERENCE, "plant", Span(day_start(0), day_start(2)))


def test_a_range_materializes_each_partition_and_shows_the_outcomes(plant: Plant) -> None:
    assert plant.done.success
    found, stored = plant.figures, plant.stored
    assert sorted(found) == days(0, 1)
    for outcome in ("ok", "failed"):
        shown = sum(figures[f"outcome_{outcome}"] for figures in found.values())
        assert shown == (stored["outcome"] == outcome).sum() > 100
    assert found["2026-01-02"]["slots_ill"] == 1
    assert "| 0 | linear | 1 |" in found["2026-01-02"]["slots"]


def test_an_ill_slot_is_warned_of_by_name_and_reason(plant: Plant) -> None:
    checks = {c.check_name: c for c in plant.done.get_asset_check_evaluations()}
    ill = checks["every_slot_answers"]
    assert not ill.passed
    assert ill.severity is dg.AssetCheckSeverity.WARN
    text = str(ill.metadata["ill_slots"].value)
    assert "slot 1 (linear 1)" in text
    assert "was registered" in text
    assert "slot 0" not in text
    assert checks["fits_its_definition"].passed


def test_a_slot_configured_in_the_launchpad_is_a_trial_of_that_run_only(plant: Plant) -> None:
    before = rows(plant.installation)
    tried = plant.ask("2026-01-01", "2026-01-01", {"slot_00": {"config": {"version": "tried"}}})
    assert tried.success
    assert not tried.asset_materializations_for_node("plant__ai_inference.collector")
    with plant.installation.store() as store:
        found = store.trials.frame(
            AI_INFERENCE, "plant", Span(day_start(0), day_start(1)), run_id=tried.run_id
        )
    of_slot = found[found["slot_id"] == 0]
    assert set(of_slot["version"]) == {"tried"}
    assert (of_slot["outcome"] == "ok").any()
    after = rows(plant.installation)
    assert after.equals(before)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"features": ["no_such_kpi"]}, "neither a KPI of the fleet"),
        ({"timeout_s": -1.0}, "timeout_s"),
        ({"backend": "pickle"}, "backend"),
    ],
)
def test_a_wrong_configuration_fails_the_run_in_the_router(
    plant: Plant, config: dict[str, Any], words: str
) -> None:
    failed = plant.ask("2026-01-01", "2026-01-01", {"slot_00": {"config": config}})
    assert not failed.success
    (event,) = [e for e in failed.all_events if e.is_step_failure]
    assert str(event.step_key).endswith("ai_model_router")
    assert words in str(event.step_failure_data)


def test_a_second_run_asks_nothing_and_writes_nothing(plant: Plant) -> None:
    again = plant.ask("2026-01-01", "2026-01-02")
    assert again.success
    assert {f["rows_written"] for f in metadata(plant.instance, "ai_inference").values()} == {0}


def test_a_fleet_has_as_many_slots_as_its_profile_says() -> None:
    for profile, wanted in (("small", 2), ("large", 16)):
        job = create_fleet(content(profile=profile)).resolve_job_def(JOB)
        graph = job.graph.node_dict["plant__ai_inference"].definition
        assert isinstance(graph, dg.GraphDefinition)
        slots = [name for name in graph.node_dict if name.startswith("slot_")]
        assert len(slots) == wanted


def test_another_model_alters_answers_and_nothing_that_the_windows_job_computes(
    plant: Plant,
) -> None:
    config = plant.installation.config("plant")
    with plant.installation.store() as store:
        versions = store.registry.edit(
            config,
            lambda settings, _at: change_slot(settings, 0, version="2"),
            source="test",
            valid_from=day_start(1),
        )
        currency = Currency(store.registry.fleet(config), store.history)
        both = Span(day_start(0), day_start(2))
        stale = {t.name: currency.stale(t, both) for t in derived_tables()}
        assert altered_windows(store, config, versions) == []
    assert stale.pop("ai_inference") == [Span(day_start(1), day_start(2))]
    untrained = {table.name for table in BASELINES}  # of the first day there is none
    assert not any(spans for name, spans in stale.items() if name not in untrained)
    plant.ask("2026-01-01", "2026-01-02")
    found = rows(plant.installation)
    of_slot = found[found["slot_id"] == 0]
    starts = {
        v: own["window_start"] for v, own in of_slot.groupby(of_slot["version"].astype("str"))
    }
    assert sorted(starts) == ["1", "2"]
    assert starts["1"].max() < starts["2"].min() == pd.Timestamp("2026-01-02", tz="UTC")


def test_slots_whose_ops_fail_are_recorded_as_failed(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet_dagster.assets.ai_inference.ask_slot", _broken)
    done = plant.ask("2026-01-01", "2026-01-01", {"slot_00": {"config": {"version": "lost"}}})
    assert done.success
    with plant.installation.store() as store:
        span = Span(day_start(0), day_start(1))
        found = store.trials.frame(AI_INFERENCE, "plant", span, run_id=done.run_id)
    assert len(found) > 100
    assert set(found["outcome"]) == {"failed"}
    assert found["error"].str.contains("its log says why").all()


def _broken(*_given: object) -> None:
    raise OSError("the disk is gone")
