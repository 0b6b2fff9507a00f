import base64
import re
import socket
import stat
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from fleet_dagster.ledger.merkle import EMPTY_ROOT
from fleet_dagster.ledger.note import Checkpoint, Note
from fleet_dagster.ledger.signing import Kind, signed, time_of
from fleet_dagster.ledger.witness import server
from fleet_dagster.ledger.witness.state import State
from fleet_dagster.ledger.witness.submission import MAX_PROOF, Submission
from fleet_dagster.ledger.witness.witness import Witness, database_of, keys_of, make_witness
from fleet_dagster.model.errors import LedgerError
from fleet_dagster_tests.ledger.witness import scene

LOG = scene.memory_log()


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[scene.Running]:
    """Run a witness that trusts one log."""
    with scene.running(tmp_path / "witness", *LOG.keys) as found:
        yield found


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[scene.Running]:
    """Run a witness that trusts one log, for requests that leave it as it is."""
    with scene.running(tmp_path_factory.mktemp("witness"), *LOG.keys) as found:
        yield found
        assert found.witness.state.known()[0].size == 0


def test_both_keys_vouch_for_a_first_checkpoint(witness: scene.Running) -> None:
    before = int(time.time())
    reply = witness.post(LOG.submission(0, 5))
    assert (reply.status, reply.content.count(b"\n")) == (200, 2)
    note = reply.cosigned(LOG.note(5))
    kinds = []
    for key in witness.witness.keys:
        (line,) = [s for s in note.signatures if key.verifier.made(s)]
        assert key.verifier.verifies(note.text, line)
        assert before <= time_of(line) <= int(time.time())
        kinds.append(key.kind)
    assert kinds == [Kind.ED25519_COSIGNATURE, Kind.MLDSA44_COSIGNATURE]
    assert {s.name for s in note.signatures[-2:]} == {scene.NAME}


def test_a_log_that_grows_is_vouched_for_each_time(witness: scene.Running) -> None:
    sizes = [0, 0, 1, 4, 5, 16, 16, 20]
    for old, new in pairwise(sizes):
        assert witness.post(LOG.submission(old, new)).status == 200
    (known,) = witness.witness.state.known()
    assert (known.size, known.root) == (20, LOG.checkpoint(20).root)


def test_the_same_checkpoint_again_is_vouched_for_again(witness: scene.Running) -> None:
    assert witness.post(LOG.submission(0, 5)).status == 200
    again = witness.post(LOG.submission(5, 5))
    assert again.status == 200
    assert again.cosigned(LOG.note(5)).signatures[-1].name == scene.NAME


def test_an_old_size_that_is_not_the_witness_s_is_told_with_its_own(witness: scene.Running) -> None:
    assert witness.post(LOG.submission(3, 5)) == scene.Reply(409, "text/x.tlog.size", b"0\n")
    assert witness.post(LOG.submission(0, 5)).status == 200
    for old in (0, 4, 6):
        found = witness.post(LOG.submission(old, 7))
        assert found == scene.Reply(409, "text/x.tlog.size", b"5\n")


def test_two_roots_of_one_size_are_a_conflict(witness: scene.Running) -> None:
    assert witness.post(LOG.submission(0, 5)).status == 200
    other = scene.forked(LOG, at=2)
    assert witness.post(other.submission(5, 5)) == scene.Reply(409, "text/x.tlog.size", b"5\n")
    no_log = signed(Checkpoint(scene.ORIGIN, 0, bytes(32)), LOG.keys, time=1)
    assert witness.post(Submission(0, (), no_log)).status == 409


def test_an_empty_log_has_the_root_of_no_entries(witness: scene.Running) -> None:
    assert LOG.checkpoint(0).root == EMPTY_ROOT
    assert witness.post(LOG.submission(0, 0)).status == 200
    assert witness.post(LOG.submission(0, 3)).status == 200


@pytest.mark.parametrize("size", [0, 5])
def test_an_old_size_beyond_the_checkpoint_s_is_malformed(
    witness: scene.Running, size: int
) -> None:
    assert witness.post(LOG.submission(0, 7)).status == 200
    assert witness.post(LOG.submission(7, size)).status == 400


def test_an_unknown_log_is_not_found(untouched: scene.Running) -> None:
    other = scene.memory_log(origin="esn/fleet/other")
    assert untouched.post(other.submission(0, 3)).status == 404


def test_a_name_too_long_to_sign_is_just_unknown(untouched: scene.Running) -> None:
    other = scene.MemoryLog(LOG.keys[:1], LOG.entries, "x" * 300)
    assert untouched.post(other.submission(0, 3)).status == 404


def test_a_signature_of_no_trusted_key_is_forbidden(untouched: scene.Running) -> None:
    stranger = scene.MemoryLog(scene.log_keys(), LOG.entries)
    assert untouched.post(stranger.submission(0, 3)).status == 403
    good, bad = LOG.note(3), LOG.note(4)
    assert untouched.post(Submission(0, (), Note(good.text, bad.signatures))).status == 403
    half_false = Note(good.text, (good.signatures[0], bad.signatures[1]))
    assert untouched.post(Submission(0, (), half_false)).status == 403
    assert untouched.witness.state.known()[0].size == 0


@pytest.mark.parametrize("n", [0, 1])
def test_one_trusted_key_is_enough_and_strangers_lines_do_not_matter(
    witness: scene.Running, n: int
) -> None:
    stranger = scene.MemoryLog(scene.log_keys(), LOG.entries).note(3)
    note = Note(stranger.text, (*stranger.signatures, LOG.note(3).signatures[n]))
    assert witness.post(Submission(0, (), note)).status == 200
    kept = Note.parse(witness.witness.state.known()[0].note)
    assert len(kept.signatures) == 3  # the log's, and the witness's two


@pytest.mark.parametrize("break_", ["empty", "short", "long", "other", "swapped"])
def test_a_proof_that_does_not_verify_is_unprocessable(witness: scene.Running, break_: str) -> None:
    assert witness.post(LOG.submission(0, 5)).status == 200
    good = LOG.submission(5, 13)
    proof = list(good.proof)
    broken = {
        "empty": [],
        "short": proof[:-1],
        "long": [*proof, bytes(32)],
        "other": [bytes(32), *proof[1:]],
        "swapped": proof[::-1],
    }[break_]
    assert witness.post(Submission(5, broken, good.note)).status == 422
    assert witness.post(good).status == 200


def test_a_first_checkpoint_has_no_proof(untouched: scene.Running) -> None:
    assert untouched.post(Submission(0, (bytes(32),), LOG.note(3))).status == 422


GOOD = LOG.submission(3, 5).content
HASH = base64.b64encode(bytes(32))
MALFORMED = {
    "empty": b"",
    "no blank line": GOOD.replace(b"\n\n", b"\n"),
    "CRLF": GOOD.replace(b"\n", b"\r\n"),
    "CR in the first line": GOOD.replace(b"old 3\n", b"old 3\r\n"),
    "leading zero": GOOD.replace(b"old 3", b"old 03"),
    "plus": GOOD.replace(b"old 3", b"old +3"),
    "negative": GOOD.replace(b"old 3", b"old -3"),
    "other digits": GOOD.replace(b"old 3", "old ٣".encode()),
    "two spaces": GOOD.replace(b"old 3", b"old  3"),
    "trailing space": GOOD.replace(b"old 3", b"old 3 "),
    "no size": GOOD.replace(b"old 3", b"old"),
    "another word": GOOD.replace(b"old 3", b"size 3"),
    "too large to count": GOOD.replace(b"old 3", b"old 9999999999999999999"),
    "leading zero in the checkpoint": GOOD.replace(b"\n5\n", b"\n05\n"),
    "checkpoint too large to count": GOOD.replace(b"\n5\n", b"\n9999999999999999999\n"),
    "short hash": GOOD.replace(b"old 3\n", b"old 3\nAAAA\n"),
    "no base64": GOOD.replace(b"old 3\n", b"old 3\n" + b"!" * 44 + b"\n"),
    "base64 written otherwise": GOOD.replace(b"old 3\n", b"old 3\n" + HASH[:-2] + b"B=\n"),
    "URL-safe base64": GOOD.replace(b"old 3\n", b"old 3\n" + b"-" * 43 + b"=\n"),
    "64 hashes": GOOD.replace(b"old 3\n", b"old 3\n" + (HASH + b"\n") * (MAX_PROOF + 1)),
    "last line does not end": GOOD[:-1],
    "no signature": GOOD[: GOOD.rindex(b"\n\n") + 2],
    "line after the signatures": GOOD + b"more\n",
    "not UTF-8": GOOD.replace(b"esn", b"\xff\xfe"),
    "NUL": GOOD.replace(b"esn", b"e\x00n"),
    "no origin": GOOD.replace(b"esn/fleet/plant\n5", b"\n5"),
    "short root": re.sub(rb"\n5\n[^\n]+\n", b"\n5\nAAAA\n", GOOD),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_departs_from_the_format_is_malformed(untouched: scene.Running, name: str) -> None:
    assert MALFORMED[name] != GOOD
    assert untouched.post(MALFORMED[name]).status == 400


def test_the_format_itself_is_not(untouched: scene.Running) -> None:
    assert Submission.parse(GOOD).content == GOOD
    assert untouched.post(GOOD).status == 409
    full = Submission(3, (bytes(32),) * MAX_PROOF, LOG.note(5))
    assert untouched.post(full).status == 409
    assert Submission.parse(full.content) == full


def test_a_note_with_many_signatures_has_room(witness: scene.Running) -> None:
    strangers = [scene.MemoryLog(scene.log_keys(), LOG.entries).note(3) for _ in range(16)]
    lines = [note.signatures[1] for note in strangers]
    note = LOG.note(3).signed_also(*lines)
    assert witness.post(Submission(0, (), note)).status == 200


def test_a_body_too_long_is_refused_however_it_is_sent(witness: scene.Running) -> None:
    assert witness.post(GOOD + b"x" * server.MAX_BODY).status == 413
    chunk = b"x" * 65536
    with socket.create_connection(("127.0.0.1", witness.port), timeout=60) as sock:
        sock.sendall(
            b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(server.MAX_BODY // len(chunk) + 1):
            sock.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))  # it never ends
        assert sock.recv(4096).startswith(b"HTTP/1.1 413 ")
    assert witness.post(LOG.submission(0, 1)).status == 200


def test_a_body_that_does_not_arrive_is_not_waited_for(
    witness: scene.Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "BODY_TIMEOUT_S", 0.05)
    with socket.create_connection(("127.0.0.1", witness.port), timeout=60) as sock:
        sock.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 9\r\n\r\nold")
        assert sock.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_other_ways_in_are_closed(untouched: scene.Running) -> None:
    assert scene.asked(untouched.url, "GET", "/add-checkpoint").status == 405
    assert scene.asked(untouched.url, "PUT", "/add-checkpoint", b"x").status == 405
    assert scene.asked(untouched.url, "POST", "/other", b"x").status == 404


def test_name_keys_and_latest_checkpoints_can_be_read(witness: scene.Running) -> None:
    about = scene.asked(witness.url, "GET", "/").content.decode().splitlines()
    assert about[1:] == [key.verifier.vkey for key in witness.witness.keys]
    path = f"/checkpoint?origin={scene.ORIGIN}"
    assert scene.asked(witness.url, "GET", path).status == 404
    reply = witness.post(LOG.submission(0, 5))
    kept = Note.parse(scene.asked(witness.url, "GET", path).content)
    assert kept.text == LOG.note(5).text
    assert reply.content.decode() == "".join(s.line for s in kept.signatures[-2:])


def test_one_line_is_told_of_each_request(witness: scene.Running) -> None:
    witness.post(b"junk")
    witness.post(LOG.submission(0, 5))
    odd = scene.MemoryLog(LOG.keys[:1], LOG.entries, "e\x9b31m\u2028n")
    witness.post(odd.submission(0, 1))
    assert witness.lines == [
        "- - -> -: 400",
        "'esn/fleet/plant' 0 -> 5: 200",
        r"'e\x9b31m\u2028n' 0 -> 1: 404",
    ]


def test_a_database_that_fails_is_no_cosignature(witness: scene.Running) -> None:
    database_of(witness.folder).rename(witness.folder / "away.db")
    witness.witness.state.close()  # its next connection finds another, empty file
    assert witness.post(LOG.submission(0, 5)).status == 500
    assert "no such table" in witness.lines[0]


# --- a witness's folder ---


def test_a_witness_is_made_once(tmp_path: Path) -> None:
    public = make_witness(tmp_path / "w", scene.NAME)
    with pytest.raises(LedgerError, match="there is a witness already"):
        make_witness(tmp_path / "w", scene.NAME)
    with pytest.raises(LedgerError, match="there is a witness already"):
        State.create(database_of(tmp_path / "w"), public)
    assert stat.S_IMODE(keys_of(tmp_path / "w").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "é" * 128])
def test_a_name_that_no_note_can_carry_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LedgerError, match="name"):
        make_witness(tmp_path / "w", name)
    assert not (tmp_path / "w").exists()


def test_a_lost_database_is_not_made_anew(tmp_path: Path) -> None:
    scene.made(tmp_path)
    database_of(tmp_path).unlink()
    with pytest.raises(LedgerError, match="there is no witness"):
        Witness.open(tmp_path, lambda: 0)
    assert not database_of(tmp_path).exists()


def test_keys_of_another_witness_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_witness(tmp_path / name, scene.NAME)
    keys_of(tmp_path / "a").write_bytes(keys_of(tmp_path / "b").read_bytes())
    with pytest.raises(LedgerError, match="not the keys that the witness was made with"):
        Witness.open(tmp_path / "a", lambda: 0)


def test_keys_that_others_may_read_are_refused(tmp_path: Path) -> None:
    scene.made(tmp_path)
    keys_of(tmp_path).chmod(0o644)
    with pytest.raises(LedgerError, match="chmod 600"):
        Witness.open(tmp_path, lambda: 0)


def test_trust_is_for_the_keys_of_logs(tmp_path: Path) -> None:
    own = scene.made(tmp_path)
    state = State.open(database_of(tmp_path))
    long = scene.log_keys("x" * 256)[0].verifier
    for key, words in ((own[0], "expected a log's: 0x01 or 0x06"), (long, "more than 255 bytes")):
        with pytest.raises(LedgerError, match=words):
            state.trust([LOG.keys[0].verifier, key])
    assert state.known() == []
    state.close()


def test_a_key_that_is_trusted_no_more_leaves_the_state_as_it_was(witness: scene.Running) -> None:
    state = witness.witness.state
    assert witness.post(LOG.submission(0, 5)).status == 200
    for key in LOG.keys:
        state.distrust(key.verifier)
    assert witness.post(LOG.submission(5, 6)).status == 404
    with pytest.raises(LedgerError, match="it is not trusted"):
        state.distrust(LOG.keys[0].verifier)
    state.trust([LOG.keys[0].verifier])
    state.trust([LOG.keys[0].verifier])
    one = scene.MemoryLog(LOG.keys[:1], LOG.entries)
    assert witness.post(one.submission(0, 6)).status == 409
    assert witness.post(one.submission(5, 6)).status == 200


def test_a_log_s_next_key_is_trusted_before_it_signs(witness: scene.Running) -> None:
    assert witness.post(LOG.submission(0, 5)).status == 200
    renewed = scene.MemoryLog(scene.log_keys(), LOG.entries)
    assert witness.post(renewed.submission(5, 8)).status == 403
    witness.witness.state.trust([key.verifier for key in renewed.keys])
    assert witness.post(renewed.submission(5, 8)).status == 200
    assert witness.post(LOG.submission(8, 9)).status == 200
