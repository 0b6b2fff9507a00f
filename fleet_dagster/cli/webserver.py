"""`dagster dev` as a child: started apart from the terminal, watched, and stopped with all that it started."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fleet_dagster.model.errors import StorageError
from fleet_dagster.storage.installation import Installation

HOST = "127.0.0.1"
START_TIMEOUT_S, STOP_TIMEOUT_S = 120.0, 20.0
_POLL_S = 0.2
_TAIL_LINES = 15


class WebserverError(StorageError):
    """The dashboard does not start, or it ended by itself."""


def is_free(port: int) -> bool:
    """Tell whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class Webserver:
    """A running `dagster dev`: its web server, its daemon and its code server are its children."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log

    @property
    def url(self) -> str:
        """Address of the dashboard."""
        return f"http://{HOST}:{self.port}"

    def wait_until_up(self) -> None:
        """Wait for the first answer."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            self.check()
            if time.monotonic() > deadline:
                message = f"The dashboard did not answer within {START_TIMEOUT_S:.0f} s. Its log: {self.log}"
                raise WebserverError(message)
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Refuse to go on when the process has ended."""
        code = self.process.poll()
        if code is not None:
            tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[
                -_TAIL_LINES:
            ]
            lines = "\n".join(f"  {line}" for line in tail)
            message = (
                f"`dagster dev` ended with code {code}. The end of its log, {self.log}:\n{lines}"
            )
            raise WebserverError(message)

    def stop(self) -> None:
        """Ask it to end, and after a while make it and everything it started end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_TIMEOUT_S)
        _end_group(self.process.pid)
        self.process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/server_info", timeout=2) as answer:  # noqa: S310 - our own address
                return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's OK
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def webserver(installation: Installation, workspace: Path, port: int) -> Iterator[Webserver]:
    """Run `dagster dev` while the block runs.

    It gets a session of its own, so that Ctrl-C reaches us alone, and works in Dagster's folder, where no file can shadow
    a module.
    """
    log = installation.dagster_home / "dagster-dev.log"
    command = [
        sys.executable,
        "-P",
        "-m",
        "dagster",
        "dev",
        "-w",
        str(workspace),
        "-h",
        HOST,
        "-p",
        str(port),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            command,
            cwd=installation.dagster_home,
            env={**os.environ, **installation.environment()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Webserver(process, port, log)
    try:
        yield server
    finally:
        server.stop()


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
