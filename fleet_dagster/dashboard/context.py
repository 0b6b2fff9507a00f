"""What every answer is made from."""

import asyncio
from dataclasses import dataclass, field

from starlette.requests import Request

from fleet_dagster.dashboard.access import Access, Refused
from fleet_dagster.dashboard.channels import Channel, Channels
from fleet_dagster.dashboard.events import Streams
from fleet_dagster.storage.store import Store
from fleet_dagster.storage.tokens import Token

MOST_READERS = 3


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One running dashboard."""

    store: Store
    channels: Channels
    access: Access
    streams: Streams
    dagster_url: str | None
    readers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_READERS))
    """Held by whoever reads tables: a screen full of charts must not take all memory."""


def dashboard_of(request: Request) -> Dashboard:
    """Return the dashboard that a request came to."""
    found: Dashboard = request.app.state.dashboard
    return found


def channel_of(request: Request, token: Token) -> Channel:
    """Return the fleet that a request is about.

    Raises
    ------
    Refused
        There is none, or the token is not for it; which of the two is not told.
    """
    name = request.path_params["fleet"]
    found = dashboard_of(request).channels.get(name) if token.is_for(name) else None
    if found is None:
        raise Refused(
            404, f"fleet {name[:64]!r} is not shown here. See /api/session for those that are"
        )
    return found


def came_in(request: Request) -> tuple[Token, Channel]:
    """Return whose request it is, and which fleet it is about; looks the token up, so not in the event loop.

    Raises
    ------
    Refused
        Nobody's, or none.
    """
    token = dashboard_of(request).access.of(request)
    return token, channel_of(request, token)
