"""A simulated day for a live engine: a clock that is set by hand, telemetry that lands as it would arrive, an engine in a thread."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fleet_dagster.core.windows import Span
from fleet_dagster.live.engine import Engine
from fleet_dagster.live.events import Event, Kind
from fleet_dagster.live.work import Work
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at

CONFIG = at.coarse()
PATIENCE_S = 300.0


@dataclass
class Hands:
    """A clock that shows what it was set to [us]."""

    now: int

    def __call__(self) -> int:
        """Tell the time."""
        return self.now


@dataclass
class Said:
    """What an engine said."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        self.events.append(event)

    def of(self, kind: Kind) -> list[Event]:
        """Return the events of a kind."""
        return [e for e in self.events if e.kind is kind]

    def wait_for(self, kind: Kind, words: str = "") -> Event:
        """Return the first event of a kind that has some words in it, once it is said."""
        wait_until(lambda: any(words in str(e) for e in self.of(kind)))
        return next(e for e in self.of(kind) if words in str(e))


class Arrivals:
    """Simulated snapshots of some days, landed when they were received."""

    def __init__(self, n_days: int, config: FleetConfig = CONFIG) -> None:
        self.config, self.raw = config, at.telemetry(n_days, step_s=600)
        received = pd.to_datetime(
            self.raw.column("received_at").to_pandas(), utc=True, format="ISO8601"
        )
        self._received = received.to_numpy(dtype="M8[us]").astype(np.int64)

    def land(self, store: Store, span: Span) -> None:
        """Land what was received within a span [us]."""
        own = np.flatnonzero((self._received >= span.start) & (self._received < span.end))
        if own.size:
            rows = self.raw.take(own)
            at.land(store, self.config, rows, batch_id=f"b{span.start}", received_at=span.end - 1)


def engine_at(home: Path, hands: Callable[[], int], said: Said, **options: Any) -> Engine:
    """Return an engine that keeps one fleet of an installation current, without a pause after a window's end."""
    fleets: Mapping[str, FleetConfig] = options.pop("fleets", {at.NAME: CONFIG})
    given = {"wait_s": 0.0, "clock": hands, **options}
    return Engine(lambda: Store.at(home), lambda: fleets, said, **given)


@contextmanager
def running(engine: Engine) -> Iterator[Engine]:
    """Run an engine in a thread while the block lasts."""
    stopping = threading.Event()
    thread = threading.Thread(target=engine.run, args=(stopping,))
    thread.start()
    try:
        yield engine
    finally:
        stopping.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def wait_current(engine: Engine, fleet: str = at.NAME) -> None:
    """Wait until a fleet's keeper owes nothing."""
    wait_until(lambda: fleet in engine.keepers and engine.keepers[fleet].is_keeping)
    works = (engine.keepers[fleet].windows, engine.keepers[fleet].answers)

    def owes(work: Work) -> bool:
        return bool(work.ask(work.store, work.config, work.closed()).spans)

    wait_until(lambda: not any(owes(work) for work in works))


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    over = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < over, "waited in vain"
        time.sleep(0.02)
