"""What every web server of this package has in common: where it listens, how it is set up, and what it is called."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

from fleet_dagster.model.errors import ServingError


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections a server takes, and how patient it is [s]."""

    connections: int
    end_timeout_s: int
    keep_alive_s: int = 15


def configured(
    app: ASGIApp,
    limits: Limits,
    *,
    lifespan: Literal["on", "off"] = "off",
    certfile: Path | None = None,
    keyfile: Path | None = None,
    trusted_proxy: str | None = None,
) -> uvicorn.Config:
    """Return the settings of an application's server: quiet, and saying nothing of what it runs on.

    What a proxy says of the client's address and of TLS counts if it comes from the trusted one.

    Raises
    ------
    ServingError
        The certificate cannot be used.
    """
    config = uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=trusted_proxy is not None,
        forwarded_allow_ips=trusted_proxy or "",
        limit_concurrency=limits.connections,
        timeout_keep_alive=limits.keep_alive_s,
        timeout_graceful_shutdown=limits.end_timeout_s,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
    )
    try:
        config.load()
    except OSError as error:  # an SSLError is one
        raise ServingError(
            f"certificate {certfile}",
            f"it cannot be used ({error})",
            "Give certificate and key as PEM",
        ) from error
    return config


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises
    ------
    ServingError
        It cannot be listened at.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ServingError(
            f"port {port} of {host}",
            f"it cannot be listened at ({error.strerror or error})",
            "Name another with --port or --host, or end what listens there",
        ) from error


def address(sock: socket.socket, host: str, *, is_tls: bool = False) -> str:
    """Return the address at which a server answers, as people type it."""
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if is_tls else 'http'}://{shown}:{sock.getsockname()[1]}"
