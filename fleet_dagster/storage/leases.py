"""Leases on (table, fleet, day): one writer at a time, and none that outlives its process."""

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil
import sqlalchemy as sa

from fleet_dagster.model.errors import LeaseError
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import leases

TTL_US = 60_000_000
RENEW_EVERY_S = 15.0
POLL_S = 0.05


def new_holder() -> str:
    """Name a holder such that others can tell whether its process still lives: host, pid, start of the process, nonce."""
    started = int(psutil.Process().create_time() * 1000)
    return f"{socket.gethostname()}:{os.getpid()}:{started}:{uuid.uuid4().hex[:8]}"


def is_dead(holder: str) -> bool:
    """Tell whether a holder is known to be gone: its process ran on this host and no longer does."""
    host, pid, started, _ = holder.rsplit(":", 3)
    if host != socket.gethostname():
        return False
    try:
        return int(psutil.Process(int(pid)).create_time() * 1000) != int(started)
    except psutil.NoSuchProcess:
        return True


class Leases:
    """Grants leases from the control database."""

    def __init__(self, control: Control, *, wait_s: float = 600.0) -> None:
        self.control = control
        self.wait_s = wait_s

    @contextmanager
    def hold(self, keys: Sequence[str]) -> Iterator[str]:
        """Hold all the leases, waiting for other holders; yields the holder's name.

        Raises
        ------
        LeaseError
            Another living writer kept one of them for longer than `wait_s`.
        """
        ordered, holder = sorted(set(keys)), new_holder()
        self._acquire(ordered, holder)
        stop = threading.Event()
        renewer = threading.Thread(target=self._renew, args=(holder, stop), daemon=True)
        renewer.start()
        try:
            yield holder
        finally:
            stop.set()
            renewer.join()
            with self.control.transaction() as tx:
                tx.execute(sa.delete(leases).where(leases.c.holder == holder))

    def is_alive(self, holder: str) -> bool:
        """Tell whether a holder still has an unexpired lease and, if it ran on this host, a living process."""
        query = sa.select(sa.func.count()).where(
            leases.c.holder == holder, leases.c.expires_at > now_us()
        )
        with self.control.reading() as tx:
            return bool(tx.execute(query).scalar()) and not is_dead(holder)

    def _acquire(self, keys: Sequence[str], holder: str) -> None:
        deadline = time.monotonic() + self.wait_s
        while True:
            blocking = self._try(keys, holder)
            if blocking is None:
                return
            if time.monotonic() > deadline:
                raise LeaseError(*blocking, self.wait_s)
            time.sleep(POLL_S)

    def _try(self, keys: Sequence[str], holder: str) -> tuple[str, str] | None:
        """Take all the leases or none; return the first that somebody else holds."""
        now = now_us()
        try:
            with self.control.transaction() as tx:
                for row in tx.execute(
                    sa.select(leases).where(leases.c.key.in_(keys)).order_by(leases.c.key)
                ):
                    if row.expires_at > now and not is_dead(row.holder):
                        return row.key, row.holder
                tx.execute(sa.delete(leases).where(leases.c.key.in_(keys)))
                tx.execute(
                    sa.insert(leases),
                    [{"key": k, "holder": holder, "expires_at": now + TTL_US} for k in keys],
                )
        except sa.exc.IntegrityError:  # another writer inserted the same key first (PostgreSQL)
            return keys[0], "another writer"
        return None

    def _renew(self, holder: str, stop: threading.Event) -> None:
        while not stop.wait(RENEW_EVERY_S):
            with self.control.transaction() as tx:
                tx.execute(
                    sa.update(leases)
                    .where(leases.c.holder == holder)
                    .values(expires_at=now_us() + TTL_US)
                )
