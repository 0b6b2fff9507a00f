import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.frames.columns import arrow_of
from fleet_dagster.model.errors import StorageError
from fleet_dagster.model.tables import (
    INGEST_STATS,
    SITE_TELEMETRY,
    TABLES,
    Column,
    Table,
    derived_tables,
    superseded,
)
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.changes import plain, superseded_rows
from fleet_dagster.storage.digest import digest_of
from fleet_dagster.storage.lake import Lake
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.storage.rows import DAY_0, FLEET, span, stats, stored, window, write

FIRST, LAST = 365 * DAY, 2_932_896 * DAY - 1
"""1971-01-01, the earliest start_date, and the end of 9999-12-30."""
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12
) | st.sampled_from(["Süd 1", "a b", "x/y", "it's", '"q"', "a=b", "%20", "…"])


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    opened = Lake(str(tmp_path_factory.mktemp("lake folder")))
    tables = [*TABLES.values(), *(superseded(t) for t in derived_tables())]
    opened.create(tables)
    return opened


def rows_of(table: Table, instants: list[int], names: list[str], seed: int) -> pa.Table:
    """Return rows of a table, one at each instant, its other cells drawn from a seed: extremes, nulls and NaN among them."""
    rng, n = np.random.default_rng(seed), len(instants)
    own: dict[str, Any] = {
        "fleet": [FLEET] * n,
        "day": pa.array([i // DAY for i in instants], pa.int32()).cast(pa.date32()),
        "window_start": instants,
        "window_end": [i + MINUTE for i in instants],
        "timestamp": instants,
    }
    columns = []
    for field, column in zip(schema_of(table), table.columns, strict=True):
        cells = own.get(column.name)
        if cells is None:
            pool = pool_of(column, names, rng)
            cells = [pool[i] for i in rng.integers(0, len(pool), n)]
        if column.type == "timestamp":
            array = pa.array(cells, pa.int64()).cast(field.type)
        else:
            array = pa.array(cells, field.type, from_pandas=column.type.startswith("float"))
        columns.append(array)
    return pa.table(columns, schema=schema_of(table))


def pool_of(column: Column, names: list[str], rng: np.random.Generator) -> list[Any]:
    """Return values that a column allows."""
    lo = -1e9 if column.lo is None else column.lo
    hi = 1e9 if column.hi is None else column.hi
    between = rng.uniform(lo, hi, 3)
    pool: dict[str, list[Any]] = {
        "string": list(column.values) or names,
        "bool": [True, False],
        "int8": [max(int(lo), -128), min(int(hi), 127)],
        "int32": [int(v) for v in (lo, hi, *between)],
        "int64": [0, 2**62, *(int(abs(v)) for v in between)],
        "float32": [float(np.float32(v)) for v in (lo, hi, *between, 1e-45)],
        "float64": [float(v) for v in (lo, hi, *between, 5e-324)],
        "timestamp": [FIRST, LAST, DAY_0],
    }
    pool["list<string>"] = [[], names, names[:1]]
    pool["list<float32>"] = [[], pool["float32"], [0.0]]
    nothing: list[Any] = [None, float("nan")] if column.type.startswith("float") else [None]
    return pool[column.type] + (nothing if column.nullable else [])


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda t: t.name)
@settings(max_examples=5)
@given(
    instants=st.lists(st.integers(FIRST, LAST - 1), unique=True, max_size=12).map(sorted),
    names=st.lists(texts, min_size=1, max_size=4),
    seed=st.integers(0, 2**32),
)
def test_rows_come_back_as_they_were_written(
    lake: Lake, table: Table, instants: list[int], names: list[str], seed: int
) -> None:
    rows = rows_of(table, instants, names, seed)
    whole = Span(FIRST, LAST)
    if table is SITE_TELEMETRY:
        lake.delete(table, "fleet = 'plant'", "clear")
        if rows.num_rows:
            lake.append(table, rows, "again")
        found = lake.read(table, FLEET, whole, time_column="timestamp")
        cast = found.select(list(table.column_names)).cast(schema_of(table)).sort_by("timestamp")
    else:
        lake.replace(table, FLEET, [whole], rows, "again")
        cast = plain(table, lake.read(table, FLEET, whole))
    assert cast.equals(rows)
    assert digest_of(cast) == digest_of(rows)


@given(data=st.data())
@settings(max_examples=10)
def test_a_replacement_touches_its_spans_and_nothing_else(lake: Lake, data: st.DataObject) -> None:
    """Spans may begin and end anywhere, midnight included."""
    starts = st.integers(DAY_0 - 3 * HOUR, DAY_0 + DAY + 3 * HOUR)
    numbers = data.draw(st.lists(st.integers(-90, 1530), min_size=1, max_size=30, unique=True))
    spans = [
        Span(a, a + data.draw(st.integers(1, 3 * HOUR)))
        for a in data.draw(st.lists(starts, min_size=1, max_size=4))
    ]
    old, new = stats({n: [1] for n in sorted(numbers)}), {n: [2] for n in sorted(numbers)}
    is_inside = {n: any(s.start <= window(n) < s.end for s in spans) for n in numbers}
    whole = Span(DAY_0 - DAY, DAY_0 + 3 * DAY)
    lake.replace(INGEST_STATS, FLEET, [whole], old, "old")
    fresh = stats({n: v for n, v in new.items() if is_inside[n]})
    lake.replace(INGEST_STATS, FLEET, spans, fresh, "new")
    found = plain(INGEST_STATS, lake.read(INGEST_STATS, FLEET, whole))
    assert found.column("landed").to_pylist() == [1 + is_inside[n] for n in sorted(numbers)]


def test_not_a_number_is_stored_as_null() -> None:
    table = TABLES["regional_health"]
    frame = pd.DataFrame(
        {
            c.name: {
                "string": "r",
                "int32": 1,
                "timestamp": pd.Timestamp("2026-01-01", tz="UTC"),
            }.get(c.type, np.nan if c.nullable else 0.5)
            for c in table.columns
            if c.name not in ("fleet", "day")
        },
        index=[0],
    )
    rows = arrow_of(table, schema_of(table), FLEET, frame)
    nullable = [c.name for c in table.columns if c.nullable and c.type.startswith("float")]
    assert nullable
    assert all(rows.column(name).null_count == 1 for name in nullable)


def test_a_pinned_version_does_not_see_what_lands_later(store: Store) -> None:
    write(store, {0: [1]}, span(0, 1))
    pinned = store.lake.open(INGEST_STATS)
    write(store, {0: [2], 1: [1]}, span(0, 2))
    store.lake.compact(INGEST_STATS)
    old = store.lake.read(INGEST_STATS, FLEET, span(0, 9), at=pinned)
    assert old.column("landed").to_pylist() == [1]
    assert stored(store) == {0: [2], 1: [1]}


def test_a_commit_can_be_told_by_the_intent_it_names(store: Store) -> None:
    before = store.lake.version(INGEST_STATS)
    store.lake.append(INGEST_STATS, stats({0: [1]}), "one")
    between = store.lake.version(INGEST_STATS)
    store.lake.replace(INGEST_STATS, FLEET, [span(0, 1)], stats({0: [2]}), "two")
    store.lake.compact(INGEST_STATS)
    assert store.lake.has_commit(INGEST_STATS, "one", after=before)
    assert store.lake.has_commit(INGEST_STATS, "two", after=before)
    assert store.lake.has_commit(INGEST_STATS, "two", after=between)
    assert not store.lake.has_commit(INGEST_STATS, "one", after=between)
    assert not store.lake.has_commit(INGEST_STATS, "three", after=before)
    assert not store.lake.has_commit(INGEST_STATS, "two", after=store.lake.version(INGEST_STATS))


def test_a_row_is_found_although_the_log_gives_its_instant_less_exactly(store: Store) -> None:
    """Delta's log may cut the instants of a file off to milliseconds."""
    config, stamp = at.coarse(), at.FIRST + HOUR + 999
    at.land(store, config, at.snapshots("MX-0001", [stamp], config), batch_id="one")
    near, before = Span(stamp - 1, stamp + 1), Span(stamp - HOUR, stamp)
    found = [
        store.lake.read(SITE_TELEMETRY, at.NAME, s, time_column="timestamp").num_rows
        for s in (near, before)
    ]
    assert found == [1, 0]


def test_a_table_holds_rows_once_it_is_written_to_even_by_what_created_it(
    store: Store, tmp_path: Path
) -> None:
    assert not store.lake.holds_rows(INGEST_STATS)
    write(store, {0: [1]}, span(0, 1))
    assert store.lake.holds_rows(INGEST_STATS)
    elsewhere = Lake(str(tmp_path / "elsewhere"))
    write_deltalake(elsewhere.uri(INGEST_STATS), pa.table({"landed": [1]}))
    assert elsewhere.version(INGEST_STATS) == 0
    assert elsewhere.holds_rows(INGEST_STATS)


def test_a_log_that_was_cut_down_to_nothing_is_refused_when_rows_are_looked_for(
    store: Store,
) -> None:
    (entry,) = Path(store.lake.uri(INGEST_STATS), "_delta_log").iterdir()
    entry.write_bytes(b"")
    with pytest.raises(StorageError, match="is empty"):
        store.lake.holds_rows(INGEST_STATS)


def test_days_with_rows_are_listed_by_fleet(store: Store) -> None:
    store.lake.append(INGEST_STATS, stats({0: [1], 1440: [1], 4320: [1]}), "one")
    store.lake.append(INGEST_STATS, stats({2880: [1]}, fleet="other"), "two")
    assert store.lake.days(INGEST_STATS, FLEET) == [DAY_0, DAY_0 + DAY, DAY_0 + 3 * DAY]
    assert store.lake.days(INGEST_STATS, "other") == [DAY_0 + 2 * DAY]
    assert store.lake.days(INGEST_STATS, "none") == []


def test_threads_follow_tables_of_their_own(store: Store) -> None:
    write(store, {0: [1]}, span(0, 1))
    seen: list[DeltaTableLike] = []
    thread = threading.Thread(target=lambda: seen.append(store.lake.newest(INGEST_STATS)))
    thread.start()
    thread.join()
    assert seen[0] is not store.lake.newest(INGEST_STATS)
    assert store.lake.newest(INGEST_STATS) is store.lake.newest(INGEST_STATS)


def test_superseded_rows_say_by_which_write_and_when() -> None:
    rows = superseded_rows(INGEST_STATS, stats({0: [4]}), intent_id="i", at=DAY_0)
    (row,) = rows.to_pylist()
    assert (row["landed"], row["intent_id"]) == (4, "i")
    assert row["superseded_at"] == pd.Timestamp("2026-01-01", tz="UTC")


DeltaTableLike = object
