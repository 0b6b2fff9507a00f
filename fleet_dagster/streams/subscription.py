"""Subscriptions: a consumer reads a stream from where it left off; at least once, in order, one process at a time."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import sqlalchemy as sa

from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import LeaseError, StreamError
from fleet_dagster.model.streams import Stream
from fleet_dagster.storage.cursors import Cursor
from fleet_dagster.storage.leases import Leases
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.deliveries import Delivery, Reader

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
Also = Callable[[sa.Connection], None]
PATIENCE_S = 2.0
"""How long to wait for another process of the same consumer to end."""


def _nothing(_tx: sa.Connection) -> None:
    """Do nothing."""


class Subscription:
    """One consumer's place in a stream. Deliver, then say `done`: what is not done is delivered again after a crash."""

    def __init__(self, reader: Reader, cursor: Cursor, holder: str) -> None:
        self.reader, self.cursor, self.holder = reader, cursor, holder

    def pending(self) -> Iterator[Delivery]:
        """Yield everything that was committed since what was done last; call it again for what has come since."""
        at = self.cursor
        return self.reader.after(at.position, part_seq=at.part_seq, part_until=at.part_until)

    def done(self, delivery: Delivery, *, also: Also = _nothing) -> None:
        """Record that a delivery was consumed, and all before it; in the same transaction, do `also`."""
        seq = delivery.seq
        if delivery.piece.ends_entry:
            self._move(seq, also=also)
        else:
            self._move(seq - 1, part_seq=seq, part_until=delivery.span.end, also=also)

    def passed(self, seq: int, *, also: Also = _nothing) -> None:
        """Record that all entries up to a number were consumed, by whoever needs none of their rows; in the same transaction, do `also`."""
        self._move(seq, also=also)

    def rewind(self, position: int) -> None:
        """Go on after entry `position`, whether that lies behind or ahead."""
        self._move(position)

    def confirm(self, tx: sa.Connection) -> None:
        """Make a transaction fail unless this process still is the only one that reads as this consumer.

        Raises
        ------
        LeaseError
            Nothing was heard of it for too long, and another may have gone on.
        """
        Leases(self.reader.store.control).confirm(tx, self.holder)

    def _move(
        self, position: int, *, part_seq: int = 0, part_until: int = 0, also: Also = _nothing
    ) -> None:
        def confirm(tx: sa.Connection) -> None:
            self.confirm(tx)
            also(tx)

        move = self.reader.store.cursors.move
        self.cursor = move(
            self.cursor, position, part_seq=part_seq, part_until=part_until, confirm=confirm
        )


@contextmanager
def subscribe(
    store: Store,
    config: FleetConfig,
    stream: Stream,
    consumer: str,
    *,
    position: int = 0,
    as_committed: bool = False,
) -> Iterator[Subscription]:
    """Follow a stream as a consumer; one that is new begins after entry `position`.

    Raises
    ------
    StreamError
        Another process follows the stream under the same name, or the name cannot be one.
    """
    if not _NAME.match(consumer):
        raise StreamError(
            stream.address(config.name),
            f"found consumer name {consumer!r}, expected 1 to 64 letters, digits, '_', '-' or '.'",
            "Choose another name",
        )
    with held_alone(store, config, stream, consumer) as holder:
        cursor = store.cursors.register(config.name, stream.name, consumer, position=position)
        yield Subscription(Reader(store, config, stream, as_committed), cursor, holder)


@contextmanager
def held_alone(store: Store, config: FleetConfig, stream: Stream, consumer: str) -> Iterator[str]:
    """Keep other processes from following a stream as the same consumer, or from moving its cursor; yields the lease's holder.

    Raises
    ------
    StreamError
        Another process does so just now.
    """
    key = f"cursor/{config.name}/{stream.name}/{consumer}"
    with ExitStack() as held:
        try:
            holder = held.enter_context(Leases(store.control, wait_s=PATIENCE_S).hold([key]))
        except LeaseError as error:
            raise StreamError(
                stream.address(config.name),
                f"another process, {error.holder}, follows it as {consumer!r}",
                "End that process, or choose another name",
            ) from error
        yield holder
