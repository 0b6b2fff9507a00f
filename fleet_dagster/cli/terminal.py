"""What commands print: JSON for machines, tables for people, progress on a terminal only."""

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def print_json(content: object) -> None:
    """Print a record, or a list of them, as JSON with ISO 8601 instants."""
    click.echo(json.dumps(content, indent=2, default=_plain, ensure_ascii=False))


def console() -> Console:
    """Return the console for people, on standard output."""
    return Console(highlight=False, emoji=False)


def note(text: str) -> None:
    """Say something that is no data: to standard error."""
    click.echo(text, err=True)


class Bar:
    """A progress bar, or nothing where standard error is no terminal."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=None)

    def update(self, done: float, total: float, what: str | None = None) -> None:
        """Show how much of the whole is done."""
        self._progress.update(self._task, completed=done, total=total, description=what)


@contextmanager
def progress_bar(what: str) -> Iterator[Bar]:
    """Show a progress bar while the block runs."""
    screen = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        yield Bar(bar, what)


def counted(n: int, thing: str) -> str:
    """Say how many there are of something whose plural ends in s."""
    if n == 1:
        return f"{n:,} {thing}"
    is_consonant_y = thing.endswith("y") and thing[-2] not in "aeiou"
    return f"{n:,} {thing[:-1]}ies" if is_consonant_y else f"{n:,} {thing}s"


def utc(stamp: dt.datetime | None, missing: str = "never") -> str:
    """Show an instant to the second, as UTC."""
    return missing if stamp is None else f"{stamp.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _plain(value: object) -> Any:  # Any: what JSON can hold
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        return dict(value)
    return str(value)
