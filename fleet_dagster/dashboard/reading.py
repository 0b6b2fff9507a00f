"""What is read from tables when somebody asks: courses, site pages, CSV. A few at a time, away from the event loop."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fleet_dagster.dashboard import csv_export
from fleet_dagster.dashboard.access import Refused
from fleet_dagster.dashboard.channels import Channel
from fleet_dagster.dashboard.context import came_in, dashboard_of
from fleet_dagster.dashboard.history import course_of
from fleet_dagster.dashboard.site_page import site_page

Found = TypeVar("Found")
Json = dict[str, Any]  # Any: JSON
_SHOWN: Mapping[str, Callable[[Json, QueryParams], str]] = {
    "regions": csv_export.regions,
    "ranking": csv_export.ranking,
    "incidents": csv_export.incidents,
}


async def history(request: Request) -> Response:
    """Return the course of a fleet, a region or a site."""
    return JSONResponse(await _read(request, _course))


async def site(request: Request) -> Response:
    """Return everything of a site."""
    name = request.path_params["site"]
    return JSONResponse(await _read(request, lambda r, channel: _site(r, channel, name)))


async def export(request: Request) -> Response:
    """Return what is on screen as CSV."""
    what = request.path_params["what"]
    text = await _read(request, lambda r, channel: _exported(r, channel, what))
    name = f"{request.path_params['fleet']}-{what}.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type="text/csv", headers=headers)


async def _read(request: Request, read: Callable[[Request, Channel], Found]) -> Found:
    _, channel = await run_in_threadpool(came_in, request)
    async with dashboard_of(request).readers:
        return await run_in_threadpool(read, request, channel)


def _course(request: Request, channel: Channel) -> Json:
    return course_of(dashboard_of(request).store, channel.config, request.query_params)


def _site(request: Request, channel: Channel, name: str) -> Json:
    return site_page(dashboard_of(request).store, channel.config, name, request.query_params)


def _exported(request: Request, channel: Channel, what: str) -> str:
    query = request.query_params
    if what == "history":
        return csv_export.course(_course(request, channel))
    if what == "site":
        return csv_export.site(_site(request, channel, query.get("site", "")))
    if what not in _SHOWN:
        known = ", ".join([*_SHOWN, "history", "site"])
        raise Refused(404, f"{what[:40]!r} cannot be exported. Expected one of {known}")
    document = channel.hub.document
    if document is None:
        raise Refused(503, "the first picture is being taken", {"Retry-After": "1"})
    return _SHOWN[what](document, query)
