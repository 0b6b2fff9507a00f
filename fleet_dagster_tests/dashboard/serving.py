"""Real dashboards for tests: a web server on a free port, in a thread, and clients that speak to it."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet_dagster.dashboard.application import STATIC, application
from fleet_dagster.dashboard.serving import web_server
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.serving import listening
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.store import Store
from fleet_dagster.storage.tokens import Role, Tokens

TIMEOUT_S = 20.0
Event = tuple[str, Any, str]  # Any: JSON
"""Name, data and id."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # Any: JSON
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(slots=True)
class Served:
    """A running dashboard; a token is sent along as a bearer where one is given."""

    port: int
    store: Store
    token: str = ""
    channels: Any = None  # Any: tests look into it

    def get(self, path: str, **headers: str) -> Answer:
        """Ask for something."""
        return self.ask("GET", path, None, **headers)

    def post(self, path: str, body: object = None, **headers: str) -> Answer:
        """Ask for something to be done."""
        return self.ask("POST", path, json.dumps(body or {}).encode(), **headers)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Ask in any way."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            given.setdefault("Authorization", f"Bearer {self.token}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, answer.read())
        finally:
            connection.close()

    def token_of(self, role: Role = "viewer", **changes: Any) -> str:  # Any: arguments of a token
        """Return the secret of a new token."""
        _, secret = Tokens(self.store.control).create("somebody", role, at=now_us(), **changes)
        return secret

    def as_(self, role: Role, **changes: Any) -> "Served":  # Any: arguments of a token
        """Return the same dashboard, seen with a new token."""
        return Served(self.port, self.store, self.token_of(role, **changes), self.channels)

    @contextmanager
    def events(self, fleet: str = "plant", last_id: str = "") -> Iterator["Listener"]:
        """Listen to a fleet."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self.token}"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        try:
            connection.request("GET", f"/api/fleets/{fleet}/events", headers=headers)
            with connection.getresponse() as answer:
                yield Listener(answer)
        finally:
            connection.close()


@dataclass(slots=True)
class Listener:
    """Reads a stream of events."""

    answer: http.client.HTTPResponse
    seen: list[Event] = field(default_factory=list)

    def next(self) -> Event | None:
        """Return the next event; None where the stream has ended."""
        told = {"id": ""}
        while True:
            line = self.answer.readline()
            if not line:
                return None
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if not name:
                self.seen.append((told["event"], json.loads(told["data"]), told["id"]))
                return self.seen[-1]
            told[name] = value

    def until(self, *names: str) -> Event:
        """Return the next event of one of some names."""
        return self.first(lambda event: event[0] in names)

    def first(self, holds: Callable[[Event], bool]) -> Event:
        """Return the next event for which something holds."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            event = self.next()
            assert event is not None, f"the stream ended after {[e[0] for e in self.seen]}"
            if holds(event):
                return event
        raise AssertionError([e[0] for e in self.seen])


@contextmanager
def served(
    store: Store,
    *configs: FleetConfig,
    static: Path = STATIC,
    dagster_url: str | None = None,
    port: int = 0,
) -> Iterator[Served]:
    """Serve fleets until the block ends."""
    by_name = {config.name: config for config in configs}
    with serving_of(store, by_name, static=static, dagster_url=dagster_url, port=port) as running:
        yield running


@contextmanager
def serving_of(
    store: Store,
    shown: Mapping[str, FleetConfig],
    *,
    static: Path = STATIC,
    dagster_url: str | None = None,
    port: int = 0,
) -> Iterator[Served]:
    """Serve the fleets that a mapping holds, as it changes."""
    made = application(store, lambda: dict(shown), static=static, dagster_url=dagster_url)
    server = web_server(made.app, made.channels.end_streams)
    with listening("127.0.0.1", port) as sock:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        try:
            yield Served(_ready(server, sock.getsockname()[1]), store, channels=made.channels)
        finally:
            server.should_exit = True
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()


def _ready(server: Any, port: int) -> int:  # Any: the web server
    deadline = time.monotonic() + TIMEOUT_S
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return port


def eventually(holds: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> Any:  # Any: an answer
    """Return what something returns once that is true."""
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found
