"""How a fleet's streams stand: how much there is, who follows, how far behind they are and what they missed."""

from collections.abc import Sequence
from dataclasses import dataclass

from fleet_dagster.core.windows import Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.streams import STREAMS, Stream
from fleet_dagster.storage.cursors import Cursor, Missed
from fleet_dagster.storage.store import Store


@dataclass(frozen=True, slots=True)
class Following:
    """One consumer of a stream."""

    cursor: Cursor
    n_behind: int
    """Entries that it has not consumed."""
    missed: tuple[Missed, ...]


@dataclass(frozen=True, slots=True)
class StreamState:
    """One stream of a fleet."""

    stream: Stream
    kept_days: int
    n_entries: int
    newest: int
    """Number of the newest entry; 0 where there is none."""
    windows: Span | None
    """From the first to the last window that stands."""
    followers: tuple[Following, ...]


def streams_of(store: Store, config: FleetConfig) -> list[StreamState]:
    """Return how each stream of a fleet stands."""
    return [stream_state(store, config, stream) for stream in STREAMS.values()]


def stream_state(store: Store, config: FleetConfig, stream: Stream) -> StreamState:
    """Return how one stream stands."""
    table, fleet = stream.table, config.name
    n_entries, newest = store.history.size(table.name, fleet)
    missed = store.cursors.missed(fleet, stream.name)
    followers = [
        Following(c, store.history.size(table.name, fleet, after=c.position)[0], _of(missed, c))
        for c in store.cursors.of(fleet, stream.name)
    ]
    return StreamState(
        stream,
        config.retention.days_of(table),
        n_entries,
        newest,
        store.history.coverage.extent(table.name, fleet),
        tuple(followers),
    )


def _of(missed: Sequence[Missed], cursor: Cursor) -> tuple[Missed, ...]:
    return tuple(m for m in missed if m.consumer == cursor.consumer)
