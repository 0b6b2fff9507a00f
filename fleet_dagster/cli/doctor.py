"""`fleet doctor`: whether an installation can work, and what to do where it cannot."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import sqlalchemy as sa

from fleet_dagster.cli.children import DAGSTER_PORT, DASHBOARD_PORT, HOST, is_free
from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.terminal import counted, json_option, print_json
from fleet_dagster.core.windows import SECOND
from fleet_dagster.ledger.state import checkpoint_problem, ledger_state
from fleet_dagster.model.errors import FleetError
from fleet_dagster.model.rules import doubts
from fleet_dagster.model.tables import FLEET_KPI, TABLES
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.schema import intents
from fleet_dagster.storage.installation import Installation
from fleet_dagster.storage.leases import live_key
from fleet_dagster.storage.store import Store
from fleet_dagster.telemetry import otlp

_FREE_GB = 1.0
_BEHIND = 10
"""Windows that a live engine may be behind before that is worth a look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    is_fine: bool
    found: str
    advice: str = ""


@click.command()
@click.option(
    "--port", default=DAGSTER_PORT, show_default=True, help="Port that the Dagster UI would use."
)
@click.option(
    "--dashboard-port",
    default=DASHBOARD_PORT,
    show_default=True,
    help="Port that the dashboard would use.",
)
@json_option
@installation_options
@click.pass_obj
def doctor(place: Place, *, port: int, dashboard_port: int, as_json: bool) -> None:
    """Check the installation, and say what to do.

    Exit code 1 when something is not as it should be.
    """
    installation = place.installation()
    findings = [
        _python(),
        _folder("home", installation.home),
        _folder("dagster home", installation.dagster_home),
        _space(installation.home),
        _fleets(installation),
        *_storage(installation),
        *_telemetry(place.environment()),
        _port("port", port, "--port"),
        _port("dashboard port", dashboard_port, "--dashboard-port"),
    ]
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            click.echo(f"{'ok ' if finding.is_fine else 'BAD'}  {finding.what:<16} {finding.found}")
            if finding.advice:
                click.echo(f"{'':22}{finding.advice}")
    if not all(f.is_fine for f in findings):
        raise SystemExit(1)


def _python() -> Finding:
    version = ".".join(str(n) for n in sys.version_info[:3])
    fine = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding("python", fine, version, "" if fine else "Use Python 3.11, 3.12 or 3.13.")


def _folder(what: str, folder: Path) -> Finding:
    standing = next(p for p in (folder, *folder.parents) if p.exists())
    writable = standing.is_dir() and os.access(standing, os.W_OK | os.X_OK)
    found = f"{folder}{'' if standing == folder else ' (not made yet)'}"
    advice = (
        ""
        if writable
        else f"{standing} may not be written to: change its owner or mode, or choose another --home."
    )
    return Finding(what, writable, found, advice)


def _space(home: Path) -> Finding:
    standing = next(p for p in (home, *home.parents) if p.exists())
    free_gb = shutil.disk_usage(standing).free / 1e9
    fine = free_gb >= _FREE_GB
    advice = (
        "" if fine else f"Make room, or move the home: at least {_FREE_GB:.0f} GB should be free."
    )
    return Finding("free space", fine, f"{free_gb:.1f} GB", advice)


def _fleets(installation: Installation) -> Finding:
    advice = "fleet validate names the lines."

    def look() -> Finding:
        standing = installation.standing()
        names = ", ".join(standing.configs)
        if standing.invalid:
            found = "; ".join([names or "none", *(str(one) for one in standing.invalid)])
            return Finding("fleets", False, found, advice)
        if not names:
            return Finding(
                "fleets", True, f"none in {installation.fleets_folder}", "Make one: fleet init NAME"
            )
        doubtful = ", ".join(name for name, own in standing.configs.items() if doubts(own))
        said = f"{doubtful}: values in doubt, see fleet validate." if doubtful else ""
        return Finding("fleets", True, names, said)

    return _guarded("fleets", look, advice=advice)


def _storage(installation: Installation) -> list[Finding]:
    """Look at the databases and the lake, without making them where they are not there yet."""
    if (
        installation.control_url.startswith("sqlite")
        and not (installation.home / "control.db").exists()
    ):
        return [Finding("storage", True, "not made yet; the first command that needs it makes it")]
    opened: list[Store] = []

    def open_store() -> Finding:
        opened.append(click.get_current_context().with_resource(installation.store()))
        return Finding("control database", True, f"{opened[0].control.engine.url!r}, up to date")

    findings = [
        _guarded(
            "control database",
            open_store,
            advice="Check FLEET_CONTROL_URL, and that the database runs.",
        )
    ]
    for store in opened:
        findings += [
            _guarded(
                "lake", partial(_lake, store), advice="Check FLEET_LAKE and the folder's files."
            ),
            _intents(store),
            *_ledgers(installation, store),
            *_live(installation, store),
        ]
    return findings


def _lake(store: Store) -> Finding:
    versions = [store.lake.version(table) for table in TABLES.values()]
    return Finding("lake", True, f"{store.lake.root}, {len(versions)} tables readable")


def _intents(store: Store) -> Finding:
    with store.control.reading() as tx:
        n_open = int(tx.execute(sa.select(sa.func.count()).select_from(intents)).scalar() or 0)
    found = f"{n_open} open" if n_open else "none open"
    advice = (
        "They belong to writers at work now; those of dead ones have just been settled."
        if n_open
        else ""
    )
    return Finding("intents", True, found, advice)


def _ledgers(installation: Installation, store: Store) -> list[Finding]:
    """Look at the keys and the newest checkpoint of each fleet that has a ledger."""
    found = []
    for name, config in installation.standing().configs.items():
        state = ledger_state(store, config)
        if not state.has_begun:
            continue
        problem = checkpoint_problem(store, config)
        vouched = f", {state.witnessed_size:,} vouched for" if state.n_needed else ""
        said = problem or f"{state.size:,} entries{vouched}"
        advice = f"fleet verify {name} names what is wrong." if problem else ""
        found.append(Finding(f"ledger {name}", not problem, said, advice))
    return found


def _live(installation: Installation, store: Store) -> list[Finding]:
    """Look at how far behind the live engines are that are at work."""
    found = []
    for name, config in installation.standing().configs.items():
        holder = store.door.leases.holder_of(live_key(name))
        if holder is None:
            continue
        newest = store.history.coverage.newest_end(FLEET_KPI.name, name)
        behind = 0 if newest is None else (now_us() - newest) // (config.interval_s * SECOND)
        is_fine = behind <= _BEHIND
        advice = "" if is_fine else "It says why: see its output. Is telemetry still landing?"
        said = f"{holder}, {counted(behind, 'window')} behind"
        found.append(Finding(f"live {name}", is_fine, said, advice))
    return found


def _telemetry(environment: Mapping[str, str]) -> list[Finding]:
    """Look at what is to be sent over OTLP, where anything is."""
    signals = otlp.wanted(environment)
    if not signals:
        return []
    problem = otlp.problem(environment)
    found = problem or f"sends {' and '.join(signals).lower()}"
    return [Finding("otlp", not problem, found)]


def _port(what: str, port: int, option: str) -> Finding:
    free = is_free(port)
    other = f"Fine if that is `fleet up`; else choose another: fleet up {option} {port + 10}"
    found = f"{HOST}:{port} is {'free' if free else 'in use'}"
    return Finding(what, True, found, "" if free else other)


def _guarded(what: str, look: Callable[[], Finding], *, advice: str) -> Finding:
    try:
        return look()
    except (FleetError, OSError, sa.exc.SQLAlchemyError) as error:
        return Finding(what, False, str(error), advice)
