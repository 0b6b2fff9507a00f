import json
from pathlib import Path

import pytest
from pyarrow import parquet as pq

from fleet_dagster.ingest.files import check_file
from fleet_dagster_tests.cli.cases import done, fleet, installation, lake, printed

SPAN = ("--from", "2026-01-05", "--to", "2026-01-05T06:00Z")


def _init(folder: Path) -> None:
    done(fleet(folder, "init", "plant", "--sites", "4", "--start-date", "2026-01-01"))


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_every_kind_of_file_can_be_imported_again(tmp_path: Path, kind: str) -> None:
    _init(tmp_path)
    out = tmp_path / "out"
    done(fleet(tmp_path, "simulate", "plant", *SPAN, "--out", out, "--format", kind))
    (path,) = out.glob(f"*.{kind}")
    n_rows = check_file(path, installation(tmp_path).config("plant"))
    report = printed(fleet(tmp_path, "import", "plant", path, "--historical", "--json"))[0]
    assert report["n_rows"] == report["n_landed"] == n_rows
    assert 4 * 360 * 0.9 < n_rows - report["n_quarantined"] < 4 * 360 * 1.2


def test_equal_seeds_give_equal_files(tmp_path: Path) -> None:
    _init(tmp_path)
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        out = ("--out", tmp_path / name)
        done(fleet(tmp_path, "simulate", "plant", *SPAN, "--seed", seed, *out))
    a, b, c = (pq.read_table(next((tmp_path / name).glob("*.parquet"))) for name in "abc")
    assert a.equals(b)
    assert not a.equals(c)


def test_the_truth_stands_beside_the_data(tmp_path: Path) -> None:
    _init(tmp_path)
    span = ("--from", "2026-01-05", "--to", "2026-01-06")
    done(fleet(tmp_path, "simulate", "plant", *span, "--out", tmp_path))
    truth = json.loads((tmp_path / "plant_2026-01-05_2026-01-06.truth.json").read_text("utf-8"))
    rows = pq.read_table(tmp_path / "plant_2026-01-05_2026-01-06.parquet")
    assert sum(day["snapshots"] for day in truth["counts"].values()) == rows.num_rows
    names = [event["event_id"] for event in truth["events"]]
    assert names
    assert len(names) == len(set(names))


def test_landing_simulated_telemetry_twice_lands_it_once(tmp_path: Path) -> None:
    _init(tmp_path)
    arguments = ("simulate", "plant", *SPAN, "--out", tmp_path, "--land", "--no-faults")
    done(fleet(tmp_path, *arguments))
    before = lake(tmp_path)
    assert before["site_telemetry"].num_rows == 4 * 360
    assert "Landed 0 snapshots" in done(fleet(tmp_path, *arguments))
    assert lake(tmp_path) == before
