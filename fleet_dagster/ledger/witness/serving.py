"""A witness's web server, from its first to its last request."""

from pathlib import Path

import uvicorn

from fleet_dagster.ledger.witness.server import Report, application
from fleet_dagster.ledger.witness.witness import Witness
from fleet_dagster.serving import Limits, address, configured, listening

LIMITS = Limits(connections=256, end_timeout_s=5)


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
    ServingError
        The address cannot be listened at, or the certificate cannot be used.
    """
    server = web_server(witness, report=report, certfile=certfile, keyfile=keyfile)
    with listening(host, port) as sock:
        report(
            f"{witness.keys[0].name} answers at {address(sock, host, is_tls=certfile is not None)}"
        )
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
    ServingError
        The certificate cannot be used.
    """
    app = application(witness, report)
    return uvicorn.Server(configured(app, LIMITS, certfile=certfile, keyfile=keyfile))
