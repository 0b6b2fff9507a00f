"""`fleet dashboard`: the web page of the fleets as they are now."""

import ipaddress
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet_dagster.cli.children import DASHBOARD_PORT
from fleet_dagster.cli.interrupts import interruptible
from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.standing import standing_fleets
from fleet_dagster.cli.terminal import note

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from starlette.requests import Request
    from starlette.routing import Route

    from fleet_dagster.model.config import FleetConfig
    from fleet_dagster.storage.installation import Installation
    from fleet_dagster.storage.store import Store

DAGSTER = "http://127.0.0.1:3000"
"""Where `fleet up` shows Dagster, unless it is told otherwise."""
_pem = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DASHBOARD_PORT,
    show_default=True,
    help="Port to listen at; 0 takes a free one.",
)
@click.option("--certfile", type=_pem, help="Certificate to answer with over TLS, PEM.")
@click.option("--keyfile", type=_pem, help="The certificate's private key, PEM.")
@click.option(
    "--trusted-proxy",
    metavar="ADDRESS",
    help="Reverse proxy whose word counts on the client's address, and on TLS.",
)
@click.option(
    "--dagster-url",
    metavar="URL",
    help=f"Where figures link to. [default: {DAGSTER} on loopback, else none]",
)
@click.option(
    "--browser/--no-browser",
    default=None,
    help="Open the page, logged in. [default: at a terminal]",
)
@installation_options
@click.pass_obj
def dashboard(
    place: Place,
    *,
    host: str,
    port: int,
    certfile: Path | None,
    keyfile: Path | None,
    trusted_proxy: str | None,
    dagster_url: str | None,
    browser: bool | None,
) -> None:
    """Serve the web page of the fleets as they are now, pushed as it is computed.

    It is for those who have a token (`fleet tokens create`). At a terminal, the address that is printed carries one for as
    long as this runs. Ctrl-C ends it.

    Exit code 2 when the port is in use.
    """
    from fleet_dagster.dashboard.application import application  # noqa: PLC0415 - help stays quick
    from fleet_dagster.dashboard.serving import web_server  # noqa: PLC0415
    from fleet_dagster.serving import address, listening  # noqa: PLC0415

    store, fleets = place.store(), StandingFleets(place.installation())
    made = application(
        store,
        fleets,
        dagster_url=_dagster(dagster_url, host),
        extra_routes=[_metrics(store, fleets)],
    )
    server = web_server(
        made.app,
        made.channels.end_streams,
        certfile=certfile,
        keyfile=keyfile,
        trusted_proxy=trusted_proxy,
    )
    with listening(host, port) as sock:
        page = f"{address(sock, host, is_tls=certfile is not None)}/"
        if certfile is None and trusted_proxy is None and not _is_loopback(host):
            note(
                f"Warning: {host} can be reached from other machines, and without TLS tokens travel readable. "
                "Give --certfile and --keyfile, or put a reverse proxy before it (--trusted-proxy)."
            )
        with (
            suppress(KeyboardInterrupt),
            interruptible(),
            _opened(store, page, browser=browser),
        ):
            server.run(sockets=[sock])
    note("Ended.")


class StandingFleets:
    """The fleets that stand; their files are read again only when one has changed."""

    def __init__(self, installation: "Installation") -> None:
        self.installation = installation
        self._seen = self._files()
        self._configs = standing_fleets(installation).configs

    def __call__(self) -> "Mapping[str, FleetConfig]":
        """Return the fleets by name."""
        seen = self._files()
        if seen != self._seen:
            self._configs = self.installation.standing().configs
            self._seen = seen
        return self._configs

    def _files(self) -> list[tuple[Path, int, int]]:
        found = [(path, path.stat()) for path in self.installation.files()]
        return [(path, told.st_mtime_ns, told.st_size) for path, told in found]


def _metrics(store: "Store", fleets: StandingFleets) -> "Route":
    """Return the route of /metrics: a token that shows one fleet's page shows its figures, too."""
    from fleet_dagster.telemetry.exposition import Exposition  # noqa: PLC0415 - help stays quick
    from fleet_dagster.telemetry.routes import metrics_route  # noqa: PLC0415

    def may_see(request: "Request") -> "Collection[str] | None":
        token = request.app.state.dashboard.access.of(request)
        return None if token.fleet is None else {token.fleet}

    return metrics_route(Exposition(store, fleets), may_see)


@contextmanager
def _opened(store: "Store", address: str, *, browser: bool | None) -> Iterator[None]:
    """Say where the page is; at a terminal with a token, which ends with the block."""
    from fleet_dagster.cli.own_token import own_token, shown_in_browser  # noqa: PLC0415 - help stays quick

    if not (sys.stdout.isatty() or browser):
        note(f"The dashboard is at {address}. Log in with a token: fleet tokens create NAME")
        yield
        return
    with own_token(store, "fleet dashboard, this run", "viewer") as secret:
        click.echo(f"The dashboard is at {address}#token={secret}")
        opened = (
            nullcontext() if browser is False else shown_in_browser(f"{address}#token={secret}")
        )
        with opened:
            yield


def _dagster(given: str | None, host: str) -> str | None:
    if given is not None:
        return given.rstrip("/") or None
    return DAGSTER if _is_loopback(host) else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
