"""Hands one fleet's pictures to everybody who watches: encoded once, and never waiting for the slowest."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from fleet_dagster.dashboard.documents import Document, difference, encoded, says_nothing

REMEMBERED = 120
"""Updates from which a client that was away for a moment may go on."""
REMEMBERED_BYTES = 8 << 20
QUEUED = 20
"""Updates that may wait for a client; one that is slower gets a whole snapshot once it reads again."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the stream, as it is sent."""

    name: str
    data: bytes
    event_id: str = ""

    @property
    def wire(self) -> bytes:
        """The event in the format of Server-Sent Events; the data are one line."""
        head = f"id: {self.event_id}\n" if self.event_id else ""
        return f"{head}event: {self.name}\ndata: ".encode() + self.data + b"\n\n"


@dataclass(eq=False, slots=True)
class Client:
    """One listener. Its queue is bounded: what overflows is dropped, and a snapshot takes its place."""

    waiting: deque[Event] = field(default_factory=deque)
    needs_snapshot: bool = False
    is_ended: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def push(self, event: Event) -> None:
        """Queue an event."""
        if len(self.waiting) >= QUEUED or self.needs_snapshot:
            self.waiting.clear()
            self.needs_snapshot = True
        else:
            self.waiting.append(event)
        self.arrived.set()


class Hub:
    """What one fleet's listeners are told. All of it happens in the event loop's thread."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        """Another one after each restart: numbers begin anew then, and must not be taken for the old ones."""
        self.number = 0
        self.document: Document | None = None
        self.trouble: str | None = None
        """What is in the way of the first picture."""
        self.clients: set[Client] = set()
        self._recent: deque[tuple[int, Event]] = deque(maxlen=REMEMBERED)
        self._snapshot: Event | None = None

    @property
    def event_id(self) -> str:
        """Name of the picture that stands."""
        return f"{self.epoch}:{self.number}"

    def publish(self, document: Document) -> bool:
        """Put a newer picture in place of the one that stands, and tell everybody; False where nothing has changed."""
        before, self.document, self._snapshot, self.trouble = self.document, document, None, None
        update = None if before is None else difference(before, document)
        if before is not None and update is not None and says_nothing(before, update):
            return False
        self.number += 1
        if update is None:
            self._recent.clear()
            event = self.snapshot()
        else:
            event = Event("update", encoded(update), self.event_id)
            self._recent.append((self.number, event))
            self._forget_much()
        for client in self.clients:
            client.push(event)
        return True

    def snapshot(self) -> Event:
        """Return the whole picture as an event, encoded once."""
        if self._snapshot is None:
            self._snapshot = Event("snapshot", encoded(self.document or {}), self.event_id)
        return self._snapshot

    def join(self, last_id: str = "") -> Client:
        """Take in a listener; one that names what it saw last goes on from there if that is remembered."""
        client = Client()
        missed = self._since(last_id)
        if missed is None:
            client.needs_snapshot = True
        else:
            client.waiting.extend(missed)
        client.arrived.set()
        self.clients.add(client)
        return client

    def leave(self, client: Client) -> None:
        """Let a listener go."""
        self.clients.discard(client)

    def next_of(self, client: Client) -> list[Event]:
        """Return what a listener is to be sent now."""
        client.arrived.clear()
        if client.needs_snapshot:
            if self.document is None:
                return []
            client.needs_snapshot = False
            client.waiting.clear()
            return [self.snapshot()]
        events = list(client.waiting)
        client.waiting.clear()
        return events

    def end(self) -> None:
        """Wake everybody up to be told that the server ends."""
        for client in self.clients:
            client.is_ended = True
            client.arrived.set()

    def _since(self, last_id: str) -> list[Event] | None:
        """Return the updates after a picture; None where they are not all remembered, or it was another epoch's."""
        epoch, _, number = last_id.partition(":")
        if epoch != self.epoch or not number.isdecimal() or self.document is None:
            return None
        seen = int(number)
        oldest = self._recent[0][0] if self._recent else self.number + 1
        if seen > self.number or seen < oldest - 1:
            return None
        return [event for n, event in self._recent if n > seen]

    def _forget_much(self) -> None:
        total = sum(len(event.data) for _, event in self._recent)
        while total > REMEMBERED_BYTES and len(self._recent) > 1:
            total -= len(self._recent.popleft()[1].data)
