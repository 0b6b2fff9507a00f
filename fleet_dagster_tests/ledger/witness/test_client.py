import datetime as dt
import http.server
import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleet_dagster.ledger.log import Log
from fleet_dagster.ledger.note import Note
from fleet_dagster.ledger.signing import Kind, SigningKey, VerifierKey
from fleet_dagster.ledger.witness import client
from fleet_dagster.ledger.witness.client import Answer, gather
from fleet_dagster.ledger.witness.submission import Submission
from fleet_dagster.ledger.witness.witness import KINDS
from fleet_dagster.model.ledger import LedgerWitness
from fleet_dagster.storage.control.schema import ledger_cosignatures, ledger_tiles
from fleet_dagster_tests.ledger.witness import scene

KEYS = scene.log_keys()
ENTRIES = scene.entries(600)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """Open a stored log of five entries."""
    with scene.stored_log(tmp_path / "control.db") as found:
        scene.grow(found, KEYS, ENTRIES[:5])
        yield found


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[scene.Running]:
    """Run a witness that trusts the log."""
    with scene.running(tmp_path / "witness", *KEYS) as found:
        yield found


def asked(log: Log, *witnesses: LedgerWitness, timeout_s: float = 30.0) -> list[tuple[str, int]]:
    return [(a.state, a.size) for a in gather(log, witnesses, timeout_s=timeout_s)]


def refusal(log: Log, witness: LedgerWitness, state: str = "refused") -> str:
    """Ask a witness that does not vouch; returns the words."""
    (answer,) = gather(log, [witness], timeout_s=30.0)
    assert (answer.state, attached(log)) == (state, {})
    return answer.detail


def attached(log: Log) -> dict[str, str]:
    newest = log.newest_checkpoint()
    assert newest is not None
    return dict(newest.lines)


@pytest.mark.parametrize("kind", KINDS)
def test_the_configured_key_s_signature_is_kept(
    log: Log, witness: scene.Running, kind: Kind
) -> None:
    setting = witness.setting(kind)
    assert asked(log, setting) == [("cosigned", 5)]
    newest = log.newest_checkpoint()
    assert newest is not None
    note, key = newest.note(), VerifierKey.parse(setting.key)
    assert len(note.signatures) == 3
    assert key.verifies(note.text, note.signatures[-1])


def test_a_growing_log_is_proved_from_what_was_vouched_for(
    log: Log, witness: scene.Running
) -> None:
    assert asked(log, witness.setting()) == [("cosigned", 5)]
    for start, end in ((5, 256), (256, 257), (257, 600)):
        scene.grow(log, KEYS, ENTRIES[start:end])
        assert asked(log, witness.setting()) == [("cosigned", end)]
    steps = [line.split(" ", 1)[1] for line in witness.lines]
    assert steps == ["0 -> 5: 200", "5 -> 256: 200", "256 -> 257: 200", "257 -> 600: 200"]


def test_who_has_vouched_is_not_asked_again(log: Log, witness: scene.Running) -> None:
    assert asked(log, witness.setting()) == [("cosigned", 5)]
    assert asked(log, witness.setting()) == [("already", 5)]
    assert len(witness.lines) == 1


def test_a_line_that_was_tampered_with_is_asked_for_again(log: Log, witness: scene.Running) -> None:
    assert asked(log, witness.setting()) == [("cosigned", 5)]
    (line,) = attached(log).values()
    for bad in ("junk", line.replace("A", "B"), ""):
        with log.control.transaction() as tx:
            tx.execute(sa.update(ledger_cosignatures).values(line=bad))
        assert asked(log, witness.setting()) == [("cosigned", 5)]


def test_a_witness_that_is_further_says_where_to_start(log: Log, witness: scene.Running) -> None:
    memory = scene.MemoryLog(KEYS, ENTRIES)
    assert witness.post(memory.submission(0, 3)).status == 200
    assert asked(log, witness.setting()) == [("cosigned", 5)]
    with log.control.transaction() as tx:
        tx.execute(sa.delete(ledger_cosignatures))
    assert asked(log, witness.setting()) == [("cosigned", 5)]
    assert [line.split(" ", 1)[1] for line in witness.lines[1:]] == [
        "0 -> 5: 409",
        "3 -> 5: 200",
        "0 -> 5: 409",
        "5 -> 5: 200",
    ]


def test_an_unsigned_log_asks_nobody(tmp_path: Path, witness: scene.Running) -> None:
    with scene.stored_log(tmp_path / "empty.db") as log:
        assert gather(log, [witness.setting()]) == []
    assert witness.lines == []


def test_a_log_that_was_rolled_back_is_told(log: Log, witness: scene.Running) -> None:
    memory = scene.MemoryLog(KEYS, ENTRIES)
    assert witness.post(memory.submission(0, 9)).status == 200
    assert "knows a longer log, of 9 entries: this one has 5" in refusal(log, witness.setting())


def test_a_rewritten_log_is_told(log: Log, tmp_path: Path, witness: scene.Running) -> None:
    assert asked(log, witness.setting()) == [("cosigned", 5)]
    with scene.stored_log(tmp_path / "other.db") as other:
        scene.grow(other, KEYS, scene.entries(5, "rewritten"))
        assert "another log of 5 entries" in refusal(other, witness.setting())
        scene.grow(other, KEYS, ENTRIES[5:8])
        words = refusal(other, witness.setting())
        assert "did not only grow since the 5 entries" in words


def test_a_log_whose_tiles_were_tampered_with_is_not_vouched_for(
    log: Log, witness: scene.Running
) -> None:
    assert asked(log, witness.setting()) == [("cosigned", 5)]
    scene.grow(log, KEYS, ENTRIES[5:9])
    for content, words in ((bytes(9 * 32), "was rewritten"), (b"", "tile 0/0: it has 0 hashes")):
        with log.control.transaction() as tx:
            tx.execute(sa.update(ledger_tiles).values(hashes=content))
        assert words in refusal(log, witness.setting())


def test_who_does_not_know_the_log_or_its_key_is_told(log: Log, tmp_path: Path) -> None:
    with scene.running(tmp_path / "w", *scene.log_keys("esn/fleet/other")) as witness:
        assert "does not know this ledger" in refusal(log, witness.setting())
        witness.witness.state.trust([scene.log_keys()[0].verifier])
        assert "does not trust the key" in refusal(log, witness.setting())


def test_a_line_of_another_key_is_ignored(log: Log, tmp_path: Path, witness: scene.Running) -> None:
    other = scene.made(tmp_path / "other")[1]
    setting = witness.setting().model_copy(update={"key": other.vkey})
    assert "did not sign with the key" in refusal(log, setting)


@pytest.mark.parametrize(
    ("key", "words"),
    [(f"{scene.NAME}+junk", "is none"), (KEYS[0].verifier.vkey, "is a log's")],
    ids=["junk", "a log's"],
)
def test_a_key_that_is_none_is_told(log: Log, witness: scene.Running, key: str, words: str) -> None:
    assert words in refusal(log, witness.setting().model_copy(update={"key": key}))


def test_a_witness_that_was_down_is_asked_again(log: Log, witness: scene.Running) -> None:
    setting = witness.setting()
    witness.down()
    assert "it cannot be reached (Connection refused)" in refusal(log, setting, "unreachable")
    scene.grow(log, KEYS, ENTRIES[5:7])
    assert asked(log, setting) == [("unreachable", 7)]
    witness.up()
    assert asked(log, setting) == [("cosigned", 7)]


def test_each_witness_is_asked_whatever_becomes_of_the_others(
    log: Log, tmp_path: Path, witness: scene.Running
) -> None:
    with ExitStack() as stack:
        second = stack.enter_context(scene.running(tmp_path / "2", *KEYS, name="w2"))
        stranger = stack.enter_context(scene.running(tmp_path / "3", name="w3"))
        hanging = stack.enter_context(answering(lambda _sock: RELEASED.wait(60)))
        settings = [
            LedgerWitness(
                name="w4", url=hanging, key="w4" + scene.made(tmp_path / "4", name="w4")[1].vkey[2:]
            ),
            witness.setting(),
            stranger.setting(),
            second.setting(Kind.ED25519_COSIGNATURE),
        ]
        found = asked(log, *settings, timeout_s=2.0)
    assert found == [("unreachable", 5), ("cosigned", 5), ("refused", 5), ("cosigned", 5)]
    assert set(attached(log)) == {scene.NAME, "w2"}


def certificate(path: Path) -> Path:
    """Write a certificate of this machine's address, with its key."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "witness")])
    now = dt.datetime.now(dt.UTC)
    found = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = private.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(found.public_bytes(pem) + key)
    return path


def test_a_witness_behind_tls_is_believed_by_its_certificate(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.made(tmp_path / "witness", *KEYS)
    witness = scene.Running(tmp_path / "witness", certificate=certificate(tmp_path / "tls.pem"))
    witness.up()
    try:
        words = refusal(log, witness.setting(), "unreachable")
        assert "CERTIFICATE_VERIFY_FAILED" in words
        monkeypatch.setenv("SSL_CERT_FILE", str(witness.certificate))
        assert asked(log, witness.setting()) == [("cosigned", 5)]
    finally:
        witness.down()


# --- whoever answers at a witness's address, and is none ---

RELEASED = threading.Event()


@contextmanager
def answering(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """Run a server that answers bytes; returns its address."""
    RELEASED.clear()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                try:
                    while b"\n\n" not in (got := sock.recv(1 << 16)) and got:
                        pass
                    answer(sock)
                except OSError:
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        RELEASED.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def fake(url: str, tmp_path: Path) -> LedgerWitness:
    key = scene.made(tmp_path / "fake")[1]
    return LedgerWitness(name=scene.NAME, url=url, key=key.vkey)


def said(status: str, body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{h}\r\n" for h in (f"Content-Length: {len(body)}", *headers))
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (b"\x00\xff garbage\r\n\r\n", "unreachable", "does not speak HTTP"),
        (b"", "unreachable", "cannot be reached|does not speak HTTP"),
        (said("200 OK", b"hello\n"), "refused", "something else than signature lines"),
        (said("200 OK", b"\xff\xff"), "refused", "something else than signature lines"),
        (said("200 OK", b"x" * (1 << 20)), "refused", "more than 65536 bytes"),
        (said("503 Busy", b"later"), "unreachable", "status 503"),
        (said("429 Busy", b"later"), "unreachable", "status 429"),
        (said("400 No", b"\x1b[31mno"), "refused", r"400: '\\x1b\[31mno'"),
        (said("409 No", b"many\n"), "refused", "expected a size"),
        (said("409 No", b"0\n"), "refused", "refuses the size 0 and names the same"),
        (said("200 OK", b"", "Content-Encoding: " + "x" * 70_000), "unreachable", "HTTP"),
    ],
    ids=range(11),
)
def test_what_is_no_witness_s_answer_is_told_in_words(
    log: Log, tmp_path: Path, answer: bytes, state: str, words: str
) -> None:
    with answering(lambda sock: sock.sendall(answer)) as url:
        found = refusal(log, fake(url, tmp_path), state)
    assert re.search(words, found), found
    assert "\x1b" not in found


def test_a_witness_that_keeps_moving_is_left_alone(log: Log, tmp_path: Path) -> None:
    sizes = iter(range(1, 100))
    with answering(lambda sock: sock.sendall(said("409 No", b"%d\n" % (next(sizes) % 5)))) as url:
        assert "moved on 4 times" in refusal(log, fake(url, tmp_path), "unreachable")
    assert next(sizes) == client.MAX_TRIES + 1


def test_nobody_is_followed_elsewhere(log: Log, witness: scene.Running) -> None:
    elsewhere = said("307 Go", b"", f"Location: {witness.url}/add-checkpoint")
    with answering(lambda sock: sock.sendall(elsewhere)) as url:
        setting = witness.setting().model_copy(update={"url": url})
        assert "sends elsewhere (status 307)" in refusal(log, setting)
    assert witness.lines == []


def drip(head: bytes) -> Callable[[socket.socket], None]:
    """Return what sends a byte now and then, for ever."""

    def answer(sock: socket.socket) -> None:
        sock.sendall(head)
        while not RELEASED.wait(0.02):
            sock.sendall(b"x")

    return answer


@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"],
    ids=["line", "header", "body"],
)
def test_a_witness_that_trickles_is_hung_up_on(log: Log, tmp_path: Path, head: bytes) -> None:
    with answering(drip(head)) as url:
        (answer,) = gather(log, [fake(url, tmp_path)], timeout_s=0.3)
        assert answer == Answer(scene.NAME, "unreachable", 5, "it did not answer within 0.3 s")
        for thread in threading.enumerate():  # ours ends while the other side still sends
            if thread.name == f"witness {scene.NAME}":
                thread.join(30)
                assert not thread.is_alive()


@pytest.mark.parametrize("what", ["another checkpoint", "another log"])
def test_a_replayed_cosignature_is_refused(log: Log, witness: scene.Running, what: str) -> None:
    other = scene.log_keys("esn/fleet/other")
    witness.witness.state.trust([key.verifier for key in other])
    replayed: dict[str, tuple[Sequence[SigningKey], str]] = {
        "another checkpoint": (KEYS, scene.ORIGIN),
        "another log": (other, "esn/fleet/other"),
    }
    keys, origin = replayed[what]
    n = 4 if keys is KEYS else 5
    memory = scene.MemoryLog(keys, ENTRIES, origin)
    lines = witness.post(memory.submission(0, n)).content
    with answering(lambda sock: sock.sendall(said("200 OK", lines))) as url:
        for kind in KINDS:
            setting = witness.setting(kind).model_copy(update={"url": url})
            assert "is not one of this checkpoint" in refusal(log, setting)


def test_paths_before_the_call_are_kept(log: Log, witness: scene.Running) -> None:
    paths = []

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            paths.append(self.path)
            assert Submission.parse(body).note == Note.parse(list(log.checkpoints())[-1].content)
            reply = witness.post(body)
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/w1/"
        assert asked(log, witness.setting().model_copy(update={"url": url})) == [("cosigned", 5)]
        server.shutdown()
        thread.join()
    assert paths == ["/w1/add-checkpoint"]
