"""A web server for /metrics alone, for Prometheus on the same machine or behind a token."""

import hmac
from collections.abc import Collection

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fleet_dagster.model.errors import FleetError
from fleet_dagster.serving import Limits, configured
from fleet_dagster.telemetry.exposition import Exposition
from fleet_dagster.telemetry.routes import PATH, metrics_route

LIMITS = Limits(connections=32, end_timeout_s=5, keep_alive_s=5)
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
    return uvicorn.Server(configured(app, LIMITS))
