"""Streams and places in them, as the command line names them."""

from collections.abc import Mapping

import click

from fleet_dagster.cli.spans import read_instant
from fleet_dagster.cli.standing import standing_fleets
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import StreamError
from fleet_dagster.model.streams import STREAMS, Stream
from fleet_dagster.storage.installation import Installation
from fleet_dagster.storage.store import Store

_PREFIX = "esn/fleet/"
STREAM_HELP = "STREAM is a full name (esn/fleet/plant/fleet_kpi_stream), FLEET/STREAM, or the stream's name alone where there is one fleet."
WHERE = "start, end, an entry's number, or a DAY or INSTANT: the first entry about its windows"


def stream_named(installation: Installation, name: str) -> tuple[FleetConfig, Stream]:
    """Return the fleet and the stream that a name means.

    Raises
    ------
    StreamError
        There is no such stream, or the fleet must be named too.
    UnknownFleetError
        The fleet is not defined.
    """
    standing = standing_fleets(installation)
    fleet, _, own = name.removeprefix(_PREFIX).rpartition("/")
    if own not in STREAMS:
        raise StreamError(name, "there is no such stream", f"Name one of {', '.join(STREAMS)}")
    return standing.of_fleet(fleet or _only(standing.configs, name)), STREAMS[own]


def _only(configs: Mapping[str, FleetConfig], name: str) -> str:
    if len(configs) > 1:
        raise StreamError(
            name,
            f"{len(configs)} fleets have it",
            f"Name the fleet too: {', '.join(f'{fleet}/{name}' for fleet in sorted(configs))}",
        )
    return next(iter(configs))


def position_of(store: Store, config: FleetConfig, stream: Stream, where: str, *, name: str) -> int:
    """Return the number after which a place in a stream begins.

    Raises
    ------
    click.BadParameter
        It is no place, or lies beyond the next entry: all that comes until then would be passed over in silence.
    """
    _, newest = store.history.size(stream.table.name, config.name)
    if where == "start":
        return 0
    if where == "end":
        return newest
    if where.isdecimal():
        if int(where) > newest + 1:
            message = f"{stream.address(config.name)} has no entry {where}, its newest is {newest}. Name one up to that, or end."
            raise click.BadParameter(message, param_hint=name)
        return max(0, int(where) - 1)
    try:
        instant = read_instant(config, where, name=name)
    except click.BadParameter as error:
        message = f"{where!r} is no place in a stream. Expected {WHERE}."
        raise click.BadParameter(message, param_hint=name) from error
    first = store.history.first_about(stream.table.name, config.name, instant)
    return newest if first is None else first - 1
