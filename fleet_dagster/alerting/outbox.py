"""The outbox: sends what is queued, in order for each destination, until it is accepted or a week has passed.

A message that is refused again and again, while those behind it are accepted, is given up before that.
"""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

from fleet_dagster.alerting.delivery import Address, load_apprise, send
from fleet_dagster.core.windows import DAY, SECOND
from fleet_dagster.model.alerts import Destination
from fleet_dagster.model.errors import DeliveryError
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.notifications import Notification, Notifications

FIRST_WAIT, LONGEST_WAIT = 30 * SECOND, 600 * SECOND
"""How long to wait after the first failure, doubled with each one, and at most [us]."""
GIVE_UP_AFTER = 7 * DAY
"""A message that was not accepted for so long is given up [us]."""
REFUSALS = 10
"""After so many attempts a message that is not accepted, while others are, is set aside."""
PROBES = 3
"""Messages behind it that are tried to find that out."""
ROUND_S = 20.0
"""How long a round may go on; what is left waits for the next."""
Checkpoint = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Round:
    """What a round of deliveries came to."""

    n_sent: int = 0
    n_given_up: int = 0
    n_waiting: int = 0
    problems: tuple[str, ...] = ()
    """Why destinations did not accept what they were sent; no address is shown."""


@dataclass(frozen=True, slots=True)
class Outbox:
    """A fleet's messages and where they go. `checkpoint` is called between sending and recording, for tests that kill it there."""

    control: Control
    fleet: str
    destinations: Sequence[Destination]
    environment: Mapping[str, str]
    checkpoint: Checkpoint = lambda _step: None

    def deliver(self, now: int) -> Round:
        """Send what is due at an instant of the wall clock [us], to all destinations at once: one that is down holds up no other."""
        queues = self._queues()
        due = [q for q in queues.values() if q[0].next_try_at <= now or _is_old(q[0], now)]
        if not due:
            return Round(n_waiting=sum(map(len, queues.values())))
        with suppress(DeliveryError):  # told message by message below
            load_apprise(due[0][0].destination)
        deadline = time.monotonic() + ROUND_S
        with ThreadPoolExecutor(len(due), thread_name_prefix="alerts") as threads:
            rounds = list(threads.map(lambda queue: self._send(queue, now, deadline), due))
        n_done = sum(r.n_sent + r.n_given_up for r in rounds)
        return Round(
            n_sent=sum(r.n_sent for r in rounds),
            n_given_up=sum(r.n_given_up for r in rounds),
            n_waiting=sum(map(len, queues.values())) - n_done,
            problems=tuple(p for r in rounds for p in r.problems),
        )

    def _queues(self) -> dict[str, list[Notification]]:
        queues: dict[str, list[Notification]] = {}
        for message in Notifications(self.control).waiting(self.fleet):
            queues.setdefault(message.destination, []).append(message)
        return queues

    def _send(self, queue: Sequence[Notification], now: int, deadline: float) -> Round:
        """Send one destination's messages until one is not accepted: those behind it wait, so that order is kept.

        Unless the receiver accepts what is behind it: then it is this message that is refused, and it is given up.
        """
        left, n_sent, n_given_up = deque(queue), 0, 0
        while left and (time.monotonic() <= deadline or _is_old(left[0], now)):
            message = left.popleft()
            if _is_old(message, now):
                self._book.given_up(message, at=now)
                n_given_up += 1
                continue
            error = self._tried(message, now)
            if error is None:
                n_sent += 1
                continue
            accepted = self._accepted_behind(message, left, now, deadline)
            if accepted is None:
                return Round(n_sent, n_given_up, problems=(str(error),))
            left.remove(accepted)
            error = self._tried(replace(message, attempts=message.attempts + 1), now)
            n_sent += 1 if error else 2
            if error is not None:
                self._book.given_up(message, at=now)
                n_given_up += 1
        return Round(n_sent, n_given_up)

    def _accepted_behind(
        self, message: Notification, behind: Iterable[Notification], now: int, deadline: float
    ) -> Notification | None:
        """Return what the receiver accepts of the messages behind one that it has not accepted for long; None if nothing."""
        if message.attempts + 1 < REFUSALS:
            return None
        for other in itertools.islice(behind, PROBES):
            if time.monotonic() > deadline:
                break
            if self._tried(other, now) is None:
                return other
        return None

    def _tried(self, message: Notification, now: int) -> DeliveryError | None:
        """Try to send a message, and record what came of it; returns why it was not accepted."""
        try:
            address = Address.of(self._destination(message.destination), self.environment)
            send(address, title=message.title, body=message.body, severity=message.severity)
        except DeliveryError as error:
            wait = min(FIRST_WAIT << min(message.attempts, 10), LONGEST_WAIT)
            self._book.failed(message, error.problem, next_try_at=now + wait)
            return error
        self.checkpoint("sent")
        self._book.sent(message, at=now)
        return None

    @property
    def _book(self) -> Notifications:
        return Notifications(self.control)

    def _destination(self, name: str) -> Destination:
        found = next((d for d in self.destinations if d.name == name), None)
        if found is None:
            problem = "it is not in the fleet's configuration any more"
            raise DeliveryError(name, problem, "Put it back, or let its messages be given up")
        return found


def _is_old(message: Notification, now: int) -> bool:
    return now - message.created_at >= GIVE_UP_AFTER
