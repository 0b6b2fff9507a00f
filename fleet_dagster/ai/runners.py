"""Where models run: on a thread that can be left behind, or in a process that can be ended and has a limit of memory."""

import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.backends import Model, Rows, load
from fleet_dagster.ai.outputs import Predictions
from fleet_dagster.model.errors import FleetError
from fleet_dagster.model.slots import AIModelSlot

LOAD_S = 60.0
"""Seconds that loading a model may take, its libraries included."""
RETRIES = 2
"""Further tries that an endpoint gets."""
_LONGEST_ERROR = 300


class AskError(Exception):
    """A model was asked and gave no predictions; the message is what is recorded."""


class AskTimeoutError(AskError):
    """A model did not answer in time."""


class AskLostError(AskError):
    """Nobody answers: the endpoint cannot be reached or is out of order, or the model's process died."""


class Runner(Protocol):
    """A place where one model runs."""

    def ask(self, rows: Rows, is_asked: NDArray[np.bool_]) -> Predictions:
        """Return predictions, or raise AskError."""

    def close(self) -> None:
        """Let go of the model."""


def run_slot(slot: AIModelSlot, folder: ModelFolder) -> Runner:
    """Return the runner of a slot's model; the model is loaded when it is first asked."""
    return InProcess(slot, folder) if slot.has_own_process else OnThread(slot, folder)


@dataclass
class OnThread:
    """A model on a thread of this process. One that hangs is left behind, and asked no more."""

    slot: AIModelSlot
    folder: ModelFolder
    _asked: "queue.SimpleQueue[tuple[Rows, NDArray[np.bool_]] | None]" = field(
        default_factory=queue.SimpleQueue
    )
    _answers: "queue.SimpleQueue[Predictions | BaseException]" = field(
        default_factory=queue.SimpleQueue
    )
    _is_loaded: bool = False
    _is_lost: bool = False
    _refusal: str = ""

    def ask(self, rows: Rows, is_asked: NDArray[np.bool_]) -> Predictions:
        """Return predictions, or raise AskError."""
        self._load()
        if self._is_lost and self._answers.empty():
            raise AskTimeoutError("not asked: it has not answered an earlier window yet")
        if self._is_lost:
            self._answers.get()  # the late answer, which nobody waits for any more
            self._is_lost = False
        self._asked.put((rows, is_asked))
        # an endpoint is tried several times, each within its time
        tries = RETRIES + 1 if self.slot.backend == "http" else 1
        return self._answer(tries * self.slot.timeout_s)

    def close(self) -> None:
        """Let the thread end, if it ever answers."""
        self._asked.put(None)

    def _load(self) -> None:
        if self._refusal:
            raise AskError(self._refusal)
        if self._is_loaded:
            return
        loaded: queue.SimpleQueue[Model | BaseException] = queue.SimpleQueue()
        threading.Thread(target=self._serve, args=(loaded,), daemon=True).start()
        try:
            found = loaded.get(timeout=LOAD_S)
        except queue.Empty:
            self._refusal = f"could not be loaded within {LOAD_S:g} s"
            raise AskError(self._refusal) from None
        if isinstance(found, BaseException):
            self._refusal = said(found)
            raise AskError(self._refusal) from found
        self._is_loaded = True

    def _serve(self, loaded: "queue.SimpleQueue[Model | BaseException]") -> None:
        try:
            model = load(self.slot, self.folder)
        except BaseException as error:  # noqa: BLE001 - a model may raise anything at all
            loaded.put(error)
            return
        loaded.put(model)
        while (asked := self._asked.get()) is not None:
            try:
                self._answers.put(model.predict(*asked))
            except BaseException as error:  # noqa: BLE001 - a model may raise anything at all
                self._answers.put(error)

    def _answer(self, timeout_s: float) -> Predictions:
        try:
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            self._is_lost = True
            raise AskTimeoutError(f"did not answer within {self.slot.timeout_s:g} s") from None
        if isinstance(answer, TimeoutError):
            raise AskTimeoutError(said(answer)) from answer
        if isinstance(answer, ConnectionError):
            raise AskLostError(said(answer)) from answer
        if isinstance(answer, BaseException):
            raise AskError(said(answer)) from answer
        return answer


@dataclass
class InProcess:
    """A model in a process of its own, with a limit of memory; one that hangs is ended, and started anew for the next window."""

    slot: AIModelSlot
    folder: ModelFolder
    _process: "subprocess.Popen[bytes] | None" = None
    _line: Connection | None = None
    _words: IO[bytes] | None = None
    """What the process writes to its standard error."""
    _refusal: str = ""

    def ask(self, rows: Rows, is_asked: NDArray[np.bool_]) -> Predictions:
        """Return predictions, or raise AskError."""
        if self._refusal:
            raise AskError(self._refusal)
        line = self._line or self._start()
        try:
            line.send_bytes(json.dumps(rows.shape).encode())
            line.send_bytes(np.ascontiguousarray(rows).tobytes())
            line.send_bytes(is_asked.tobytes())
        except OSError:
            raise AskLostError(self._death()) from None
        tries = RETRIES + 1 if self.slot.backend == "http" else 1
        head = json.loads(self._receive(line, tries * self.slot.timeout_s))
        if "error" in head:
            raise _ERRORS[head["kind"]](head["error"])
        found = np.frombuffer(self._receive(line, self.slot.timeout_s), dtype=np.float64)
        if found.size != 2 * len(rows):
            raise AskError("answered with another number of rows than it was asked for")
        return Predictions(*found.reshape(2, len(rows)))

    def close(self) -> None:
        """End the process."""
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            # with whatever it has started itself
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._words is not None:
            self._words.close()
        self._process = self._line = self._words = None

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        # one thread for linear algebra: products of several differ in their last bits
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and our own module
            [sys.executable, "-P", "-m", "fleet_dagster.ai.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._words,
            env={**os.environ, **single},
            start_new_session=True,
        )
        theirs.close()
        self._line = Connection(ours.detach())
        self._line.send_bytes(
            json.dumps([self.slot.model_dump(mode="json"), str(self.folder.root)]).encode()
        )
        head = json.loads(self._receive(self._line, LOAD_S))
        if "error" in head:
            self.close()
            self._refusal = head["error"]
            raise AskError(self._refusal)
        return self._line

    def _receive(self, line: Connection, timeout_s: float) -> bytes:
        try:
            if line.poll(timeout_s):
                return line.recv_bytes()
        except (EOFError, OSError):
            raise AskLostError(self._death()) from None
        self.close()
        raise AskTimeoutError(f"did not answer within {self.slot.timeout_s:g} s and was ended")

    def _death(self) -> str:
        """Say how the process died, and forget it."""
        last, how = "", "it no longer listens"
        if self._process is not None and self._words is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(timeout=1)
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            self._words.seek(0)
            lines = self._words.read().decode("utf-8", "replace").strip().splitlines()
            last = f": {plain(lines[-1])}" if lines else ""
        self.close()
        return f"its process died ({how}){last}"


_ERRORS: dict[str, type[AskError]] = {
    "error": AskError,
    "timeout": AskTimeoutError,
    "lost": AskLostError,
}


def kind_of(error: BaseException) -> str:
    """Return what kind of error a model's process tells of."""
    if isinstance(error, TimeoutError):
        return "timeout"
    return "lost" if isinstance(error, ConnectionError) else "error"


def plain(text: str) -> str:
    """Return a text in one line that can be stored, without addresses in memory, which differ from run to run."""
    storable = text.encode("utf-8", "replace").decode()
    return re.sub(r"0x[0-9a-fA-F]+", "0x…", " ".join(storable.split()))[:_LONGEST_ERROR]


def said(error: BaseException) -> str:
    """Return an error in one line, whatever it is."""
    try:
        text = plain(str(error))
    except Exception:  # noqa: BLE001 - a model's own error may fail to tell itself
        text = ""
    if isinstance(error, FleetError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
