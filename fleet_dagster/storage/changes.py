"""What a write changes: the windows whose new rows differ from those that stand."""

import itertools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fleet_dagster.core.windows import Span, union
from fleet_dagster.model.tables import Table, superseded
from fleet_dagster.storage.arrow import schema_of

MAX_RANGES = 64
"""Ranges that one replacing commit names: a predicate of thousands of them ends the process in the query planner."""


def plain(table: Table, rows: pa.Table) -> pa.Table:
    """Return rows in the table's own schema, ordered by window, without dictionary encoding."""
    cast = rows.select(list(table.column_names)).cast(schema_of(table))
    return cast.sort_by("window_start") if cast.num_rows else cast


def within(rows: pa.Table, span: Span) -> pa.Table:
    """Return the rows of a span as a slice; `rows` are ordered by window."""
    low, high = np.searchsorted(_starts(rows), [span.start, span.end])
    return rows.slice(int(low), int(high - low))


def within_all(rows: pa.Table, spans: Sequence[Span]) -> pa.Table:
    """Return the rows of several spans; `rows` are ordered by window."""
    return pa.concat_tables([within(rows, span) for span in spans] or [rows.slice(0, 0)])


def by_key(table: Table, rows: pa.Table) -> pa.Table:
    """Return rows in the order of the table's key."""
    keys = [(k, "ascending") for k in table.key if k != "fleet"]
    return rows.take(pc.sort_indices(rows, sort_keys=keys)).combine_chunks()


def changed_windows(table: Table, old: pa.Table, new: pa.Table, interval: int) -> list[Span]:
    """Return the windows whose rows differ, as ranges; both tables are ordered by window."""
    told_apart = [c.name for c in table.columns if c.compared]
    old, new = old.select(told_apart), new.select(told_apart)
    if old.equals(new):
        return []
    old_starts, new_starts = _starts(old), _starts(new)
    starts = np.union1d(old_starts, new_starts)
    windows = np.unique(starts - starts % interval)
    before, after = (
        np.searchsorted(s, np.stack([windows, windows + interval]))
        for s in (old_starts, new_starts)
    )
    found = []
    for i, window in enumerate(windows.tolist()):
        a, b = (t.slice(*_bounds(at[:, i])) for t, at in ((old, before), (new, after)))
        if not a.equals(b) and not by_key(table, a).equals(by_key(table, b)):
            found.append(Span(window, window + interval))
    return union(found)


def few_ranges(spans: Sequence[Span]) -> list[Span]:
    """Return ranges that hold all the spans: the spans themselves, or at most `MAX_RANGES` where they are more.

    The narrowest gaps are closed; what stands in them is then rewritten as it was.
    """
    merged = union(list(spans))
    surplus = len(merged) - MAX_RANGES
    if surplus <= 0:
        return merged
    gaps = [b.start - a.end for a, b in itertools.pairwise(merged)]
    closed = np.argsort(gaps, kind="stable")[:surplus]
    return union([*merged, *(Span(merged[i].end, merged[i + 1].start) for i in closed.tolist())])


def superseded_rows(table: Table, old: pa.Table, *, intent_id: str, at: int) -> pa.Table:
    """Return replaced rows as `<table>_superseded` keeps them."""
    stamps = pa.array(np.full(old.num_rows, at), pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    columns = [*old.columns, pa.array([intent_id] * old.num_rows, pa.string()), stamps]
    return pa.table(columns, schema=schema_of(superseded(table)))


def _starts(rows: pa.Table) -> NDArray[np.int64]:
    return np.asarray(rows.column("window_start").cast(pa.int64()).to_numpy(), dtype=np.int64)


def _bounds(ends: NDArray[np.int64]) -> tuple[int, int]:
    return int(ends[0]), int(ends[1] - ends[0])
