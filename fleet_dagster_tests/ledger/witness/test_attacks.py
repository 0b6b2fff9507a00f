"""What a ledger's own keeper could try, with its keys: each is refused, or seen when two notes are compared."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.ledger.note import Note, parse_signatures
from fleet_dagster.ledger.signing import Kind, VerifierKey
from fleet_dagster_tests.ledger.witness import scene

LOG = scene.memory_log()


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[scene.Running]:
    """Run a witness that trusts one log and stands at ten entries of it."""
    with scene.running(tmp_path / "witness", *LOG.keys) as found:
        assert found.post(LOG.submission(0, 10)).status == 200
        yield found


@pytest.mark.parametrize("at", [0, 3, 9])
def test_a_rewritten_history_is_refused_however_it_is_signed(
    witness: scene.Running, at: int
) -> None:
    other = scene.forked(LOG, at)
    assert witness.post(other.submission(10, 10)).status == 409
    for new in (11, 16, 20):
        assert witness.post(other.submission(10, new)).status == 422
    assert witness.witness.state.known()[0].root == LOG.checkpoint(10).root


def test_what_was_never_vouched_for_may_still_change(witness: scene.Running) -> None:
    assert witness.post(scene.forked(LOG, 10).submission(10, 20)).status == 200


def test_a_log_that_was_rolled_back_is_refused(witness: scene.Running) -> None:
    assert witness.post(LOG.submission(4, 8)).status == 409
    assert witness.post(LOG.submission(8, 8)).content == b"10\n"
    assert witness.post(LOG.submission(0, 8)).content == b"10\n"
    assert witness.post(LOG.submission(10, 8)).status == 400


def test_a_stolen_name_without_the_key_is_refused(witness: scene.Running) -> None:
    stranger = scene.MemoryLog(scene.log_keys(), LOG.entries)
    assert witness.post(stranger.submission(10, 12)).status == 403


def test_two_witnesses_of_two_forks_prove_it(tmp_path: Path, witness: scene.Running) -> None:
    fork = scene.forked(LOG, at=6)
    with scene.running(tmp_path / "second", *LOG.keys, name="witness.example/w2") as second:
        assert second.post(fork.submission(0, 10)).status == 200  # it never saw the other
        assert witness.post(fork.submission(10, 12)).status == 422
        assert second.post(LOG.submission(10, 12)).status == 422
        ours, theirs = (
            Note.parse(scene.asked(one.url, "GET", f"/checkpoint?origin={scene.ORIGIN}").content)
            for one in (witness, second)
        )
    # Both notes carry the log's own signatures: nobody else can have made two pasts of one size.
    for note in (ours, theirs):
        for key in LOG.keys:
            (line,) = [s for s in note.signatures if key.verifier.made(s)]
            assert key.verifier.verifies(note.text, line)
    assert ours.text.splitlines()[:2] == theirs.text.splitlines()[:2]
    assert ours.text != theirs.text


@pytest.mark.parametrize("kind", [Kind.ED25519_COSIGNATURE, Kind.MLDSA44_COSIGNATURE])
def test_a_cosignature_is_of_one_checkpoint_of_one_log_alone(
    witness: scene.Running, kind: Kind
) -> None:
    lines = parse_signatures(witness.post(LOG.submission(10, 12)).content.decode())
    key = VerifierKey.parse(witness.setting(kind).key)
    (line,) = [one for one in lines if key.made(one)]
    assert key.verifies(LOG.note(12).text, line)
    namesake = scene.MemoryLog(LOG.keys, LOG.entries, "esn/fleet/other")
    for text in (
        LOG.note(10).text,
        scene.forked(LOG, 3).note(12).text,
        namesake.note(12).text,
    ):
        assert not key.verifies(text, line)
