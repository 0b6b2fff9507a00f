import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fleet_dagster.ingest.columns import BAD_LINE, BAD_LINE_REASON
from fleet_dagster.model.errors import ConfigError, SourceError
from fleet_dagster.model.tables import SITE_TELEMETRY
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster_tests.ingest.cases import DAY, NOON, STAMP, everyone, fleet, land, row, utc


def test_a_plain_row_lands_whole_in_the_schema_of_site_telemetry() -> None:
    table = land(
        {"temp": ["21.5"], "power": [""], "sequence": ["9007199254740993"]}, first_row_no=7
    )
    assert table.schema.equals(schema_of(SITE_TELEMETRY))
    found = table.to_pylist()[0]
    assert found["fleet"] == "plant"
    assert (found["site_id"], found["timestamp"], found["row_no"], found["batch_id"]) == (
        "S1",
        utc(NOON),
        7,
        "b1",
    )
    assert (found["reading_00"], found["reading_01"], found["reading_02"]) == (21.5, None, None)
    assert (found["status"], found["uptime_pct"], found["fault_count"], found["quality"]) == (
        0,
        100.0,
        0,
        0,
    )
    assert found["sequence"] == 9007199254740993
    assert found["problem"] is found["detail"] is found["raw"] is None


@pytest.mark.parametrize(
    ("cells", "problem", "words"),
    [
        ({"site_id": " "}, "missing_site", "empty"),
        ({"site_id": "a'b"}, "bad_site", "quotes"),
        ({"timestamp": ""}, "bad_time", "empty"),
        ({"timestamp": "yesterday"}, "bad_time", "'yesterday'"),
        ({"timestamp": "2026-02-30T00:00:00Z"}, "bad_time", "2026-02-30"),
        ({"timestamp": "2025-12-31T23:59:59Z"}, "before_start", "start_date"),
        ({"timestamp": "2026-01-01T12:10:01Z"}, "too_early", "601 s"),
        ({"temp": "ERR"}, "not_numeric", "'temp' holds 'ERR'"),
        ({"uptime_pct": "full"}, "not_numeric", "'uptime_pct'"),
        ({"fault_count": "many"}, "not_numeric", "'fault_count'"),
        ({"temp": "-inf"}, "not_finite", "finite"),
        ({"temp": "409601"}, "out_of_scale", "another unit"),
        ({"temp": "1e300"}, "out_of_scale", "another unit"),
        ({"status": "4"}, "bad_status", "'4'"),
        ({"status": "napping"}, "bad_status", "source.status_values"),
        ({"status": "1.5"}, "bad_status", "'1.5'"),
        ({"uptime_pct": "100.5"}, "bad_uptime", "0 to 100"),
        ({"fault_count": "-1"}, "bad_fault_count", "whole"),
        ({"fault_count": "1.5"}, "bad_fault_count", "whole"),
        ({"fault_count": "3e9"}, "bad_fault_count", "whole"),
        ({"quality": "3"}, "bad_quality", "uncertain"),
        ({"sequence": "1.5"}, "bad_sequence", "whole"),
        ({"sequence": "9223372036854775808"}, "bad_sequence", "64 bits"),
    ],
)
def test_an_unusable_row_says_why_and_keeps_its_text(
    cells: dict[str, str], problem: str, words: str
) -> None:
    found = row(cells)
    assert found["problem"] == problem
    assert words in found["detail"]
    assert json.loads(found["raw"]).items() >= cells.items()


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "soon",
        "2025-12-31T23:59:59Z",
        "2026-01-01T12:10:01Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
    ],
)
def test_a_row_without_a_usable_time_is_filed_under_the_day_it_was_received(stamp: str) -> None:
    found = row({"timestamp": stamp, "site_id": ""})
    assert (found["timestamp"], found["day"]) == (utc(NOON), utc(NOON).date())


def test_the_instants_at_the_edges_of_lateness_and_future_are_still_usable() -> None:
    assert row({"timestamp": "2026-01-01T12:10:00Z"})["problem"] is None
    assert row({"timestamp": STAMP}, received_at_us=NOON + 7 * DAY)["problem"] is None
    late = row({"timestamp": STAMP}, received_at_us=NOON + 7 * DAY + 1)
    assert (late["problem"], late["timestamp"]) == ("too_late", utc(NOON + 7 * DAY + 1))
    assert STAMP in late["detail"]


def test_history_is_never_too_late() -> None:
    found = row({"timestamp": STAMP}, received_at_us=NOON + 300 * DAY, historical=True)
    assert (found["problem"], found["historical"], found["timestamp"]) == (None, True, utc(NOON))


@pytest.mark.parametrize(("days", "tolerance_s"), [(0.0, 0), (0.5, 1), (7.0, 600), (45.25, 3600)])
def test_the_settings_of_lateness_and_future_hold_to_the_microsecond(
    days: float, tolerance_s: int
) -> None:
    config = fleet(allowed_lateness_days=days, future_tolerance_s=tolerance_s)
    latest, earliest = NOON + round(days * DAY), NOON - tolerance_s * 1_000_000
    verdicts = [
        row({"timestamp": STAMP}, config, received_at_us=us)["problem"]
        for us in (latest, latest + 1, earliest, earliest - 1)
    ]
    assert verdicts == [None, "too_late", None, "too_early"]


def test_history_may_still_not_come_from_the_future() -> None:
    found = row({"timestamp": "2026-01-01T12:10:01Z"}, historical=True)
    assert found["problem"] == "too_early"


def test_lateness_is_judged_by_the_sources_own_receipt() -> None:
    receipt = "2026-01-08T12:00:00.000001Z"
    config = fleet(source={"received_at": "received_at"})
    found = row({"timestamp": STAMP, "received_at": receipt}, config, received_at_us=NOON)
    assert found["problem"] == "too_late"


@pytest.mark.parametrize(("n", "problem"), [(128, None), (129, "bad_site"), (5000, "bad_site")])
def test_a_site_id_has_at_most_128_characters(n: int, problem: str | None) -> None:
    site = "é" * n
    found = row({"site_id": site})
    assert (found["problem"], found["site_id"]) == (problem, "" if problem else site)
    assert problem is None or "up to 128 characters" in found["detail"]


def test_the_start_date_begins_at_midnight_of_the_fleets_time_zone() -> None:
    berlin = fleet(timezone="Europe/Berlin")
    assert row({"timestamp": "2025-12-31T23:00:00Z"}, berlin)["problem"] is None
    assert row({"timestamp": "2025-12-31T22:59:59.999999Z"}, berlin)["problem"] == "before_start"


def test_the_first_problem_in_order_is_the_one_reported() -> None:
    assert row({"site_id": "", "timestamp": "x", "temp": "y"})["problem"] == "missing_site"
    assert row({"timestamp": "x", "temp": "y"})["problem"] == "bad_time"
    assert row({"temp": "inf", "power": "y"})["problem"] == "not_numeric"


@pytest.mark.parametrize("cell", ["", " ", "NaN", "nan", "null", "NULL", None, "n/a"])
def test_an_absent_reading_is_fine(cell: str | None) -> None:
    found = row({"temp": cell, "power": "1"})
    assert (found["problem"], found["reading_00"], found["reading_01"]) == (None, None, 1.0)


def test_a_bad_row_keeps_its_good_readings() -> None:
    found = row({"temp": "ERR", "power": "12"})
    assert (found["reading_00"], found["reading_01"]) == (None, 12.0)


def test_defaults_fill_missing_columns_and_empty_cells() -> None:
    config = fleet(
        source={"defaults": {"status": 1, "uptime_pct": 90, "fault_count": 2, "quality": 1}}
    )
    for cells in (
        {"temp": "1"},
        {"temp": "1", "status": "", "uptime_pct": "nan", "fault_count": None, "quality": ""},
    ):
        found = row(cells, config)
        assert (found["status"], found["uptime_pct"], found["fault_count"], found["quality"]) == (
            1,
            90.0,
            2,
            1,
        )


def test_status_words_of_the_source_come_before_our_own_and_numbers() -> None:
    config = fleet(source={"status_values": {"RUN": 0, "Trip": 2, "online": 1, "7": 3}})
    found = land({"status": ["run", "TRIP", "Online", "faulted", "3", "7", "2.0"]}, config)
    assert found["status"].to_pylist() == [0, 2, 1, 2, 3, 3, 2]
    assert land({"status": pa.array([0, 7, 3])}, config)["status"].to_pylist() == [0, 3, 3]


def test_quality_may_be_words() -> None:
    assert land({"quality": ["Good", "uncertain", "BAD", "1"]})["quality"].to_pylist() == [
        0,
        1,
        2,
        1,
    ]


def test_units_of_the_source_are_converted() -> None:
    config = fleet(
        source={
            "kpis": {
                "temp": {"column": "t_f", "unit": "degF"},
                "power": {"column": "p", "unit": "MW"},
            }
        }
    )
    found = row({"t_f": "212", "p": "0.25"}, config)
    assert found["reading_00"] == pytest.approx(100)
    assert found["reading_01"] == pytest.approx(250)


def test_units_that_cannot_be_converted_are_refused_before_any_row_is_read() -> None:
    config = fleet(
        source={
            "kpis": {
                "temp": {"column": "temp", "unit": "bar"},
                "power": {"column": "p", "unit": "blorps"},
            }
        }
    )
    with pytest.raises(ConfigError) as caught:
        row({"temp": "1", "p": "1"}, config)
    assert len(caught.value.problems) == 2
    for words in ("'temp'", "'bar'", "'degC'", "'power'", "'blorps'", "source.kpis.power.unit"):
        assert words in str(caught.value)


def test_missing_columns_are_all_named_with_those_found() -> None:
    config = fleet(source={"site_id": "plant", "kpis": {"power": {"column": "P1"}}})
    with pytest.raises(SourceError, match=r"'plant', 'P1'; it has 'site_id', 'timestamp', 'temp'"):
        row({"temp": "1"}, config)


def test_a_source_without_a_single_kpi_is_refused() -> None:
    with pytest.raises(SourceError, match=r"none of the KPIs 'temp', 'power'"):
        land(pa.table({"site_id": ["S"], "timestamp": [STAMP]}))


def test_repeated_column_names_are_refused() -> None:
    raw = pa.Table.from_arrays(
        [pa.array(["a"])] * 4, names=["site_id", "timestamp", "temp", "temp"]
    )
    with pytest.raises(SourceError, match="'temp' more than once"):
        land(raw)


def test_a_column_of_lists_is_refused() -> None:
    with pytest.raises(SourceError, match="'temp' holds list"):
        land({"temp": pa.array([[1.0]])})


def test_sites_are_admitted_once_in_order_of_first_usable_instant_and_then_name() -> None:
    calls = []

    def admit(asked: Any) -> list[str]:
        calls.append(list(asked))
        return ["C", "A"]

    stamps = [
        "2026-01-01T11:00:00Z",
        STAMP,
        "2026-01-01T10:00:00Z",
        "2026-01-01T11:00:00Z",
        "2026-01-01T09:00:00Z",
    ]
    found = land(
        {
            "site_id": ["B", "A", "C", "A", "D"],
            "timestamp": stamps,
            "temp": ["1", "1", "1", "1", "x"],
        },
        admit=admit,
    )
    hour = 3_600_000_000
    assert calls == [[("C", NOON - 2 * hour), ("A", NOON - hour), ("B", NOON - hour)]]
    assert found["problem"].to_pylist() == ["site_beyond_profile", None, None, None, "not_numeric"]
    refused = found.to_pylist()[0]
    assert refused["timestamp"] == utc(NOON - hour)
    assert "allows 50 sites" in refused["detail"]
    assert "'medium'" in refused["detail"]


def test_receipt_comes_from_its_column_and_from_the_import_where_empty() -> None:
    config = fleet(source={"received_at": "seen"})
    found = land(
        {"seen": ["2026-01-01T12:00:05Z", "", "?", "9000-01-01T00:00:00Z", "2026-01-09T12:00:00Z"]},
        config,
        received_at_us=NOON + 1,
    )
    assert found["received_at"].to_pylist()[:4] == [utc(NOON + 5_000_000), *[utc(NOON + 1)] * 3]
    assert found["problem"].to_pylist() == [None, None, "bad_time", "bad_time", "too_late"]


def test_typed_columns_of_a_data_frame_land_as_text_does() -> None:
    frame = pd.DataFrame(
        {
            "site_id": pd.Categorical(["S1", "S2"]),
            "timestamp": pd.to_datetime([STAMP, STAMP], utc=True),
            "temp": np.array([1.5, np.nan], np.float32),
            "status": np.array([0, 2], np.int64),
            "sequence": np.array([1, 2], np.uint64),
        }
    )
    found = land(pa.Table.from_pandas(frame))
    assert found["problem"].null_count == 2
    assert found["timestamp"].to_pylist() == [utc(NOON)] * 2
    assert found["reading_00"].to_pylist() == [1.5, None]
    assert found["sequence"].to_pylist() == [1, 2]


def test_typed_rows_that_are_unusable_keep_their_values_as_json() -> None:
    found = land(
        {
            "temp": pa.array([float("inf"), 1e9]),
            "n": pa.array([b"\xff", None]),
            "x": pa.array([1, None]),
        }
    )
    first, second = (json.loads(text) for text in found["raw"].to_pylist())
    assert (first["temp"], first["x"]) == ("inf", 1)
    assert (second["temp"], second["n"], second["x"]) == (1e9, None, None)


def test_text_that_json_must_escape_survives() -> None:
    cells = {"temp": 'a"b\\c', "note": "line\nbreak ü"}
    assert json.loads(row(cells)["raw"]).items() >= cells.items()


def test_a_decimal_comma_reads_commas_only() -> None:
    config = fleet(source={"decimal": ","})
    found = land({"temp": ["1,5", "-2", "1.5", "1.234,5"]}, config)
    assert found["reading_00"].to_pylist() == [1.5, -2.0, None, None]
    assert found["problem"].to_pylist() == [None, None, "not_numeric", "not_numeric"]


@pytest.mark.parametrize("text", ["1_000", "0x10", "1,5", "\u0661", "--1", "1e", "nanx", "1 2"])
def test_what_is_no_number_is_not_numeric(text: str) -> None:
    assert row({"temp": text})["problem"] == "not_numeric"


@pytest.mark.parametrize(
    ("text", "value"),
    [("+3", 3.0), (" 4 ", 4.0), ("1e2", 100.0), (".5", 0.5), ("7.", 7.0), ("1E-400", 0.0)],
)
def test_numbers_are_read_however_they_are_written(text: str, value: float) -> None:
    assert row({"temp": text})["reading_00"] == value


def test_a_line_that_is_no_record_is_kept_with_its_text() -> None:
    raw = pa.table(
        {
            "site_id": ["S1"],
            "timestamp": [STAMP],
            "temp": ["1"],
            BAD_LINE: ["a,b,c,d"],
            BAD_LINE_REASON: ["line 3 is odd"],
        }
    )
    found = land(raw).to_pylist()[0]
    assert (found["problem"], found["detail"], found["raw"]) == (
        "bad_line",
        "line 3 is odd",
        "a,b,c,d",
    )


def test_an_empty_batch_lands_no_rows() -> None:
    raw = pa.table({name: pa.array([], pa.string()) for name in ("site_id", "timestamp", "temp")})
    assert land(raw, admit=everyone).num_rows == 0


def test_landing_in_parts_equals_landing_at_once() -> None:
    stamps = [f"2026-01-01T11:{m:02d}:00Z" for m in range(40)]
    cells = {"timestamp": stamps, "temp": ["x" if m % 7 == 0 else str(m) for m in range(40)]}
    whole = land(cells)
    parts = [
        land({k: v[i : i + 13] for k, v in cells.items()}, first_row_no=i) for i in range(0, 40, 13)
    ]
    assert pa.concat_tables(parts).equals(whole)
