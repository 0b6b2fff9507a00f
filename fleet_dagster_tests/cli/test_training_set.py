import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from fleet_dagster.storage.store import Store
from fleet_dagster.streams.subscription import subscribe
from fleet_dagster.training_sets.update import CONSUMER, STREAM
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.cli.cases import done, fleet, printed

CONFIG = at.coarse()
SPAN = ("--from", "2026-01-01", "--to", "2026-01-02")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an installation with two computed days."""
    folder = tmp_path_factory.mktemp("training")
    file = folder / "fleets" / "plant.yaml"
    file.parent.mkdir()
    content = CONFIG.model_dump(mode="json", exclude={"ai_models"})
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    with Store.at(folder / "home") as store:
        at.land(store, CONFIG, at.telemetry(2, step_s=600), batch_id="all")
        at.refresh_all(store, CONFIG, at.days(0, 2))
    return folder


def test_a_span_is_written_as_one_data_set_with_a_manifest(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    said = fleet(folder, "training-set", "plant", "--out", out, *SPAN, "--site", "MX-0001")
    assert said.exit_code == 0, said.output
    rows = pd.read_parquet(out / "days")
    assert len(rows) == 96
    assert set(rows["site_id"]) == {"MX-0001"}
    assert "96 rows of 2 days; labelled: none" in said.stderr
    again = fleet(folder, "training-set", "plant", "--out", out, *SPAN)
    assert again.exit_code == 2
    assert "holds a training set" in again.stderr


def test_a_set_that_follows_the_fleet_keeps_what_it_was_begun_with(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    begun = ("training-set", "plant", "--out", out, "--update", "--json")
    first = printed(fleet(folder, *begun, "--kpi", "process_temp_c", "--from", "2026-01-02"))
    assert (first["to"], list(first["days"])) == (None, ["2026-01-02"])
    assert [k["name"] for k in first["kpis"]] == ["process_temp_c"]
    assert printed(fleet(folder, *begun)) == first
    assert json.loads((out / "manifest.json").read_text("utf-8")) == first
    other = fleet(folder, *begun, "--kpi", "efficiency_pct")
    assert other.exit_code == 2
    assert "keeps the span, KPIs and sites" in other.stderr


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, "Name the span with --from and --to, or follow the fleet with --update"),
        (("--update", "--to", "2026-01-02"), 2, "leave --to out"),
        ((*SPAN, "--kpi", "warmth"), 2, "for --kpi: Fleet plant has no KPI warmth. Its KPIs: "),
        ((*SPAN, "--site", "X-1"), 2, "has no site X-1"),
        (("--from", "2026-03-01", "--to", "2026-03-02"), 1, "has no site rows in that span"),
    ],
)
def test_what_cannot_be_written_is_said(
    folder: Path, tmp_path: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    result = fleet(folder, "training-set", "plant", "--out", tmp_path / "set", *options)
    assert result.exit_code == code
    assert words in " ".join(result.stderr.split())
    assert not (tmp_path / "set").exists()


def test_two_processes_do_not_update_at_the_same_time(folder: Path, tmp_path: Path) -> None:
    command = ("training-set", "plant", "--out", tmp_path / "set", "--update")
    with Store.at(folder / "home") as store, subscribe(store, CONFIG, STREAM, CONSUMER):
        busy = fleet(folder, *command)
    assert busy.exit_code == 2
    assert "another process" in busy.stderr
    done(fleet(folder, *command))


def test_a_manifest_that_is_not_ours_is_left_alone(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    out.mkdir()
    for text, words in (('{"format": 9}', "has format 9, expected 1"), ("no", "is no JSON")):
        (out / "manifest.json").write_text(text, encoding="utf-8")
        result = fleet(folder, "training-set", "plant", "--out", out, "--update")
        assert result.exit_code == 1
        assert words in " ".join(result.stderr.split())
        assert (out / "manifest.json").read_text("utf-8") == text
