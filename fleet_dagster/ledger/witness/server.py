"""A witness behind HTTP.

Interface: C2SP, "Transparency log witnesses" (c2sp.org/tlog-witness), section "HTTP Interface".
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fleet_dagster.ledger.witness.witness import CONFLICT, Verdict, Witness
from fleet_dagster.model.errors import FleetError

MAX_BODY = (64 << 10) + 16 * (8 << 10)
"""Bytes of a request: a proof has 3 kB, and a note may have 16 signatures of up to 5 kB, a third more in base64."""
BODY_TIMEOUT_S = 20.0
N_WORKERS = 4
"""Submissions that are judged at once; SQLite writes one at a time anyway."""
SIZE_TYPE = "text/x.tlog.size"
_SHOWN = 100
Report = Callable[[str], None]
"""Takes one line about each request."""


def application(witness: Witness, report: Report) -> Starlette:
    """Return the web application of a witness."""
    workers = ThreadPoolExecutor(N_WORKERS, "witness")

    async def judged(body: bytes) -> Verdict:
        return await asyncio.get_running_loop().run_in_executor(
            workers, _answer, witness, body, report
        )

    async def add_checkpoint(request: Request) -> Response:
        body = await _body(request)
        verdict = await judged(body) if isinstance(body, bytes) else body
        report(_line(verdict))
        headers = {"Content-Type": SIZE_TYPE} if verdict.status == CONFLICT else None
        return PlainTextResponse(verdict.content, verdict.status, headers)

    def checkpoint(request: Request) -> Response:
        origin = request.query_params.get("origin", "")
        found = [k for k in witness.state.known() if k.origin == origin and k.note]
        if not found:
            return PlainTextResponse("this witness never vouched for that log\n", 404)
        return PlainTextResponse(found[0].note)

    def about(_request: Request) -> Response:
        keys = "".join(f"{key.verifier.vkey}\n" for key in witness.keys)
        return PlainTextResponse(f"witness {witness.keys[0].name}\n{keys}")

    return Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/checkpoint", checkpoint, methods=["GET"]),
            Route("/", about, methods=["GET"]),
        ]
    )


async def _body(request: Request) -> bytes | Verdict:
    """Read the body, and no more of it than a submission can have, however long it is said to be."""
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                content += chunk
                if len(content) > MAX_BODY:
                    return Verdict(413, f"more than {MAX_BODY} bytes\n")
    except TimeoutError:
        return Verdict(408, f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s\n")
    except ClientDisconnect:
        return Verdict(400, "the body ended early\n")
    return bytes(content)


def _answer(witness: Witness, body: bytes, report: Report) -> Verdict:
    try:
        return witness.answer(body)
    except FleetError as error:  # the database; what it says is for the keeper, not for the log
        report(str(error))
        return Verdict(500, "this witness cannot read or write its records\n")


def _line(verdict: Verdict) -> str:
    """Return what is said of a request: nothing in it can take up two lines, or steer a terminal."""
    origin = ascii(verdict.origin[:_SHOWN]) if verdict.origin else "-"
    old = "-" if verdict.old is None else verdict.old
    size = "-" if verdict.size is None else verdict.size
    return f"{origin} {old} -> {size}: {verdict.status}"
