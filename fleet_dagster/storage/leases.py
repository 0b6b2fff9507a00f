"""Leases on (table, fleet, day): one writer at a time, and none that outlives its process."""

import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import sqlalchemy as sa

from fleet_dagster.model.errors import LeaseError, StorageError
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import leases

TTL_US = 60_000_000
"""A lease of another host ends this long after it was last renewed; on this host a holder's process tells."""
RENEW_EVERY_S = 15.0
POLL_S = 0.05
_STATE, _STARTED = 0, 19
"""Fields of /proc/<pid>/stat after the name: state, and start in ticks since boot, which no step of the clock moves."""


def new_holder() -> str:
    """Name a holder such that others can tell whether its process still lives: host, pid, start of the process, nonce."""
    return f"{_host()}:{os.getpid()}:{_started(os.getpid())}:{uuid.uuid4().hex[:8]}"


def live_key(fleet: str) -> str:
    """Name the lease that a live engine holds while it keeps a fleet current."""
    return f"live/{fleet}"


def is_here(holder: str) -> bool:
    """Tell whether a holder's process runs or ran on this host, so that its end can be seen from here."""
    return holder.rsplit(":", 3)[0] == _host()


def is_dead(holder: str) -> bool:
    """Tell whether a holder is known to be gone: its process ran on this host and no longer does."""
    _, pid, started, _ = holder.rsplit(":", 3)
    return is_here(holder) and _started(int(pid)) != started


class Leases:
    """Grants leases from the control database."""

    def __init__(self, control: Control, *, wait_s: float = 600.0) -> None:
        self.control = control
        self.wait_s = wait_s
        self._unreleased: set[str] = set()

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
            self._release(holder)

    def is_alive(self, holder: str) -> bool:
        """Tell whether a holder still has a lease that stands."""
        query = sa.select(leases.c.expires_at).where(leases.c.holder == holder).limit(1)
        with self.control.reading() as tx:
            expires_at = tx.execute(query).scalar()
        return expires_at is not None and _stands(holder, expires_at)

    def holder_of(self, key: str) -> str | None:
        """Return who holds a lease that stands; None where nobody does."""
        with self.control.reading() as tx:
            row = tx.execute(sa.select(leases).where(leases.c.key == key)).first()
        return row.holder if row and _stands(row.holder, row.expires_at) else None

    def bury(self) -> None:
        """Remove the leases that no longer stand: what killed processes left."""
        query = sa.select(leases.c.holder, leases.c.expires_at).distinct()
        with self.control.reading() as tx:
            rows = tx.execute(query).all()
        over = [row for row in rows if not _stands(row.holder, row.expires_at)]
        if over:
            with self.control.transaction() as tx:
                for row in over:
                    same = (leases.c.holder == row.holder, leases.c.expires_at == row.expires_at)
                    tx.execute(sa.delete(leases).where(*same))

    def confirm(self, tx: sa.Connection, holder: str) -> None:
        """Renew a holder's leases within a transaction of its own.

        Raises
        ------
        LeaseError
            They were taken over, since nothing was heard of the holder for too long.
        """
        renewed = tx.execute(
            sa.update(leases)
            .where(leases.c.holder == holder)
            .values(expires_at=now_us() + TTL_US)
            .returning(leases.c.key)
        ).all()
        if not renewed:
            raise LeaseError.lost(holder)

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
        expires_at = now_us() + TTL_US
        rows = [{"key": k, "holder": holder, "expires_at": expires_at} for k in keys]
        query = sa.select(leases).where(leases.c.key.in_(keys)).order_by(leases.c.key)
        gone = set(self._unreleased)
        try:
            with self.control.transaction() as tx:
                for row in tx.execute(query):
                    if row.holder not in gone and _stands(row.holder, row.expires_at):
                        return row.key, row.holder
                    gone.add(row.holder)
                # Only what was seen to be over: another writer may have taken a key over meanwhile.
                tx.execute(sa.delete(leases).where(leases.c.holder.in_(gone)))
                if rows:
                    tx.execute(sa.insert(leases), rows)
        except sa.exc.IntegrityError:  # another writer took the same key first (PostgreSQL)
            return keys[0], "another writer"
        self._unreleased -= gone
        return None

    def _release(self, holder: str) -> None:
        try:
            with self.control.transaction() as tx:
                tx.execute(sa.delete(leases).where(leases.c.holder == holder))
        except (
            StorageError
        ):  # what was to be done is done or has failed by itself; the next hold tidies up
            self._unreleased.add(holder)

    def _renew(self, holder: str, stop: threading.Event) -> None:
        while not stop.wait(RENEW_EVERY_S):
            try:
                with self.control.transaction() as tx:
                    self.confirm(tx, holder)
            except (LeaseError, StorageError):  # the writer itself finds out before it commits
                continue


def _stands(holder: str, expires_at: int) -> bool:
    """Tell whether a lease still counts: on this host while the process lives, whatever the clock was set to."""
    return not is_dead(holder) if is_here(holder) else expires_at > now_us()


def _host() -> str:
    """Name this host and its process namespace: two containers may share a host name, but not their processes."""
    namespace = Path("/proc/self/ns/pid")
    inode = namespace.stat().st_ino if namespace.exists() else 0
    return f"{socket.gethostname()}/{inode}"


def _started(pid: int) -> str:
    """Tell when a process started; empty where it no longer runs, or only waits to be buried."""
    if not sys.platform.startswith("linux"):
        return _started_elsewhere(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[_STATE] in "ZX" else fields[_STARTED]


def _started_elsewhere(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        is_over = process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return ""
    return "" if is_over else str(int(process.create_time()))
