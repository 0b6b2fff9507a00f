"""Receivers of messages on this machine: an HTTP server and an SMTP server that keep what they are sent."""

import email
import email.message
import email.policy
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class HttpReceiver:
    """Keeps JSON that is posted to it; it may be taken down and up again, or answer slowly or with another status."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        self.refused: tuple[str, ...] = ()
        """Words: whatever has one in its title is refused."""
        self.patience = threading.Event()
        """Set: answers at once."""
        self.patience.set()
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def titles(self) -> list[str]:
        """Titles of what was received, in order."""
        return [m["title"] for m in self.got]

    def url(self, path: str = "") -> str:
        """Return its address as Apprise spells it."""
        return f"json://127.0.0.1:{self.port}{path}"

    def up(self) -> None:
        """Begin to listen: always at the same port."""
        server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self.port, self._server = server.server_address[1], server
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.patience.wait(30)
                message = json.loads(content)
                is_refused = any(word in message["title"] for word in receiver.refused)
                status = 413 if is_refused else receiver.status
                if status == 200:
                    receiver.got.append(message)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                """Say nothing."""

        return Handler


@contextmanager
def http_receiver() -> Iterator[HttpReceiver]:
    """Run an HTTP receiver."""
    receiver = HttpReceiver()
    receiver.up()
    try:
        yield receiver
    finally:
        receiver.patience.set()
        receiver.down()


class Mailbox:
    """Keeps mail."""

    def __init__(self) -> None:
        self.got: list[email.message.EmailMessage] = []
        self.port = 0

    def url(self) -> str:
        """Return the address of somebody who reads it, as Apprise spells it."""
        return (
            f"mailto://127.0.0.1:{self.port}?from=fleet@example.com&to=crew@example.com"
            "&mode=insecure&format=text"
        )

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Take in a mail."""
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, email.message.EmailMessage)
        self.got.append(message)
        return "250 OK"


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Run an SMTP receiver."""
    box = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        box.port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
