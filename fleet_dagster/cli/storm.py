"""`fleet storm`: the storms of a fleet, begun and ended by hand, or found in history."""

from dataclasses import dataclass

import click
from rich.table import Table

from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.spans import from_option, read_instant, span_between, to_option
from fleet_dagster.cli.standing import standing_fleet
from fleet_dagster.cli.terminal import console, counted, json_option, note, print_json
from fleet_dagster.core.windows import Span, ceil_to, iso
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import StormError
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.storms import FOREVER, StormEpisode
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.refresh.storm_watch import StormWatch
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.status import first_unwritten
from fleet_dagster.storage.store import Store
from fleet_dagster.storage.storms import HELD, RecordedStorm

OPERATOR = "operator"
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Storm:
    """One episode, as it is shown."""

    episode_id: str
    start: str
    end: str | None
    cause: str
    started_by: str
    ended_by: str


@click.group()
def storm() -> None:
    """Show, begin, end or find storms, in which KPIs are sampled.

    In a storm the status, uptime and faults of every site are read, but the KPIs of a panel only: one site in ten of each
    region, and every critical one. The storm monitor begins and ends storms by itself; this is for when you know better.
    """


@storm.command()
@click.argument("fleet")
@json_option
@installation_options
@click.pass_obj
def status(place: Place, fleet: str, *, as_json: bool) -> None:
    """Show whether a storm is on, and the latest ones."""
    standing_fleet(place.installation(), fleet)
    recorded = place.store().storms.recorded(fleet)
    current = next((r for r in recorded if r.episode.is_open), None)
    if as_json:
        shown = [_shown(r) for r in recorded]
        print_json(
            {"fleet": fleet, "current": _shown(current) if current else None, "storms": shown}
        )
        return
    click.echo(_standing(fleet, current))
    if recorded:
        console().print(_table(recorded[-_SHOWN:]))


@storm.command()
@click.argument("fleet")
@click.option(
    "--from",
    "start",
    metavar="INSTANT",
    help="First instant of the storm, rounded up to a window. [default: the first window not yet written]",
)
@click.option(
    "--hold",
    is_flag=True,
    help="Keep it until you end it. Else the monitor does, after five calm windows.",
)
@click.option("--cause", default="begun by hand", show_default=True, help="Why; it is recorded.")
@installation_options
@click.pass_obj
def start(place: Place, fleet: str, *, start: str | None, hold: bool, cause: str) -> None:
    """Begin a storm by hand.

    Exit code 2 when one is on already.
    """
    config, store = place.installation().config(fleet), place.store()
    store.registry.ensure(config)
    at = _instant(config, store, start, name="--from")
    wanted = StormEpisode.of(at, cause=cause)
    if not store.storms.record(fleet, [wanted], by=HELD if hold else OPERATOR):
        raise StormError(fleet, f"{wanted.episode_id} is on already", "See `fleet storm status`")
    episode = wanted
    note(f"{episode.episode_id} is on since {iso(episode.start)}. End it: fleet storm end {fleet}")
    _say_what_changes(store, config, Span(episode.start, FOREVER))


@storm.command()
@click.argument("fleet")
@click.option(
    "--at",
    metavar="INSTANT",
    help="End of the storm, rounded up to a window. [default: the first window not yet written]",
)
@installation_options
@click.pass_obj
def end(place: Place, fleet: str, *, at: str | None) -> None:
    """End the storm that is on.

    Exit code 2 when none is.
    """
    config, store = place.installation().config(fleet), place.store()
    instant = _instant(config, store, at, name="--at")
    current = store.storms.open(fleet)
    if at is None and current is not None:
        instant = max(instant, current.start + config.interval_s * 1_000_000)
    episode = store.storms.end(fleet, instant, by=OPERATOR)
    note(f"{episode.episode_id} ended at {iso(episode.end)}.")
    _say_what_changes(store, config, Span(episode.end, FOREVER))


@storm.command()
@click.argument("fleet")
@click.argument("episode_id")
@installation_options
@click.pass_obj
def forget(place: Place, fleet: str, episode_id: str) -> None:
    """Remove an episode that was recorded by mistake.

    Exit code 1 when there is none of that name.
    """
    config, store = place.installation().config(fleet), place.store()
    found = [r.episode for r in store.storms.recorded(fleet) if r.episode.episode_id == episode_id]
    if not found:
        note(f"Fleet {fleet} has no episode {episode_id!r}. See: fleet storm status {fleet}")
        raise SystemExit(1)
    store.storms.forget(fleet, found[0].start)
    note(f"{episode_id} is forgotten.")
    _say_what_changes(store, config, Span(found[0].start, found[0].end))


@storm.command()
@click.argument("fleet")
@from_option
@to_option
@click.option("--dry-run", is_flag=True, help="Say what would be recorded, and record nothing.")
@json_option
@installation_options
@click.pass_obj
def detect(place: Place, fleet: str, start: str, end: str, *, dry_run: bool, as_json: bool) -> None:
    """Find the storms of imported history, and record them.

    Storms recorded before are kept as they are; of one that reaches into them only the rest is new. Fleets of fewer than
    20 sites have none.
    """
    config, store = place.installation().config(fleet), place.store()
    span = span_between(config, start, end)
    found = StormWatch(store, config).detect(span)
    if not dry_run:
        store.storms.record(fleet, found, by="storm detect")
    if as_json:
        print_json([_shown(RecordedStorm(e, "storm detect", "storm detect", 0)) for e in found])
    else:
        _tell_found(found, recorded=not dry_run)
        if found and not dry_run:
            _say_what_changes(store, config, Span(found[0].start, found[-1].end))


def _tell_found(found: list[StormEpisode], *, recorded: bool) -> None:
    for episode in found:
        click.echo(f"{episode.episode_id}  until {iso(episode.end)}  {episode.cause}")
    done = "recorded" if recorded else "found; nothing was recorded"
    note(f"{counted(len(found), 'storm')} {done}.")


def _instant(config: FleetConfig, store: Store, given: str | None, *, name: str) -> int:
    """Return the instant given, or the start of the first window not yet written, on a window [us]."""
    if given is None:
        return first_unwritten(store, config, now_us())
    at = ceil_to(read_instant(config, given, name=name), config.interval_s * 1_000_000)
    _refuse_out_of_reach(config, at, given, name=name)
    return at


def _refuse_out_of_reach(config: FleetConfig, at: int, given: str, *, name: str) -> None:
    """Refuse an instant before the fleet began, or in the future: nobody would remember it when it comes."""
    if at < Fleet.of(config).start:
        message = f"{given} lies before the fleet's start_date, {config.start_date}."
        raise click.BadParameter(message, param_hint=name)
    if at > ceil_to(now_us(), config.interval_s * 1_000_000):
        message = f"{given} lies in the future. Say it when it is so, or leave {name} out for now."
        raise click.BadParameter(message, param_hint=name)


def _say_what_changes(store: Store, config: FleetConfig, span: Span) -> None:
    """Say which written windows are no longer current because of a change, and how to bring them up to date."""
    written = store.history.coverage.newest_end(FLEET_KPI.name, config.name) or 0
    touched = span.clip(Span(0, written))
    if not touched.is_empty:
        note(
            f"Windows from {iso(touched.start)} to {iso(touched.end)} are computed anew by the next scheduled run, those older "
            f"than a week by: fleet run {config.name} --from {iso(touched.start)} --to {iso(touched.end)}"
        )


def _standing(fleet: str, current: RecordedStorm | None) -> str:
    if current is None:
        return f"Fleet {fleet}: no storm."
    return (
        f"Fleet {fleet}: {current.episode.episode_id} is on since {iso(current.episode.start)} ({current.episode.cause}; "
        f"begun by {current.started_by})."
    )


def _shown(recorded: RecordedStorm) -> Storm:
    episode = recorded.episode
    return Storm(
        episode.episode_id,
        iso(episode.start),
        None if episode.is_open else iso(episode.end),
        episode.cause,
        recorded.started_by,
        recorded.ended_by,
    )


def _by(one: Storm) -> str:
    return (
        one.started_by
        if one.ended_by in ("", one.started_by)
        else f"{one.started_by}; {one.ended_by}"
    )


def _table(recorded: list[RecordedStorm]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("episode", "until", "begun, ended by", "cause"):
        table.add_column(name, no_wrap=name in ("episode", "until"))
    for one in map(_shown, reversed(recorded)):
        table.add_row(one.episode_id, one.end or "still on", _by(one), one.cause)
    return table
