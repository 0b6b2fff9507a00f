"""The fleets that are shown, each with its feed and its hub; new ones come in without a restart."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fleet_dagster.dashboard.documents import Document
from fleet_dagster.dashboard.feed import Feed
from fleet_dagster.dashboard.hub import Hub
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import FleetError
from fleet_dagster.storage.store import Store

LOOK_EVERY_S = 5.0
"""How often the fleets' files are looked at."""
_log = logging.getLogger(__name__)
Configs = Callable[[], Mapping[str, FleetConfig]]
"""Returns the fleets that stand; asked again and again, so it should be quick where nothing has changed."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One fleet on the air."""

    config: FleetConfig
    hub: Hub
    feed: Feed


class Channels:
    """Keeps a channel for every fleet that stands."""

    def __init__(self, store: Store, configs: Configs) -> None:
        self.store, self.configs = store, configs
        self.epoch = secrets.token_hex(6)
        self.loop: asyncio.AbstractEventLoop | None = None
        """In which the hubs live, once it runs."""
        self._known: dict[str, Channel] = {}

    def get(self, fleet: str) -> Channel | None:
        """Return the channel of a fleet."""
        return self._known.get(fleet)

    def names(self) -> list[str]:
        """Return the names of the fleets."""
        return sorted(self._known)

    def begin(self) -> None:
        """Put every fleet that stands on the air; called in the event loop."""
        self.loop = asyncio.get_running_loop()
        self._tune(self.configs())

    async def follow(self) -> None:
        """Look again every few seconds which fleets stand."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                self._tune(await asyncio.to_thread(self.configs))
            except (FleetError, OSError) as error:  # those that stood go on
                _log.warning("the fleets' files cannot be read: %s", error)
            except Exception:  # noqa: BLE001 - were this task to end, new fleets would never be shown
                _log.exception("the fleets could not be looked at")

    def end_streams(self) -> None:
        """Tell every listener that the server ends."""
        for channel in self._known.values():
            channel.hub.end()

    async def end(self) -> None:
        """Stop every feed."""
        for channel in self._known.values():
            channel.feed.stop.set()
        for channel in self._known.values():
            await asyncio.to_thread(channel.feed.end)

    def _tune(self, configs: Mapping[str, FleetConfig]) -> None:
        for name, config in configs.items():
            known = self._known.get(name)
            if known is None:
                self._known[name] = self._begun(config, Hub(self.epoch))
            elif known.config != config:
                known.feed.stop.set()
                self._known[name] = self._begun(config, known.hub)
        for name in self._known.keys() - configs.keys():
            gone = self._known.pop(name)
            gone.feed.stop.set()
            gone.hub.end()

    def _begun(self, config: FleetConfig, hub: Hub) -> Channel:
        """Return a fleet's channel, its feed at work: what that finds reaches the hub in this thread."""
        loop = asyncio.get_running_loop()
        feed: Feed | None = None

        def publish(document: Document) -> None:
            if feed is not None and not feed.stop.is_set():
                loop.call_soon_threadsafe(hub.publish, document)

        def tell(problem: str) -> None:
            loop.call_soon_threadsafe(setattr, hub, "trouble", problem)

        feed = Feed(self.store, config, publish=publish, tell=tell)
        feed.start()
        return Channel(config, hub, feed)
