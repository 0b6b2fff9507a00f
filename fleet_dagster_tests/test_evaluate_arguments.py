"""What `evaluate` makes of arguments that are not as they should be."""

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fleet_dagster.core.windows import DAY, MINUTE
from fleet_dagster.model.errors import ConfigError, FrameError, SourceError, SpanError
from fleet_dagster.pipeline import Evaluation, evaluate
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import NOON, SITES

END = NOON + 10 * MINUTE
CONFIG = fleets.config()


def run(frame: pd.DataFrame, **changes: Any) -> Evaluation:
    return evaluate(fleets.config(**changes), frame, fleets.utc(NOON), fleets.utc(END))


def some() -> pd.DataFrame:
    return fleets.telemetry(SITES[:6], NOON, END, seed=1)


def with_cells(cells: dict[int, object], column: str = "output_kw") -> pd.DataFrame:
    """Return telemetry with other cells in one column, which then holds objects."""
    frame = some()
    held = [cells.get(row, cell) for row, cell in enumerate(frame[column].tolist())]
    return frame.assign(**{column: pd.Series(held, index=frame.index, dtype=object)})


@pytest.mark.parametrize(
    "cell", ["about 300", "1,5", [1.0, 2.0], {"kw": 3}, object(), b"\xff", "\ud800", 3 + 4j]
)
def test_a_cell_that_is_no_number_is_quarantined_and_the_others_are_used(cell: object) -> None:
    result = run(with_cells({5: cell}))
    assert result.quarantine["problem"].tolist() == ["not_numeric"]
    assert result.quarantine["detail"].str.contains("'output_kw' holds").all()
    assert result.ingest_stats["landed"].sum() == len(some())
    expected = run(some().drop(index=5))
    fleets.assert_same_rows(result.site_kpi, expected.site_kpi)


@pytest.mark.parametrize("decimal", [".", ","])
def test_numbers_among_text_are_read_as_the_numbers_they_are(decimal: str) -> None:
    frame = some()
    values = frame["output_kw"].tolist()
    cells: dict[int, object] = {
        0: "no",
        1: np.float32(300.25),
        2: Decimal("12.5"),
        3: 7,
        4: None,
        5: pd.NA,
        6: f"301{decimal}5",
    }
    result = run(with_cells(cells), source={"decimal": decimal})
    read = [np.nan, 300.25, 12.5, 7.0, np.nan, np.nan, 301.5, *values[7:]]
    expected = run(frame.assign(output_kw=read).drop(index=0))
    fleets.assert_same_rows(result.site_kpi, expected.site_kpi)
    assert len(result.quarantine) == 1


def test_a_number_too_large_for_any_column_is_quarantined() -> None:
    result = run(with_cells({3: 2**70}))
    assert result.quarantine["problem"].tolist() == ["out_of_scale"]


@pytest.mark.parametrize(
    ("column", "cell", "problem"),
    [
        ("status", "asleep", "bad_status"),
        ("uptime_pct", "most of it", "not_numeric"),
        ("fault_count", "many", "not_numeric"),
    ],
)
def test_mixed_cells_of_other_fields_are_judged_the_same_way(
    column: str, cell: str, problem: str
) -> None:
    result = run(with_cells({5: cell}, column))
    assert set(result.quarantine["problem"]) == {problem}
    assert len(result.quarantine) == 1


def test_stamps_and_site_ids_of_several_types_are_read_as_their_text() -> None:
    first = some()["timestamp"].iloc[0].isoformat()
    frame = with_cells({0: first, 1: 17}, "timestamp")
    frame = frame.assign(site_id=with_cells({2: 17}, "site_id")["site_id"])
    result = run(frame)
    assert result.ingest_stats["landed"].sum() == len(frame)
    assert result.quarantine["problem"].tolist() == ["bad_time"]
    assert "17" in set(result.site_kpi["site_id"].astype(str))


@pytest.mark.parametrize("cells", [[1, "a"], [{"a": 1}, 2], [object(), object()]])
def test_columns_that_nobody_needs_are_not_even_looked_at(cells: list[object]) -> None:
    frame = some()
    notes = pd.Series((cells * len(frame))[: len(frame)], index=frame.index, dtype=object)
    result = run(frame.assign(note=notes).rename(columns={"note": 5}))
    fleets.assert_same_rows(result.site_kpi, run(frame).site_kpi)


@pytest.mark.parametrize("column", ["site_id", "timestamp"])
def test_a_missing_column_is_named_beside_those_that_are_there(column: str) -> None:
    frame = some().drop(columns=column)
    with pytest.raises(FrameError) as caught:
        run(frame)
    assert f"telemetry: lacks the columns '{column}'; it has" in str(caught.value)
    assert all(repr(name) in str(caught.value) for name in frame.columns)
    assert "file" not in str(caught.value)


def test_a_frame_without_any_kpi_is_refused_and_says_what_it_has() -> None:
    frame = some()[["site_id", "timestamp", "status"]]
    with pytest.raises(FrameError, match=r"none of the KPIs 'output_kw'.*'status'.*Rename"):
        run(frame)


def test_a_mapped_column_that_is_missing_is_named() -> None:
    source = {"kpis": {"output_kw": {"column": "power"}}}
    with pytest.raises(FrameError, match="lacks the columns 'power'"):
        run(some(), source=source)


def test_doubled_columns_are_refused_by_name() -> None:
    frame = some()
    doubled = pd.concat([frame, frame[["output_kw"]]], axis=1)
    with pytest.raises(FrameError, match=r"\['output_kw'\] appear more than once"):
        run(doubled)


def test_a_column_of_lists_is_refused_by_name() -> None:
    frame = some()
    lists = pd.Series([[1.0]] * len(frame), index=frame.index, dtype=object)
    with pytest.raises(SourceError, match="column 'output_kw' holds list"):
        run(frame.assign(output_kw=lists))


@pytest.mark.parametrize(
    "given", ["soon", "", "2026-13-01", None, pd.NaT, 5, 1.5, [], "9999-12-31"]
)
@pytest.mark.parametrize("name", ["start", "end"])
def test_a_start_or_end_that_is_no_instant_is_told_in_words(name: str, given: Any) -> None:
    span = {"start": "2026-01-05", "end": "2026-01-06", name: given}
    with pytest.raises(SpanError) as caught:
        evaluate(CONFIG, some(), **span)
    assert str(caught.value) == (
        f"{name} is {given!r}, expected an instant. Write it as a stamp such as 2026-01-31T12:00:00Z"
    )


def test_a_reversed_span_is_refused_in_stamps() -> None:
    with pytest.raises(SpanError) as caught:
        evaluate(CONFIG, some(), "2026-01-05T13:00+01:00", "2026-01-05T11:59:59.5Z")
    assert str(caught.value) == (
        "span ends (2026-01-05T11:59:59.500000Z) before it starts (2026-01-05T12:00:00Z). Swap the two"
    )


def test_a_mapping_is_a_configuration() -> None:
    span = (fleets.utc(NOON), fleets.utc(END))
    plain = evaluate(fleets.content(), some(), *span)
    fleets.assert_same_rows(plain.site_ranking, evaluate(CONFIG, some(), *span).site_ranking)


def test_a_broken_configuration_is_told_with_every_problem() -> None:
    broken = {**fleets.content(), "stalenes_threshold_s": 3, "interval_s": 7}
    with pytest.raises(ConfigError, match="config is not a valid fleet configuration") as caught:
        evaluate(broken, some(), "2026-01-05", "2026-01-06")
    assert any("Did you mean 'staleness_threshold_s'?" in p for p in caught.value.problems)
    assert any("found 7" in p and "divide an hour" in p for p in caught.value.problems)


def test_a_broken_mapping_is_told_like_a_broken_configuration() -> None:
    mapping = [{"site_id": "S-01", "region_id": "west", "weight": -1}]
    with pytest.raises(ConfigError, match=r"mapping .*\n.*weight.*found -1.*at least 0"):
        evaluate(CONFIG, some(), "2026-01-05", "2026-01-06", mapping=mapping)


@pytest.mark.parametrize(
    "empty",
    [
        some().iloc[:0],
        pd.DataFrame(columns=["site_id", "timestamp", "output_kw"]),
        pd.DataFrame(columns=["site_id", "timestamp", "output_kw", "received_at"]),
        pd.DataFrame(),
    ],
    ids=["typed", "untyped", "with receipts", "without columns"],
)
def test_without_a_single_row_every_site_is_stale(empty: pd.DataFrame) -> None:
    result = run(empty)
    assert len(result.site_kpi) == 60
    assert (result.site_kpi["disposition"] == "stale").all()
    assert (result.fleet_kpi["sites_offline"] == 6).all()
    assert (result.fleet_kpi["fleet_health"] == 0).all()
    for name in ("quarantine", "ingest_stats", "site_ranking", "baseline"):
        assert getattr(result, name).empty


def test_rows_without_a_day_in_the_span_leave_it_stale() -> None:
    result = evaluate(CONFIG, some(), fleets.utc(NOON + DAY), fleets.utc(END + DAY))
    assert (result.site_kpi["disposition"] == "stale").all()


@pytest.mark.parametrize("sign", ["\x00", "\x07", "\t", "\x1b", "\r", "\x7f"])
def test_a_site_id_with_a_control_character_is_quarantined(sign: str) -> None:
    result = run(with_cells({5: f"S{sign}1"}, "site_id"))
    assert result.quarantine["problem"].tolist() == ["bad_site"]
    assert len(result.site_kpi) == 60
