"""What people did over the network, and with which token."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import operator_actions
from fleet_dagster.storage.tokens import Token

ActionName = Literal["acknowledge", "end_storm"]
SHOWN = 100


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """One thing that somebody did."""

    number: int
    fleet: str
    done_at: int
    """Wall clock. [us]"""
    token_id: str
    done_by: str
    """Name of the token."""
    action: ActionName
    subject: str
    detail: Mapping[str, object]


def record_action(
    tx: sa.Connection,
    token: Token,
    action: ActionName,
    *,
    fleet: str,
    subject: str,
    detail: Mapping[str, object],
    at: int,
) -> None:
    """Record what is done in a transaction: neither stands without the other."""
    row = {
        "fleet": fleet,
        "done_at": at,
        "token_id": token.token_id,
        "done_by": token.name,
        "action": action,
        "subject": subject[:256],
        "detail": json.dumps(dict(detail), sort_keys=True),
    }
    tx.execute(sa.insert(operator_actions), [row])


def actions_of(
    control: Control, fleet: str | None = None, *, limit: int = SHOWN
) -> list[OperatorAction]:
    """Return the newest actions, of one fleet or all, the newest first."""
    query = sa.select(operator_actions).order_by(operator_actions.c.number.desc()).limit(limit)
    if fleet is not None:
        query = query.where(operator_actions.c.fleet == fleet)
    with control.reading() as tx:
        return [
            OperatorAction(**{**row, "detail": json.loads(row["detail"])})
            for row in tx.execute(query).mappings()
        ]
