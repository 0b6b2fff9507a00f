"""P7, the server's half: how long a push takes to reach the last of 200 listeners.

A real server in a process of its own, over the tables of a fleet of 1,000 sites; a driver beside it changes a tenth of the
sites ten times a second. Listeners are connections of another process.
"""

import asyncio
import contextlib
import datetime as dt
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles

from benchmarks.everything import LARGE
from benchmarks.report import Figure, Result
from benchmarks.telemetry import NAME, START, landed_hours
from fleet_dagster.core.windows import HOUR, MINUTE, SECOND, Span
from fleet_dagster.dashboard.application import Application, application
from fleet_dagster.dashboard.documents import Document
from fleet_dagster.dashboard.serving import web_server
from fleet_dagster.nodes.dashboard_sink import instant_text
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.serving import listening
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.store import Store
from fleet_dagster.storage.tokens import Tokens

PUSHES_HZ = 10
MEASURED_S, SETTLED_S = 20.0, 3.0
N_CLIENTS = (1, 200)
MOST_MS = {1: 10.0, 200: 50.0}
"""Targets of the whole way, to the pixel: the server's half must leave room for the page's."""
SHARE_CHANGED = 0.1
WINDOWS = Span(START + HOUR, START + HOUR + 10 * MINUTE)
_TAKEN = b'"taken_at":"'


@dataclass(frozen=True, slots=True)
class Place:
    """Where a running dashboard is, and what lets one in."""

    port: int
    token: str


def p7() -> Result:
    """Measure pushes to one listener and to 200."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        figures = []
        for n_clients in N_CLIENTS:
            with serving(Path(folder)) as place:
                delays_ms = asyncio.run(received(place, n_clients))
            figures.append(_figure(n_clients, delays_ms))
    return Result(
        "dashboard, pushes to listeners",
        f"A server process over a fleet of {LARGE.n_sites:,} sites, {PUSHES_HZ} pushes/s that each change {SHARE_CHANGED:.0%} of the "
        "sites, and listeners in one process beside it, on the same machine. From the instant a picture is published (compared, "
        "encoded, queued, sent) to the instant its last byte is read.",
        tuple(figures),
    )


def prepare(home: Path) -> None:
    """Compute some minutes of a large fleet."""
    with Store.at(home) as store:
        store.registry.apply(LARGE.config)
        work = replace(LARGE, step_s=30)
        for i, rows in enumerate(landed_hours(work, Span(WINDOWS.start, WINDOWS.end))):
            batch = f"b{i}"
            names = {"batch_id": batch, "idempotency_key": batch, "source": "benchmark"}
            store.landing.append(NAME, rows, **names, historical=True)
        Refresh(store, LARGE.config).everything(WINDOWS)


@contextmanager
def serving(home: Path, *, pushes_hz: float = PUSHES_HZ) -> Iterator[Place]:
    """Run a dashboard over a prepared home in a process of its own, with a driver that pushes."""
    command = [sys.executable, "-m", "benchmarks.dashboard", str(home), str(pushes_hz)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 - our own program
    try:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        told = json.loads(process.stdout.readline())
        yield Place(told["port"], told["token"])
    finally:
        process.terminate()
        process.wait()


async def received(place: Place, n_clients: int) -> list[float]:
    """Return how long each update took to reach each listener [ms]."""
    delays: list[float] = []
    since = time.monotonic() + SETTLED_S
    listeners = [_listen(place, delays, since) for _ in range(n_clients)]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLED_S + MEASURED_S):
            await asyncio.gather(*listeners)
    return delays


async def _listen(place: Place, delays: list[float], since: float) -> None:
    async for event in _events(place):
        if not event.startswith(b"id:") or b"event: update" not in event:
            continue
        now = time.time_ns() // 1000
        begin = event.index(_TAKEN) + len(_TAKEN)
        taken = dt.datetime.fromisoformat(event[begin : event.index(b'"', begin)].decode())
        if time.monotonic() >= since:
            delays.append((now - round(taken.timestamp() * SECOND)) / 1000)


async def _events(place: Place) -> AsyncIterator[bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port, limit=1 << 22)
    try:
        request = f"GET /api/fleets/{NAME}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {place.token}\r\n\r\n"
        writer.write(request.encode())
        await reader.readuntil(b"\r\n\r\n")
        while True:
            yield (await reader.readuntil(b"\n\n")).rpartition(b"\r\n")[2]
    finally:
        writer.close()


def _figure(n_clients: int, delays_ms: Sequence[float]) -> Figure:
    p95 = quantiles(delays_ms, n=20)[-1]
    told = f"p95 {p95:.1f} ms, median {median(delays_ms):.1f} ms, most {max(delays_ms):.1f} ms"
    n_each = len(delays_ms) / n_clients / MEASURED_S
    return Figure(
        f"push → received, {n_clients} listeners",
        f"{told}; {n_each:.1f} updates/s each",
        "-",
        "-",
        f"the whole way ≤ {MOST_MS[n_clients]:.0f} ms",
        p95 <= MOST_MS[n_clients],
    )


def serve(home: Path, pushes_hz: float) -> None:
    """Serve a prepared home and push, until the process is ended."""
    with Store.at(home) as store:
        made = application(store, lambda: {NAME: LARGE.config})
        _, token = Tokens(store.control).create("benchmark", "viewer", at=now_us())
        server = web_server(made.app, made.channels.end_streams)
        driver = threading.Thread(target=_drive, args=(made, pushes_hz), daemon=True)
        with listening("127.0.0.1", 0) as sock:
            print(json.dumps({"port": sock.getsockname()[1], "token": token}), flush=True)  # noqa: T201 - for its parent
            driver.start()
            server.run(sockets=[sock])


def _drive(made: Application, pushes_hz: float) -> None:
    rng = random.Random(7)  # noqa: S311 - a workload
    while (channel := made.channels.get(NAME)) is None or channel.hub.document is None:
        time.sleep(0.1)
    channel.feed.stop.set()
    due = time.monotonic()
    while True:
        due += 1 / pushes_hz
        time.sleep(max(0.0, due - time.monotonic()))
        loop = made.channels.loop
        if loop is None or loop.is_closed():
            return
        document = _changed(channel.hub.document, rng)
        document["taken_at"] = instant_text(now_us())
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(channel.hub.publish, document)


def _changed(document: Document, rng: random.Random) -> Document:
    """Return a document in which a tenth of the sites have another health."""
    sites = {**document["sites"], "health": list(document["sites"]["health"])}
    for row in rng.sample(range(len(sites["health"])), round(SHARE_CHANGED * len(sites["health"]))):
        sites["health"][row] = round(rng.uniform(0.5, 1.0), 6)
    health = {**document["health"], "score": round(rng.uniform(0.7, 0.95), 6)}
    return {**document, "sites": sites, "health": health, "seq": document["seq"] + 1}


if __name__ == "__main__":
    serve(Path(sys.argv[1]), float(sys.argv[2]))
