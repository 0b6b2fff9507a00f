"""Programs that run beside this one: started apart from the terminal, watched, and stopped with all that they started."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from fleet_dagster.model.errors import StorageError

HOST = "127.0.0.1"
DAGSTER_PORT, DASHBOARD_PORT = 3000, 3001
START_TIMEOUT_S, STOP_TIMEOUT_S = 120.0, 20.0
_POLL_S = 0.2
_TAIL_LINES = 15
MOST_RESTARTS, RESTARTS_WITHIN_S = 3, 600.0
"""A program that ends by itself more often than that is not started again: something is wrong that time does not mend."""


class ChildError(StorageError):
    """A program that runs beside this one does not start, or it ended by itself."""


def is_free(port: int) -> bool:
    """Tell whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@dataclass(slots=True)
class Child:
    """A program and its process. It gets a session of its own, so that Ctrl-C reaches us alone."""

    name: str
    """What people call it."""
    command: Sequence[str]
    log: Path
    folder: Path
    """Where it works."""
    environment: Mapping[str, str]
    url: str = ""
    """Address at which it answers; empty where it does not listen."""
    probe: str = ""
    """Path below the address that is answered as soon as it is up."""
    _process: "subprocess.Popen[bytes] | None" = None
    _restarts: deque[float] = field(default_factory=deque)

    def __enter__(self) -> Self:
        """Start the program."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and everything it started."""
        self.stop()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The newest process of the program."""
        if self._process is None:
            message = f"{self.name} was not started"
            raise ChildError(message)
        return self._process

    def start(self) -> None:
        """Start the program; what it writes is added to its log."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                self.command,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_up(self) -> None:
        """Wait for the first answer.

        Raises
        ------
        ChildError
            It ended, or does not answer.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            self.check()
            if time.monotonic() > deadline:
                message = f"{self.name} did not answer within {START_TIMEOUT_S:.0f} s. Its log: {self.log}"
                raise ChildError(message)
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Refuse to go on when the process has ended.

        Raises
        ------
        ChildError
            It has; the end of its log is told.
        """
        code = self.process.poll()
        if code is not None:
            message = (
                f"{self.name} ended {_how(code)}. The end of its log, {self.log}:\n{self._tail()}"
            )
            raise ChildError(message)

    def revive(self) -> str:
        """Start the program again if it has ended by itself; returns how it did, or nothing while it runs.

        Raises
        ------
        ChildError
            It ends again and again.
        """
        code = self.process.poll()
        if code is None:
            return ""
        now = time.monotonic()
        while self._restarts and now - self._restarts[0] > RESTARTS_WITHIN_S:
            self._restarts.popleft()
        if len(self._restarts) >= MOST_RESTARTS:
            self.check()
        self._restarts.append(now)
        _end_group(self.process.pid)
        self.start()
        return _how(code)

    def stop(self) -> None:
        """Ask it to end, and after a while make it and everything it started end."""
        if self._process is None:
            return
        self.ask_to_end()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_S)
        _end_group(self._process.pid)
        self._process.wait()

    def ask_to_end(self) -> None:
        """Ask it to end, without waiting: several programs can end at the same time."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def _tail(self) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(f"  {line}" for line in text.splitlines()[-_TAIL_LINES:])

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}{self.probe}", timeout=2) as answer:  # noqa: S310 - our own address
                return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's OK
        except (urllib.error.URLError, OSError):
            return False


def _how(code: int) -> str:
    if code >= 0:
        return f"with code {code}"
    with suppress(ValueError):
        return f"by signal {signal.Signals(-code).name}"
    return f"by signal {-code}"


def _end_group(group: int) -> None:
    """End what is left of a process group that we started."""
    for signal_no, patience_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + patience_s
        try:
            os.killpg(group, signal_no)
            while time.monotonic() < deadline:
                time.sleep(_POLL_S)
                os.killpg(group, 0)
        except ProcessLookupError:
            return
