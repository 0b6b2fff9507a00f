"""`fleet tokens`: what people and programs log in to the dashboard with, and what they did with it."""

import json

import click
from rich.table import Table

from fleet_dagster.cli.lengths import read_length
from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.standing import standing_fleet
from fleet_dagster.cli.terminal import console, json_option, note, print_json
from fleet_dagster.core.windows import iso
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.operator_actions import OperatorAction, actions_of
from fleet_dagster.storage.tokens import ROLES, Role, Token, Tokens

_LONGEST_DAYS = 3650
_NEVER = "never"


@click.group()
def tokens() -> None:
    """Make, list and revoke what people and programs log in to the dashboard with.

    A viewer sees; an operator also acknowledges incidents and ends storms, which is recorded with the token's name.
    """


@tokens.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True)
@click.option("--fleet", metavar="FLEET", help="The only fleet it is for. [default: all]")
@click.option(
    "--expires",
    default="90d",
    show_default=True,
    metavar="TIME",
    help="When it ends: 8h, 30d, or never.",
)
@installation_options
@click.pass_obj
def create(place: Place, name: str, *, role: Role, fleet: str | None, expires: str) -> None:
    """Make a token for somebody and print it, once: nobody can read it again."""
    if not 0 < len(name.strip()) <= 128:  # noqa: PLR2004 - what the database holds
        raise click.BadParameter("expected 1 to 128 characters.", param_hint="NAME")
    if fleet is not None:
        standing_fleet(place.installation(), fleet)
    now = now_us()
    until = (
        None
        if expires == _NEVER
        else now + read_length(expires, longest_days=_LONGEST_DAYS, name="--expires")
    )
    made, secret = Tokens(place.store().control).create(
        name.strip(), role, at=now, fleet=fleet, expires_at=until
    )
    click.echo(secret)
    note(
        f"Token {made.token_id} of {made.name}: {role}, {fleet or 'every fleet'}, {_until(made)}. It is not shown again."
    )


@tokens.command("list")
@json_option
@installation_options
@click.pass_obj
def list_(place: Place, *, as_json: bool) -> None:
    """List the tokens, without their secrets."""
    found, now = Tokens(place.store().control).listed(), now_us()
    if as_json:
        print_json([_as_json(one, now) for one in found])
        return
    if not found:
        click.echo("There are no tokens. Make one: fleet tokens create NAME")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("id", "name", "role", "fleet", "state", "until"):
        table.add_column(title)
    for one in found:
        cells = (one.name, one.role, one.fleet or "all", one.state(now), _until(one))
        table.add_row(one.token_id, *cells)
    console().print(table)


@tokens.command()
@click.argument("token_id", metavar="ID")
@installation_options
@click.pass_obj
def revoke(place: Place, token_id: str) -> None:
    """Revoke a token: pages that it opened end within seconds.

    Exit code 1 when there is none of that id that counts.
    """
    if not Tokens(place.store().control).revoke(token_id, at=now_us()):
        note(f"There is no token {token_id} that was not revoked before. See: fleet tokens list")
        raise SystemExit(1)
    note(f"Token {token_id} is revoked.")


@tokens.command()
@click.argument("fleet", required=False)
@json_option
@installation_options
@click.pass_obj
def actions(place: Place, fleet: str | None, *, as_json: bool) -> None:
    """List what operators did over the network, of one fleet or all, the newest first."""
    if fleet is not None:
        standing_fleet(place.installation(), fleet)
    found = actions_of(place.store().control, fleet)
    if as_json:
        print_json([{**_action(one), "detail": dict(one.detail)} for one in found])
        return
    for one in found:
        said = json.dumps(dict(one.detail), ensure_ascii=False) if one.detail else ""
        what = f"{one.action.replace('_', ' ')} {one.subject} of {one.fleet}"
        click.echo(
            f"{iso(one.done_at)[:19]}Z  {one.done_by} ({one.token_id}): {what} {said}".rstrip()
        )
    if not found:
        click.echo("Nobody has done anything.")


def _until(token: Token) -> str:
    return "until revoked" if token.expires_at is None else f"until {iso(token.expires_at)[:19]}Z"


def _as_json(token: Token, now: int) -> dict[str, object]:
    return {
        "token_id": token.token_id,
        "name": token.name,
        "role": token.role,
        "fleet": token.fleet,
        "state": token.state(now),
        "created_at": iso(token.created_at),
        "expires_at": None if token.expires_at is None else iso(token.expires_at),
        "revoked_at": None if token.revoked_at is None else iso(token.revoked_at),
    }


def _action(one: OperatorAction) -> dict[str, object]:
    return {
        "fleet": one.fleet,
        "done_at": iso(one.done_at),
        "token_id": one.token_id,
        "done_by": one.done_by,
        "action": one.action,
        "subject": one.subject,
    }
