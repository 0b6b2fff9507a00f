"""The dashboard as a process of its own, and a proxy in front of it that stops passing anything on without hanging up."""

import http.client
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.store import Store
from fleet_dagster.storage.tokens import Role, Tokens

START_S = 60.0
_CHUNK = 65_536


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Dashboard:
    """`fleet dashboard` over a home."""

    def __init__(self, home: Path, fleets: Path, *, dagster_url: str | None = None) -> None:
        self.home, self.fleets, self.dagster_url = home, fleets, dagster_url
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where its page is."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> "Dashboard":
        """Start it, and wait until it answers."""
        options = ["--port", str(self.port), "--no-browser", "--home", str(self.home)]
        links = ["--dagster-url", self.dagster_url] if self.dagster_url else []
        command = [sys.executable, "-m", "fleet_dagster.cli.main", "dashboard", *options, *links]
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [*command, "--fleets", str(self.fleets)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        self._wait()
        return self

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it."""
        self._end(signal.SIGTERM)

    def token(self, role: Role = "viewer", *, lasts_s: float | None = None) -> str:
        """Make a token."""
        now = now_us()
        expires_at = None if lasts_s is None else now + round(lasts_s * 1_000_000)
        with Store.at(self.home) as store:
            tokens = Tokens(store.control)
            _, secret = tokens.create("somebody", role, at=now, expires_at=expires_at)
        return secret

    def _wait(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            assert self._process is not None
            if self._process.poll() is not None:
                said = self._process.stderr.read().decode() if self._process.stderr else ""
                raise RuntimeError(f"fleet dashboard ended: {said}")
            if self._answers():
                return
            time.sleep(0.05)
        raise RuntimeError(f"fleet dashboard did not answer within {START_S:.0f} s")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        with suppress(OSError), closing(connection):
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(20)
        if self._process.stderr:
            self._process.stderr.close()
        self._process = None


class Proxy:
    """Passes bytes between the browser and a dashboard, until it hangs: then it holds them, and every connection stays open."""

    def __init__(self, target_port: int) -> None:
        self.target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._flows = threading.Event()
        self._flows.set()
        self._is_over = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where the page is, behind the proxy."""
        return f"http://127.0.0.1:{self.port}/"

    def hang(self) -> None:
        """Pass nothing on any more."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass on what waits, and what comes."""
        self._flows.set()

    def close(self) -> None:
        """Hang up everywhere."""
        self._is_over = True
        self._flows.set()
        self._listener.close()
        for pair in self._pairs:
            for one in pair:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._is_over:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self.target)
            except OSError:
                continue
            self._pairs.append((client, server))
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as ready, client, server, suppress(OSError):
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while not self._is_over:
                for key, _ in ready.select(timeout=1):
                    sent = key.fileobj.recv(_CHUNK)  # type: ignore[union-attr] # sockets alone are registered
                    self._flows.wait()
                    if not sent:
                        return
                    key.data.sendall(sent)
