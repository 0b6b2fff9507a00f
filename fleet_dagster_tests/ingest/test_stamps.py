import datetime as dt
import zoneinfo
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.ingest.stamps import Stamps, parse_stamps
from fleet_dagster.ingest.zones import local_to_utc
from fleet_dagster.model.errors import SourceError
from fleet_dagster_tests.ingest.cases import DAY, NOON, fleet, land, utc


def parsed(cells: Any, zone: str = "UTC", time_format: Any = "iso8601") -> Stamps:
    column = cells if isinstance(cells, pa.Array) else pa.array(cells, pa.string())
    return parse_stamps(column, name="t", time_format=time_format, zone=zone, source="file")


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T12:00:00Z",
        "2026-01-01 12:00:00Z",
        "2026-01-01T12:00Z",
        "2026-01-01t12:00:00z",
        " 2026-01-01T12:00:00.000Z ",
        "2026-01-01T12:00:00,000Z",
        "2026-01-01T12:00:00.000000999Z",
        "2026-01-01T13:00:00+01:00",
        "2026-01-01T13:00:00+0100",
        "2026-01-01 13:00:00 +01",
        "2026-01-01T06:30:00-05:30",
    ],
)
def test_iso_stamps_with_an_offset_are_read_however_they_are_written(text: str) -> None:
    assert parsed([text]).us.tolist() == [NOON]
    assert parsed([text, "junk"]).us.tolist() == [NOON, 0]


@pytest.mark.parametrize(
    "text",
    [
        "junk",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T12:60:00Z",
        "1767268800",
        "2026-1-1",
    ],
)
def test_what_names_no_instant_is_bad(text: str) -> None:
    assert parsed([text]).is_bad.tolist() == [True]


def test_a_leap_day_is_an_instant_in_leap_years_only() -> None:
    found = parsed(["2024-02-29T00:00:00", "1900-02-29T00:00:00", "2000-02-29T00:00:00", "junk"])
    assert found.is_bad.tolist() == [False, True, False, True]


def test_microseconds_survive() -> None:
    assert parsed(["2026-01-01T12:00:00.000001Z", "2026-01-01T12:00:00.1Z"]).us.tolist() == [
        NOON + 1,
        NOON + 100_000,
    ]


def test_naive_stamps_are_local_to_the_sources_zone() -> None:
    assert parsed(["2026-01-01T13:00:00"], "Europe/Berlin").us.tolist() == [NOON]
    assert parsed(["2026-07-01T14:00"], "Europe/Berlin").us.tolist() == [NOON + 181 * DAY]


def test_different_offsets_in_one_column_are_fine() -> None:
    assert parsed(["2026-01-01T13:00:00+01:00", "2026-01-01T12:00:00Z"]).us.tolist() == [NOON, NOON]


def test_unix_seconds_and_milliseconds_are_read_from_text_and_numbers() -> None:
    assert parsed(["1767268800.5", "x", ""], time_format="unix_s").us.tolist() == [
        NOON + 500_000,
        0,
        0,
    ]
    assert parsed(pa.array([1767268800001]), time_format="unix_ms").us.tolist() == [NOON + 1_000]
    found = parsed(["x", "", "1e30", "inf"], time_format="unix_s")
    assert found.is_bad.tolist() == [True, False, True, True]
    assert found.is_absent.tolist() == [False, True, False, False]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_typed_timestamps_of_every_unit_are_read(unit: str) -> None:
    aware = pa.array([utc(NOON), None], pa.timestamp(unit, tz="Asia/Tokyo"))
    assert parsed(aware).us.tolist() == [NOON, 0]
    naive = pa.array([dt.datetime(2026, 1, 1, 13)], pa.timestamp(unit))  # noqa: DTZ001 - naive on purpose
    assert parsed(naive, "Europe/Berlin").us.tolist() == [NOON]


def test_numbers_where_iso_text_was_promised_are_refused() -> None:
    with pytest.raises(SourceError, match="unix_s"):
        parsed(pa.array([1.0]))


def test_a_mixture_of_stamps_with_and_without_offset_names_a_row_of_each() -> None:
    with pytest.raises(
        SourceError, match=r"row 2 \('2026-01-01T12:00:00'\).*row 1 \('2026-01-01T12:00:00Z'\)"
    ):
        parsed(["2026-01-01T12:00:00Z", "2026-01-01T12:00:00"])


def test_the_hour_that_clocks_skip_in_spring_names_no_instant() -> None:
    cells = [
        "2026-03-29T01:59:59",
        "2026-03-29T02:00:00",
        "2026-03-29T02:59:59.999999",
        "2026-03-29T03:00:00",
    ]
    found = parsed(cells, "Europe/Berlin")
    assert found.is_nonexistent.tolist() == [False, True, True, False]
    assert found.us[3] - found.us[0] == 1_000_000


def test_the_hour_that_clocks_repeat_in_autumn_is_ambiguous() -> None:
    cells = [
        "2026-10-25T01:59:59",
        "2026-10-25T02:00:00",
        "2026-10-25T02:59:59.999999",
        "2026-10-25T03:00:00",
    ]
    found = parsed(cells, "Europe/Berlin")
    assert found.is_ambiguous.tolist() == [False, True, True, False]
    assert found.us[3] - found.us[0] == 7_201_000_000


def test_rows_of_a_dst_change_are_quarantined_with_their_reason() -> None:
    config = fleet(source={"timezone": "Europe/Berlin"})
    spring = land(
        {"timestamp": ["2026-03-29T02:30:00", "2026-03-29T03:30:00"]},
        config,
        received_at_us=NOON + 87 * DAY,
    )
    assert spring["problem"].to_pylist() == ["nonexistent_time", None]
    assert "skipped" in spring["detail"][0].as_py()
    autumn = land(
        {"timestamp": ["2026-10-25T02:30:00", "2026-10-25T03:30:00"]},
        config,
        received_at_us=NOON + 297 * DAY,
    )
    assert autumn["problem"].to_pylist() == ["ambiguous_time", None]
    assert autumn["timestamp"].to_pylist()[0] == utc(NOON + 297 * DAY)


def test_offsets_settle_both_hours_of_the_autumn_change() -> None:
    found = parsed(["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"])
    assert np.diff(found.us).tolist() == [3_600_000_000]


@given(
    st.sampled_from(
        [
            "Europe/Berlin",
            "America/New_York",
            "Australia/Lord_Howe",
            "Asia/Kathmandu",
            "Africa/Casablanca",
            "America/St_Johns",
        ]
    ),
    st.lists(st.integers(0, 70 * 365 * 86_400), min_size=1, max_size=20),
)
def test_local_clocks_agree_with_the_standard_library(zone: str, seconds: list[int]) -> None:
    info = zoneinfo.ZoneInfo(zone)
    utc_us, count = local_to_utc(np.array(seconds, np.int64) * 1_000_000, zone)
    for second, us, n in zip(seconds, utc_us.tolist(), count.tolist(), strict=True):
        wall = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=second)  # noqa: DTZ001 - a wall clock
        instants = {wall.replace(tzinfo=info, fold=fold).astimezone(dt.UTC) for fold in (0, 1)}
        real = {i for i in instants if i.astimezone(info).replace(tzinfo=None) == wall}
        assert n == len(real)
        if n == 1:
            assert utc(us) in real
