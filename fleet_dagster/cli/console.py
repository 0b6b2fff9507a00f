"""`fleet console`: a fleet on the whole terminal, as it is now."""

import datetime as dt
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from fleet_dagster.cli.keyboard import Keys, terminal_keys
from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.standing import standing_fleet
from fleet_dagster.cli.terminal import console as screen_for_people
from fleet_dagster.cli.terminal import json_option, print_json
from fleet_dagster.console.picture import gather
from fleet_dagster.console.screen import screen_lines
from fleet_dagster.console.watch import View, Watch
from fleet_dagster.console.words import in_ascii

LOOK_EVERY = dt.timedelta(seconds=1)
TICK_S = 0.2


@click.command()
@click.argument("fleet")
@click.option(
    "--once",
    is_flag=True,
    help="Print one picture and end, as is also done where standard output is no terminal.",
)
@json_option
@installation_options
@click.pass_obj
def console(place: Place, fleet: str, *, once: bool, as_json: bool) -> None:
    """Watch a fleet in the terminal: health, regions, worst sites, open incidents.

    The picture follows what is computed; q ends it. With --once, or --json, exit code 1 when no window has been computed.
    """
    config = standing_fleet(place.installation(), fleet)
    store, screen = place.store(), screen_for_people()
    if once or as_json or not screen.is_terminal or screen.is_dumb_terminal:
        now = _now()
        picture = gather(store, config, now)
        if as_json:
            print_json({**asdict(picture), "condition": picture.condition(now)})
        else:
            height = screen.height - 1 if screen.is_terminal else None
            _print(screen, _lines(screen, View(picture), fleet, height=height))
        if picture.status is None:
            raise SystemExit(1)
        return
    with suppress(KeyboardInterrupt):
        _live(screen, Watch(store, config), fleet)


def _live(screen: Console, watch: Watch, fleet: str) -> None:
    """Show the newest view until q is pressed. Storage is read beside, so that the clock goes on while it is slow."""
    reader = ThreadPoolExecutor(1, "console")
    with terminal_keys() as keys, Live(console=screen, screen=True, auto_refresh=False) as live:
        try:
            _loop(live, reader, watch, fleet, keys)
        finally:
            reader.shutdown(cancel_futures=True)


def _loop(live: Live, reader: ThreadPoolExecutor, watch: Watch, fleet: str, keys: Keys) -> None:
    looking: Future[View] | None = None
    view, looked_at, drawn = View(), _now() - LOOK_EVERY, None
    while True:
        now = _now()
        if looking is not None and looking.done():
            view, looking = looking.result(), None
        if looking is None and now - looked_at >= LOOK_EVERY:
            looking, looked_at = reader.submit(watch.look, now), now
        due = (view, live.console.size, now.replace(microsecond=0))
        if due != drawn:
            lines = _lines(live.console, view, fleet, height=live.console.height, now=now)
            live.update(Group(*lines), refresh=True)
            drawn = due
        if "q" in keys.pressed(TICK_S).lower():
            return


def _lines(
    screen: Console, view: View, fleet: str, *, height: int | None, now: dt.datetime | None = None
) -> Sequence[Text]:
    lines = screen_lines(view, fleet, width=screen.width, height=height, now=now or _now())
    for line in lines:
        line.no_wrap = True
    return lines if screen.encoding.startswith("utf") else [in_ascii(line) for line in lines]


def _print(screen: Console, lines: Sequence[Text]) -> None:
    for line in lines:
        screen.print(line)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
