"""Heavy work of a live engine in processes of their own, at low priority: baselines ahead of their day, and compaction."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_dagster.core.blas import on_one_thread
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.maintenance import compact
from fleet_dagster.storage.store import Store

NICENESS = 10
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is, for another process to open it."""

    lake_root: str
    control_url: str
    models: Path
    keys: Path

    @classmethod
    def of(cls, store: Store) -> "Address":
        """Return where a store is."""
        return cls(store.lake.root, store.control.url, store.models, store.keys)

    def open(self) -> Store:
        """Open the store."""
        return Store.of(self.lake_root, self.control_url, models=self.models, keys=self.keys)


class Aside:
    """A piece of work in a process of its own; a daemon process, so that it ends with the engine at the latest."""

    def __init__(
        self, what: str, work: Callable[..., None], *given: Any
    ) -> None:  # Any: of any kind of work
        self.what = what
        self._heard, self._said = _SPAWN.Pipe(duplex=False)
        self._process = _SPAWN.Process(
            target=_run, args=(self._said, work, given), name=f"live-{what}", daemon=True
        )
        self._process.start()
        self._said.close()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return not self._process.is_alive()

    def problem(self) -> str:
        """Return what went wrong, once it is over; empty where nothing did."""
        try:
            said = str(self._heard.recv()) if self._heard.poll() else ""
        except EOFError:
            said = ""
        self._heard.close()
        code = self._process.exitcode
        self._process.join()
        return said if said or not code else f"its process ended with code {code}"

    def end(self) -> None:
        """End it now: what it was about to write is undone by whoever comes next."""
        self._process.terminate()
        self._process.join()
        self._heard.close()


def compact_lake(address: Address) -> None:
    """Merge the small files of a lake."""
    with address.open() as store:
        compact(store)


def train(address: Address, config: FleetConfig, training_day: int, run_id: str) -> None:
    """Train the baseline of a coming day."""
    with address.open() as store, on_one_thread():
        Refresh(store, config, run_id=run_id).baseline(training_day)


def _run(
    said: Any, work: Callable[..., None], given: tuple[Any, ...]
) -> None:  # Any: one end of a pipe
    os.nice(NICENESS)
    threading.Thread(target=_end_with_engine, daemon=True).start()
    try:
        work(*given)
    except Exception as error:
        said.send(" ".join(str(error).split()) or repr(error))
        raise SystemExit(1) from error


def _end_with_engine() -> None:
    """End when the engine is killed: what was about to be written is undone by whoever comes next."""
    engine = multiprocessing.parent_process()
    if engine is not None:
        engine.join()
    os._exit(1)
