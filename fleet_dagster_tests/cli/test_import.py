from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from fleet_dagster.ingest import importing
from fleet_dagster_tests.cli.cases import (
    GOOD,
    HEADER,
    csv,
    done,
    fleet,
    installation,
    lake,
    printed,
    write_fleet,
)


def _landed(tmp_path: Path) -> dict[str, Any]:
    write_fleet(tmp_path)
    report: dict[str, Any] = printed(
        fleet(tmp_path, "import", "plant", csv(tmp_path), "--historical", "--json")
    )[0]
    return report


def test_import_lands_every_row_and_names_the_next_command(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    text = done(fleet(tmp_path, "import", "plant", csv(tmp_path), "--historical"))
    assert "3 rows landed, 0 of them quarantined" in text
    assert "fleet run plant --from 2026-01-05 --to 2026-01-05" in text
    assert lake(tmp_path)["site_telemetry"].num_rows == 3


def test_a_second_import_of_a_file_lands_nothing_and_says_so(tmp_path: Path) -> None:
    _landed(tmp_path)
    before = lake(tmp_path)
    text = done(fleet(tmp_path, "import", "plant", tmp_path / "telemetry.csv", "--historical"))
    assert "Nothing was landed" in text
    assert lake(tmp_path) == before


def test_a_file_is_known_by_its_content_not_its_name(tmp_path: Path) -> None:
    _landed(tmp_path)
    copy = (tmp_path / "telemetry.csv").rename(tmp_path / "renamed.csv")
    report = printed(fleet(tmp_path, "import", "plant", copy, "--historical", "--json"))[0]
    assert report["n_landed"] == 0


def test_another_mapping_lands_the_file_again(tmp_path: Path) -> None:
    _landed(tmp_path)
    write_fleet(tmp_path, source={"kpis": {"power": {"column": "power", "unit": "W"}}})
    report = printed(
        fleet(tmp_path, "import", "plant", tmp_path / "telemetry.csv", "--historical", "--json")
    )[0]
    assert report["n_landed"] == 3


def test_an_interrupted_import_goes_on_with_the_same_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PART_ROWS", 2)
    write_fleet(tmp_path)
    path, place = csv(tmp_path), installation(tmp_path)
    config = place.config("plant")

    def interrupt(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with place.store() as store:
        with pytest.raises(KeyboardInterrupt):
            importing.import_file(
                store, config, path, received_at_us=1, historical=True, progress=interrupt
            )
        rest = importing.import_file(store, config, path, received_at_us=2, historical=True)
    assert (rest.n_rows, rest.n_landed) == (3, 1)
    rows = lake(tmp_path)["site_telemetry"]
    assert sorted(rows.column("row_no").to_pylist()) == [0, 1, 2]
    assert set(rows.column("batch_id").to_pylist()) == set(rest.batches)


def test_unusable_rows_are_counted_by_reason_with_an_example(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    rows = (
        *GOOD,
        "S1,yesterday,20,1",
        "S1,2026-01-05T00:05:00Z,hot,1",
        ",2026-01-05T00:06:00Z,1,1",
    )
    text = done(fleet(tmp_path, "import", "plant", csv(tmp_path, *rows), "--historical"))
    assert "6 rows landed, 3 of them quarantined" in text
    for word in ("bad_time", "not_numeric", "missing_site", "'hot'"):
        assert word in text


def test_old_telemetry_is_too_late_unless_it_is_history(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    result = fleet(tmp_path, "import", "plant", csv(tmp_path))
    assert result.exit_code == 1
    assert "too_late" in result.output
    assert "--historical" in result.output


def test_received_at_decides_what_is_late(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    moment = "2026-01-05T00:02:00Z"
    report = printed(
        fleet(tmp_path, "import", "plant", csv(tmp_path), "--received-at", moment, "--json")
    )[0]
    assert report["n_quarantined"] == 0


def test_an_unknown_site_is_landed_as_unmapped_while_the_profile_has_room(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    path = csv(tmp_path, *GOOD, "S9,2026-01-05T00:00:00Z,20,1")
    report = printed(fleet(tmp_path, "import", "plant", path, "--historical", "--json"))[0]
    assert report["n_quarantined"] == 0
    assert report["unmapped_sites"] == report["new_sites"] == ["S9"]


def test_sites_that_no_mapping_names_are_named(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    path = csv(tmp_path, *GOOD, "Unbekannt,2026-01-05T00:00:00Z,20,1")
    text = done(fleet(tmp_path, "import", "plant", path, "--historical"))
    assert "1 site that no mapping names: 'Unbekannt'; it counts as unmapped" in text
    assert "fleet run plant --all" in text
    again = csv(tmp_path, "Unbekannt,2026-01-05T00:01:00Z,20,1", name="again.csv")
    text = done(fleet(tmp_path, "import", "plant", again, "--historical"))
    assert "'Unbekannt'" in text
    assert "fleet run plant --from 2026-01-05 --to 2026-01-05" in text


def test_rows_without_a_usable_time_are_said_to_be_filed_under_their_receipt(
    tmp_path: Path,
) -> None:
    write_fleet(tmp_path)
    path = csv(tmp_path, *GOOD, "S1,yesterday,20,1", "S1,,20,1")
    received = ("--received-at", "2026-01-07T12:00:00Z")
    text = done(fleet(tmp_path, "import", "plant", path, "--historical", *received))
    assert "2 rows have no usable time and are filed under the day of receipt, 2026-01-07" in text
    assert "fleet run plant --all" in text


def test_an_import_of_unusable_rows_alone_is_no_with_advice(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    path = csv(tmp_path, "S1,2026-01-05T00:00:00Z,hot,1")
    result = fleet(tmp_path, "import", "plant", path, "--historical")
    assert result.exit_code == 1
    assert "1 row landed" in result.output
    assert "Every row is unusable" in result.output
    assert "--historical" not in result.output


def test_one_file_that_cannot_be_read_does_not_keep_the_others_out(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    absent, sound = tmp_path / "absent.csv", csv(tmp_path)
    result = fleet(tmp_path, "import", "plant", absent, sound, "--historical")
    assert result.exit_code == 2
    for words in (str(absent), "3 rows landed", "1 of 2 files cannot be read"):
        assert words in result.output
    assert lake(tmp_path)["site_telemetry"].num_rows == 3


def test_a_stamp_far_ahead_is_said_to_be_so_in_days(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    path = csv(tmp_path, "S1,2026-01-09T00:00:00Z,20,1")
    received = ("--received-at", "2026-01-05T12:00:00Z")
    result = fleet(tmp_path, "import", "plant", path, *received)
    assert "lies 3.50 days after its receipt" in result.output


def test_a_site_beyond_the_profile_is_quarantined_with_advice(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    rows = [f"X{i},2026-01-05T00:00:00Z,20,1" for i in range(49)]
    text = done(fleet(tmp_path, "import", "plant", csv(tmp_path, *rows), "--historical"))
    assert "site_beyond_profile" in text
    assert "medium" in text


def _bad_header(folder: Path) -> Path:
    return csv(folder, "S7,2026-01-05T00:00:00Z,1", header="site_id,when,temp", name="bad.csv")


def _semicolons(folder: Path) -> Path:
    return csv(
        folder, "S7;2026-01-05T00:00:00Z;1;1", header=HEADER.replace(",", ";"), name="bad.csv"
    )


def _mixed_zones(folder: Path) -> Path:
    rows = ("S7,2026-01-05T00:00:00Z,1,1", "S7,2026-01-05T00:01:00,1,1")
    return csv(folder, *rows, name="bad.csv")


def _not_utf8(folder: Path) -> Path:
    path = folder / "bad.csv"
    path.write_bytes(f"{HEADER}\nM\u00fcnchen,2026-01-05T00:00:00Z,1,1\n".encode("latin-1"))
    return path


def _truncated_parquet(folder: Path) -> Path:
    path = folder / "bad.parquet"
    stamps = ["2026-01-05T00:00:00Z"] * 1000
    pq.write_table(
        pa.table({"site_id": ["S7"] * 1000, "timestamp": stamps, "temp": [1.0] * 1000}), path
    )
    path.write_bytes(path.read_bytes()[:-40])
    return path


def _enormous_line(folder: Path) -> Path:
    rows = ("S7,2026-01-05T00:00:00Z,1,1", "S7,2026-01-05T00:01:00Z," + "9" * 3_000_000 + ",1")
    return csv(folder, *rows, name="bad.csv")


def _empty(folder: Path) -> Path:
    path = folder / "bad.csv"
    path.write_bytes(b"")
    return path


def _unknown_ending(folder: Path) -> Path:
    return csv(folder, name="bad.xls")


def _absent(folder: Path) -> Path:
    return folder / "bad.csv"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_bad_header, ("'timestamp'", "'when'")),
        (_semicolons, ("';'", "source.delimiter")),
        (_mixed_zones, ("offset",)),
        (_not_utf8, ("utf-8", "source.encoding")),
        (_truncated_parquet, ("Parquet",)),
        (_enormous_line, ("line 3",)),
        (_empty, ("empty",)),
        (_unknown_ending, (".parquet",)),
        (_absent, ("no such file",)),
    ],
)
def test_a_file_that_cannot_be_read_whole_is_refused_and_changes_nothing(
    tmp_path: Path, make: Any, words: tuple[str, ...]
) -> None:
    _landed(tmp_path)
    before = lake(tmp_path)
    path = make(tmp_path)
    result = fleet(tmp_path, "import", "plant", path, "--historical")
    assert result.exit_code == 2
    for word in (str(path), *words):
        assert word.lower() in result.output.lower()
    assert lake(tmp_path) == before


def test_a_unit_that_cannot_be_converted_is_refused_before_anything_is_landed(
    tmp_path: Path,
) -> None:
    _landed(tmp_path)
    before = lake(tmp_path)
    write_fleet(tmp_path, source={"kpis": {"power": {"column": "power", "unit": "degC"}}})
    result = fleet(tmp_path, "import", "plant", csv(tmp_path, name="new.csv"), "--historical")
    assert result.exit_code == 2
    for word in ("power", "kW", "degC"):
        assert word in result.output
    assert lake(tmp_path) == before


def test_readings_in_a_wrong_unit_are_quarantined_as_out_of_scale(tmp_path: Path) -> None:
    _landed(tmp_path)
    path = csv(tmp_path, *GOOD, "S1,2026-01-05T00:03:00Z,20,99000000", name="watts.csv")
    report = printed(fleet(tmp_path, "import", "plant", path, "--historical", "--json"))[0]
    assert [r["problem"] for r in report["reasons"]] == ["out_of_scale"]


def test_an_unknown_fleet_is_named_with_those_that_are_known(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    result = fleet(tmp_path, "import", "plan", csv(tmp_path))
    assert result.exit_code == 2
    assert "'plan'" in result.output
    assert "plant" in result.output
