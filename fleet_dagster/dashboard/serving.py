"""The dashboard's web server, from its first to its last request."""

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from fleet_dagster.serving import Limits, configured

LIMITS = Limits(connections=1_024, end_timeout_s=3)


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

    Raises
    ------
    ServingError
        The certificate cannot be used.
    """
    config = configured(
        app,
        LIMITS,
        lifespan="on",
        certfile=certfile,
        keyfile=keyfile,
        trusted_proxy=trusted_proxy,
    )
    return DashboardServer(config, end_streams)
