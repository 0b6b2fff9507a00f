"""The stream of one fleet's pictures to one listener, as Server-Sent Events."""

import asyncio
import json
import time
from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fleet_dagster.dashboard.access import Access, Refused
from fleet_dagster.dashboard.hub import Client, Event, Hub
from fleet_dagster.nodes.dashboard_sink import instant_text
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.tokens import Token

BEAT_EVERY_S = 1.0
STUCK_AFTER_S = 30.0
"""How long a listener may take nothing before it is let go; it comes back by itself if it still lives."""
MAX_STREAMS = 400
TYPE = "text/event-stream"


class Streams:
    """Opens streams, not more than a number of them at once."""

    def __init__(self, access: Access, most: int = MAX_STREAMS) -> None:
        self.access, self.most, self.n_open = access, most, 0

    def open(self, request: Request, hub: Hub, token: Token) -> Response:
        """Return the stream of a hub's pictures, from where the listener was.

        Raises
        ------
        Refused
            There are too many.
        """
        if request.method == "HEAD":
            return Response(media_type=TYPE)
        if self.n_open >= self.most:
            words = f"{self.most} pages are open already. Close some, or run another dashboard"
            raise Refused(503, words, {"Retry-After": "5"})
        return EventStream(self, hub, token, request.headers.get("last-event-id", ""))


class EventStream(Response):
    """One listener's stream: events as they come, and a beat every second so that silence means trouble."""

    def __init__(self, streams: Streams, hub: Hub, token: Token, last_id: str) -> None:
        super().__init__(media_type=TYPE)
        del self.headers["content-length"]
        self.headers["x-accel-buffering"] = "no"
        self.streams, self.hub, self.token, self.last_id = streams, hub, token, last_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send until the listener leaves, its token ends, or the server does."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        client = self.hub.join(self.last_id)
        gone = asyncio.ensure_future(_disconnected(receive))
        self.streams.n_open += 1
        self.streams.access.watch(self.token)
        try:
            await self._tell(client, gone, send)
        finally:
            self.streams.access.unwatch(self.token)
            self.streams.n_open -= 1
            self.hub.leave(client)
            gone.cancel()

    async def _tell(self, client: Client, gone: "asyncio.Future[None]", send: Send) -> None:
        beat_at = time.monotonic()
        while not gone.done():
            events = list(self._due(client))
            is_over = client.is_ended or any(e.name == "end" for e in events)
            if time.monotonic() >= beat_at and not is_over:
                events.append(self._beat())
                beat_at = time.monotonic() + BEAT_EVERY_S
            body = b"".join(event.wire for event in events)
            message = {"type": "http.response.body", "body": body, "more_body": not is_over}
            if body or is_over:
                try:
                    async with asyncio.timeout(STUCK_AFTER_S):
                        await send(message)
                except TimeoutError:
                    return
            if is_over:
                return
            await _arrived(client, beat_at - time.monotonic())

    def _due(self, client: Client) -> Iterator[Event]:
        over = self.streams.access.over(self.token)
        if over is not None:
            yield Event("end", json.dumps({"reason": over}).encode())
        else:
            yield from self.hub.next_of(client)

    def _beat(self) -> Event:
        told = {"now": instant_text(now_us())}
        if self.hub.document is None and self.hub.trouble:
            told["trouble"] = self.hub.trouble
        return Event("beat", json.dumps(told).encode())


async def _arrived(client: Client, within_s: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, within_s)):
            await client.arrived.wait()
    except TimeoutError:
        return


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
