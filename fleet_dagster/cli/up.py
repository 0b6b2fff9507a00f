"""`fleet up`: everything from nothing, up to a dashboard with data in it that moves."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import click

from fleet_dagster.cli.backfill import backfill, stale_partitions
from fleet_dagster.cli.children import DAGSTER_PORT, DASHBOARD_PORT, HOST, is_free
from fleet_dagster.cli.dagster_home import dagster_instance, prepare_dagster_home
from fleet_dagster.cli.feeding import Feeder
from fleet_dagster.cli.interrupts import interruptible
from fleet_dagster.cli.own_token import own_token, shown_in_browser
from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.setup import SCHEMA_FILE, schema_text
from fleet_dagster.cli.simulated import DEMO_DAYS, DEMO_NAME, Demo, demo_content
from fleet_dagster.cli.standing import standing_fleets
from fleet_dagster.cli.template import fleet_file
from fleet_dagster.cli.terminal import counted, note, progress_bar
from fleet_dagster.cli.together import Programs, feeding, programs
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

_CATCH_UP_DAYS = 31
_LEFT_TO_LIVE = 15 * MINUTE
"""How far behind a fleet may be without holding up the dashboard: the live engine catches up."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the pages are served."""

    dashboard: int
    dagster: int
    browser: bool
    """Whether the dashboard is opened."""


@click.command()
@click.option(
    "--port",
    default=DAGSTER_PORT,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Port of the Dagster UI.",
)
@click.option(
    "--dashboard-port",
    default=DASHBOARD_PORT,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Port of the dashboard.",
)
@click.option(
    "--browser/--no-browser",
    default=True,
    help="Open the dashboard in a browser. [default: browser]",
)
@click.option("--once", is_flag=True, help="Prepare everything, but start nothing.")
@installation_options
@click.pass_obj
def up(place: Place, *, port: int, dashboard_port: int, browser: bool, once: bool) -> None:
    """Start the dashboard, the live engine and Dagster, with a demo fleet if there is none.

    Telemetry that waits is computed first. A program that ends by itself is started again. Ctrl-C stops everything.
    """
    installation = place.installation()
    if not once:
        _refuse_ports(("--port", port), ("--dashboard-port", dashboard_port))
    with _words_for_full_disk(installation), _terminable():
        demo = _ensure_fleet(installation)
        standing = standing_fleets(installation)
        configs = standing.configs
        store, feeder = place.store(), None
        if demo is not None and demo.fleet in configs:
            feeder = Feeder(store, configs[demo.fleet], demo)
            _feed_demo(feeder)
            _begin_ledger(store, configs[demo.fleet])
        for config in configs.values():
            _put_in_force(store, config, is_file_valid=config.name not in standing.replaced())
            _catch_up(installation, store, config)
        if not once:
            _serve(installation, store, feeder, configs, Ports(dashboard_port, port, browser))


def _refuse_ports(*asked: tuple[str, int]) -> None:
    """Refuse ports that cannot be listened at, before anything is made."""
    for i, (option, port) in enumerate(asked):
        other = {p for _, p in asked[:i]}
        problem = "is asked for twice" if port in other else "is in use"
        if port in other or not is_free(port):
            free = next(p for p in range(port + 1, port + 1000) if p not in other and is_free(p))
            message = f"port {port} of {HOST} {problem}. End what listens there, or choose another: fleet up {option} {free}"
            raise click.BadParameter(message, param_hint=option)


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


def _feed_demo(feeder: Feeder) -> None:
    with progress_bar("simulating the demo fleet") as bar:
        n_rows = feeder.feed(now_us(), progress=bar.update)
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
    behind = Span(start, max(start, newest + 1 - _LEFT_TO_LIVE))
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
    feeder: Feeder | None,
    configs: dict[str, FleetConfig],
    ports: Ports,
) -> None:
    workspace = prepare_dagster_home(installation)
    note("Starting Dagster, the live engine and the dashboard …")
    with (
        feeding(feeder),
        programs(
            installation, workspace, port=ports.dagster, dashboard_port=ports.dashboard
        ) as running,
    ):
        try:
            running.wait_until_up()
            with own_token(store, "fleet up, this run", "operator") as token:
                address = f"{running.dashboard.url}/#token={token}"
                _say_where(running, address, configs)
                with shown_in_browser(address) if ports.browser else nullcontext():
                    running.watch()
        except KeyboardInterrupt:
            note("\nStopping …")
    note("Stopped. Nothing is lost: start again with the same command.")


def _say_where(running: Programs, address: str, configs: dict[str, FleetConfig]) -> None:
    name, dagster = next(iter(configs)), running.dagster.url
    note("\nFleet Dagster is up; every window is computed as it closes.\n")
    note(f"  dashboard       {address}")
    note(f"  Dagster         {dagster}/asset-groups")
    for fleet in configs:
        note(f"  {fleet + ' health':<15} {dagster}/assets/{fleet}/fleet_kpi?view=overview")
    note(f"  in a terminal   fleet console {name}")
    note(f"  logs            {running.live.log.parent}, {running.dagster.log}")
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
