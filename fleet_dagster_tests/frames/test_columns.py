import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fleet_dagster.core.windows import HOUR, MINUTE, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.errors import FrameError
from fleet_dagster.model.tables import FLEET_KPI, TABLES
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import NOON, SITES

instants = hnp.arrays(np.int64, st.integers(0, 8), elements=st.integers(0, 250_000 * 10**12))
NUMBERS = {"a": 0, "b": 1, "c": 2}


@given(instants)
def test_instants_survive_as_time_stamps_to_the_microsecond(us: NDArray[np.int64]) -> None:
    assert frames.microseconds(frames.stamps(us)).tolist() == us.tolist()


def test_stamps_of_another_zone_are_the_same_instants() -> None:
    berlin = frames.stamps(np.array([NOON])).dt.tz_convert("Europe/Berlin")
    assert frames.microseconds(berlin).tolist() == [NOON]


@given(st.lists(st.sampled_from(["a", "b", "c", "stranger"]), max_size=9))
def test_names_have_the_same_numbers_however_they_are_stored(values: list[str]) -> None:
    plain = pd.Series(values, dtype="str")
    expected = [NUMBERS.get(v, -1) for v in values]
    assert frames.codes_of(plain, NUMBERS).tolist() == expected
    assert frames.codes_of(plain.astype("category"), NUMBERS).tolist() == expected


def test_minus_one_is_no_name() -> None:
    found = frames.names(np.array([1, -1, 0]), ["x", "y"])
    assert [None if pd.isna(v) else v for v in found] == ["y", None, "x"]


def test_a_column_that_was_not_computed_is_named() -> None:
    with pytest.raises(FrameError, match="fleet_health"):
        frames.frame_of(FLEET_KPI, {"window_start": []})


@pytest.mark.parametrize("name", list(TABLES))
def test_an_empty_frame_has_every_column_and_fits_its_schema(name: str) -> None:
    table = TABLES[name]
    empty = frames.empty_frame(table)
    assert ["fleet", "day", *empty.columns] == list(table.column_names)
    if "window_start" in empty:
        assert frames.arrow_of(table, schema_of(table), "plant", empty).num_rows == 0


def test_stacking_nothing_gives_an_empty_frame() -> None:
    assert frames.concat(FLEET_KPI, []).empty


def test_nan_becomes_null_in_arrow_and_the_day_is_the_windows() -> None:
    table = TABLES["site_kpi"]
    frame = frames.empty_frame(table).reindex([0])
    frame["window_start"] = frames.stamps(np.array([NOON + 13 * HOUR]))
    frame["window_end"] = frames.stamps(np.array([NOON + 13 * HOUR + MINUTE]))
    rows = frames.arrow_of(table, schema_of(table), "plant", frame).to_pylist()
    assert rows[0]["kpi_00"] is None
    assert rows[0]["fault_count"] is None
    assert rows[0]["last_seen"] is None
    assert rows[0]["day"].isoformat() == "2026-01-06"


def test_rows_are_within_a_span_by_their_start() -> None:
    starts = np.array([NOON, NOON + MINUTE, NOON + 2 * MINUTE])
    frame = pd.DataFrame({"window_start": frames.stamps(starts), "n": [0, 1, 2]})
    found = frames.within(frame, Span(NOON + 1, NOON + 2 * MINUTE))
    assert found["n"].tolist() == [1]


def test_a_scatter_leaves_out_other_sites_and_windows() -> None:
    frame = pd.DataFrame(
        {
            "site_id": ["b", "stranger", "a", "a", "b"],
            "window_start": frames.stamps(NOON + MINUTE * np.array([0, 0, 1, 2, -1])),
            "value": [1.0, 2.0, np.nan, 4.0, 5.0],
        }
    )
    two = {"a": 0, "b": 1}
    scatter = frames.Scatter.of(frame, two, start=NOON, interval=MINUTE, n_windows=2)
    assert scatter.grid(frame["value"], -1.0).tolist() == [[-1.0, -1.0], [1.0, -1.0]]


def test_landed_rows_keep_types_where_unusable_ones_have_nulls() -> None:
    frame = fleets.telemetry(SITES[:3], NOON, NOON + 5 * MINUTE, seed=1, malformed=True)
    landed = fleets.landed(fleets.config(), frame)
    assert landed["problem"].notna().any()
    assert {str(landed[name].dtype) for name in ("status", "quality")} == {"int8"}
    assert str(landed["fault_count"].dtype) == "int32"
    assert str(landed["sequence"].dtype) == "int64"


def test_the_lists_of_a_column_are_arrays_wherever_it_was_cut() -> None:
    column = frames.lists(
        pa.array([1.0, 2.0, 3.0], pa.float32()),
        np.array([0, 2, 2, 2, 3], dtype=np.int32),
        np.array([False, False, True, False]),
    )
    for whole, expected in (
        (column, [[1, 2], [], [], [3]]),
        (column[2:], [[], [3]]),
        (pd.concat([column[:1], column[3:]], ignore_index=True), [[1, 2], [3]]),
        (column[:0], []),
    ):
        assert [cell.tolist() for cell in frames.cells(whole)] == expected
