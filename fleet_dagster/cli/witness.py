"""`fleet witness`: vouch for ledgers. It needs no fleet and no installation, and belongs on somebody else's machine."""

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet_dagster.cli.interrupts import interruptible
from fleet_dagster.cli.terminal import json_option, note, print_json, utc
from fleet_dagster.ledger.signing import Kind, VerifierKey

if TYPE_CHECKING:
    from fleet_dagster.ledger.witness.state import Known, State

PORT = 8460
_FOR = {
    Kind.MLDSA44_COSIGNATURE: "ML-DSA-44, safe from quantum computers; recommended",
    Kind.ED25519_COSIGNATURE: "Ed25519; short",
    Kind.ED25519: "Ed25519",
}

folder_argument = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
keys_argument = click.argument("keys", nargs=-1, required=True, metavar="KEY...")


@click.group()
def witness() -> None:
    """Vouch for other people's ledgers: that they only grew, and nothing in them was rewritten.

    A witness is a folder with keys and a small database. It needs no fleet: run it where those who keep the ledger have no
    access.
    """


@witness.command()
@folder_argument
@click.option(
    "--name",
    required=True,
    metavar="NAME",
    help="Name of the witness, like an address without https://, and for ever: it is in its keys.",
)
def init(folder: Path, *, name: str) -> None:
    """Make a witness in a folder: its keys, and a database of what it vouched for.

    Prints its public keys. Exit code 2 when there is one already.
    """
    from fleet_dagster.ledger.witness.witness import make_witness  # noqa: PLC0415 - help stays quick

    for key in make_witness(folder, name):
        click.echo(key.vkey)
    note(
        f"Witness {name} is in {folder}. Give those who keep a ledger one of its keys and its address, and trust theirs: "
        "fleet witness trust."
    )


@witness.command()
@folder_argument
@json_option
def show(folder: Path, *, as_json: bool) -> None:
    """Show a witness's name and keys, and how far it has vouched for each ledger.

    One of its keys goes into a fleet's file: ledger.witnesses, as name, url and key.
    """
    with _opened(folder) as state:
        own, known = state.keys(), state.known()
        trusted = {one.origin: state.trusted(one.origin) for one in known}
    if as_json:
        print_json(
            {
                "name": own[0].name if own else None,
                "keys": [_key(key) for key in own],
                "ledgers": [_ledger(one, trusted[one.origin]) for one in known],
            }
        )
        return
    for key in reversed(own):
        click.echo(f"{_FOR[key.kind]}:\n  {key.vkey}")
    for one in known:
        click.echo(f"{one.origin}: {_standing(one)}")
        for key in trusted[one.origin]:
            click.echo(f"  trusts {key.key_id.hex()} ({_FOR[key.kind].split(',')[0]})")
        if not trusted[one.origin]:
            click.echo("  trusts no key of it any more")


@witness.command()
@folder_argument
@keys_argument
def trust(folder: Path, *, keys: Sequence[str]) -> None:
    """Vouch from now on for ledgers that sign with these keys, NAME+ID+KEY as their keepers gave them.

    A key's name is its ledger's. A ledger may have several, so trust its next key before it begins to sign with it.
    """
    parsed = [VerifierKey.parse(key) for key in keys]
    with _opened(folder) as state:
        state.trust(parsed)
    for key in parsed:
        note(f"Trusts {key.key_id.hex()} for {key.name}.")


@witness.command()
@folder_argument
@keys_argument
def distrust(folder: Path, *, keys: Sequence[str]) -> None:
    """Trust keys no more. What was vouched for stays known, so no other past can be shown under the same name."""
    parsed = [VerifierKey.parse(key) for key in keys]
    with _opened(folder) as state:
        for key in parsed:
            state.distrust(key)
            note(f"Trusts {key.key_id.hex()} for {key.name} no more.")


@witness.command()
@folder_argument
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Port to listen at; 0 takes a free one.",
)
@click.option(
    "--certfile",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificate to answer with over TLS, PEM.",
)
@click.option(
    "--keyfile",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The certificate's private key, PEM.",
)
def serve(
    folder: Path, *, host: str, port: int, certfile: Path | None, keyfile: Path | None
) -> None:
    """Answer ledgers until Ctrl-C. One line a request is written to standard error: ledger, sizes, status.

    Exit code 2 when the port is in use, or others than the owner may read the keys.
    """
    from fleet_dagster.ledger.witness.serving import serve_witness  # noqa: PLC0415 - help stays quick
    from fleet_dagster.ledger.witness.witness import Witness  # noqa: PLC0415

    found = Witness.open(folder, lambda: int(time.time()))
    try:
        with suppress(KeyboardInterrupt), interruptible():
            serve_witness(found, host, port, report=_report, certfile=certfile, keyfile=keyfile)
    finally:
        found.state.close()
    note("Ended.")


@contextmanager
def _opened(folder: Path) -> "Iterator[State]":
    from fleet_dagster.ledger.witness.state import State  # noqa: PLC0415 - help stays quick
    from fleet_dagster.ledger.witness.witness import database_of  # noqa: PLC0415

    state = State.open(database_of(folder))
    try:
        yield state
    finally:
        state.close()


def _report(line: str) -> None:
    note(f"{utc(dt.datetime.now(dt.UTC))} {line}")


def _key(key: VerifierKey) -> dict[str, object]:
    return {"type": f"{key.kind:#04x}", "id": key.key_id.hex(), "key": key.vkey}


def _ledger(one: "Known", trusted: Sequence[VerifierKey]) -> dict[str, object]:
    return {
        "origin": one.origin,
        "size": one.size,
        "root": one.root.hex(),
        "cosigned_at": _when(one),
        "trusts": [_key(key) for key in trusted],
    }


def _standing(one: "Known") -> str:
    if not one.note:
        return "never vouched for"
    return f"{one.size:,} entries, root {one.root.hex()}, {utc(_when(one))}"


def _when(one: "Known") -> dt.datetime | None:
    return dt.datetime.fromtimestamp(one.cosigned_at, dt.UTC) if one.note else None
