"""What processes of their own do in tests that kill writers, or let several write at once; see `installations.at_work`.

`work` kills itself at the `die_at`-th checkpoint that it passes (never, if that is 0); `refresh` and `week` bring single days
up to date in an order drawn from a seed; `live` keeps a fleet current.
"""

import os
import signal
import threading
from pathlib import Path

from fleet_dagster.core.windows import HOUR
from fleet_dagster.live.engine import Engine
from fleet_dagster.model.streamsight import NodeThresholds
from fleet_dagster.storage import maintenance
from fleet_dagster.storage.store import Store
from fleet_dagster.training_sets.choice import Choice
from fleet_dagster.training_sets.folder import TrainingFolder
from fleet_dagster.training_sets.update import Writer
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.node_reports import node_report
from fleet_dagster_tests.refresh.event_week import EventWeek


def work(home: Path, die_at: int) -> None:
    """Do the work that a killed process leaves half done, up to the checkpoint at which to die."""
    passed = 0

    def checkpoint(_step: str) -> None:
        nonlocal passed
        passed += 1
        if passed == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with Store.at(home, checkpoint=checkpoint) as store:
        everything(store)


def prepare(store: Store) -> None:
    """Bring an installation to where the work starts: one day landed and refreshed."""
    config, raw = at.coarse(), at.telemetry(2, step_s=600)
    at.land(store, config, raw.slice(0, raw.num_rows // 2), batch_id="first")
    at.refresh_all(store, config, at.days(0, 1))


def everything(store: Store) -> None:
    """Land the rest and a correction, refresh, tidy up: the same however often it is begun."""
    config, raw = at.coarse(), at.telemetry(2, step_s=600)
    at.land(store, config, raw.slice(raw.num_rows // 2), batch_id="second")
    late = at.snapshots("MX-0002", [at.FIRST + 7 * HOUR + 1], config, share=0.9)
    at.land(store, config, late, batch_id="late", historical=True)
    at.refresh_all(store, config, at.days(0, 2))
    maintenance.compact(store)


def refresh(lake: str, control: str, *numbers: int) -> None:
    """Refresh single days of a fleet, in an order drawn from a seed."""
    interval_s, seed, first, end = numbers
    models = Path(lake).parent / "models"
    config = at.coarse(interval_s)
    config = at.with_models(config) if models.exists() else config
    with Store.of(lake, control, models=models) as store:
        for day in at.shuffled(at.days(first, end).days(), seed):
            at.refresh_all(store, config, day, run_id=f"run-{seed}")


def week(lake: str, control: str, *numbers: int) -> None:
    """Refresh the days of an event week, in an order drawn from a seed."""
    n_sites, n_days, interval_s, seed = numbers
    events = EventWeek(n_sites, n_days, interval_s)
    with Store.of(lake, control) as store:
        events.refresh(store, at.shuffled(at.days(0, n_days).days(), seed))


def live(home: Path, clock: Path) -> None:
    """Keep a fleet current until killed; a file tells the time."""
    engine = Engine(
        lambda: Store.at(home),
        lambda: {at.NAME: at.coarse()},
        lambda _event: None,
        wait_s=0.0,
        clock=lambda: int(clock.read_text(encoding="utf-8")),
    )
    engine.run(threading.Event())


def training_set(home: Path, folder: Path, die_at: int) -> None:
    """Bring a training set up to date, and die after so many of its days (never, if that is 0)."""
    config = at.coarse()

    def progress(n_done: int, _all: int) -> None:
        if n_done == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with Store.at(home) as store:
        writer = Writer(store, config, TrainingFolder(folder), progress=progress)
        writer.update(Choice.of(config), at.FIRST)


def report(lake: str, control: str, number: int, n_reports: int) -> None:
    """Record reports of two nodes."""
    with Store.of(lake, control) as store:
        for n in range(n_reports):
            for node in ("site_ingest", "fleet_aggregator"):
                done = node_report(node=node, rows_in=1000 * number + n)
                store.node_reports.record(done, NodeThresholds())
