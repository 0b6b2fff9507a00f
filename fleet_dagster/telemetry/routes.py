"""`/metrics` for a web application, of whatever fleets the one who asks may see."""

from collections.abc import Callable, Collection

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleet_dagster.telemetry.exposition import Exposition

PATH = "/metrics"
MaySee = Callable[[Request], Collection[str] | None]
"""Returns the fleets whose figures a request may see, None for all; it may raise what the application answers with."""


def metrics_route(exposition: Exposition, may_see: MaySee) -> Route:
    """Return the route; figures are gathered in a thread, so that nobody else waits."""

    def metrics(request: Request) -> Response:
        fleets = may_see(request)
        body, content_type = exposition.text(request.headers.get("accept", ""), fleets=fleets)
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return Route(PATH, metrics, methods=["GET"])
