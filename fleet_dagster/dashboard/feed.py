"""Keeps one fleet's picture as new as its tables: a thread that follows the commit log and takes it again."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict

from fleet_dagster.dashboard.documents import Document, document_of
from fleet_dagster.dashboard.following import Following
from fleet_dagster.dashboard.gathering import Gathering
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import FleetError
from fleet_dagster.model.snapshot import TroubleShown
from fleet_dagster.nodes.dashboard_sink import instant_text
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.store import Store

POLL_S = 0.2
RENEWED_AFTER_S = 3.0
"""Age at which a picture is taken again though nothing was committed: people acknowledge, storms begin, leases end."""
TAKEN_AGAIN_AFTER_S = 30.0
"""How often a dashboard without the cursors tries to take hold of them."""
MOVED_AFTER_S = 1.0
"""Least time between two moves of the cursors: each is five transactions."""
_log = logging.getLogger(__name__)
Publish = Callable[[Document], None]
Tell = Callable[[str], None]


class Feed:
    """Follows one fleet. `publish` is given each picture, `tell` what is in the way of the first one."""

    def __init__(self, store: Store, config: FleetConfig, *, publish: Publish, tell: Tell) -> None:
        self.config, self.publish, self.tell = config, publish, tell
        self.gathering = Gathering(store, config)
        self.following = Following(store, config)
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"feed-{config.name}", daemon=True)
        self._wanted = threading.Event()
        self._document: Document | None = None
        self._shown: dict[str, int] | None = None
        self._trouble: TroubleShown | None = None
        self._taken_at = self._moved_at = self._tried_at = -float("inf")

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def renew(self) -> None:
        """Take a new picture soon: somebody has changed what it shows."""
        self._wanted.set()

    def end(self, timeout_s: float = 5.0) -> None:
        """Stop following; what is being read is left to end by itself."""
        self.stop.set()
        self._wanted.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self.stop.is_set():
                self._look()
                if self._wanted.wait(POLL_S) and not self.stop.is_set():
                    self._wanted.clear()
                    self._taken_at = -float("inf")
        finally:
            self.following.release()

    def _look(self) -> None:
        try:
            self._take_if_due(time.monotonic())
        except (FleetError, OSError) as error:
            self._say(" ".join(str(error).split()))
        except Exception as error:  # noqa: BLE001 - a defect: whoever watches must see that the picture stands
            problem = f"No picture could be taken ({error!r}). See the dashboard's log"
            if self._trouble is None or self._trouble.problem != problem:
                _log.exception("fleet %s: no picture could be taken", self.config.name)
            self._say(problem)

    def _take_if_due(self, now: float) -> None:
        newest = self.following.newest()
        if newest != self._shown or now - self._taken_at >= RENEWED_AFTER_S or self._trouble:
            self._document = document_of(self.gathering.snapshot(now_us()))
            self._shown, self._taken_at, self._trouble = newest, now, None
            self.publish(self._document)
        if not self.following.is_durable and now - self._tried_at >= TAKEN_AGAIN_AFTER_S:
            self._tried_at = now
            self.following.take()
        if now - self._moved_at >= MOVED_AFTER_S:
            self._moved_at = now
            self.following.move(newest)

    def _say(self, problem: str) -> None:
        """Show in words that the picture could not be taken again."""
        if self._trouble is not None and self._trouble.problem == problem:
            return
        since = instant_text(now_us()) if self._trouble is None else self._trouble.since
        self._trouble = TroubleShown(since, problem)
        if self._document is None:
            self.tell(problem)
        else:
            self.publish({**self._document, "trouble": asdict(self._trouble)})
