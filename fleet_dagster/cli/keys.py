"""`fleet keys`: the keys that sign a fleet's ledger."""

from dataclasses import asdict, dataclass

import click

from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.terminal import json_option, note, print_json
from fleet_dagster.ledger.appender import appending
from fleet_dagster.ledger.keystore import Keys, KeyStore, verifiers
from fleet_dagster.ledger.log import Log
from fleet_dagster.ledger.policy import policy_of
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.storage.store import Store


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """What may be known of a ledger's keys."""

    fleet: str
    origin: str
    place: str
    keys: list[str]


@click.group()
def keys() -> None:
    """Make, show and change the keys that sign a fleet's ledger."""


@keys.command()
@click.argument("fleet")
@json_option
@installation_options
@click.pass_obj
def init(place: Place, fleet: str, *, as_json: bool) -> None:
    """Make a fleet's keys; its ledger begins with the next round of the schedule.

    The private keys are in a file that only you may read, and nowhere else: keep a copy apart from this machine. Keys are never
    overwritten.
    """
    config = place.installation().config(fleet)
    store = place.store()
    keystore = KeyStore.of(store, config)
    head = Log(store.control, fleet).head()
    if head is not None and head.size:
        raise LedgerError(
            f"ledger {head.origin!r}",
            f"it has {head.size} entries that were signed already, so new keys cannot begin it",
            f"Put its keys back at {keystore.place} from their safe copy; to change keys, run `fleet keys rotate {fleet}`",
        )
    made = keystore.create()
    _print(fleet, keystore, made, as_json=as_json)
    note(f"Private keys written to {keystore.place}. Copy the file to a safe place.")


@keys.command()
@click.argument("fleet")
@click.option(
    "--policy",
    is_flag=True,
    help="Print them as a policy, with the witnesses and how many must vouch: what others need for verifying.",
)
@json_option
@installation_options
@click.pass_obj
def show(place: Place, fleet: str, *, policy: bool, as_json: bool) -> None:
    """Show the public keys of a fleet's ledger, for those who verify or witness it."""
    config = place.installation().config(fleet)
    keystore = KeyStore.of(place.store(), config)
    found = keys_there(place.store(), config).load()
    if policy:
        click.echo(policy_of(verifiers(found), config.ledger).text, nl=False)
        return
    _print(fleet, keystore, found, as_json=as_json)


@keys.command()
@click.argument("fleet")
@json_option
@installation_options
@click.pass_obj
def rotate(place: Place, fleet: str, *, as_json: bool) -> None:
    """Hand a fleet's ledger over to new keys, by an entry that both the old and the new ones sign.

    Cut off half-way, it is finished by whatever looks at the ledger next; the same again changes the keys once more. Witnesses must be told the new keys: their newest checkpoint is signed with
    both, those that follow with the new ones only.
    """
    config = place.installation().config(fleet)
    store = place.store()
    keys_there(store, config)
    with appending(store, config) as appender:
        appender.run()
        done = appender.rotate()
    keystore = KeyStore.of(store, config)
    _print(fleet, keystore, keystore.load(), as_json=as_json)
    note(f"Entry {done.size - 1} hands the ledger over. Copy {keystore.place} to a safe place.")
    for witness in config.ledger.witnesses:
        note(f"Tell witness {witness.name} the new keys before it is asked again.")


def keys_there(store: Store, config: FleetConfig) -> KeyStore:
    """Return where a fleet's keys are.

    Raises
    ------
    LedgerError
        There are none; the advice depends on whether the ledger has begun.
    """
    keystore = KeyStore.of(store, config)
    if keystore.is_there() or keystore.variable:  # loading says what a variable lacks
        return keystore
    begun = Log(store.control, config.name).head() is not None
    raise LedgerError(
        f"ledger of fleet {config.name!r}",
        f"there are no keys in {keystore.place}",
        "Put them back from their safe copy"
        if begun
        else f"Run `fleet keys init {config.name}` to begin a ledger",
    )


def _print(fleet: str, keystore: KeyStore, found: Keys, *, as_json: bool) -> None:
    public = [key.verifier.vkey for key in found]
    shown = PublicKeys(fleet, keystore.origin, keystore.place, public)
    if as_json:
        print_json(asdict(shown))
        return
    for vkey in public:
        click.echo(vkey)
