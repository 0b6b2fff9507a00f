import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from fleet_dagster.core.windows import DAY, HOUR, SECOND
from fleet_dagster.model.tables import AI_INFERENCE, SITE_KPI
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage import maintenance
from fleet_dagster.storage.installation import Installation
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import ai_models as models
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.cli.cases import fleet

FED = [word for feature in models.FEATURES for word in ("--feature", feature)]
SINCE = ("--from", "2026-01-01")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an installation of six sites with half-hour windows; nothing is computed."""
    return installed(tmp_path)


def installed(folder: Path) -> Path:
    """Write the fleet's file into a folder."""
    at.new_home(folder / "home")
    file = folder / "fleets" / "plant.yaml"
    file.parent.mkdir()
    content = at.coarse().model_dump(mode="json", exclude={"ai_models"})
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


def place(folder: Path) -> Installation:
    names = {"FLEET_HOME": str(folder / "home"), "FLEET_FLEETS": str(folder / "fleets")}
    return Installation.from_environment(names, folder=folder)


def listed(folder: Path, *options: str) -> list[dict[str, Any]]:  # Any: JSON
    found: list[dict[str, Any]] = json.loads(
        fleet(folder, "slots", "list", "plant", "--json", *options).stdout
    )
    return found


def add(folder: Path, name: str, *options: str) -> Any:  # Any: click's result
    return fleet(folder, "slots", "add", "plant", name, *FED, *options)


def onnx(folder: Path) -> tuple[str, ...]:
    """Return the options of a model that is tried out in a third of the time that one of scikit-learn takes."""
    return ("--file", str(models.onnx_file(folder)), "--backend", "onnx")


def test_a_model_is_tried_out_copied_pinned_and_registered(folder: Path) -> None:
    file = models.sklearn_file(folder)
    done = add(folder, "output", "--file", str(file), "--version", "3", *SINCE)
    assert done.exit_code == 0, done.output
    assert "output 3 answers 64 made-up rows" in done.stderr
    assert "slot 0: added (output)" in done.stdout
    file.unlink()
    (slot,) = listed(folder)
    assert (slot["slot_id"], slot["version"], slot["file"]) == (0, "3", "as registered")
    assert (place(folder).models_folder / slot["artifact"]).is_file()
    (place(folder).models_folder / slot["artifact"]).write_bytes(b"other")
    assert "was registered" in listed(folder)[0]["file"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--file", "linear.skops", "--feature", "site.health"],
            "trained on 3 features, 4 are registered",
        ),
        (["--artifact", "nope", "--backend", "entry_point"], "no installed package offers 'nope'"),
        (["--artifact", "ftp://x", "--backend", "http"], "expected the address of an endpoint"),
        (["--file", "linear.skops", "--backend", "http"], "A file goes with"),
        (["--file", "linear.skops", "--slot", "2"], "'small' has 2"),
        (["--file", "linear.skops", "--domain", "magic"], "of which the fleet has no KPI"),
    ],
)
def test_a_model_that_would_not_answer_is_not_registered(
    folder: Path, options: list[str], words: str
) -> None:
    models.sklearn_file(folder)
    given = [str(folder / word) if word.endswith(".skops") else word for word in options]
    done = add(folder, "m", *given)
    assert done.exit_code == 2
    assert words in done.stderr
    assert listed(folder) == []


def test_slots_are_put_out_of_use_upgraded_and_removed_from_an_instant_on(folder: Path) -> None:
    add(folder, "a", *onnx(folder), *SINCE)
    add(folder, "b", *onnx(folder), *SINCE)
    taken = add(folder, "c", *onnx(folder))
    assert "has no free slot" in taken.stderr
    later = ("--from", "2026-01-02T00:00:00Z")
    assert fleet(folder, "slots", "disable", "plant", "1", *later).exit_code == 0
    upgrade = ("--version", "2", "--confidence", "0.8")
    assert fleet(folder, "slots", "update", "plant", "0", *upgrade, *later).exit_code == 0
    before, after = (listed(folder, "--at", t) for t in ("2026-01-01T12:00:00Z", "2026-01-02"))
    assert [(s["version"], s["active"]) for s in before] == [("1", True), ("1", True)]
    assert [(s["version"], s["active"]) for s in after] == [("2", True), ("1", False)]
    assert after[0]["sha256"] == before[0]["sha256"]
    assert fleet(folder, "slots", "remove", "plant", "1").exit_code == 0
    assert [s["slot_id"] for s in listed(folder)] == [0]
    gone = fleet(folder, "slots", "enable", "plant", "1")
    assert "slot 1: holds no model (registered: 0)" in gone.stderr


def test_an_edit_of_the_file_leaves_registered_models_alone(folder: Path) -> None:
    add(folder, "a", *onnx(folder), *SINCE)
    assert fleet(folder, "config", "diff", "plant").exit_code == 0
    file = folder / "fleets" / "plant.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump({**content, "outlier_sigma": 4.5}), encoding="utf-8")
    assert fleet(folder, "config", "apply", "plant").exit_code == 0
    assert [s["model_id"] for s in listed(folder)] == ["a"]
    file.write_text(yaml.safe_dump({**content, "ai_models": []}), encoding="utf-8")
    assert fleet(folder, "config", "apply", "plant").exit_code == 0
    assert listed(folder) == []


def test_an_audit_asks_again_and_names_what_is_not_answered_alike(folder: Path) -> None:
    add(folder, "a", *onnx(folder), *SINCE)
    config, day = place(folder).config("plant"), ("--from", "2026-01-01", "--to", "2026-01-01")
    with place(folder).store() as store:
        at.land(store, config, at.telemetry(1, step_s=600), batch_id="day")
        refresh = Refresh(store, config)
        refresh.site_ingest(at.days(0, 1))
        (outcome,) = refresh.ai_inference(at.days(0, 1))
        assert outcome.rows_written > 200
    fine = fleet(folder, "slots", "audit", "plant", *day, "--windows", "10", "--json")
    found = json.loads(fine.stdout)
    assert fine.exit_code == 0
    assert (found["windows"], found["differences"]) == (10, [])
    assert found["answers"] >= 40
    with place(folder).store() as store:
        rows = store.lake.read(AI_INFERENCE, "plant", at.days(0, 1))
        tampered = rows.set_column(
            rows.schema.get_field_index("prediction"),
            "prediction",
            pa.array(rows["prediction"].to_numpy() + 0.25),
        )
        store.lake.replace(AI_INFERENCE, "plant", [at.days(0, 1)], tampered, "tampered")
    bad = fleet(folder, "slots", "audit", "plant", *day, "--windows", "10")
    assert bad.exit_code == 1
    assert "prediction was" in bad.stdout


@pytest.fixture(scope="module")
def a_day_of_answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an installation with a day of answers, which no test changes."""
    folder = installed(tmp_path_factory.mktemp("answers"))
    add(folder, "a", *onnx(folder), *SINCE)
    with place(folder).store() as store:
        at.land(store, place(folder).config("plant"), at.telemetry(1, step_s=600), batch_id="day")
        answer(folder, store)
    return folder


@pytest.fixture
def answered(a_day_of_answers: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    shutil.copytree(a_day_of_answers, tmp_path, dirs_exist_ok=True)
    return tmp_path


def answer(folder: Path, store: Store) -> None:
    refresh = Refresh(store, place(folder).config("plant"))
    for node in (refresh.site_ingest, refresh.anomaly_scorer, refresh.ai_inference):
        node(at.days(0, 1))


def audited(folder: Path) -> dict[str, Any]:  # Any: JSON
    """Return what the audit of what is new says, which finds no difference."""
    done = fleet(folder, "slots", "audit", "plant", "--new", "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["differences"] == []
    return found


def test_an_audit_of_what_is_new_looks_at_every_answer_once_and_then_at_restated_ones(
    answered: Path,
) -> None:
    first = audited(answered)
    assert (first["windows"], first["from"]) == (48, "2026-01-01T00:00:00Z")
    assert first["answers"] > 200
    assert audited(answered)["windows"] == 0
    config = place(answered).config("plant")
    with place(answered).store() as store:
        noon = at.FIRST + 12 * HOUR
        late = at.snapshots("MX-0002", [noon + 1], config, share=0.9)
        at.land(store, config, late, batch_id="late", historical=True)
        answer(answered, store)
        restated = store.history.entries(AI_INFERENCE.name, "plant", kind="restate")
        n_restated = sum(len(e.span.starts(1800 * SECOND)) for e in restated)
        assert 0 < n_restated < 48
    assert audited(answered)["windows"] == n_restated


def test_an_audit_of_what_is_new_names_differences_once_and_moves_on(answered: Path) -> None:
    with place(answered).store() as store:
        rows = store.lake.read(AI_INFERENCE, "plant", at.days(0, 1))
        column = rows.schema.get_field_index("prediction")
        raised = pa.array(rows["prediction"].to_numpy() + 0.25)
        tampered = rows.set_column(column, "prediction", raised)
        store.lake.replace(AI_INFERENCE, "plant", [at.days(0, 1)], tampered, "tampered")
    bad = fleet(answered, "slots", "audit", "plant", "--new")
    assert bad.exit_code == 1
    lines = bad.stdout.splitlines()
    assert sum("prediction was" in line for line in lines) == 12
    assert "of 48 windows asked for again" in lines[-1]
    again = fleet(answered, "slots", "audit", "plant", "--new")
    assert (again.exit_code, again.stdout) == (
        0,
        "0 answers of 0 windows asked for again: 0 differences\n",
    )


def test_a_sample_of_what_is_new_is_audited_where_that_is_asked_for(answered: Path) -> None:
    done = fleet(answered, "slots", "audit", "plant", "--new", "--windows", "3", "--json")
    assert json.loads(done.stdout)["windows"] == 3


def expire_telemetry(store: Store) -> None:
    long_after = at.FIRST + 800 * DAY
    maintenance.expire_telemetry(store, "plant", now=long_after, retention_days=90)


def test_answers_whose_site_rows_have_expired_with_the_telemetry_are_counted_only(
    answered: Path,
) -> None:
    with place(answered).store() as store:
        expire_telemetry(store)
        with store.door.hold([SITE_KPI], "plant", at.days(0, 1)) as holder:
            store.door.expire(SITE_KPI, "plant", at.days(0, 1), holder=holder)
    found = audited(answered)
    assert (found["windows"], found["windows_gone"]) == (0, 48)


def test_answers_whose_site_rows_belong_to_other_settings_now_are_counted_where_telemetry_is_gone(
    answered: Path,
) -> None:
    with place(answered).store() as store:
        expire_telemetry(store)
    moved = fleet(answered, "regions", "move", "plant", "MX-0001", "elsewhere", *SINCE)
    assert moved.exit_code == 0, moved.output
    found = audited(answered)
    assert (found["windows"], found["windows_gone"]) == (0, 48)


def test_answers_whose_site_rows_stand_are_audited_without_the_telemetry(answered: Path) -> None:
    with place(answered).store() as store:
        expire_telemetry(store)
    found = audited(answered)
    assert (found["windows"], found["windows_gone"]) == (48, 0)


@pytest.mark.parametrize(
    "options", [(), ("--new", *SINCE), ("--from", "2026-01-01"), ("--to", "2026-01-01")]
)
def test_an_audit_is_of_a_whole_span_or_of_what_is_new(
    folder: Path, options: tuple[str, ...]
) -> None:
    done = fleet(folder, "slots", "audit", "plant", *options)
    assert done.exit_code == 2
    assert "Name a span with --from and --to, or --new" in done.stderr


def test_a_slot_is_tried_on_the_newest_hour_and_nothing_is_written(folder: Path) -> None:
    add(folder, "a", *onnx(folder), *SINCE)
    config = place(folder).config("plant")
    with place(folder).store() as store:
        at.land(store, config, at.telemetry(1, step_s=600), batch_id="day")
        Refresh(store, config).site_ingest(at.days(0, 1))
    done = fleet(folder, "slots", "test", "plant", "0")
    assert done.exit_code == 0, done.output
    assert "newest hour" in done.stdout
    with place(folder).store() as store:
        assert store.frame(AI_INFERENCE, "plant", at.days(0, 1)).empty
