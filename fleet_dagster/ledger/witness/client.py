"""A log asks its witnesses to vouch for its newest checkpoint. One that is down, slow or false delays and breaks nothing."""

import http.client
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from fleet_dagster.ledger.log import Log, StoredCheckpoint
from fleet_dagster.ledger.merkle import consistency_proof
from fleet_dagster.ledger.note import Note, Signature, parse_signatures, parse_size
from fleet_dagster.ledger.signing import VerifierKey
from fleet_dagster.ledger.witness.submission import Submission
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.model.ledger import LedgerWitness

CONNECT_TIMEOUT_S = 3.0
MAX_ANSWER = 1 << 16
"""Bytes of an answer above which it is not read on: two lines have 4 kB."""
MAX_TRIES = 4
"""How often a witness may name another size: it moves on where another process of ours asks it too."""
_SHOWN = 120
_TOO_BUSY = 429
AnswerState = Literal["cosigned", "already", "unreachable", "refused"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of asking one witness."""

    witness: str
    state: AnswerState
    size: int
    """Size of the checkpoint that it was asked about."""
    detail: str = ""


class _Refused(Exception):  # noqa: N818 - an answer, not an error
    """The witness does not vouch, and the words say why."""


class _Unreachable(Exception):  # noqa: N818 - an answer, not an error
    """The witness cannot be asked just now."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    content: bytes

    def told(self) -> str:
        """Return the beginning of what it says, harmless to a terminal."""
        text = self.content.decode("utf-8", "replace").strip()
        return f"{self.status}: {text[:_SHOWN]!a}" if text else f"{self.status}"


def gather(
    log: Log, witnesses: Sequence[LedgerWitness], *, timeout_s: float = 10.0
) -> list[Answer]:
    """Ask every witness that has not vouched for the newest checkpoint, all at once, and keep what they sign.

    Returns an answer for each, after `timeout_s` at the latest; none where nothing was ever signed.

    Raises
    ------
    LedgerError
        What is stored as the newest checkpoint is none.
    """
    newest = log.newest_checkpoint()
    if newest is None:
        return []
    submitted = Note.parse(newest.content, what=f"checkpoint of size {newest.size}")
    starts = log.vouched_by()
    asks = [_Ask(log, newest, submitted, one, starts.get(one.name, 0)) for one in witnesses]
    deadline = time.monotonic() + timeout_s
    for ask in asks:
        ask.start(deadline)
    return [ask.ended(deadline, timeout_s) for ask in asks]


@dataclass(slots=True)
class _Ask:
    """A conversation with one witness, in a thread of its own."""

    log: Log
    newest: StoredCheckpoint
    submitted: Note
    witness: LedgerWitness
    start_size: int
    _found: Answer | None = None
    _line: Signature | None = None
    _socket: socket.socket | None = None
    _thread: threading.Thread | None = field(default=None)

    def start(self, deadline: float) -> None:
        """Begin."""
        name = f"witness {self.witness.name}"
        self._thread = threading.Thread(target=self._run, args=(deadline,), name=name, daemon=True)
        self._thread.start()

    def ended(self, deadline: float, timeout_s: float) -> Answer:
        """Wait for the end, hang up at the deadline, and keep the signature if there is one."""
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        found, line = self._found, self._line
        if found is None:
            self._hang_up()
            return self._answer("unreachable", f"it did not answer within {timeout_s:g} s")
        if line is not None:
            self.log.attach(self.newest.size, self.witness.name, line)
        return found

    def _run(self, deadline: float) -> None:
        try:
            self._found = self._asked(deadline)
        except _Refused as reason:
            self._found = self._answer("refused", str(reason))
        except (_Unreachable, OSError, http.client.HTTPException) as error:
            self._found = self._answer("unreachable", _words(error))
        except Exception as error:  # noqa: BLE001 - one witness never breaks the others
            self._found = self._answer("refused", f"it could not be asked ({error})")

    def _asked(self, deadline: float) -> Answer:
        key = _key(self.witness)
        if _has_vouched(self.newest, self.witness.name, key):
            return self._answer("already", "")
        size, start = self.newest.size, min(self.start_size, self.newest.size)
        tiles = self.log.tiles()
        for _ in range(MAX_TRIES):
            proof = consistency_proof(start, size, tiles.node)
            reply = self._post(Submission(start, proof, self.submitted).content, deadline)
            if reply.status == http.HTTPStatus.OK:
                self._line = _verified(reply.content, key, self.submitted.text)
                return self._answer("cosigned", "")
            if reply.status != http.HTTPStatus.CONFLICT:
                raise _Refused(_why_not(reply, start))
            start = _moved(reply, start, size)
        raise _Unreachable(f"it moved on {MAX_TRIES} times while it was asked")

    def _post(self, body: bytes, deadline: float) -> _Reply:
        """Send a request. Nothing is followed elsewhere; too much is not read."""
        path = urlsplit(self.witness.url).path.rstrip("/") + "/add-checkpoint"
        with closing(_connection(self.witness.url)) as connection:
            connection.connect()
            self._socket = connection.sock  # the connection forgets it where the answer has no end
            left = deadline - time.monotonic()  # whoever hangs up had a socket to do it with
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            connection.request("POST", path, body, {"Content-Type": "text/plain; charset=utf-8"})
            with closing(connection.getresponse()) as response:
                content = response.read(MAX_ANSWER + 1)
        if len(content) > MAX_ANSWER:
            raise _Refused(f"it answered with more than {MAX_ANSWER} bytes")
        if response.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR or response.status == _TOO_BUSY:
            raise _Unreachable(f"it answered with status {response.status}")
        return _Reply(response.status, content)

    def _hang_up(self) -> None:
        """End what the thread waits for."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _answer(self, state: AnswerState, detail: str) -> Answer:
        return Answer(self.witness.name, state, self.newest.size, detail)


def _key(witness: LedgerWitness) -> VerifierKey:
    try:
        found = VerifierKey.parse(witness.key)
    except LedgerError as error:
        raise _Refused(f"its key in ledger.witnesses is none: {error}") from error
    if not found.kind.has_time:
        raise _Refused(
            "its key in ledger.witnesses is a log's: take what `fleet witness show` prints"
        )
    return found


def _has_vouched(newest: StoredCheckpoint, name: str, key: VerifierKey) -> bool:
    """Tell whether a stored line is this key's, and true: what is stored may have been tampered with."""
    try:
        lines = parse_signatures(newest.lines.get(name, ""))
    except LedgerError:
        return False
    text = Note.parse(newest.content).text
    return any(key.made(line) and key.verifies(text, line) for line in lines)


def _connection(url: str) -> http.client.HTTPConnection:
    """Return a connection that is about to be made."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=CONNECT_TIMEOUT_S)


def _verified(content: bytes, key: VerifierKey, text: str) -> Signature:
    """Return the configured key's signature; lines of other keys are ignored."""
    try:
        lines = parse_signatures(content.decode("utf-8"))
    except (LedgerError, UnicodeDecodeError) as error:
        raise _Refused("it answered with something else than signature lines") from error
    own = [line for line in lines if key.made(line)]
    if not own:
        raise _Refused(
            "it did not sign with the key that ledger.witnesses has: ask its keeper which is right"
        )
    if not all(key.verifies(text, line) for line in own):
        raise _Refused("its signature is not one of this checkpoint")
    return own[0]


def _moved(reply: _Reply, start: int, size: int) -> int:
    """Return the size at which a witness stands, if it can be led on from there."""
    try:
        stands = parse_size(reply.content.decode("ascii").removesuffix("\n"), "answer")
    except (LedgerError, UnicodeDecodeError) as error:
        raise _Refused(f"it answered with status {reply.told()}, expected a size") from error
    if stands > size:
        raise _Refused(
            f"it knows a longer log, of {stands} entries: this one has {size}, so it was rolled back, "
            "or a copy of it goes on elsewhere"
        )
    if stands == start == size:
        raise _Refused(
            f"it vouched for another log of {size} entries under this name: one of the two is rewritten or a copy"
        )
    if stands == start:
        raise _Refused(f"it refuses the size {start} and names the same")
    return stands


def _why_not(reply: _Reply, start: int) -> str:
    reasons = {
        404: "it does not know this ledger: its keeper has to run `fleet witness trust` with the ledger's key",
        403: "it does not trust the key that signed this checkpoint: its keeper has to run `fleet witness trust`",
        422: f"the ledger did not only grow since the {start} entries that it vouched for: it was rewritten",
    }
    if 300 <= reply.status < 400:  # noqa: PLR2004 - HTTP's redirections
        return f"it sends elsewhere (status {reply.status}): give its final address in ledger.witnesses"
    return reasons.get(reply.status, f"it answered with status {reply.told()}")


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, _Unreachable):
        return str(error)
    if isinstance(error, http.client.HTTPException):
        return f"it does not speak HTTP ({type(error).__name__})"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"it cannot be reached ({reason})"
