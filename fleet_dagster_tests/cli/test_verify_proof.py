"""`fleet verify --proof`: proofs of our ledgers and of other people's logs, and `fleet keys init` on a ledger that has begun."""

import json
from pathlib import Path

import pytest

from fleet_dagster.ledger.merkle import leaf_hash, root_of
from fleet_dagster.ledger.note import Checkpoint
from fleet_dagster.ledger.policy import Policy
from fleet_dagster.ledger.proof import Proof
from fleet_dagster.ledger.signing import SigningKey, signed
from fleet_dagster_tests.cli.cases import done, fleet, installation, printed, write_fleet
from fleet_dagster_tests.ledger.keys import LOG, NOW, ORIGIN, WITNESSES

W1 = WITNESSES[0]
FOR_EVER = (1 << 63) - 1
"""The latest time that a cosignature can name [POSIX s]."""


def written(folder: Path, entry: bytes, *witnesses: SigningKey, time: int = NOW) -> list[str]:
    """Write the proof of an only entry, and return the arguments that verify it without a quorum."""
    note = signed(Checkpoint(ORIGIN, 1, root_of([leaf_hash(entry)])), [LOG], time=NOW)
    note = note.signed_also(*(w.sign(note.text, time=time) for w in witnesses))
    proof, policy = folder / "one.tlog-proof", folder / "policy"
    proof.write_text(Proof(entry, 0, (), note).content)
    trusted = Policy((LOG.verifier,), {w.name: w.verifier for w in WITNESSES})
    policy.write_text(trusted.text)
    return ["verify", "--proof", str(proof), "--policy", str(policy)]


@pytest.mark.parametrize(
    ("entry", "shown"), [(b'{"a":1}', {"a": 1}), (b"no JSON", "no JSON"), (b"[" * 9999, "[" * 9999)]
)
def test_an_entry_of_any_log_can_be_shown(tmp_path: Path, entry: bytes, shown: object) -> None:
    arguments = written(tmp_path, entry)
    assert printed(fleet(tmp_path, *arguments, "--json"))["entry"] == shown
    assert entry.decode() in done(fleet(tmp_path, *arguments))


def test_without_a_quorum_nothing_is_valid(tmp_path: Path) -> None:
    """One of three vouched, and the policy does not say that one is enough."""
    found = printed(fleet(tmp_path, *written(tmp_path, b"{}", W1), "--json"))
    assert (found["verdict"], list(found["witnesses"])) == ("unwitnessed", [W1.name])


def test_a_witness_may_name_any_time(tmp_path: Path) -> None:
    arguments = written(tmp_path, b"{}", W1, time=FOR_EVER)
    found = printed(fleet(tmp_path, *arguments, "--json"))
    assert found["witnesses"] == {W1.name: "9999-12-31T23:59:59Z"}


def test_a_ledger_that_has_begun_gets_no_first_keys_again(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    done(fleet(tmp_path, "keys", "init", "plant"))
    done(fleet(tmp_path, "keys", "rotate", "plant"))
    place = installation(tmp_path).keys_folder / "plant" / "log.pem"
    safe = place.rename(tmp_path / "safe.pem")
    again = fleet(tmp_path, "keys", "init", "plant")
    assert again.exit_code == 2
    assert "it has 1 entries that were signed already" in again.output
    assert not place.exists()
    safe.rename(place)
    shown = json.loads(
        done(fleet(tmp_path, "verify", "plant", "--json", "--pin", tmp_path / "pin"))
    )
    assert (shown["verdict"], shown["findings"]) == ("unwitnessed", [])
    assert (tmp_path / "pin").read_text().startswith("esn/fleet/plant\n1\n")
