"""`fleet streams`: what can be followed, who follows it, and how far they have come."""

import click
from rich.table import Table

from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.standing import standing_fleets
from fleet_dagster.cli.stream_names import STREAM_HELP, WHERE, position_of, stream_named
from fleet_dagster.cli.terminal import console, counted, json_option, note, print_json
from fleet_dagster.core.windows import Span, iso
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import StreamError
from fleet_dagster.model.streams import CONSUMERS, Stream
from fleet_dagster.storage.cursors import Cursor
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.standing import Following, StreamState, stream_state, streams_of
from fleet_dagster.streams.subscription import held_alone

consumer_option = click.option("--consumer", required=True, metavar="NAME", help="Who reads.")


@click.group(invoke_without_command=True)
@json_option
@installation_options
@click.pass_context
def streams(ctx: click.Context, *, as_json: bool) -> None:
    """Show what can be followed of every fleet, and by whom; move and remove consumers.

    A stream is the history of one table in the order of commit. Read it with `fleet consume`.
    """
    if ctx.invoked_subcommand is not None:
        return
    place = ctx.ensure_object(Place)
    configs = standing_fleets(place.installation()).configs.values()
    store = place.store()
    found = [(config, state) for config in configs for state in streams_of(store, config)]
    if as_json:
        print_json([_shown(config, state) for config, state in found])
        return
    console().print(_table(found))


@streams.command(epilog=STREAM_HELP)
@click.argument("stream")
@json_option
@installation_options
@click.pass_obj
def show(place: Place, stream: str, *, as_json: bool) -> None:
    """Show one stream: its columns, how long it is kept, who follows it and what they missed."""
    config, chosen = stream_named(place.installation(), stream)
    state = stream_state(place.store(), config, chosen)
    if as_json:
        columns = [
            {"name": c.name, "type": c.type, "unit": c.unit, "meaning": c.meaning}
            for c in chosen.table.columns
        ]
        print_json({**_shown(config, state), "columns": columns})
        return
    click.echo(
        f"{chosen.address(config.name)}\n{chosen.table.description}\n"
        f"One row per {chosen.table.grain}, kept {state.kept_days} days. "
        f"{counted(state.n_entries, 'entry')}, {_extent(state.windows)}."
    )
    click.echo(
        "\nMade for: " + ", ".join(f"{c} ({CONSUMERS[c].lower()})" for c in chosen.consumers)
    )
    for one in state.followers:
        click.echo(f"  {_followed(one)}")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("column", "type", "unit", "meaning"):
        table.add_column(name, overflow="fold")
    for column in chosen.table.columns:
        table.add_row(column.name, column.type, column.unit, column.meaning)
    console().print(table)


@streams.command(epilog=STREAM_HELP)
@click.argument("stream")
@consumer_option
@click.option("--to", "where", required=True, metavar="WHERE", help=f"Where to go on: {WHERE}.")
@installation_options
@click.pass_obj
def rewind(place: Place, stream: str, *, consumer: str, where: str) -> None:
    """Let a consumer go on from elsewhere, behind or ahead.

    Exit code 2 when there is no such consumer, or it is reading just now.
    """
    config, chosen = stream_named(place.installation(), stream)
    store = place.store()
    position = position_of(store, config, chosen, where, name="--to")
    with held_alone(store, config, chosen, consumer):
        moved = store.cursors.move(_cursor(store, config, chosen, consumer), position)
    n_left, _ = store.history.size(chosen.table.name, config.name, after=moved.position)
    note(f"{consumer} goes on after entry {moved.position}: {n_left:,} to read.")


@streams.command(epilog=STREAM_HELP)
@click.argument("stream")
@consumer_option
@installation_options
@click.pass_obj
def forget(place: Place, stream: str, *, consumer: str) -> None:
    """Remove a consumer that will not come back, so that nothing waits for it.

    Exit code 2 when there is no such consumer, or it is reading just now.
    """
    config, chosen = stream_named(place.installation(), stream)
    store = place.store()
    with held_alone(store, config, chosen, consumer):
        store.cursors.forget(_cursor(store, config, chosen, consumer))
    note(f"{consumer} is forgotten. If it reads again, it begins at the start.")


def _cursor(store: Store, config: FleetConfig, stream: Stream, consumer: str) -> Cursor:
    found = store.cursors.find(config.name, stream.name, consumer)
    if found is None:
        known = [c.consumer for c in store.cursors.of(config.name, stream.name)]
        raise StreamError(
            stream.address(config.name),
            f"it has no consumer {consumer!r}",
            f"Name one of {', '.join(known)}" if known else "Nobody has read it yet",
        )
    return found


def _shown(config: FleetConfig, state: StreamState) -> dict[str, object]:
    return {
        "stream": state.stream.address(config.name),
        "table": state.stream.table.name,
        "kept_days": state.kept_days,
        "entries": state.n_entries,
        "newest_entry": state.newest,
        "from": iso(state.windows.start) if state.windows else None,
        "to": iso(state.windows.end) if state.windows else None,
        "made_for": state.stream.consumers,
        "consumers": [
            {
                "consumer": one.cursor.consumer,
                "position": one.cursor.position,
                "entries_behind": one.n_behind,
                "moved_at": iso(one.cursor.moved_at),
                "missed": [
                    {"from": iso(m.span.start), "to": iso(m.span.end), "entries": m.n_entries}
                    for m in one.missed
                ],
            }
            for one in state.followers
        ],
    }


def _table(found: list[tuple[FleetConfig, StreamState]]) -> Table:
    """Return the streams, each above its readers: beside it there would be no room for them in 80 columns."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("stream, read by", "kept", "entries", "windows until"):
        table.add_column(
            name,
            overflow="fold",
            no_wrap=not name.startswith("stream"),
            justify="right" if name in ("kept", "entries") else "left",
        )
    for config, state in found:
        until = iso(state.windows.end)[:16] if state.windows else "-"
        name = f"{config.name}/{state.stream.name}"
        table.add_row(name, f"{state.kept_days} d", f"{state.n_entries:,}", until)
        for one in state.followers or (None,):
            table.add_row(f"  {_followed(one) if one else 'nobody'}", style="dim")
    return table


def _followed(one: Following) -> str:
    behind = f"{one.n_behind:,} behind" if one.n_behind else "up to date"
    lost = f"; missed {counted(len(one.missed), 'day')}" if one.missed else ""
    return f"{one.cursor.consumer}: {behind}{lost}"


def _extent(windows: Span | None) -> str:
    return (
        f"windows from {iso(windows.start)} to {iso(windows.end)}" if windows else "no windows yet"
    )
