import gzip
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fleet_dagster.ingest.files import check_file, file_digest, read_parts
from fleet_dagster.ingest.textlines import MAX_LINE
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ConfigError, SourceError
from fleet_dagster_tests.ingest.cases import STAMP, fleet, land

HEAD = "site_id,timestamp,temp\n"
LINE = f"S1,{STAMP},20\n"


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def landed(path: Path, config: FleetConfig | None = None) -> pa.Table:
    chosen = config or fleet()
    check_file(path, chosen)
    tables, first = [], 0
    for part in read_parts(path, chosen, rows_per_part=3):
        tables.append(land(part, chosen, first_row_no=first))
        first += part.num_rows
    return pa.concat_tables(tables)


def test_the_three_formats_land_alike(tmp_path: Path) -> None:
    rows = [
        {"site_id": f"S{i}", "timestamp": STAMP, "temp": 20.5 + i, "status": i % 3}
        for i in range(7)
    ]
    text = "site_id,timestamp,temp,status\n" + "".join(
        ",".join(map(str, r.values())) + "\n" for r in rows
    )
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.PARQUET")
    tables = [
        landed(written(tmp_path, "a.csv", text)),
        landed(written(tmp_path, "a.CSV.GZ", gzip.compress(text.encode()))),
        landed(written(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))),
        landed(written(tmp_path, "a.ndjson", "\r\n".join(map(json.dumps, rows)))),
        landed(tmp_path / "a.PARQUET"),
    ]
    assert tables[0]["row_no"].to_pylist() == list(range(7))
    assert tables[0]["problem"].null_count == 7
    assert all(t.equals(tables[0]) for t in tables)


def test_parts_have_the_size_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", HEAD + LINE * 10)
    assert [p.num_rows for p in read_parts(path, fleet(), rows_per_part=4)] == [4, 4, 2]
    assert check_file(path, fleet()) == 10


def test_a_csv_line_with_the_wrong_number_of_fields_is_a_row_in_its_place(tmp_path: Path) -> None:
    text = HEAD + LINE + "S2,oops\n" + "\n" + LINE + f"S3,{STAMP},1,2,3\n" + LINE
    found = landed(written(tmp_path, "a.csv", text))
    assert found["problem"].to_pylist() == [None, "bad_line", None, "bad_line", None]
    assert found["raw"].to_pylist()[1] == "S2,oops"
    assert "line 3 has 2 fields, expected 3" in found["detail"][1].as_py()
    assert "line 6 has 5 fields" in found["detail"][3].as_py()


def test_a_line_of_empty_cells_is_a_row_even_between_tabs(tmp_path: Path) -> None:
    text = f"site_id\ttimestamp\ttemp\nS1\t{STAMP}\t1\n\t\t\n   \n"
    found = landed(written(tmp_path, "a.csv", text), fleet(source={"delimiter": "\t"}))
    assert found["problem"].to_pylist() == [None, "missing_site"]


def test_a_line_broken_by_a_carriage_return_is_one_row(tmp_path: Path) -> None:
    found = landed(written(tmp_path, "a.csv", HEAD + LINE + "S2,\r,1\n" + LINE))
    assert found["problem"].to_pylist() == [None, "bad_line", None]


def test_a_header_with_an_open_quote_or_a_reserved_name_is_refused(tmp_path: Path) -> None:
    for head, words in (
        ('"site_id,timestamp,temp', "not a line of column names"),
        ("site_id,timestamp,temp,__bad_line__", "reserved"),
    ):
        with pytest.raises(SourceError, match=words):
            check_file(written(tmp_path, "a.csv", head + "\n" + LINE), fleet())


def test_a_stray_quote_costs_one_row_only(tmp_path: Path) -> None:
    text = (
        HEAD
        + LINE
        + f'S2,{STAMP},"20\n'
        + LINE
        + f'S"4,{STAMP},1\n'
        + f'"S,5",{STAMP},"1"\n'
        + f'"S""6",{STAMP},1\n'
    )
    found = landed(written(tmp_path, "a.csv", text))
    assert found["problem"].to_pylist() == [None, "bad_line", None, "bad_site", None, "bad_site"]
    assert found["site_id"].to_pylist()[4] == "S,5"


def test_a_csv_with_semicolons_and_decimal_commas_lands(tmp_path: Path) -> None:
    config = fleet(source={"delimiter": ";", "decimal": ",", "encoding": "latin-1"})
    path = written(
        tmp_path, "a.csv", f"site_id;timestamp;temp\r\nMünchen;{STAMP};20,5\r\n".encode("latin-1")
    )
    assert landed(path, config).select(["site_id", "reading_00"]).to_pylist() == [
        {"site_id": "München", "reading_00": 20.5}
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_encodings_with_and_without_a_mark_are_read(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "a.csv", (HEAD + LINE).encode(encoding))
    assert landed(path, fleet(source={"encoding": encoding}))["problem"].null_count == 1


def test_a_byte_order_mark_in_utf8_is_not_part_of_a_name(tmp_path: Path) -> None:
    assert landed(written(tmp_path, "a.csv", (HEAD + LINE).encode("utf-8-sig")))[
        "site_id"
    ].to_pylist() == ["S1"]


def test_json_lines_that_are_no_objects_are_rows(tmp_path: Path) -> None:
    good = json.dumps({"site_id": "S1", "timestamp": STAMP, "temp": 1})
    bad = [
        "{",
        "[1]",
        "7",
        '{"temp":1,"temp":2}',
        '{"site_id":"\\ud800"}',
        "[" * 50_000,
        '{"__bad_line__":"x"}',
        '{"temp":' + "9" * 9000,
    ]
    found = landed(written(tmp_path, "a.jsonl", "\n".join([good, *bad, good])))
    assert found["problem"].to_pylist() == [None, *["bad_line"] * len(bad), None]
    assert found["raw"].to_pylist()[1] == "{"
    assert "'temp' stands more than once" in found["detail"][4].as_py()


def test_json_numbers_keep_their_point_in_a_fleet_with_decimal_commas(tmp_path: Path) -> None:
    path = written(
        tmp_path, "a.jsonl", json.dumps({"site_id": "S1", "timestamp": STAMP, "temp": 1.5})
    )
    assert landed(path, fleet(source={"decimal": ","}))["reading_00"].to_pylist() == [1.5]


def test_a_json_key_may_come_late_but_must_come(tmp_path: Path) -> None:
    lines = [{"site_id": "S1", "timestamp": STAMP, "temp": 1}] * 4 + [
        {"site_id": "S1", "timestamp": STAMP, "power": 2}
    ]
    config = fleet(source={"kpis": {"power": {"column": "power"}}})
    assert landed(written(tmp_path, "a.jsonl", "\n".join(map(json.dumps, lines))), config)[
        "reading_01"
    ].to_pylist() == [None] * 4 + [2.0]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", HEAD, "no snapshots"),
        ("a.jsonl", "\n\n", "is empty"),
        ("a.csv", HEAD.encode() + b"S\xff1,x,1\n", "byte 24 is not utf-8"),
        ("a.csv", HEAD + LINE * 3 + "x" * (MAX_LINE + 1), "line 5 is longer"),
        ("a.xlsx", "PK", "unknown ending"),
        ("a.parquet", b"PAR1 and then nothing PAR1", "not whole Parquet"),
        ("a.csv.gz", gzip.compress((HEAD + LINE).encode(), mtime=0)[:-9], "not whole gzip"),
        ("a.csv.gz", HEAD + LINE, "not whole gzip"),
        ("a.csv", "site_id,timestamp,temp,temp\n" + LINE, "'temp' more than once"),
        ("a.csv", "site_id,,temp\n" + LINE, "column 2 has no name"),
        ("a.csv", "site_id,temp\nS1,1\n", "lacks the columns 'timestamp'"),
        ("a.csv", "site_id,timestamp,x\nS1,1,1\n", "none of the KPIs"),
        ("a.jsonl", '{"site_id":"S1","timestamp":"2026-01-01","x":1}', "none of the KPIs"),
        ("a.jsonl", '{"site_id":"S1","temp":1}', "lacks the columns 'timestamp'"),
    ],
)
def test_a_file_that_cannot_land_whole_is_refused_with_the_place(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    path = written(tmp_path, name, content)
    with pytest.raises(SourceError) as caught:
        check_file(path, fleet())
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_parquet_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"site_id": ["S1"] * 100, "timestamp": [STAMP] * 100, "temp": [1.0] * 100}), path
    )
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match="not whole Parquet"):
        check_file(path, fleet())


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for name in ("no.csv", "no.parquet"):
        with pytest.raises(SourceError, match=r"no\."):
            check_file(tmp_path / name, fleet())
    with pytest.raises(SourceError, match="cannot be read"):
        file_digest(tmp_path / "no.csv")


def test_an_unknown_encoding_or_delimiter_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", HEAD + LINE)
    with pytest.raises(ValueError, match="'klingon'"):
        fleet(source={"encoding": "klingon"})
    with pytest.raises(SourceError, match="delimiter"):
        check_file(path, fleet(source={"delimiter": '"'}))


def test_units_are_judged_before_the_file_is_opened(tmp_path: Path) -> None:
    config = fleet(source={"kpis": {"temp": {"column": "temp", "unit": "bar"}}})
    with pytest.raises(ConfigError):
        check_file(tmp_path / "missing.csv", config)


def test_a_mixture_of_stamps_far_apart_in_a_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", HEAD + LINE * 70_000 + "S1,2026-01-01T12:00:00,1\n")
    with pytest.raises(SourceError, match=r"row 70001\b.*row 65537\b"):
        check_file(path, fleet())


def test_a_mixture_across_parts_of_a_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", HEAD + LINE * 65_536 + "S1,2026-01-01T12:00:00,1\n")
    with pytest.raises(SourceError, match=r"row 65537\b.*row 1\b"):
        check_file(path, fleet())


def test_lines_across_the_blocks_of_a_large_file_stay_whole(tmp_path: Path) -> None:
    n = 180_000
    text = HEAD + "".join(f"S{i % 9},{STAMP},{i}\n" for i in range(n))
    parts = list(read_parts(written(tmp_path, "a.csv", text), fleet()))
    assert [p.num_rows for p in parts] == [n]
    assert parts[0]["temp"].to_pylist() == [str(i) for i in range(n)]


def test_the_digest_of_a_file_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, "a.bin", b"fleet")
    assert file_digest(path) == hashlib.sha256(b"fleet").hexdigest()
