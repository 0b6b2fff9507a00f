"""`fleet alerts`: what needs somebody, who is on it, what is silenced, and whether messages arrive."""

import time
from collections.abc import Callable

import click
from rich.table import Table

from fleet_dagster.alerting.delivery import Address, send
from fleet_dagster.alerting.messages import described, instant
from fleet_dagster.alerting.passes import Alerting
from fleet_dagster.cli.lengths import read_length
from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.standing import standing_fleet, standing_fleets
from fleet_dagster.cli.terminal import console, counted, json_option, note, print_json
from fleet_dagster.model.alerts import RULES, TRUTHS, RuleName, Truth
from fleet_dagster.model.errors import AlertError, DeliveryError, StreamError
from fleet_dagster.storage.alerts import Acknowledgement, Alert, Alerts
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.notifications import Notification, Notifications
from fleet_dagster.storage.silences import Silence, Silences
from fleet_dagster.storage.store import Store


def _said(most: int) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Return a check that words are some, and short enough to be recorded."""

    def check(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
        if text is not None and not 0 < len(text.strip()) <= most:
            found = f"{len(text)} characters" if text.strip() else "nothing"
            message = f"found {found}, expected 1 to {most} characters. Say it in that many."
            raise click.BadParameter(message)
        return text

    return check


_LONGEST_SILENCE_DAYS = 90


@click.group()
def alerts() -> None:
    """Show what needs somebody, acknowledge and silence alerts, and send messages.

    Where messages go is in the fleet's file, under `alerts`. Under `fleet up` a sensor looks every 30 seconds and sends what
    is new; without Dagster, `fleet alerts run --follow` does.
    """


@alerts.command("list")
@click.argument("fleet", required=False)
@click.option("--all", "everything", is_flag=True, help="Those that are resolved too.")
@json_option
@installation_options
@click.pass_obj
def list_(place: Place, fleet: str | None, *, everything: bool, as_json: bool) -> None:
    """List open alerts, of one fleet or all, the newest last."""
    if fleet is not None:
        standing_fleet(place.installation(), fleet)
    store = place.store()
    found = Alerts(store.control).listed(fleet, everything=everything)
    silences = Silences(store.control).at(now_us(), fleet)
    if as_json:
        print_json([_as_json(a, silences) for a in found])
        return
    if not found:
        click.echo("No alert is open." if not everything else "There are no alerts.")
        return
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for name in ("id", "fleet", "severity", "state", "since", "what"):
        table.add_column(name, no_wrap=name != "what", overflow="fold")
    for one in found:
        cells = (one.fleet, one.severity, _state(one, silences), _short(one.first_at), one.headline)
        table.add_row(str(one.alert_id), *cells)
    console().print(table)


@alerts.command()
@click.argument("alert_id", type=int, metavar="ID")
@json_option
@installation_options
@click.pass_obj
def show(place: Place, alert_id: int, *, as_json: bool) -> None:
    """Show all that is known of an alert, and who was told.

    Exit code 1 when there is none of that number.
    """
    store = place.store()
    alert = _found(store, alert_id)
    sent = Notifications(store.control).of_alert(alert.fleet, alert_id)
    silences = Silences(store.control).at(now_us(), alert.fleet)
    if as_json:
        messages = [_message_json(m) for m in sent]
        print_json({**_as_json(alert, silences), "messages": messages})
        return
    click.echo(f"Alert {alert_id} of fleet {alert.fleet}: {alert.headline}")
    click.echo(f"{alert.severity}, {_state(alert, silences)}, rule {alert.rule}, {alert.subject}")
    for line in (*described(alert), *_history(alert), *map(_message_line, sent)):
        click.echo(line)


@alerts.command()
@click.argument("alert_id", type=int, metavar="ID")
@click.option("--by", required=True, callback=_said(128), help="Who is on it.")
@click.option("--note", "text", callback=_said(4000), help="Anything worth knowing.")
@click.option("--truth", type=click.Choice(TRUTHS), help="What it turned out to be.")
@click.option("--cause", metavar="SITE", help="Site where it began.")
@installation_options
@click.pass_obj
def ack(
    place: Place,
    alert_id: int,
    *,
    by: str,
    text: str | None,
    truth: Truth | None,
    cause: str | None,
) -> None:
    """Say that somebody is on it, or what it turned out to be; may be said again.

    Only its end is sent from then on. What it turned out to be is kept as a label of its incident.
    """
    store = place.store()
    alert = _found(store, alert_id)
    if cause is not None and alert.detail["sites"] and cause not in alert.detail["sites"]:
        problem = f"site {cause!r} does not belong to it"
        advice = f"Name one of its sites: fleet alerts show {alert_id} --json"
        raise AlertError(f"alert {alert_id}", problem, advice)
    said = Acknowledgement(by, text, truth, cause)
    Alerts(store.control).acknowledge(alert_id, said, at=now_us())
    note(f"Alert {alert_id} is acknowledged by {by}.")
    if truth is not None and alert.rule != "incident":
        note(
            f"It is no incident (rule {alert.rule}): its truth is kept here, but labels no training data. "
            f"Incidents: fleet alerts list {alert.fleet} --all"
        )


@alerts.command()
@click.argument("fleet")
@click.option("--rule", type=click.Choice(RULES), help="Only alerts of this rule.")
@click.option(
    "--subject",
    default="*",
    show_default=True,
    metavar="GLOB",
    callback=_said(256),
    help="Only these subjects.",
)
@click.option("--for", "length", required=True, metavar="TIME", help="How long: 30m, 4h or 2d.")
@click.option("--reason", required=True, callback=_said(512), help="Why; it is recorded.")
@click.option("--by", required=True, callback=_said(128), help="Who says so.")
@installation_options
@click.pass_obj
def silence(
    place: Place,
    fleet: str,
    *,
    rule: RuleName | None,
    subject: str,
    length: str,
    reason: str,
    by: str,
) -> None:
    """Send nothing of some alerts for a while; they are recorded all the same.

    What is still open when the silence ends is sent then.
    """
    standing_fleet(place.installation(), fleet)
    now = now_us()
    until = now + read_length(length, longest_days=_LONGEST_SILENCE_DAYS, name="--for")
    wanted = Silence(fleet, rule, subject, now, until, reason, by)
    made = Silences(place.store().control).begin(wanted)
    note(f"Silence {made.silence_id} holds until {instant(made.ends_at)}.")


@alerts.command()
@click.argument("fleet", required=False)
@json_option
@installation_options
@click.pass_obj
def silences(place: Place, fleet: str | None, *, as_json: bool) -> None:
    """List the silences that hold now, of one fleet or all."""
    found = Silences(place.store().control).at(now_us(), fleet)
    if as_json:
        print_json([_silence_json(s) for s in found])
        return
    for one in found:
        what = f"{one.rule or 'every rule'}, {one.subject}"
        click.echo(f"{one.silence_id}  {one.fleet}: {what}, until {instant(one.ends_at)}")
        click.echo(f"   {one.reason} ({one.created_by})")
    if not found:
        click.echo("Nothing is silenced.")


@alerts.command()
@click.argument("silence_id", type=int, metavar="ID")
@click.option("--by", required=True, callback=_said(128), help="Who says so.")
@installation_options
@click.pass_obj
def unsilence(place: Place, silence_id: int, *, by: str) -> None:
    """End a silence before its time.

    Exit code 1 when no such silence holds.
    """
    if Silences(place.store().control).end(silence_id, at=now_us(), by=by) is None:
        note(f"No silence {silence_id} holds now. See: fleet alerts silences")
        raise SystemExit(1)
    note(f"Silence {silence_id} has ended.")


@alerts.command()
@click.argument("fleet")
@click.argument("destination")
@installation_options
@click.pass_obj
def test(place: Place, fleet: str, destination: str) -> None:
    """Send a test message to a destination.

    Exit code 1, with the reason, when it is not accepted.
    """
    config = place.installation().config(fleet)
    known = {d.name: d for d in config.alerts.destinations}
    if destination not in known:
        names = ", ".join(known) or "none"
        problem = f"it has no destination {destination!r}; it has: {names}"
        raise AlertError(f"fleet {fleet}", problem, "Name one, or add it under `alerts`")
    try:
        send(
            Address.of(known[destination], place.environment()),
            title=f"[{fleet}] test",
            body=f"A test of destination {destination!r} of fleet {fleet}. Nothing is wrong.",
            severity="info",
        )
    except DeliveryError as error:
        note(str(error))
        raise SystemExit(1) from error
    note(f"Destination {destination!r} accepted a test message.")


@alerts.command()
@click.argument("fleet", required=False)
@click.option("--follow", is_flag=True, help="Go on until you interrupt it.")
@click.option(
    "--every",
    type=click.IntRange(1, 3600),
    default=30,
    show_default=True,
    help="With --follow: seconds between passes.",
)
@installation_options
@click.pass_obj
def run(place: Place, fleet: str | None, *, follow: bool, every: int) -> None:
    """Look at what is new and send what is due, without Dagster.

    Of failed runs only Dagster's sensor knows. Exit code 1 when a destination did not accept what it was sent.
    """
    store = place.store()
    while True:
        is_well = _pass(place, store, fleet)
        if not follow:
            raise SystemExit(0 if is_well else 1)
        time.sleep(every)


def _pass(place: Place, store: Store, fleet: str | None) -> bool:
    """Make one pass of one fleet, or of all; the fleets' files are read again each time."""
    installation = place.installation()
    configs = (
        [standing_fleet(installation, fleet)]
        if fleet is not None
        else list(standing_fleets(installation).configs.values())
    )
    is_well = True
    for config in configs:
        try:
            found = Alerting(store, config, place.environment()).run(now_us())
        except StreamError as error:
            note(str(error))
            is_well = False
            continue
        click.echo(str(found))
        is_well = is_well and not found.delivered.problems
    return is_well


def _found(store: Store, alert_id: int) -> Alert:
    alert = Alerts(store.control).find(alert_id)
    if alert is None:
        note(f"There is no alert {alert_id}. See: fleet alerts list --all")
        raise SystemExit(1)
    return alert


def _state(alert: Alert, silences: list[Silence]) -> str:
    if alert.state == "open" and _is_silenced(alert, silences):
        return "silenced"
    if alert.state == "open" and alert.parent_id is not None and not alert.told:
        return f"below {alert.parent_id}"
    return alert.shown_state


def _is_silenced(alert: Alert, silences: list[Silence]) -> bool:
    own = [s for s in silences if s.fleet == alert.fleet]
    return any(s.holds(alert.rule, alert.subject, now_us()) for s in own)


def _short(us: int) -> str:
    return instant(us).replace("T", " ")[:16]


def _history(alert: Alert) -> list[str]:
    lines = []
    if alert.opened_at is not None:
        lines.append(f"Opened {instant(alert.opened_at)}.")
    if alert.resolved_at is not None:
        lines.append(f"Over {instant(alert.changed_at)}, resolved {instant(alert.resolved_at)}.")
    if alert.parent_id is not None:
        lines.append(f"Hangs below alert {alert.parent_id}.")
    if alert.acked_at is not None:
        said = [alert.note, f"truth: {alert.truth}" if alert.truth else None]
        said.append(f"cause: {alert.cause}" if alert.cause else None)
        tail = "; ".join(s for s in said if s)
        words = f"Acknowledged by {alert.acked_by} {instant(alert.acked_at)}"
        lines.append(f"{words}: {tail}." if tail else f"{words}.")
    return lines


def _message_line(message: Notification) -> str:
    words = f"Message {message.notification_id} to {message.destination} ({message.kind})"
    if message.state != "queued":
        return f"{words}: {message.state.replace('_', ' ')} {instant(message.ended_at or 0)}."
    tries = counted(message.attempts, "attempt")
    return f"{words}: waits after {tries}{'; ' + message.error if message.error else ''}."


def _as_json(alert: Alert, silences: list[Silence]) -> dict[str, object]:
    return {
        "alert_id": alert.alert_id,
        "fleet": alert.fleet,
        "rule": alert.rule,
        "subject": alert.subject,
        "state": alert.shown_state,
        "severity": alert.severity,
        "headline": alert.headline,
        "detail": {**alert.detail, **_instants(alert)},
        "is_present": alert.is_present,
        "is_silenced": _is_silenced(alert, silences),
        "first_at": instant(alert.first_at),
        "opened_at": None if alert.opened_at is None else instant(alert.opened_at),
        "resolved_at": None if alert.resolved_at is None else instant(alert.resolved_at),
        "parent_id": alert.parent_id,
        "told": list(alert.told),
        "acknowledged": None
        if alert.acked_at is None
        else {
            "at": instant(alert.acked_at),
            "by": alert.acked_by,
            "note": alert.note,
            "truth": alert.truth,
            "cause": alert.cause,
        },
    }


def _instants(alert: Alert) -> dict[str, str]:
    return {n: instant(int(alert.detail[n])) for n in ("since", "as_of") if n in alert.detail}


def _message_json(message: Notification) -> dict[str, object]:
    return {
        "notification_id": message.notification_id,
        "destination": message.destination,
        "kind": message.kind,
        "state": message.state,
        "title": message.title,
        "created_at": instant(message.created_at),
        "attempts": message.attempts,
        "error": message.error,
        "ended_at": None if message.ended_at is None else instant(message.ended_at),
    }


def _silence_json(one: Silence) -> dict[str, object]:
    return {
        "silence_id": one.silence_id,
        "fleet": one.fleet,
        "rule": one.rule,
        "subject": one.subject,
        "starts_at": instant(one.starts_at),
        "ends_at": instant(one.ends_at),
        "reason": one.reason,
        "created_by": one.created_by,
    }
