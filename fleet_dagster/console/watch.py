"""Watching a fleet: the newest picture, taken again when a stream delivers something; storage may fail meanwhile."""

import datetime as dt
from dataclasses import dataclass, replace

from fleet_dagster.console.picture import Picture, gather
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import FleetError
from fleet_dagster.model.streams import STREAMS
from fleet_dagster.storage.store import Store

CONSUMER = "fleet_console"
RENEWED_AFTER = dt.timedelta(seconds=30)
"""Age at which a picture is taken again though nothing was delivered: telemetry lands and storms begin without it."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Storage that cannot be read."""

    since: dt.datetime
    problem: str


@dataclass(frozen=True, slots=True)
class View:
    """What there is to draw: the last picture that could be taken, and what is in the way of a newer one."""

    picture: Picture | None = None
    trouble: Trouble | None = None


class Watch:
    """Follows the console's streams of one fleet from now on.

    Its position is kept in memory and nowhere else. A console shows what stands, so whatever it has not read it need not
    read later; a durable cursor would keep log entries from being merged for as long as nobody opens that console again,
    and retention would report what it missed. For the same reason the rows delivered are not read one by one: that
    something was delivered is enough to take a new picture.
    """

    def __init__(self, store: Store, config: FleetConfig) -> None:
        self.store, self.config = store, config
        self.tables = [s.table.name for s in STREAMS.values() if CONSUMER in s.consumers]
        self.position = -1
        self.view = View()

    def look(self, now: dt.datetime) -> View:
        """Return the view as it is now; the picture in it is taken again where anything calls for it."""
        try:
            newest = self.store.history.last_number()
            if self._is_due(newest, now):
                self.view = View(gather(self.store, self.config, now))
            self.position = newest
        except (FleetError, OSError) as error:
            since = self.view.trouble.since if self.view.trouble else now
            self.view = replace(self.view, trouble=Trouble(since, " ".join(str(error).split())))
        return self.view

    def _is_due(self, newest: int, now: dt.datetime) -> bool:
        picture = self.view.picture
        if picture is None or self.view.trouble or now - picture.gathered_at >= RENEWED_AFTER:
            return True
        if newest == self.position:
            return False
        entries = self.store.history.entries
        return any(
            entries(table, self.config.name, after=self.position, limit=1) for table in self.tables
        )
