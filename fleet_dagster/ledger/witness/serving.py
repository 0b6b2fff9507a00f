"""A witness's web server, from its first to its last request."""

import socket
from pathlib import Path

import uvicorn

from fleet_dagster.ledger.witness.server import Report, application
from fleet_dagster.ledger.witness.witness import Witness
from fleet_dagster.model.errors import LedgerError

KEEP_ALIVE_S, END_TIMEOUT_S = 15, 5
MAX_CONNECTIONS = 256


def serve_witness(
    witness: Witness,
    host: str,
    port: int,
    *,
    report: Report,
    certfile: Path | None = None,
    keyfile: Path | None = None,
) -> None:
    """Answer requests until the process is asked to end.

    Raises
    ------
    LedgerError
        The address cannot be listened at, or the certificate cannot be used.
    """
    server = web_server(witness, report=report, certfile=certfile, keyfile=keyfile)
    with listening(host, port) as sock:
        scheme = "http" if certfile is None else "https"
        shown = f"[{host}]" if ":" in host else host
        report(f"{witness.keys[0].name} answers at {scheme}://{shown}:{sock.getsockname()[1]}")
        server.run(sockets=[sock])


def web_server(
    witness: Witness,
    *,
    report: Report,
    certfile: Path | None = None,
    keyfile: Path | None = None,
) -> uvicorn.Server:
    """Return a witness's web server, not yet at work.

    Raises
    ------
    LedgerError
        The certificate cannot be used.
    """
    config = uvicorn.Config(
        application(witness, report),
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=END_TIMEOUT_S,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
    )
    try:
        config.load()
    except OSError as error:  # an SSLError is one
        raise LedgerError(
            f"certificate {certfile}",
            f"it cannot be used ({error})",
            "Give certificate and key as PEM",
        ) from error
    return uvicorn.Server(config)


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises
    ------
    LedgerError
        It cannot be listened at.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise LedgerError(
            f"port {port} of {host}",
            f"it cannot be listened at ({error.strerror or error})",
            "Name another with --port or --host, or end what listens there",
        ) from error
