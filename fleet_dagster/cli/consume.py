"""`fleet consume`: a stream as JSON Lines or Parquet files, from where the consumer left off."""

import sys
import time
from contextlib import suppress
from pathlib import Path

import click

from fleet_dagster.cli.interrupts import interruptible
from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.stream_names import STREAM_HELP, WHERE, position_of, stream_named
from fleet_dagster.cli.terminal import counted, note
from fleet_dagster.streams.following import pass_on
from fleet_dagster.streams.outputs import JsonLines, ParquetFolder, end_torn_line
from fleet_dagster.streams.subscription import subscribe

POLL_S = 1.0


@click.command(epilog=STREAM_HELP)
@click.argument("stream")
@click.option(
    "--consumer",
    required=True,
    metavar="NAME",
    help="Who reads. Each name has a cursor of its own, which outlives this command.",
)
@click.option("--follow", is_flag=True, help="Go on as new windows are committed, until Ctrl-C.")
@click.option(
    "--from",
    "start",
    metavar="WHERE",
    help=f"Begin here instead of where the consumer left off: {WHERE}. [default for a new consumer: start]",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write Parquet files to, one a delivery, instead of JSON Lines on standard output.",
)
@click.option(
    "--as-committed",
    is_flag=True,
    help="Rows as each entry wrote them, instead of as they stand now.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="End after so many deliveries."
)
@installation_options
@click.pass_obj
def consume(
    place: Place,
    stream: str,
    *,
    consumer: str,
    follow: bool,
    start: str | None,
    out: Path | None,
    as_committed: bool,
    limit: int | None,
) -> None:
    """Read a stream in the order of commit, from where the consumer left off.

    Everything is delivered at least once: a consumer that is killed is given again what it had not finished. A line with
    kind `restate` says that windows were replaced, and their rows follow; `expire`, that their retention is over;
    `missed`, that rows had expired before this consumer came to them.
    """
    config, chosen = stream_named(place.installation(), stream)
    store = place.store()
    position = None
    if start is not None:
        position = position_of(store, config, chosen, start, name="--from")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write = ParquetFolder(store, config.name, out).write
    else:
        end_torn_line(sys.stdout)
        write = JsonLines(store, config.name, sys.stdout).write
    with subscribe(store, config, chosen, consumer, as_committed=as_committed) as subscription:
        if position is not None:
            subscription.rewind(position)
        n_done = pass_on(subscription, write, limit=limit)
        with suppress(KeyboardInterrupt), interruptible():
            while follow and (limit is None or n_done < limit):
                time.sleep(POLL_S)
                left = None if limit is None else limit - n_done
                n_done += pass_on(subscription, write, limit=left)
    if out is not None:
        note(f"Wrote {counted(n_done, 'file')} to {out}.")
