"""The dashboard's web application: what is answered where, to whom, and with which headers."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from fleet_dagster.dashboard.access import Access, Refused
from fleet_dagster.dashboard.channels import Channels, Configs
from fleet_dagster.dashboard.context import Dashboard
from fleet_dagster.dashboard.events import Streams
from fleet_dagster.dashboard.headers import SafeHeaders
from fleet_dagster.dashboard.routes import API
from fleet_dagster.model.errors import FleetError, StorageError
from fleet_dagster.storage.store import Store
from fleet_dagster.storage.tokens import Tokens

STATIC = Path(__file__).parent / "static"
_WORDS = {
    404: "there is nothing here. The pages begin at /, the interface is described in the how-to guide",
    405: "this cannot be asked in that way",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Application:
    """A web application, and what ends its streams."""

    app: ASGIApp
    channels: Channels


def application(
    store: Store,
    configs: Configs,
    *,
    dagster_url: str | None = None,
    extra_routes: Sequence[BaseRoute] = (),
    static: Path = STATIC,
) -> "Application":
    """Return the web application of the fleets that `configs` returns, with more routes if there are any."""
    access = Access(Tokens(store.control))
    channels = Channels(store, configs)
    dashboard = Dashboard(store, channels, access, Streams(access), dagster_url)

    def page(_request: Request) -> Response:
        if not (static / "index.html").is_file():
            raise Refused(404, "the page's files are not installed. Install the package again")
        return FileResponse(static / "index.html")

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        channels.begin()
        chores = [asyncio.ensure_future(w) for w in (channels.follow(), _watch_tokens(access))]
        try:
            yield
        finally:
            for chore in chores:
                chore.cancel()
            await channels.end()

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/healthz", lambda _request: PlainTextResponse("ok")),
            Mount("/static", StaticFiles(directory=static, check_dir=False)),
            *API,
            *extra_routes,
        ],
        exception_handlers={
            Refused: _refused,
            HTTPException: _no_such_page,
            FleetError: _failed,
            Exception: _defect,
        },
        lifespan=lifespan,
    )
    app.state.dashboard = dashboard
    return Application(SafeHeaders(app), channels)


async def _watch_tokens(access: Access) -> None:
    while True:
        await asyncio.sleep(1.0)
        try:
            await access.look()
        except Exception:  # noqa: BLE001 - were this task to end, revoked tokens would keep their streams
            _log.exception("the tokens of open streams could not be looked up")


def told(status: int, words: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an answer that says in words what is wrong."""
    return JSONResponse({"error": words}, status, headers)


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - Starlette's signature is wider
    return told(error.status, error.words, error.headers)


def _no_such_page(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette's signature is wider
    words = _WORDS.get(error.status_code, error.detail)
    return told(error.status_code, words, dict(error.headers or {}))


def _failed(_request: Request, error: Exception) -> Response:
    """Answer for storage that fails, or what cannot be done as asked; both say so themselves."""
    status = 503 if isinstance(error, StorageError | TimeoutError) else 409
    return told(status, " ".join(str(error).split()))


def _defect(_request: Request, _error: Exception) -> Response:
    """Answer for a defect; Starlette raises it again, for the server to log."""
    return told(500, "this is a defect of the dashboard. See its log")
