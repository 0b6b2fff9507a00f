"""The programs of `fleet up`: Dagster, the live engine and the dashboard, run together until somebody ends them."""

import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet_dagster.cli.children import HOST, Child
from fleet_dagster.cli.feeding import STEP_S, Feeder
from fleet_dagster.cli.terminal import note
from fleet_dagster.cli.webserver import dagster_dev
from fleet_dagster.model.errors import FleetError
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.installation import Installation

WATCH_S = 1.0
FULL_BELOW = 500 << 20
"""Free bytes from which on the disk is called almost full: a day of a large fleet, about."""


@dataclass(slots=True)
class Programs:
    """What runs beside `fleet up`, and the folder that it fills."""

    dagster: Child
    dashboard: Child
    live: Child
    home: Path
    _is_full: bool = False

    @property
    def all(self) -> Sequence[Child]:
        """Every program."""
        return self.dagster, self.live, self.dashboard

    def wait_until_up(self) -> None:
        """Wait until both pages answer; a program that ends before is an error."""
        for child in (self.dashboard, self.dagster):
            child.wait_until_up()
        self.live.check()

    def watch(self) -> None:
        """Look after the programs until interrupted: one that ends is started again, and people are told."""
        idle = threading.Event()
        while not idle.wait(WATCH_S):
            for child in self.all:
                how = child.revive()
                if how:
                    note(f"{child.name} ended {how}; it is started again. Its log: {child.log}")
            self._look_at_disk()

    def _look_at_disk(self) -> None:
        usage = shutil.disk_usage(self.home)
        is_full = usage.free < FULL_BELOW
        if is_full and not self._is_full:
            note(
                f"The disk of {self.home} is almost full: {usage.free >> 20} MiB are free. Make room: what is written until then "
                "is safe, and what cannot be written is computed later. `fleet retention` removes old days"
            )
        self._is_full = is_full


@contextmanager
def programs(
    installation: Installation, workspace: Path, *, port: int, dashboard_port: int
) -> Iterator[Programs]:
    """Run the programs while the block runs; at its end all are asked to end before the first is waited for."""
    logs = installation.home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    dagster = dagster_dev(installation, workspace, port)
    given = ("--no-browser", "--port", str(dashboard_port), "--dagster-url", dagster.url)
    dashboard = _own(installation, "The dashboard", "dashboard", *given)
    dashboard.url, dashboard.probe = f"http://{HOST}:{dashboard_port}", "/healthz"
    live = _own(installation, "The live engine", "live")
    own = Programs(dagster, dashboard, live, installation.home)
    with ExitStack() as started:
        for child in own.all:
            started.enter_context(child)
        try:
            yield own
        finally:
            for child in own.all:
                child.ask_to_end()


def _own(installation: Installation, name: str, command: str, *given: str) -> Child:
    """Return a command of this package as a program of its own; its log begins anew."""
    log = installation.home / "logs" / f"{command}.log"
    log.unlink(missing_ok=True)
    return Child(
        name=name,
        command=(sys.executable, "-P", "-m", "fleet_dagster.cli.main", command, *given),
        log=log,
        folder=installation.home,
        environment=installation.environment(),
    )


@contextmanager
def feeding(feeder: Feeder | None) -> Iterator[None]:
    """Feed the demo fleet in real time while the block runs, if there is one."""
    if feeder is None:
        yield
        return
    end = threading.Event()
    thread = threading.Thread(target=_feed, args=(feeder, end), name="feeder", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(10 * STEP_S)


def _feed(feeder: Feeder, end: threading.Event) -> None:
    trouble = ""
    while not end.wait(_until_next_step()):
        try:
            feeder.feed(now_us())
        except (FleetError, OSError) as error:
            words = " ".join(str(error).split())
            if words != trouble:
                note(
                    f"The demo fleet's telemetry cannot be landed; it is once that passes. {words}"
                )
            trouble = words
        else:
            trouble = ""


def _until_next_step() -> float:
    """Return how long it is until the next feed [s], just after what was received by then is due."""
    step = STEP_S * 1_000_000
    return (step - now_us() % step) / 1e6 + 0.05
