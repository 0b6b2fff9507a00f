"""A web server for /metrics alone, for Prometheus on the same machine or behind a token."""

import hmac
import socket
from collections.abc import Collection

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fleet_dagster.model.errors import FleetError, TelemetryError
from fleet_dagster.telemetry.exposition import Exposition
from fleet_dagster.telemetry.routes import PATH, metrics_route

END_TIMEOUT_S = 5
MAX_CONNECTIONS = 32
_SCHEME = "bearer "


def application(exposition: Exposition, token: str = "") -> Starlette:
    """Return the web application; with a token, only for those who send it as `Authorization: Bearer`."""

    def may_see(request: Request) -> Collection[str] | None:
        given = request.headers.get("authorization", "")
        is_bearer = given.lower().startswith(_SCHEME)
        secret = given[len(_SCHEME) :] if is_bearer else ""
        if token and not hmac.compare_digest(secret.encode(), token.encode()):
            raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
        return None

    def about(_request: Request) -> Response:
        return PlainTextResponse(f"Figures of the fleets, for Prometheus, are at {PATH}\n")

    def failed(_request: Request, error: Exception) -> Response:
        return PlainTextResponse(f"{error}\n", 503)

    return Starlette(
        routes=[metrics_route(exposition, may_see), Route("/", about)],
        exception_handlers={FleetError: failed},
    )


def web_server(app: Starlette) -> uvicorn.Server:
    """Return the web server of an application, not yet at work."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=END_TIMEOUT_S,
        )
    )


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises
    ------
    TelemetryError
        It cannot be listened at.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise TelemetryError(
            f"port {port} of {host} cannot be listened at ({error.strerror or error}). "
            "Name another with --port or --host, or end what listens there"
        ) from error
