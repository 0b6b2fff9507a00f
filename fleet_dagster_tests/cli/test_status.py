import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv as pa_csv
from pyarrow import parquet as pq

from fleet_dagster.cli.simulation_file import joined_lists
from fleet_dagster.core.windows import DAY, MINUTE, Span
from fleet_dagster.model.tables import ANOMALY_SCORE, FLEET_KPI, SITE_KPI, TABLES, Table
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.coverage import Covered
from fleet_dagster.storage.door import Write
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.cli.cases import (
    compute,
    csv,
    done,
    fleet,
    installation,
    lake,
    printed,
    write_fleet,
)
from fleet_dagster_tests.fleets import MIDNIGHT
from fleet_dagster_tests.incidents import change, record, stamp

SPAN = ("--from", "2026-01-05", "--to", "2026-01-05")
LISTS = [["temp", "power"], ["temp", "power"], None, ["temp"]]


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an installation with one computed day, which no test changes."""
    folder = tmp_path_factory.mktemp("computed")
    write_fleet(folder)
    bad = "S2,2026-01-05T00:01:00Z,warm,90"
    rows = [f"S1,2026-01-05T{h:02d}:{m:02d}:00Z,20,100" for h in range(24) for m in range(60)]
    path = csv(folder, *rows, "S2,2026-01-05T23:59:00Z,60,50", bad)
    done(fleet(folder, "import", "plant", path, "--historical"))
    compute(folder, MIDNIGHT, MIDNIGHT + DAY)
    return folder


def test_status_shows_what_the_lake_holds(computed: Path) -> None:
    shown = printed(fleet(computed, "status", "plant", "--json"))
    row = lake(computed)["fleet_kpi"].slice(1439).to_pylist()[0]
    assert shown["health"] == row["fleet_health"]
    assert shown["parts"]["uptime"] == row["uptime_part"]
    assert shown["coverage"] == row["coverage"]
    assert shown["window_start"] == "2026-01-05T23:59:00Z"
    assert shown["sites"] == {"online": 2, "degraded": 0, "faulted": 0, "offline": 0}
    assert [r["region_id"] for r in shown["regions"]] == ["north", "south"]


def test_a_window_without_any_baseline_is_not_scored_and_says_so(computed: Path) -> None:
    shown = printed(fleet(computed, "status", "plant", "--json"))
    assert (shown["anomalies"], shown["open_incidents"]) == (None, [])
    assert "anomalies not scored in this window" in done(fleet(computed, "status", "plant"))
    one = printed(fleet(computed, "status", "plant", "--site", "S1", "--json"))
    assert (one["anomaly_state"], one["anomaly_score"], one["incident"]) == (
        "not_scored",
        None,
        None,
    )


@pytest.fixture(scope="module")
def alarmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an installation in whose newest window a site is anomalous and two incidents are open."""
    folder = tmp_path_factory.mktemp("alarmed")
    write_fleet(folder)
    at = MIDNIGHT + DAY - MINUTE
    with installation(folder).store() as store:
        config = installation(folder).config("plant")
        store.registry.apply(config)
        start = {"fleet": "plant", "day": stamp(at).date(), "window_start": stamp(at)}
        health = dict.fromkeys(FLEET_KPI.column_names, 0) | start
        health |= {"window_end": stamp(at + MINUTE), "ingestion_mode": "full", "anomaly_count": 1}
        row = dict.fromkeys(SITE_KPI.column_names, 0) | start
        row |= {"window_end": stamp(at + MINUTE), "site_id": "S1", "region_id": "north"}
        row |= {"disposition": "full", "last_seen": stamp(at), "published": True}
        row |= {"is_low_quality": False}
        append(store, FLEET_KPI, at, health)
        append(store, SITE_KPI, at, row, row | {"site_id": "S2"})
        score = dict.fromkeys(ANOMALY_SCORE.column_names) | start
        score |= {"window_end": stamp(at + MINUTE), "site_id": "S1", "region_id": "north"}
        score |= {"domain": "all", "state": "warming_up", "is_anomalous": True, "score": 0.75}
        score |= {"top_kpis": ["temp", "power"], "top_shares": [0.75, 0.125]}
        calm = {"is_anomalous": False, "top_kpis": None, "top_shares": None}
        other = score | {"site_id": "S2", "state": "scored", "score": 0.62} | calm
        hot = {"domain": "thermal", "score": 0.8, "is_anomalous": True}
        hot |= {"top_kpis": ["temp"], "top_shares": [1.0]}
        thermal = score | {"domain": "thermal", "score": 0.5}
        append(store, ANOMALY_SCORE, at, score, thermal, other, other | hot)
        pair = change("b" * 16, at, sites=["S2", "S1"], severity="critical", root_cause_site=None)
        record(store, change("a" * 16, at - 60 * MINUTE, sites=["S2"]), pair)
    return folder


def append(store: Store, table: Table, window: int, *rows: dict[str, Any]) -> None:
    """Store rows of a window as a node does, so that it counts as computed."""
    span = Span(window, window + MINUTE)
    content = pa.Table.from_pylist(list(rows), schema=schema_of(table))
    covered = [Covered(span, 1, "v1")]
    with store.door.hold([table], "plant", span) as holder:
        one = Write(table, "plant", span, content, covered=covered, interval=MINUTE)
        store.door.write(one, holder=holder)


def test_status_counts_anomalous_sites_and_lists_open_incidents_the_worst_first(
    alarmed: Path,
) -> None:
    shown = printed(fleet(alarmed, "status", "plant", "--json"))
    assert shown["anomalies"] == 1
    assert [i["incident_id"][0] for i in shown["open_incidents"]] == ["b", "a"]
    lines = done(fleet(alarmed, "status", "plant")).splitlines()
    assert "  anomalies 1 anomalous site; 2 open incidents (1 critical)" in lines
    place = next(i for i, line in enumerate(lines) if line.startswith(f"  {'b' * 16}"))
    assert lines[place].split()[1:7] == [
        "01-05",
        "23:54",
        "isolated",
        "critical",
        "2",
        "undetermined:",
    ]


def test_status_of_a_site_shows_its_score_the_kpis_to_blame_and_its_incident(
    alarmed: Path,
) -> None:
    shown = printed(fleet(alarmed, "status", "plant", "--site", "S1", "--json"))
    assert (shown["anomaly_score"], shown["anomaly_state"]) == (0.75, "warming_up")
    assert shown["anomalous_in"] == ["all", "thermal"]
    assert shown["top_kpis"] == {"temp": 0.75, "power": 0.125}
    assert shown["incident"]["incident_id"] == "b" * 16
    said = done(fleet(alarmed, "status", "plant", "--site", "S1"))
    assert "score 0.75, anomalous by temp 75%, power 12%; compared with its region" in said
    assert (
        f"incident  {'b' * 16}, isolated, critical, since 2026-01-05 23:54:00 UTC; S2, S1" in said
    )


def test_a_site_that_is_anomalous_in_one_domain_only_names_it(
    alarmed: Path,
) -> None:
    said = done(fleet(alarmed, "status", "plant", "--site", "S2"))
    assert "score 0.62, anomalous in domain thermal by temp 100%" in said


def test_lists_stay_lists_in_parquet_and_are_joined_in_csv(alarmed: Path, tmp_path: Path) -> None:
    whole, text = tmp_path / "scores.parquet", tmp_path / "scores.csv"
    for out in (whole, text):
        done(fleet(alarmed, "export", "plant", "anomaly_score", *SPAN, "--out", out))
    assert pq.read_table(whole).column("top_kpis").to_pylist() == LISTS
    rows = pa_csv.read_csv(text)
    assert rows.column("top_kpis").to_pylist() == [";".join(names or ()) for names in LISTS]
    assert rows.column("top_shares").to_pylist() == ["0.75;0.125"] * 2 + ["", "1"]


def test_a_missing_list_is_an_empty_cell() -> None:
    lists = pa.table({"top_kpis": pa.array([None, [], ["temp"]], pa.list_(pa.string()))})
    assert joined_lists(lists).column("top_kpis").to_pylist() == [None, "", "temp"]


def test_the_parts_sum_to_the_health(computed: Path) -> None:
    shown = printed(fleet(computed, "status", "plant", "--json"))
    assert sum(shown["parts"].values()) == pytest.approx(shown["health"], abs=1e-9)


def test_status_counts_the_last_days_quarantine(computed: Path) -> None:
    shown = printed(fleet(computed, "status", "plant", "--json"))
    assert shown["quarantined_last_day"] == {"not_numeric": 1}


def test_status_says_how_fresh_it_is(computed: Path) -> None:
    shown = printed(fleet(computed, "status", "plant", "--json"))
    assert shown["newest_window_end"] == "2026-01-06T00:00:00Z"
    assert shown["newest_telemetry"] == "2026-01-05T23:59:00Z"
    assert shown["settled_through"] == "2026-01-06T00:00:00Z"
    assert (shown["state"], shown["revision"]) == ("final", 0)


def test_status_at_an_instant_shows_the_window_that_holds_it(computed: Path) -> None:
    shown = printed(fleet(computed, "status", "plant", "--at", "2026-01-05T12:00:30Z", "--json"))
    assert shown["window_start"] == "2026-01-05T12:00:00Z"
    assert shown["sites"]["offline"] == 1


def test_a_window_that_was_not_computed_is_no_and_the_command_for_it_is_named(
    computed: Path,
) -> None:
    arguments = ("status", "plant", "--at", "2026-01-07T12:00:00Z")
    result = fleet(computed, *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "fleet run plant --from 2026-01-07 --to 2026-01-07" in result.stderr
    as_json = fleet(computed, *arguments, "--json")
    assert as_json.exit_code == 1
    assert "has not been computed" in json.loads(as_json.stdout)["error"]


@pytest.mark.parametrize(
    ("at", "words"), [("2025-06-01", "start_date"), ("2999-01-01", "has not ended yet")]
)
def test_an_instant_outside_the_fleets_time_is_told_apart(
    computed: Path, at: str, words: str
) -> None:
    result = fleet(computed, "status", "plant", "--at", at)
    assert result.exit_code == 1
    assert words in result.stderr


def test_a_silent_newest_window_points_to_the_last_that_was_not_on_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    write_fleet(tmp_path)
    done(fleet(tmp_path, "import", "plant", csv(tmp_path), "--historical"))
    compute(tmp_path, MIDNIGHT, MIDNIGHT + DAY)
    lines = done(fleet(tmp_path, "status", "plant")).splitlines()
    assert lines[0].startswith("plant")
    assert lines[1].endswith("fleet status plant --at 2026-01-05T00:01:00Z")


def test_the_newest_settled_window_can_be_asked_for(computed: Path) -> None:
    shown = printed(fleet(computed, "status", "plant", "--window", "settled", "--json"))
    assert shown["window_end"] == "2026-01-06T00:00:00Z"


def test_status_fits_eighty_columns(computed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = done(fleet(computed, "status"))
    assert max(len(line) for line in text.splitlines()) <= 80
    for word in ("health", "coverage", "north", "south", "degraded", "not_numeric 1"):
        assert word in text


@pytest.fixture(scope="module")
def restated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an installation with one restated window, which no test changes."""
    folder = tmp_path_factory.mktemp("restated")
    write_fleet(folder)
    done(fleet(folder, "import", "plant", csv(folder), "--historical"))
    compute(folder, MIDNIGHT, MIDNIGHT + DAY)
    late = csv(folder, "S2,2026-01-05T00:01:30Z,90,10", name="late.csv")
    done(fleet(folder, "import", "plant", late, "--historical"))
    compute(folder, MIDNIGHT, MIDNIGHT + DAY)
    return folder


def test_restated_windows_are_listed_with_what_they_held_before(restated: Path) -> None:
    found = printed(fleet(restated, "status", "plant", "--restated", "--json"))
    assert [f["window_start"] for f in found] == sorted(
        (f["window_start"] for f in found), reverse=True
    )
    one = next(f for f in found if f["window_start"] == "2026-01-05T00:01:00Z")
    (earlier,) = rows_at(restated, "fleet_kpi_superseded", one["window_start"])
    (now,) = rows_at(restated, "fleet_kpi", one["window_start"])
    assert (one["revision"], one["why"]) == (1, "late telemetry")
    assert (one["earlier_health"], one["health"]) == (earlier["fleet_health"], now["fleet_health"])
    assert (one["earlier_coverage"], one["coverage"]) == (earlier["coverage"], now["coverage"])
    assert one["earlier_health"] != one["health"]


def rows_at(folder: Path, table: str, window: str) -> list[dict[str, Any]]:
    stamp = dt.datetime.fromisoformat(window)
    return [r for r in lake(folder)[table].to_pylist() if r["window_start"] == stamp]


def test_restated_windows_are_shown_to_people_too(restated: Path) -> None:
    lines = done(fleet(restated, "status", "plant", "--restated", *SPAN)).splitlines()
    assert lines[0].startswith("plant  2 windows restated")
    assert any("2026-01-05 00:01:00" in x and "late telemetry" in x for x in lines)
    also = " ".join(" ".join(lines).split())
    assert "Also restated: 2 of regional_health, " in also
    assert "of site_ranking (fleet export plant TABLE --superseded)" in also
    assert max(map(len, lines)) <= 80


def test_a_span_without_restated_windows_is_an_empty_list(restated: Path, computed: Path) -> None:
    noon = ("--from", "2026-01-05T12:00:00Z", "--to", "2026-01-05T13:00:00Z")
    assert printed(fleet(restated, "status", "plant", "--restated", *noon, "--json")) == []
    assert "0 windows restated" in done(fleet(computed, "status", "plant", "--restated"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--restated",), "goes with a FLEET"),
        (("plant", "--restated", "--at", "2026-01-05"), "not with --at or --site"),
        (("plant", "--restated", "--from", "2026-01-05"), "both --from and --to"),
        (("plant", *SPAN), "go with --restated"),
    ],
)
def test_options_of_restated_that_do_not_go_together_are_refused(
    computed: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = fleet(computed, "status", *arguments)
    assert result.exit_code == 2
    assert words in result.output


def test_earlier_rows_can_be_exported_with_their_revision(restated: Path, tmp_path: Path) -> None:
    out = tmp_path / "earlier.parquet"
    done(fleet(restated, "export", "plant", "fleet_kpi", "--superseded", *SPAN, "--out", out))
    rows = pq.read_table(out)
    assert set(rows.column("revision").to_pylist()) == {0}
    assert rows.num_rows == len(lake(restated)["fleet_kpi_superseded"])


def test_status_of_a_fleet_without_windows_is_no_and_says_what_to_do(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    result = fleet(tmp_path, "status")
    assert result.exit_code == 1
    assert "fleet import" in result.output


def test_status_without_any_fleet_says_how_to_make_one(tmp_path: Path) -> None:
    result = fleet(tmp_path, "status")
    assert result.exit_code == 1
    assert "fleet init" in result.output


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_can_be_exported_whole(computed: Path, tmp_path: Path, table: str) -> None:
    out = tmp_path / "rows.parquet"
    result = fleet(computed, "export", "plant", table, *SPAN, "--out", out)
    stored = lake(computed)[table]
    if stored.num_rows == 0:
        assert result.exit_code == 1
        assert not out.exists()
        return
    done(result)
    exported = pq.read_table(out)
    assert exported.num_rows == stored.num_rows
    assert exported.column_names[: stored.num_columns] == stored.column_names


def test_exported_rollups_carry_state_and_revision(computed: Path, tmp_path: Path) -> None:
    out = tmp_path / "kpi.csv"
    done(fleet(computed, "export", "plant", "fleet_kpi", *SPAN, "--out", out))
    rows = pa_csv.read_csv(out)
    assert rows.num_rows == 1440
    assert set(rows.column("state").to_pylist()) == {"final"}
    assert set(rows.column("revision").to_pylist()) == {0}
    stored = lake(computed)["fleet_kpi"].column("fleet_health")
    assert rows.column("fleet_health").to_pylist() == stored.to_pylist()


def test_export_takes_a_span_of_instants(computed: Path, tmp_path: Path) -> None:
    out = tmp_path / "kpi.jsonl"
    span = ("--from", "2026-01-05T01:00Z", "--to", "2026-01-05T01:10Z")
    done(fleet(computed, "export", "plant", "fleet_kpi", *span, "--out", out))
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 10


def test_export_never_replaces_a_file_unasked(computed: Path, tmp_path: Path) -> None:
    out = tmp_path / "kpi.csv"
    out.write_text("mine", encoding="utf-8")
    arguments = ("export", "plant", "fleet_kpi", *SPAN, "--out", out)
    assert fleet(computed, *arguments).exit_code == 2
    assert out.read_text(encoding="utf-8") == "mine"
    done(fleet(computed, *arguments, "--force"))
    assert out.read_text(encoding="utf-8") != "mine"


def test_export_refuses_a_kind_of_file_that_it_does_not_know(
    computed: Path, tmp_path: Path
) -> None:
    result = fleet(computed, "export", "plant", "fleet_kpi", *SPAN, "--out", tmp_path / "a.xlsx")
    assert result.exit_code == 2
    assert ".parquet" in result.output


def test_export_of_days_without_rows_says_no_and_leaves_no_file(
    computed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "kpi.csv"
    span = ("--from", "2026-01-07", "--to", "2026-01-08")
    result = fleet(computed, "export", "plant", "fleet_kpi", *span, "--out", out)
    assert result.exit_code == 1
    assert "fleet run plant" in result.output
    assert not out.exists()


def test_exports_are_in_the_order_of_the_key(computed: Path, tmp_path: Path) -> None:
    out = tmp_path / "kpi.parquet"
    done(fleet(computed, "export", "plant", "site_kpi", *SPAN, "--out", out))
    rows = pq.read_table(out)
    assert rows.equals(rows.sort_by([("window_start", "ascending"), ("site_id", "ascending")]))
    assert rows.schema.field("site_id").type == pa.string()
