"""`fleet live`: keeps fleets current, window by window, without a run for each."""

import datetime as dt
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from fleet_dagster.cli.interrupts import interruptible
from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.terminal import note, utc

if TYPE_CHECKING:
    from fleet_dagster.live.engine import Engine
    from fleet_dagster.live.events import Event
    from fleet_dagster.live_reports import Reports
    from fleet_dagster.model.config import FleetConfig
    from fleet_dagster.storage.installation import Installation

_LOOK_S = 0.5


@click.command()
@click.option(
    "--fleet",
    "names",
    metavar="NAME",
    multiple=True,
    help="Keep this fleet current; may be given several times. [default: all, those added later too]",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Close a window so long after its end: telemetry on its way is then in.",
)
@click.option("--no-dagster", is_flag=True, help="Tell Dagster nothing of what is computed.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
@installation_options
@click.pass_obj
def live(
    place: Place, names: Sequence[str], *, wait_s: float, no_dagster: bool, as_json: bool
) -> None:
    """Keep fleets current: every window is computed as soon as it has closed.

    It works until it is ended (Ctrl-C, SIGTERM), and then finishes the batch that it is at. The schedules rest meanwhile and
    take over when it is gone. Exit code 1 when a fleet had to be left out.
    """
    from fleet_dagster.live.engine import Engine  # noqa: PLC0415 - help stays quick
    from fleet_dagster.telemetry.observer import Observer  # noqa: PLC0415
    from fleet_dagster.telemetry.otlp import exporter  # noqa: PLC0415

    installation, tell = place.installation(), _said(as_json=as_json)
    for name in names:
        installation.config(name)
    place.store()  # whatever is wrong with the storage is told now
    reports = None if no_dagster else _reports(installation, tell)
    engine = Engine(
        installation.store,
        _followed(installation, names),
        tell,
        wait_s=wait_s,
        listeners=[reports.note] if reports else [],
        observer=lambda store, config: Observer(store, config, otlp=exporter(), say=note),
    )
    if not _run(engine, reports):
        raise SystemExit(1)


def _run(engine: "Engine", reports: "Reports | None") -> bool:
    """Run until asked to end; tells whether no fleet had to be left out."""
    stopping, over, outcome = threading.Event(), threading.Event(), [False]

    def work() -> None:
        try:
            outcome[0] = engine.run(stopping)
        finally:
            over.set()

    telling = threading.Thread(target=reports.run, name="reports", daemon=True) if reports else None
    with interruptible():
        threading.Thread(target=work, name="live", daemon=True).start()
        if telling:
            telling.start()
        # Waits for an event: a join that is interrupted may take a thread for ended that is not (CPython 3.11).
        with suppress(KeyboardInterrupt):
            while not over.wait(_LOOK_S):
                pass
        stopping.set()
        over.wait()
        if reports and telling:
            reports.stop()
            telling.join()
    note("Ended.")
    return outcome[0]


def _reports(installation: "Installation", tell: "Callable[[Event], None]") -> "Reports":
    from fleet_dagster.cli.dagster_home import dagster_instance  # noqa: PLC0415 - loads Dagster
    from fleet_dagster.live_reports import Reports  # noqa: PLC0415

    return Reports(lambda: dagster_instance(installation), installation.store, tell)


def _followed(
    installation: "Installation", names: Sequence[str]
) -> "Callable[[], Mapping[str, FleetConfig]]":
    """Return what tells which fleets to keep current: those named, or all; invalid files are told once."""
    told: set[str] = set()

    def fleets() -> "Mapping[str, FleetConfig]":
        standing = installation.standing()
        fresh = {str(one) for one in standing.invalid} - told
        for text in sorted(fresh):
            note(text)
        told.update(fresh)
        return {n: c for n, c in standing.configs.items() if not names or n in names}

    return fleets


def _said(*, as_json: bool) -> "Callable[[Event], None]":
    """Return what says an event: a line to standard error, or with `--json` one to standard output."""
    lock = threading.Lock()

    def say(event: "Event") -> None:
        now = dt.datetime.now(dt.UTC)
        with lock:
            if as_json:
                content = {"at": now.isoformat(), "kind": event.kind, "fleet": event.fleet}
                click.echo(json.dumps({**content, "text": event.text, **event.figures}))
            else:
                note(f"{utc(now)} {event}")
                if "traceback" in event.figures:
                    note(str(event.figures["traceback"]))

    return say
