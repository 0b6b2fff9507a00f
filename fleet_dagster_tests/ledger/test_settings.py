"""What is known of a ledger while its settings, its keys or its witnesses change, and what a verification goes by."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from fleet_dagster.ledger.key_files import FOLDER_MODE, new_keys
from fleet_dagster.ledger.keystore import KeyStore, verifiers
from fleet_dagster.ledger.note import Checkpoint
from fleet_dagster.ledger.pin import read_pin, write_pin
from fleet_dagster.ledger.policy import WITNESS_KINDS, policy_of
from fleet_dagster.ledger.proof import make_proof
from fleet_dagster.ledger.signing import SigningKey
from fleet_dagster.ledger.state import ledger_state
from fleet_dagster.ledger.verify import Verification
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.ledger import LedgerSettings, LedgerWitness
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.ledger import tampering as t
from fleet_dagster_tests.streams import fleet_windows as fw


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return a store with a ledger of one row."""
    with Store.at(tmp_path / "home") as opened:
        KeyStore.of(opened, fw.CONFIG).create()
        fw.write(opened, {0: 0.5}, fw.span(0, 1))
        t.append(opened)
        yield opened


def witness(name: str) -> SigningKey:
    [key] = new_keys(name, WITNESS_KINDS[:1])
    return key


def watched_by(*keys: SigningKey, quorum: int = 0) -> FleetConfig:
    """Return the fleet with witnesses."""
    found = tuple(
        LedgerWitness(name=k.name, url="http://127.0.0.1:1", key=k.verifier.vkey) for k in keys
    )
    settings = LedgerSettings(witnesses=found, quorum=quorum)
    return fw.CONFIG.model_copy(update={"ledger": settings})


def vouch(store: Store, *keys: SigningKey) -> None:
    """Attach cosignatures of the newest checkpoint."""
    newest = t.checkpoints_of(store)[-1]
    for key in keys:
        signature = key.sign(newest.note().text, time=1_800_000_000)
        t.log_of(store).attach(newest.size, key.name, signature)


def grow_by_a_row(store: Store) -> None:
    fw.write(store, {1: 0.5}, fw.span(1, 2))
    t.append(store)


def test_a_policy_says_how_many_witnesses_are_needed_not_the_settings(store: Store) -> None:
    """Whoever keeps the ledger writes its settings; who verifies it goes by a policy of their own."""
    policy = policy_of(verifiers(t.keys_of(store)), watched_by(witness("w.example")).ledger)
    report = t.verified(store, policy=policy)
    assert (report.verdict, report.n_needed) == ("unwitnessed", 1)


def test_what_was_vouched_for_before_a_rotation_stays_vouched_for(store: Store) -> None:
    first = witness("w.example")
    config = watched_by(first)
    vouch(store, first)
    t.rotate(store)
    grow_by_a_row(store)
    state = ledger_state(store, config)
    assert (state.witnessed_size, state.is_witnessed) == (2, False)


def test_a_proof_can_be_made_before_the_witnesses_know_the_new_keys(store: Store) -> None:
    first = witness("w.example")
    vouch(store, first)
    t.rotate(store)
    policy = policy_of(verifiers(t.keys_of(store)), watched_by(first).ledger)
    proof = make_proof(t.log_of(store), 0, policy)
    assert Checkpoint.parse(proof.note.text).size == 3
    vouch(store, first)
    grow_by_a_row(store)
    proof = make_proof(t.log_of(store), 0, policy)
    assert policy.judged(proof.note).has_quorum
    assert Checkpoint.parse(proof.note.text).size == 3


def test_a_witness_that_was_removed_does_not_hide_what_others_vouched_for(store: Store) -> None:
    one, two, gone = (witness(f"w{n}.example") for n in range(3))
    vouch(store, one, two)
    grow_by_a_row(store)
    vouch(store, one, gone)
    assert ledger_state(store, watched_by(one, two, quorum=2)).witnessed_size == 2


def test_a_quorum_that_is_raised_is_not_reached_by_what_was_vouched_for(store: Store) -> None:
    one, two = witness("w1.example"), witness("w2.example")
    vouch(store, one)
    assert t.verified(store, watched_by(one)).verdict == "valid"
    raised = watched_by(one, two, quorum=2)
    assert t.verified(store, raised).verdict == "unwitnessed"
    assert ledger_state(store, raised).witnessed_size == 0
    vouch(store, two)
    assert t.verified(store, raised).verdict == "valid"


def test_a_folder_made_for_the_pin_may_hold_keys(tmp_path: Path, store: Store) -> None:
    newest = t.checkpoints_of(store)[-1].note()
    folder = tmp_path / "keys" / "plant"
    write_pin(folder / "pin", newest)
    assert folder.stat().st_mode & 0o777 == FOLDER_MODE
    KeyStore(folder, "esn/fleet/plant").create()


def test_a_slow_verification_does_not_set_the_pin_back(store: Store) -> None:
    older = t.checkpoints_of(store)[-1].note()
    grow_by_a_row(store)
    newer = t.checkpoints_of(store)[-1].note()
    for note in (older, newer, older):
        write_pin(t.pin_of(store), note)
    assert read_pin(t.pin_of(store)) == newer


def test_a_pin_of_ones_own_is_kept_where_one_says(tmp_path: Path, store: Store) -> None:
    own = tmp_path / "mine" / "plant.pin"
    assert Verification.of(store, fw.CONFIG, pin=own).run().pinned_size == 0
    assert Verification.of(store, fw.CONFIG, pin=own).run().pinned_size == 2
    assert not t.pin_of(store).exists()


def test_what_is_wrong_is_looked_for_once(store: Store) -> None:
    """All roots behind a bad one are bad: with many checkpoints, each of them must not read all tiles again."""
    for n in range(1, 4):
        fw.write(store, {n: 0.5}, fw.span(n, n + 1))
        t.append(store)
    t.put(store, 0, t.forged(t.leaves(store)[0], 0))
    t.put_tiles(store)
    asked: list[str] = []
    sa.event.listen(store.control.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
    report = t.verified(store)
    assert [(f.kind, f.number) for f in report.findings if f.kind == "bad_root"] == [
        ("bad_root", 0)
    ]
    assert sum("ledger_tiles" in query for query in asked) == 1
