"""`fleet metrics`: what Prometheus is told, once or as a server."""

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from fleet_dagster.cli.interrupts import interruptible
from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.standing import standing_fleets
from fleet_dagster.cli.terminal import note

if TYPE_CHECKING:
    from fleet_dagster.telemetry.exposition import Exposition

PORT = 9464
TOKEN = "FLEET_METRICS_TOKEN"  # noqa: S105 - the variable's name
_LOCAL = ("127.0.0.1", "::1", "localhost")


@click.command()
@click.option("--serve", "is_server", is_flag=True, help="Answer at /metrics until Ctrl-C.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Port to listen at; 0 takes a free one.",
)
@installation_options
@click.pass_obj
def metrics(place: Place, *, is_server: bool, host: str, port: int) -> None:
    """Print the figures of all fleets and their nodes in OpenMetrics' text format, or serve them to Prometheus.

    Where the environment variable FLEET_METRICS_TOKEN is set, whoever asks must send it as `Authorization: Bearer TOKEN`.
    Exit code 2 when the port is in use.
    """
    from fleet_dagster.telemetry.exposition import OPENMETRICS, Exposition  # noqa: PLC0415 - help stays quick

    installation = place.installation()
    standing_fleets(installation)
    exposition = Exposition(place.store(), lambda: installation.standing().configs)
    if is_server:
        _serve(exposition, host, port)
    else:
        click.echo(exposition.text(OPENMETRICS)[0].decode(), nl=False)


def _serve(exposition: "Exposition", host: str, port: int) -> None:
    from fleet_dagster.serving import address, listening  # noqa: PLC0415 - help stays quick
    from fleet_dagster.telemetry.serving import application, web_server  # noqa: PLC0415

    token = os.environ.get(TOKEN, "")
    if host not in _LOCAL and not token:
        note(f"Whoever reaches {host} can read these figures. Set {TOKEN}, or listen at 127.0.0.1.")
    with listening(host, port) as sock:
        note(f"Figures are at {address(sock, host)}/metrics. Ctrl-C ends this.")
        with suppress(KeyboardInterrupt), interruptible():
            web_server(application(exposition, token)).run(sockets=[sock])
    note("Ended.")
