"""`Engine`: one keeper for each fleet of an installation, and the upkeep, until told to end."""

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fleet_dagster.core.blas import on_one_thread
from fleet_dagster.core.windows import HOUR, SECOND
from fleet_dagster.live.events import Event, Kind, Listener, Tell
from fleet_dagster.live.keeper import RUN, Keeper
from fleet_dagster.live.observing import MakeObserver, unobserved
from fleet_dagster.live.trouble import Trouble
from fleet_dagster.live.upkeep import Upkeep
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import FleetError
from fleet_dagster.storage.clock import Clock, now_us
from fleet_dagster.storage.store import Store

WAIT_S = 1.0
"""How long after its end a window is closed by default [s]."""
LOOK_EVERY_S = 10.0
"""How often the fleets' files and the upkeep are looked at [s]."""
_BEAT_S = 0.2
OpenStore = Callable[[], Store]
Fleets = Callable[[], Mapping[str, FleetConfig]]
"""Tells which fleets there are now, as their files define them."""


@dataclass
class Engine:
    """Keeps the fleets of an installation current. Each has a store and threads of its own, so that none holds up another."""

    open_store: OpenStore
    fleets: Fleets
    tell: Tell
    wait_s: float = WAIT_S
    clock: Clock = now_us
    listeners: Sequence[Listener] = ()
    observer: MakeObserver = unobserved
    compact_every: int = HOUR
    """How often the lake is compacted, by the clock on the wall [us]."""
    keepers: dict[str, Keeper] = field(default_factory=dict, init=False)
    _left_out: dict[str, FleetConfig] = field(default_factory=dict, init=False)

    def run(self, stopping: threading.Event) -> bool:
        """Work until told to stop; tells whether no fleet had to be left out."""
        # The limit is the process's: held here, no thread that leaves its own ends that of another.
        with on_one_thread(), self.open_store() as store:
            upkeep = Upkeep(
                store,
                self.clock,
                self.tell,
                lambda: {name: k.config for name, k in self.keepers.items() if k.is_keeping},
                run_id=f"{RUN}-{uuid.uuid4().hex[:16]}",
                compact_every=self.compact_every,
            )
            try:
                self._beat(stopping, upkeep)
            finally:
                upkeep.end()
                self._stop(list(self.keepers))
        return not self._left_out

    def _beat(self, stopping: threading.Event, upkeep: Upkeep) -> None:
        trouble = Trouble(self.tell, "", "Looking after fleets and lake")
        looked_at = -LOOK_EVERY_S
        while not stopping.wait(_BEAT_S):
            if time.monotonic() - looked_at < max(LOOK_EVERY_S, trouble.pause_s):
                continue
            looked_at = time.monotonic()
            try:
                self._follow_fleets()
                upkeep.look()
            except (FleetError, OSError) as error:
                trouble.met(error)
            else:
                trouble.over()

    def _follow_fleets(self) -> None:
        """Begin with fleets that are new or whose file has changed, and end with those that are gone."""
        wanted = self.fleets()
        gone = [n for n, k in self.keepers.items() if k.is_left_out or wanted.get(n) != k.config]
        self._stop(gone)
        for name, config in wanted.items():
            if name not in self.keepers and self._left_out.get(name) != config:
                self._left_out.pop(name, None)
                self._begin(name, config)

    def _begin(self, name: str, config: FleetConfig) -> None:
        self.keepers[name] = Keeper(
            self.open_store(),
            config,
            clock=self.clock,
            wait=round(self.wait_s * SECOND),
            tell=self.tell,
            listeners=self.listeners,
            observer=self.observer,
        )
        self.keepers[name].start()

    def _stop(self, names: Sequence[str]) -> None:
        """End keepers after the batches that they are at."""
        for name in names:
            self.keepers[name].stop()
        for name in names:
            keeper = self.keepers.pop(name)
            if not keeper.join(_BEAT_S):
                text = "ends after the batch that it is at"
                self.tell(Event(Kind.ENDED, name, text))
                keeper.join()
            keeper.store.close()
            if keeper.is_left_out:
                self._left_out[name] = keeper.config
