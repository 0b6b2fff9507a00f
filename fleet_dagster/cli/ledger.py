"""`fleet ledger`: the history that cannot be rewritten silently, recorded, looked at and handed to others."""

import datetime as dt
from pathlib import Path

import click
from rich.table import Table

from fleet_dagster.cli.interrupts import interruptible
from fleet_dagster.cli.keys import keys_there
from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.terminal import (
    console,
    counted,
    json_option,
    note,
    print_json,
    progress_bar,
)
from fleet_dagster.core.windows import Span
from fleet_dagster.ledger.keeping import keep
from fleet_dagster.ledger.keystore import verifiers
from fleet_dagster.ledger.log import Log
from fleet_dagster.ledger.policy import policy_of
from fleet_dagster.ledger.proof import make_proof
from fleet_dagster.ledger.state import LedgerState, checkpoint_problem, ledger_state
from fleet_dagster.ledger.tlog_export import export as export_log
from fleet_dagster.ledger.words import answer_text, state_rows
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.storage.durable import replacing


@click.group()
def ledger() -> None:
    """Record a fleet's history so that it cannot be rewritten silently, look at it, and hand it to others."""


@ledger.command()
@click.argument("fleet")
@json_option
@installation_options
@click.pass_obj
def show(place: Place, fleet: str, *, as_json: bool) -> None:
    """Show how a fleet's ledger stands: size, root, what is pending, and who has vouched."""
    config, store = place.installation().config(fleet), place.store()
    state = ledger_state(store, config)
    _show(state, as_json=as_json)
    if state.has_keys and (problem := checkpoint_problem(store, config)):
        note(f"Not as it must be: {problem}")


@ledger.command()
@click.argument("fleet")
@json_option
@installation_options
@click.pass_obj
def append(place: Place, fleet: str, *, as_json: bool) -> None:
    """Record what was committed since the last time, sign it, and ask the witnesses to vouch.

    The schedule does so every few minutes. Cut off half-way, the next run goes on.
    """
    config = place.installation().config(fleet)
    keys_there(place.store(), config)
    with interruptible(), progress_bar("commits") as bar:
        kept = keep(place.store(), config, bar.update)
    if as_json:
        print_json({"appended": kept.appended, "answers": list(kept.answers), "state": kept.state})
        return
    note(f"{counted(kept.appended.n_entries, 'entry')} appended, {kept.appended.size:,} in all.")
    for answer in kept.answers:
        note(f"witness {answer.witness}: {answer_text(answer)}")
    if kept.appended.n_missed:
        note(f"{counted(kept.appended.n_missed, 'commit')} expired before they were recorded.")


@ledger.command()
@click.argument("fleet")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@installation_options
@click.pass_obj
def export(place: Place, fleet: str, folder: Path) -> None:
    """Write a fleet's ledger as a folder of tiles (c2sp.org/tlog-tiles), for the tools of others.

    The folder may hold an earlier export of the same ledger: only what is new is written.
    """
    config = place.installation().config(fleet)
    with interruptible(), progress_bar("tiles") as bar:
        export_log(Log(place.store().control, config.name), folder, bar.update)
    note(f"Ledger written to {folder}.")


@ledger.command()
@click.argument("fleet")
@click.argument(
    "window",
    metavar="WINDOW",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%z"]),
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; by default standard output.",
)
@installation_options
@click.pass_obj
def prove(place: Place, fleet: str, window: dt.datetime, output: Path | None) -> None:
    """Write the proof that the row of a window is recorded (c2sp.org/tlog-proof).

    WINDOW is the instant at which it starts, such as 2026-01-31T12:00:00Z.
    Whoever has the proof and the ledger's public keys (`fleet keys show --policy`) can verify it without anything else:
    `fleet verify --proof FILE --policy FILE`. It is about the newest row of the window.
    """
    config = place.installation().config(fleet)
    store = place.store()
    log = Log(store.control, config.name)
    start = int(window.replace(tzinfo=window.tzinfo or dt.UTC).timestamp()) * 1_000_000
    rows = log.known_rows(Span(start, start + 1))
    if not rows:
        raise LedgerError(
            f"ledger of fleet {fleet!r}",
            f"it has no row of a window that starts at {window:%Y-%m-%dT%H:%M:%SZ}",
            "Name the first instant of a window; `fleet ledger append` records what is pending",
        )
    policy = policy_of(verifiers(keys_there(store, config).load()), config.ledger)
    proof = make_proof(log, rows[-1].number, policy)
    content = proof.content
    if not policy.judged(proof.note).has_quorum:
        note(
            "Too few witnesses have vouched for it yet: who asks for them will not take it as proven."
        )
    if output is None:
        click.echo(content, nl=False)
        return
    with replacing(output) as partial:
        partial.write_text(content, encoding="utf-8")
    note(f"Proof written to {output}.")


def _show(state: LedgerState, *, as_json: bool) -> None:
    if as_json:
        print_json(state)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in state_rows(state):
        table.add_row(name, value)
    console().print(table)
