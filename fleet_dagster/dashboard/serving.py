"""The dashboard's web server, from its first to its last request."""

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from fleet_dagster.model.errors import DashboardError

KEEP_ALIVE_S, END_TIMEOUT_S = 15, 3
MAX_CONNECTIONS = 1_024


class DashboardServer(uvicorn.Server):
    """A web server that ends its open streams before it waits for requests to be over."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self.end_streams = end_streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what would never end by itself, then the server."""
        self.end_streams()
        await super().shutdown(sockets)


def web_server(
    app: ASGIApp,
    end_streams: Callable[[], None],
    *,
    certfile: Path | None = None,
    keyfile: Path | None = None,
    trusted_proxy: str | None = None,
) -> DashboardServer:
    """Return the web server of an application, not yet at work.

    What a proxy says of the client's address and of TLS counts if it comes from the trusted one.

    Raises
    ------
    DashboardError
        The certificate cannot be used.
    """
    config = uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=trusted_proxy is not None,
        forwarded_allow_ips=trusted_proxy or "",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=END_TIMEOUT_S,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
    )
    try:
        config.load()
    except OSError as error:  # an SSLError is one
        raise DashboardError(
            f"certificate {certfile}",
            f"it cannot be used ({error})",
            "Give certificate and key as PEM",
        ) from error
    return DashboardServer(config, end_streams)


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises
    ------
    DashboardError
        It cannot be listened at.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise DashboardError(
            f"port {port} of {host}",
            f"it cannot be listened at ({error.strerror or error})",
            "Name another with --port or --host, or end what listens there",
        ) from error
