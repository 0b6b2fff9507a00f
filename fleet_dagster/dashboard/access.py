"""Who may come in: tokens in a cookie or a header, and patience with those who guess."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from fleet_dagster.model.errors import FleetError
from fleet_dagster.storage.clock import Clock, now_us
from fleet_dagster.storage.tokens import Token, Tokens

COOKIE = "fleet_token"
FREE_GUESSES = 5
LONGEST_WAIT_S = 30.0
FORGOTTEN_AFTER_S = 300.0
REMEMBERED_ADDRESSES = 4096


class Refused(Exception):  # noqa: N818 - an answer, no fault
    """A request that is answered with words and a status instead of what it asked for."""

    def __init__(self, status: int, words: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(words)
        self.status, self.words, self.headers = status, words, headers or {}


class Guesses:
    """Counts wrong tokens by client address, and lets addresses with many wait longer and longer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, address: str) -> float:
        """Return for how long an address is not listened to any more; 0 for most."""
        with self._lock:
            n, last = self._wrong.get(address, (0, 0.0))
        waited = self.clock() - last
        if n < FREE_GUESSES or waited > FORGOTTEN_AFTER_S:
            return 0.0
        return max(0.0, _pause_s(n) - waited)

    def note(self, address: str) -> None:
        """Note a wrong token; of the addresses, those that guessed lately are remembered."""
        now = self.clock()
        with self._lock:
            n, last = self._wrong.pop(address, (0, now))
            self._wrong[address] = (1 if now - last > FORGOTTEN_AFTER_S else n + 1, now)
            while len(self._wrong) > REMEMBERED_ADDRESSES:
                self._wrong.popitem(last=False)


def _pause_s(n_wrong: int) -> float:
    """Return how long an address waits after so many wrong tokens [s]."""
    doublings = min(n_wrong - FREE_GUESSES, 10)  # a power without bound would overflow
    return min(LONGEST_WAIT_S, 2.0**doublings)


class Access:
    """Tells what a request may do. Tokens that streams were opened with are looked up together, not one by one."""

    def __init__(self, tokens: Tokens, clock: Clock = now_us) -> None:
        self.tokens, self.clock = tokens, clock
        self.guesses = Guesses()
        self._watched: dict[str, tuple[int, Token]] = {}

    def login(self, secret: str, address: str) -> Token:
        """Return the token of a secret that somebody shows.

        Raises
        ------
        Refused
            It is none, or no longer valid, or the address has guessed too often.
        """
        wait_s = self.guesses.wait_s(address)
        if wait_s > 0:
            raise Refused(
                429,
                f"too many wrong tokens from your address. Wait {wait_s:.0f} s",
                {"Retry-After": f"{wait_s + 1:.0f}"},
            )
        token = self.tokens.find(secret)
        if token is None:
            self.guesses.note(address)
            raise Refused(401, "this token is not known. Ask for one: `fleet tokens create`")
        state = token.state(self.clock())
        if state != "valid":
            raise Refused(401, f"this token is {state}. Ask for another: `fleet tokens create`")
        return token

    def of(self, request: HTTPConnection) -> Token:
        """Return the token that a request carries, in its cookie or as a bearer."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        secret = bearer.strip() if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")
        if not secret:
            raise Refused(401, "log in with a token first. Make one: `fleet tokens create`")
        return self.login(secret, address_of(request))

    def watch(self, token: Token) -> None:
        """Look after a token for as long as a stream that was opened with it is open."""
        n, _ = self._watched.get(token.token_id, (0, token))
        self._watched[token.token_id] = n + 1, token

    def unwatch(self, token: Token) -> None:
        """Look after it no longer."""
        n, newest = self._watched.get(token.token_id, (0, token))
        if n <= 1:
            self._watched.pop(token.token_id, None)
        else:
            self._watched[token.token_id] = n - 1, newest

    async def look(self) -> None:
        """Look up the tokens of open streams again; while the database cannot be read, they stay what they were."""
        ids = set(self._watched)
        if not ids:
            return
        try:
            found = await run_in_threadpool(self.tokens.by_id, ids)
        except (FleetError, OSError):  # the feeds say so to whoever watches
            return
        for token_id in ids & self._watched.keys():
            n, old = self._watched[token_id]
            gone = replace(old, revoked_at=self.clock())
            self._watched[token_id] = n, found.get(token_id, gone)

    def over(self, token: Token) -> str | None:
        """Return why a stream's token is no longer valid; None while it is."""
        _, newest = self._watched.get(token.token_id, (0, token))
        state = newest.state(self.clock())
        return None if state == "valid" else state


def address_of(request: HTTPConnection) -> str:
    """Return the address that a request came from."""
    return request.client.host if request.client else "?"
