"""The dashboard's place in its streams: the durable consumer `ops_dashboard`, held by one dashboard at a time."""

from contextlib import ExitStack

from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import FleetError
from fleet_dagster.model.streams import STREAMS
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.subscription import Subscription, subscribe

CONSUMER = "ops_dashboard"
FOLLOWED = tuple(s for s in STREAMS.values() if CONSUMER in s.consumers)


class Following:
    """Follows one fleet's streams, with cursors where no other dashboard holds them, and in memory where one does.

    The cursors say how far the page has come, so that `fleet streams` shows it, and that it lags. A page shows what stands:
    on start the cursors move to the newest entries, whatever was committed since another dashboard ended, and from then on to
    what the newest picture shows. Rows that are delivered are not read one by one; that something was committed is enough to
    take a new picture.
    """

    def __init__(self, store: Store, config: FleetConfig) -> None:
        self.store, self.config = store, config
        self._held = ExitStack()
        self._subscriptions: list[Subscription] = []

    @property
    def is_durable(self) -> bool:
        """Whether the cursors are held here."""
        return bool(self._subscriptions)

    def newest(self) -> dict[str, int]:
        """Return the number of the newest entry of each table that is followed."""
        tables = [s.table.name for s in FOLLOWED]
        return self.store.history.newest_numbers(self.config.name, tables)

    def take(self) -> None:
        """Take hold of the cursors if nobody else has them; a dashboard that cannot write goes on without."""
        if self.is_durable or self._is_held_elsewhere():
            return
        with ExitStack() as held:
            try:
                own = [
                    held.enter_context(subscribe(self.store, self.config, stream, CONSUMER))
                    for stream in FOLLOWED
                ]
            except (FleetError, OSError):  # somebody else was quicker, or the database is read-only
                return
            self._held, self._subscriptions = held.pop_all(), own

    def move(self, newest: dict[str, int]) -> None:
        """Record that what was committed so far is shown."""
        try:
            for one in self._subscriptions:
                number = newest[one.reader.stream.table.name]
                if number != one.cursor.position:
                    one.rewind(number)
        except (FleetError, OSError):  # taken over or removed meanwhile: it is taken again later
            self.release()

    def release(self) -> None:
        """Let the cursors go."""
        self._subscriptions = []
        try:
            self._held.close()
        except (FleetError, OSError):  # a lease that cannot be given back ends with this process
            self._held = ExitStack()

    def _is_held_elsewhere(self) -> bool:
        prefix = f"cursor/{self.config.name}"
        keys = [f"{prefix}/{s.name}/{CONSUMER}" for s in FOLLOWED]
        try:
            return any(self.store.door.leases.holder_of(key) is not None for key in keys)
        except (FleetError, OSError):
            return True
