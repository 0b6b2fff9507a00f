"""Bodies of requests: small JSON objects, and nothing from other sites."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, Request

from fleet_dagster.dashboard.access import Refused

MAX_BODY = 16 << 10
BODY_TIMEOUT_S = 10.0
OWN_HEADER = "x-fleet-request"
"""A header that pages of other sites cannot send without being asked first."""


async def json_body(request: Request) -> dict[str, Any]:  # Any: JSON
    """Return the JSON object that a request carries; an empty body is an empty one.

    Raises
    ------
    Refused
        It is too long, comes too slowly, or is no JSON object.
    """
    _refuse_other_sites(request)
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                content += chunk
                if len(content) > MAX_BODY:
                    raise Refused(413, f"the body is longer than {MAX_BODY:,} bytes. Say less")
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s") from None
    except ClientDisconnect:
        raise Refused(400, "the body ended early") from None
    try:
        found = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON. Send a JSON object") from None
    if not isinstance(found, dict):
        raise Refused(400, "the body is JSON, but no object. Send a JSON object")
    return found


def refuse_simple(request: Request) -> None:
    """Refuse a request that a form of another site could have sent.

    Raises
    ------
    Refused
        It lacks the header that only our own page, or a program, sends.
    """
    if request.headers.get(OWN_HEADER) != "1":
        raise Refused(
            403, "the header `X-Fleet-Request: 1` is missing. Send it with what changes something"
        )


def _refuse_other_sites(request: Request) -> None:
    """Refuse what a browser says comes from another site. Behind a proxy, only the host can be compared."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    is_other = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if is_other or site not in (None, "same-origin", "none"):
        raise Refused(403, "the request comes from another site. Use the dashboard's own page")
