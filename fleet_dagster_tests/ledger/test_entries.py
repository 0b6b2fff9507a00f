"""Entries hold rows in canonical JSON: what is written column by column is what the canonicalizer makes of the same content."""

import json
import math
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleet_dagster.core.windows import iso
from fleet_dagster.ledger.entries import (
    RECORDED,
    RETENTION,
    KpiEntry,
    RareEntry,
    Row,
    Rows,
    canonical,
    number_text,
    read_entry,
    removed,
)
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster_tests.streams import fleet_windows as fw

APPENDIX_B = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}
"""IEEE 754 bits in hexadecimal, and the number's text: RFC 8785, appendix B, 2020."""
FINITE = st.floats(allow_nan=False, allow_infinity=False)
FINITE32 = st.floats(allow_nan=False, allow_infinity=False, width=32)
INT32 = st.integers(-(2**31), 2**31 - 1)
INSTANTS = st.integers(0, 4_000_000_000).map(lambda s: s * 1_000_000) | st.integers(0, 2**52)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "float32": FINITE32,
    "float64": FINITE,
    "int32": INT32,
    "string": st.text(st.characters(codec="utf-8")),
    "timestamp": INSTANTS,
}


@pytest.mark.parametrize("bits", APPENDIX_B)
def test_numbers_of_the_standard(bits: str) -> None:
    [value] = struct.unpack(">d", bytes.fromhex(bits))
    assert number_text(value) == APPENDIX_B[bits]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="expected a finite number"):
        number_text(value)
    with pytest.raises(ValueError, match="finite"):
        list(Rows(fw.rows({0: value})))


@given(FINITE)
@example(5e-324)
@example(1e21)
@example(1e16)
@example(1e-7)
@example(-0.0)
def test_numbers_are_those_of_the_canonicalizer(value: float) -> None:
    text = number_text(value)
    assert text.encode() == rfc8785.dumps(value)
    assert float(text) == value


@given(FINITE32)
def test_single_precision_is_written_as_the_same_double(value: float) -> None:
    column = pa.array([value], pa.float32())
    rows = fw.rows({0: 0.5})
    place = rows.column_names.index("mean_kpi_00")
    [row] = Rows(rows.set_column(place, schema_of(FLEET_KPI).field("mean_kpi_00"), column))
    said = json.loads(row.content)["mean_kpi_00"]
    assert float(said) == float(np.float32(value))


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Return rows of fleet_kpi, and what their canonical JSON has to say."""
    n = draw(st.integers(1, 4))
    columns: dict[str, list[Any]] = {"fleet": ["plant"] * n, "day": [0] * n}
    said: list[dict[str, Any]] = [{} for _ in range(n)]
    for column in FLEET_KPI.columns:
        if column.name in columns:
            continue
        one = BY_TYPE[column.type]
        values = draw(st.lists(st.none() | one if column.nullable else one, min_size=n, max_size=n))
        columns[column.name] = values
        for content, value in zip(said, values, strict=True):
            content[column.name] = iso(value or 0) if column.type == "timestamp" else value
    arrays = [_array(columns[f.name], f.type) for f in schema_of(FLEET_KPI)]
    return pa.table(arrays, schema=schema_of(FLEET_KPI)), said


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(kind)
    if pa.types.is_date(kind):
        return pa.array(values, pa.int32()).cast(kind)
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    return pa.array(values, kind)


@settings(max_examples=20)
@given(tables())
def test_rows_are_those_of_the_canonicalizer(drawn: tuple[pa.Table, list[dict[str, Any]]]) -> None:
    rows, said = drawn
    for number, (row, content) in enumerate(zip(Rows(rows), said, strict=True)):
        assert set(content) == set(RECORDED)
        assert row.content.encode() == rfc8785.dumps(content)
        whole: dict[str, Any] = {
            "fleet": "plant",
            "index": number,
            "kind": "kpi",
            "revision": 3,
            "row": content,
            "supersedes": None,
        }
        leaf = KpiEntry("plant", row, 3, None).at(number)
        assert leaf.entry == rfc8785.dumps(whole)
        assert rfc8785.dumps(read_entry(leaf.entry)) == leaf.entry


def test_text_is_written_as_the_standard_has_it() -> None:
    odd = "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/\u2028😀\x7f"
    rows = fw.rows({0: 0.5})
    place = rows.column_names.index("ingestion_mode")
    field = schema_of(FLEET_KPI).field("ingestion_mode")
    [row] = Rows(rows.set_column(place, field, _array([odd], field.type)))
    written = rfc8785.dumps(odd).decode()
    assert f'"ingestion_mode":{written},' in row.content
    assert json.loads(row.content)["ingestion_mode"] == odd


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"[]",
        b"5",
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1.0}',
        b'{"a":1,"a":1}',
        b'{"a":"\\u0041"}',
        b'{"a":NaN}',
        b'{"a":9007199254740993}',
        b'{"a":"\\ud800"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1}\n',
        b"[" * 100_000,
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_what_other_bytes_could_say_too_is_refused(entry: bytes) -> None:
    with pytest.raises(ValueError, match=r"canonical|Expecting|decode|deeply|representable|UTF-8"):
        read_entry(entry)


@given(st.integers(0, 2**40), st.none() | st.integers(0, 2**40))
def test_an_entry_says_which_it_is(number: int, before: int | None) -> None:
    leaf = KpiEntry("plant", Row(0, "{}"), 1, before).at(number)
    said = read_entry(leaf.entry)
    assert (said["index"], said["supersedes"], leaf.revision) == (number, before, 1)


def test_a_removal_says_what_it_removed() -> None:
    content = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
    assert removed(content) == fw.day(0)
    said = read_entry(RareEntry("plant", RETENTION, content).at(7).entry)
    assert removed(said) == fw.day(0)
    for wrong in ({}, {**content, "to": content["from"]}, {**content, "from": "2026-01-01"}):
        assert removed(wrong) is None
    assert canonical(said) == RareEntry("plant", RETENTION, content).at(7).entry
