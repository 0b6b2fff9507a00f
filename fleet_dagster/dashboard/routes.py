"""What is answered below /api."""

from importlib.metadata import version

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fleet_dagster.dashboard.access import COOKIE, Refused, address_of
from fleet_dagster.dashboard.actions import acknowledge, actions, end_storm
from fleet_dagster.dashboard.bodies import json_body
from fleet_dagster.dashboard.context import came_in, dashboard_of
from fleet_dagster.dashboard.reading import export, history, site
from fleet_dagster.nodes.dashboard_sink import instant_text


async def login(request: Request) -> Response:
    """Take a token and give a cookie for it."""
    secret = (await json_body(request)).get("token")
    if not isinstance(secret, str):
        raise Refused(400, 'expected {"token": "..."}')
    access = dashboard_of(request).access
    token = await run_in_threadpool(access.login, secret.strip(), address_of(request))
    answer = Response(status_code=204)
    left_s = None if token.expires_at is None else (token.expires_at - access.clock()) // 1_000_000
    answer.set_cookie(
        COOKIE,
        secret.strip(),
        max_age=left_s,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


def logout(_request: Request) -> Response:
    """Take the cookie back."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def session(request: Request) -> Response:
    """Tell who somebody is, and what there is to see."""
    dashboard = dashboard_of(request)
    token = dashboard.access.of(request)
    return JSONResponse(
        {
            "name": token.name,
            "role": token.role,
            "fleets": [name for name in dashboard.channels.names() if token.is_for(name)],
            "expires_at": None if token.expires_at is None else instant_text(token.expires_at),
            "version": version("fleet-dagster"),
            "dagster_url": dashboard.dagster_url,
            "epoch": dashboard.channels.epoch,
        }
    )


async def snapshot(request: Request) -> Response:
    """Return the whole picture."""
    _, channel = await run_in_threadpool(came_in, request)
    hub = channel.hub
    if hub.document is None:
        words = hub.trouble or "the first picture is being taken"
        raise Refused(503, words, {"Retry-After": "1"})
    data = b'{"id":"%b","snapshot":%b}' % (hub.event_id.encode(), hub.snapshot().data)
    return Response(data, media_type="application/json")


async def events(request: Request) -> Response:
    """Open the stream of pictures."""
    token, channel = await run_in_threadpool(came_in, request)
    return dashboard_of(request).streams.open(request, channel.hub, token)


API = (
    Route("/api/login", login, methods=["POST"]),
    Route("/api/logout", logout, methods=["POST"]),
    Route("/api/session", session),
    Route("/api/fleets/{fleet}/snapshot", snapshot),
    Route("/api/fleets/{fleet}/events", events),
    Route("/api/fleets/{fleet}/incidents/{incident_id}/acknowledge", acknowledge, methods=["POST"]),
    Route("/api/fleets/{fleet}/storms/{episode_id}/end", end_storm, methods=["POST"]),
    Route("/api/fleets/{fleet}/actions", actions),
    Route("/api/fleets/{fleet}/history", history),
    Route("/api/fleets/{fleet}/sites/{site:path}", site),
    Route("/api/fleets/{fleet}/export/{what}.csv", export),
)
