"""Tokens: who may see and do what over the network. Of a token itself only the SHA-256 is kept."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Literal, get_args

import sqlalchemy as sa

from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import tokens

Role = Literal["viewer", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)
PREFIX = "fleet_"
"""By which people, and programs that look for secrets in the wrong places, recognise a token."""
_BYTES = 32
_LONGEST = 128


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token. Instants in microseconds, of the wall clock."""

    token_id: str
    name: str
    role: Role
    fleet: str | None
    """The only fleet that it is for; None for all of them."""
    created_at: int
    expires_at: int | None
    revoked_at: int | None

    def state(self, now: int) -> Literal["valid", "expired", "revoked"]:
        """Tell whether it counts at an instant [us]."""
        if self.revoked_at is not None:
            return "revoked"
        is_over = self.expires_at is not None and self.expires_at <= now
        return "expired" if is_over else "valid"

    def is_for(self, fleet: str) -> bool:
        """Tell whether it is for a fleet."""
        return self.fleet is None or self.fleet == fleet


class Tokens:
    """Makes, finds and revokes tokens in the control database."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def create(
        self,
        name: str,
        role: Role,
        *,
        at: int,
        fleet: str | None = None,
        expires_at: int | None = None,
    ) -> tuple[Token, str]:
        """Make a token; returns it with its secret, which nobody can read again."""
        secret = f"{PREFIX}{secrets.token_urlsafe(_BYTES)}"
        made = Token(secrets.token_hex(4), name, role, fleet, at, expires_at, None)
        row = {n: getattr(made, n) for n in Token.__slots__} | {"digest": _digest(secret)}
        with self.control.transaction() as tx:
            tx.execute(sa.insert(tokens), [row])
        return made, secret

    def find(self, secret: str) -> Token | None:
        """Return the token of a secret, valid or not; None for one that never was."""
        if not secret.startswith(PREFIX) or len(secret) > _LONGEST or not secret.isascii():
            return None
        digest = _digest(secret)
        with self.control.reading() as tx:
            row = tx.execute(sa.select(tokens).where(tokens.c.digest == digest)).mappings().first()
        if row is None or not hmac.compare_digest(row["digest"], digest):
            return None
        return _token(row)

    def by_id(self, token_ids: set[str]) -> dict[str, Token]:
        """Return tokens by their ids."""
        query = sa.select(tokens).where(tokens.c.token_id.in_(token_ids))
        with self.control.reading() as tx:
            return {r["token_id"]: _token(r) for r in tx.execute(query).mappings()}

    def listed(self) -> list[Token]:
        """Return every token, the oldest first."""
        with self.control.reading() as tx:
            rows = tx.execute(sa.select(tokens).order_by(tokens.c.created_at, tokens.c.token_id))
            return [_token(row) for row in rows.mappings()]

    def revoke(self, token_id: str, *, at: int) -> bool:
        """Revoke a token; False where there is none of that id that was not revoked before."""
        here = (tokens.c.token_id == token_id, tokens.c.revoked_at.is_(None))
        with self.control.transaction() as tx:
            done = tx.execute(sa.update(tokens).where(*here).values(revoked_at=at))
            return done.rowcount > 0


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _token(row: sa.RowMapping) -> Token:
    return Token(**{name: row[name] for name in Token.__slots__})
