"""Logs, forks of them, and running witnesses for tests: real keys, real databases, real HTTP."""

import http.client
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from fleet_dagster.ledger.key_files import new_keys
from fleet_dagster.ledger.log import Leaf, Log
from fleet_dagster.ledger.merkle import Frontier, consistency_proof, leaf_hash, root_of
from fleet_dagster.ledger.note import Checkpoint, Note, parse_signatures
from fleet_dagster.ledger.signing import Kind, SigningKey, VerifierKey, signed
from fleet_dagster.ledger.witness.serving import web_server
from fleet_dagster.ledger.witness.submission import Submission
from fleet_dagster.ledger.witness.witness import Witness, make_witness
from fleet_dagster.model.ledger import LedgerWitness
from fleet_dagster.serving import listening
from fleet_dagster.storage.control.engine import Control

ORIGIN = "esn/fleet/plant"
NAME = "witness.example/w1"
LOG_KINDS = (Kind.ED25519, Kind.MLDSA44_COSIGNATURE)
SIGNED_AT = 1_767_225_600


@dataclass(frozen=True)
class MemoryLog:
    """A log that is only its entries: it can be forked, cut and rewritten at will, as its keeper could."""

    keys: Sequence[SigningKey]
    entries: tuple[bytes, ...]
    origin: str = ORIGIN

    def checkpoint(self, size: int) -> Checkpoint:
        """Return what it says of itself at a size."""
        return Checkpoint(self.origin, size, self._roots[size])

    def note(self, size: int) -> Note:
        """Return that, signed."""
        return signed(self.checkpoint(size), self.keys, time=SIGNED_AT)

    def submission(self, old: int, new: int) -> Submission:
        """Return what it sends to a witness; where the sizes allow no proof, without one."""
        proof = consistency_proof(old, new, self._node) if old <= new else []
        return Submission(old, proof, self.note(new))

    def _node(self, level: int, index: int) -> bytes:
        first = index << level
        return root_of(self._leaves[first : first + (1 << level)])

    @cached_property
    def _leaves(self) -> list[bytes]:
        return [leaf_hash(e) for e in self.entries]

    @cached_property
    def _roots(self) -> list[bytes]:
        frontier = Frontier()
        found = [frontier.root()]
        for leaf in self._leaves:
            frontier.extend([leaf])
            found.append(frontier.root())
        return found


def entries(n: int, word: str = "entry") -> tuple[bytes, ...]:
    """Return entries of a log."""
    return tuple(f"{word} {number}".encode() for number in range(n))


def log_keys(origin: str = ORIGIN) -> tuple[SigningKey, ...]:
    """Return a log's two keys."""
    return new_keys(origin, LOG_KINDS)


def memory_log(n: int = 20, origin: str = ORIGIN) -> MemoryLog:
    """Return a log with keys of its own."""
    return MemoryLog(log_keys(origin), entries(n), origin)


def forked(log: MemoryLog, at: int, word: str = "rewritten") -> MemoryLog:
    """Return a log under the same name and keys that is another from an entry on."""
    n = len(log.entries)
    return MemoryLog(log.keys, log.entries[:at] + entries(n, word)[at:], log.origin)


def made(folder: Path, *keys: SigningKey, name: str = NAME) -> tuple[VerifierKey, ...]:
    """Make a witness that trusts logs' keys; returns its own."""
    public = make_witness(folder, name)
    witness = Witness.open(folder, lambda: 0)
    witness.state.trust([key.verifier for key in keys])
    witness.state.close()
    return public


@dataclass
class Running:
    """A witness that answers over HTTP; it may go down, and up again at the same port."""

    folder: Path
    lines: list[str] = field(default_factory=list)
    port: int = 0
    certificate: Path | None = None
    """File of a certificate and its key: it then answers over TLS."""

    def up(self) -> None:
        """Begin to answer: always at the same port."""
        self.witness = Witness.open(self.folder, lambda: int(time.time()))
        self._server = web_server(
            self.witness,
            report=self.lines.append,
            certfile=self.certificate,
            keyfile=self.certificate,
        )
        self._socket = listening("127.0.0.1", self.port)
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()

    def down(self) -> None:
        """Answer no more."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
        self.witness.state.close()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http{'s' * bool(self.certificate)}://127.0.0.1:{self.port}"

    def setting(self, kind: Kind = Kind.MLDSA44_COSIGNATURE) -> LedgerWitness:
        """Return how a fleet's file names it."""
        (key,) = [key for key in self.witness.keys if key.kind is kind]
        return LedgerWitness(name=key.name, url=self.url, key=key.verifier.vkey)

    def post(self, content: Submission | bytes) -> "Reply":
        """Send it a submission."""
        return post(self.url, content)


@contextmanager
def running(folder: Path, *keys: SigningKey, name: str = NAME) -> Iterator[Running]:
    """Make a witness that trusts logs' keys, and let it answer while the block runs."""
    made(folder, *keys, name=name)
    server = Running(folder)
    server.up()
    try:
        yield server
    finally:
        server.down()


@dataclass(frozen=True)
class Reply:
    """An answer of a witness."""

    status: int
    type: str
    content: bytes

    def cosigned(self, note: Note) -> Note:
        """Return a note with the signatures that were answered."""
        return note.signed_also(*parse_signatures(self.content.decode()))


def post(url: str, content: Submission | bytes, path: str = "/add-checkpoint") -> Reply:
    """Send a submission."""
    return asked(url, "POST", path, content.content if isinstance(content, Submission) else content)


def asked(url: str, method: str, path: str, body: bytes | None = None) -> Reply:
    """Ask a witness anything."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return Reply(response.status, response.getheader("Content-Type", ""), response.read())
    finally:
        connection.close()


@contextmanager
def stored_log(path: Path) -> Iterator[Log]:
    """Open a stored log of no entries in a control database of its own."""
    control = Control(f"sqlite:///{path}")
    control.migrate()
    try:
        yield Log(control, "plant")
    finally:
        control.dispose()


def grow(log: Log, keys: Sequence[SigningKey], new: Sequence[bytes]) -> Note:
    """Append entries to a stored log, and sign what it is then."""
    head = log.begin(keys[0].name)
    batch = log.prepare(head, [Leaf(entry, "test") for entry in new])
    note = signed(Checkpoint(head.origin, batch.size, batch.root), keys, time=SIGNED_AT)
    with log.control.transaction() as tx:
        log.append(tx, batch, note)
    return note
