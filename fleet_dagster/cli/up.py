"""`fleet up`: everything from nothing, up to a dashboard with data in it."""

import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager

import click

from fleet_dagster.cli.backfill import backfill, stale_partitions
from fleet_dagster.cli.dagster_home import dagster_instance, prepare_dagster_home
from fleet_dagster.cli.interrupts import interruptible
from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.setup import SCHEMA_FILE, schema_text
from fleet_dagster.cli.simulated import DEMO_DAYS, DEMO_NAME, Demo, demo_content, feed
from fleet_dagster.cli.standing import standing_fleets
from fleet_dagster.cli.template import fleet_file
from fleet_dagster.cli.terminal import counted, note, progress_bar
from fleet_dagster.cli.webserver import HOST, Webserver, is_free, webserver
from fleet_dagster.core.windows import DAY, MINUTE, Span
from fleet_dagster.ledger.keystore import KeyStore
from fleet_dagster.ledger.log import Log
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import StorageError
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.installation import Installation
from fleet_dagster.storage.status import instant, newest_telemetry
from fleet_dagster.storage.store import Store

FEED_EVERY_S = 30.0
_CATCH_UP_DAYS = 31
_LEFT_TO_SCHEDULE = 15 * MINUTE
"""How far behind a fleet may be without holding up the dashboard: its first scheduled runs catch up."""
_WATCH_S = 1.0


@click.command()
@click.option(
    "--port",
    default=3000,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Port of the dashboard.",
)
@click.option(
    "--browser/--no-browser",
    default=True,
    help="Open the dashboard in a browser. [default: browser]",
)
@click.option("--once", is_flag=True, help="Prepare everything, but start no server.")
@installation_options
@click.pass_obj
def up(place: Place, *, port: int, browser: bool, once: bool) -> None:
    """Start the dashboard and the pipeline, with a demo fleet if there is none.

    Telemetry that waits is computed first, then Dagster starts with its schedules on. Ctrl-C stops everything.
    """
    installation = place.installation()
    if not once and not is_free(port):
        message = f"port {port} of {HOST} is in use. Stop what listens there, or choose another: fleet up --port {port + 1}"
        raise click.BadParameter(message, param_hint="--port")
    with _words_for_full_disk(installation), _terminable():
        demo = _ensure_fleet(installation)
        standing = standing_fleets(installation)
        configs = standing.configs
        demo = demo if demo is not None and demo.fleet in configs else None
        store = place.store()
        if demo is not None:
            _feed_demo(store, configs[demo.fleet], demo)
            _begin_ledger(store, configs[demo.fleet])
        for config in configs.values():
            _put_in_force(store, config, is_file_valid=config.name not in standing.replaced())
            _catch_up(installation, store, config)
        if not once:
            _serve(installation, store, demo, configs, port=port, browser=browser)


def _ensure_fleet(installation: Installation) -> Demo | None:
    """Write the demo fleet's file where there is no fleet; returns the demo that the installation began with."""
    marker, folder = installation.home / "demo.json", installation.fleets_folder
    if not any(folder.glob("*.y*ml")):
        Demo().write(marker)
        start = instant(now_us() - DEMO_DAYS * DAY).date()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
        path = folder / f"{DEMO_NAME}.yaml"
        path.write_text(fleet_file(demo_content(start.isoformat())), encoding="utf-8")
        note(f"No fleet yet: wrote a demo fleet to {path}.")
    return Demo.read(marker)


def _feed_demo(store: Store, config: FleetConfig, demo: Demo) -> None:
    with progress_bar("simulating the demo fleet") as bar:
        n_rows = feed(store, config, demo, now_us(), progress=bar.update)
    if n_rows:
        note(f"Demo fleet: {counted(n_rows, 'simulated snapshot')} landed.")


def _begin_ledger(store: Store, config: FleetConfig) -> None:
    """Make the demo fleet's keys; those of other fleets are made by whoever keeps them safe."""
    keystore = KeyStore.of(store, config)
    if not keystore.is_there() and Log(store.control, config.name).head() is None:
        keystore.create()
        note(f"Demo fleet: keys for its ledger made in {keystore.place}.")


def _put_in_force(store: Store, config: FleetConfig, *, is_file_valid: bool) -> None:
    if is_file_valid:
        store.registry.apply(config, source=config.name)
    else:
        # What is in force stays: what was last accepted may be older than the last edit that was applied.
        store.registry.ensure(config)


def _catch_up(installation: Installation, store: Store, config: FleetConfig) -> None:
    """Compute the last days that are behind; older ones are for a backfill."""
    now = now_us()
    newest = newest_telemetry(store, config.name)
    if newest is None:
        note(f"Fleet {config.name}: no telemetry yet. Land some: fleet import {config.name} FILE")
        return
    start = max(Fleet.of(config).start, now - _CATCH_UP_DAYS * DAY)
    behind = Span(start, max(start, newest + 1 - _LEFT_TO_SCHEDULE))
    if not stale_partitions(store, config, behind, now=now):
        return
    keys = stale_partitions(store, config, Span(start, max(start, newest + 1)), now=now)
    if not keys:
        return
    with (
        dagster_instance(installation) as instance,
        progress_bar(f"computing {config.name}") as bar,
    ):
        report = backfill(
            installation,
            instance,
            config,
            keys,
            progress=lambda done, total, _key: bar.update(done, total),
        )
    if report.failure is not None:
        message = f"Fleet {config.name}: {report.failure.step} failed: {report.failure.message}"
        raise StorageError(message)
    note(f"Fleet {config.name}: {counted(report.n_done, 'day')} computed.")


def _serve(
    installation: Installation,
    store: Store,
    demo: Demo | None,
    configs: dict[str, FleetConfig],
    *,
    port: int,
    browser: bool,
) -> None:
    workspace = prepare_dagster_home(installation)
    note("Starting Dagster …")
    with webserver(installation, workspace, port) as server:
        try:
            server.wait_until_up()
            _say_where(server, configs)
            if browser:
                webbrowser.open(server.url)
            _keep_feeding(server, store, demo, configs)
        except KeyboardInterrupt:
            note("\nStopping …")
    note("Stopped. Nothing is lost: start again with the same command.")


def _keep_feeding(
    server: Webserver, store: Store, demo: Demo | None, configs: dict[str, FleetConfig]
) -> None:
    """Watch the dashboard until Ctrl-C; the demo fleet's sites send on meanwhile."""
    idle, waited = threading.Event(), 0.0
    while True:
        idle.wait(_WATCH_S)
        server.check()
        waited += _WATCH_S
        if demo is not None and waited >= FEED_EVERY_S:
            waited = 0.0
            feed(store, configs[demo.fleet], demo, now_us())


def _say_where(server: Webserver, configs: dict[str, FleetConfig]) -> None:
    every = min(c.schedule_minutes for c in configs.values())
    name = next(iter(configs))
    note(f"\nFleet Dagster is up; a schedule brings every fleet up to date every {every} min.\n")
    note(f"  all assets      {server.url}/asset-groups")
    for fleet in configs:
        note(f"  {fleet + ' health':<15} {server.url}/assets/{fleet}/fleet_kpi?view=overview")
    note(f"  runs            {server.url}/runs")
    note(f"  in a terminal   fleet status {name}")
    note(f"  log             {server.log}")
    note("\nCtrl-C stops it.")


@contextmanager
def _terminable() -> Iterator[None]:
    """Say so when asked to end, and end with the exit code of Ctrl-C."""
    try:
        with interruptible():
            yield
    except KeyboardInterrupt:
        note("\nStopped.")
        raise SystemExit(130) from None


@contextmanager
def _words_for_full_disk(installation: Installation) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        message = f"{installation.home} cannot be used: {error.strerror or error}. `fleet doctor` says more"
        raise StorageError(message) from error
