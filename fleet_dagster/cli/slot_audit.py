"""`fleet slots audit`: recorded answers asked for again, a sample of them or all that are new."""

from collections.abc import Callable, Sequence

import click

from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.recorded import OpenFleet
from fleet_dagster.cli.spans import optional_from, optional_to, span_between
from fleet_dagster.cli.terminal import counted, json_option, print_json, progress_bar
from fleet_dagster.core.windows import Span, iso
from fleet_dagster.model.streams import STREAMS
from fleet_dagster.refresh.ai_audit import Audit, audit_all
from fleet_dagster.refresh.ai_audit import audit as ask_again
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.streams.subscription import Subscription, subscribe

CONSUMER = "ai_audit"
STREAM = STREAMS["ai_inference_stream"]
_SAMPLE = 24
_SHOWN = 12
Ask = Callable[[Span], Audit]


@click.command()
@click.argument("fleet")
@click.option(
    "--new",
    "is_new",
    is_flag=True,
    help="All answers that were recorded or restated since the last audit with --new.",
)
@optional_from
@optional_to
@click.option(
    "--windows",
    type=click.IntRange(1, 10_000),
    help=f"Windows to ask again about, chosen by hash; with --new, of each entry of the stream. [default: {_SAMPLE}; with --new, all]",
)
@click.option("--seed", default="", help="Another seed chooses other windows.")
@json_option
@installation_options
@click.pass_obj
def audit(
    place: Place,
    fleet: str,
    *,
    is_new: bool,
    start: str | None,
    end: str | None,
    windows: int | None,
    seed: str,
    as_json: bool,
) -> None:
    """Ask again about recorded answers, a sample or all new ones, and compare; no row is written.

    With --new it goes on where the last one stopped: how far that was is kept as consumer ai_audit of the stream of answers.
    Exit code 1 when an answer is not given again.
    """
    if is_new == bool(start or end) or bool(start) != bool(end):
        message = "Name a span with --from and --to, or --new for what has not been audited yet."
        raise click.UsageError(message)
    opened = OpenFleet.of(place, fleet)
    refresh = Refresh(opened.store, opened.config)
    with progress_bar(f"auditing {fleet}") as bar:

        def ask(span: Span) -> Audit:
            if is_new and windows is None:
                return audit_all(refresh, span, progress=bar.update)
            n_windows = windows or _SAMPLE
            return ask_again(refresh, span, n_windows=n_windows, seed=seed, progress=bar.update)

        if start and end:
            found = [ask(span_between(opened.config, start, end))]
            _show(fleet, found, as_json=as_json)
        else:
            opened.store.registry.ensure(opened.config)
            with subscribe(opened.store, opened.config, STREAM, CONSUMER) as following:
                found = _new(fleet, following, ask, as_json=as_json)
    if any(one.differences for one in found):
        raise SystemExit(1)


def _new(fleet: str, following: Subscription, ask: Ask, *, as_json: bool) -> list[Audit]:
    """Audit what is new; what was found is shown before the cursor moves past it."""
    found: list[Audit] = []
    n_missed, last = 0, None
    for delivery in following.pending():
        n_missed += delivery.kind == "missed"
        if delivery.kind in ("append", "restate"):
            found.append(ask(delivery.span))
            if not as_json:
                _list_differences(found[-1])
        last = delivery
        if not as_json:
            following.done(delivery)
    _show(fleet, found, as_json=as_json, is_listed=True, n_missed=n_missed)
    if last is not None:
        following.done(last)
    return found


def _show(
    fleet: str,
    found: Sequence[Audit],
    *,
    as_json: bool,
    is_listed: bool = False,
    n_missed: int = 0,
) -> None:
    n_windows, n_answers, n_gone = (
        sum(getattr(one, name) for one in found) for name in ("n_windows", "n_answers", "n_gone")
    )
    differences = [difference for one in found for difference in one.differences]
    if as_json:
        print_json(
            {
                "fleet": fleet,
                "from": iso(min(one.span.start for one in found)) if found else None,
                "to": iso(max(one.span.end for one in found)) if found else None,
                "windows": n_windows,
                "answers": n_answers,
                "differences": differences,
                "windows_gone": n_gone,
                "pieces_missed": n_missed,
            }
        )
        return
    if not is_listed:
        for one in found:
            _list_differences(one)
    asked = f"{counted(n_answers, 'answer')} of {counted(n_windows, 'window')} asked for again"
    click.echo(f"{asked}: {counted(len(differences), 'difference')}")
    if n_gone:
        click.echo(f"{counted(n_gone, 'window')} left out: what they were fed has expired")
    if n_missed:
        click.echo(f"{counted(n_missed, 'piece')} of the stream expired before the audit")


def _list_differences(found: Audit) -> None:
    for one in found.differences[:_SHOWN]:
        click.echo(
            f"{one.window_start:%Y-%m-%dT%H:%M:%SZ} slot {one.slot_id} {one.site_id}: {one.what} was {one.recorded}, is {one.found}"
        )
    if len(found.differences) > _SHOWN:
        command = f"fleet slots audit {found.fleet} --from {iso(found.span.start)} --to {iso(found.span.end)} --windows 10000 --json"
        click.echo(f"and {len(found.differences) - _SHOWN:,} more; all: {command}")
