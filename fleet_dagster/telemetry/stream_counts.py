"""The consumer `streamsight`: counts the windows committed to its streams, so that the totals outlive every process."""

from collections import Counter
from collections.abc import Iterator

import sqlalchemy as sa

from fleet_dagster.core.windows import SECOND
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import StreamError
from fleet_dagster.model.streams import STREAMS, Stream
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.schema import stream_totals
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.subscription import Subscription, subscribe
from fleet_dagster.telemetry.samples import Sample

CONSUMER = "streamsight"
PAGE = 1_000
"""Entries counted in one transaction."""


def count_streams(store: Store, config: FleetConfig) -> None:
    """Count what was committed since the last time; leaves a stream alone that another process counts just now."""
    for stream in STREAMS.values():
        if CONSUMER in stream.consumers and _has_news(store, config, stream):
            try:
                with subscribe(store, config, stream, CONSUMER) as following:
                    _count(store, config, following)
            except StreamError:
                continue


def stream_samples(store: Store, fleet: str) -> Iterator[Sample]:
    """Yield the totals."""
    query = sa.select(stream_totals).where(stream_totals.c.fleet == fleet)
    with store.control.reading() as tx:
        rows = tx.execute(query.order_by(stream_totals.c.stream, stream_totals.c.kind)).all()
    for row in rows:
        key = (fleet, row.stream, row.kind)
        yield Sample("fleet_stream_windows", key, row.windows, since=row.began_at)


def _has_news(store: Store, config: FleetConfig, stream: Stream) -> bool:
    cursor = store.cursors.find(config.name, stream.name, CONSUMER)
    position = 0 if cursor is None else cursor.position
    return bool(store.history.entries(stream.table.name, config.name, after=position, limit=1))


def _count(store: Store, config: FleetConfig, following: Subscription) -> None:
    stream, fleet = following.reader.stream, config.name
    while entries := store.history.entries(
        stream.table.name, fleet, after=following.cursor.position, limit=PAGE
    ):
        found: Counter[str] = Counter()
        for entry in entries:
            found[entry.kind] += len(entry.span.starts(config.interval_s * SECOND))

        def add(tx: sa.Connection, found: Counter[str] = found) -> None:
            for kind, n_windows in found.items():
                _add(tx, fleet, stream.name, kind, n_windows)

        # In the transaction that moves the cursor: what was counted is never counted again.
        following.passed(entries[-1].seq, also=add)


def _add(tx: sa.Connection, fleet: str, stream: str, kind: str, n_windows: int) -> None:
    own = stream_totals.c
    same = (own.fleet == fleet, own.stream == stream, own.kind == kind)
    more = sa.update(stream_totals).where(*same).values(windows=own.windows + n_windows)
    if not tx.execute(more).rowcount:
        first = {"fleet": fleet, "stream": stream, "kind": kind, "began_at": now_us()}
        tx.execute(sa.insert(stream_totals), [{**first, "windows": n_windows}])
