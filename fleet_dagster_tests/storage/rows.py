"""Rows of a plain table, for tests of how rows are written."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from fleet_dagster.core.windows import DAY, MINUTE, Span
from fleet_dagster.model.tables import INGEST_STATS
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.coverage import Covered
from fleet_dagster.storage.door import Write, WriteReport
from fleet_dagster.storage.store import Store

FLEET = "plant"
DAY_0 = 20_454 * DAY
"""2026-01-01T00:00Z."""
Values = Mapping[int, Sequence[int]]
"""Landed counts of each window, by its number; one batch each."""


def window(number: int) -> int:
    """Return the start of a window, counted from the first of the first day."""
    return DAY_0 + number * MINUTE


def span(first: int, end: int) -> Span:
    """Return a run of windows."""
    return Span(window(first), window(end))


def stats(values: Values, fleet: str = FLEET) -> pa.Table:
    """Return rows of `ingest_stats`."""
    cells = [
        (n, i, count) for n, counts in sorted(values.items()) for i, count in enumerate(counts)
    ]
    starts = [window(n) for n, *_ in cells]
    zeros = pa.array([0] * len(cells), pa.int64())
    columns = {
        "fleet": [fleet] * len(cells),
        "day": pa.array([s // DAY for s in starts], pa.int32()).cast(pa.date32()),
        "window_start": _stamps(starts),
        "window_end": _stamps([s + MINUTE for s in starts]),
        "batch_id": [f"b{i}" for _, i, _ in cells],
        "landed": pa.array([count for *_, count in cells], pa.int64()),
        **dict.fromkeys(("used", "duplicates", "quarantined", "sampled_out"), zeros),
    }
    return pa.table([columns[n] for n in INGEST_STATS.column_names], schema=schema_of(INGEST_STATS))


def write(
    store: Store, values: Values, within: Span, *, landing: int = 1, inputs: str = "v1"
) -> WriteReport:
    """Write rows through the door."""
    rows = stats(values)
    with store.door.hold([INGEST_STATS], FLEET, within) as holder:
        covered = [Covered(within, landing, inputs)]
        return store.door.write(
            Write(INGEST_STATS, FLEET, within, rows, covered=covered, interval=MINUTE),
            holder=holder,
        )


def stored(store: Store) -> dict[int, list[int]]:
    """Return what stands, by window."""
    frame = store.frame(INGEST_STATS, FLEET, Span(DAY_0, DAY_0 + 30 * DAY))
    found: dict[int, list[int]] = {}
    for stamp, batch, count in sorted(
        zip(frame["window_start"], frame["batch_id"], frame["landed"], strict=True)
    ):
        number = (int(stamp.timestamp()) * 1_000_000 - DAY_0) // MINUTE
        assert batch == f"b{len(found.setdefault(number, []))}"
        found[number].append(int(count))
    return found


def logged(store: Store) -> list[tuple[int, str, int, int, int]]:
    """Return the commit log: number, kind, first and end window, rows."""
    return [
        (e.seq, e.kind, (e.span.start - DAY_0) // MINUTE, (e.span.end - DAY_0) // MINUTE, e.n_rows)
        for e in store.history.entries(INGEST_STATS.name, FLEET)
    ]


def _stamps(instants: list[int]) -> pa.Array:
    return pa.array(instants, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
