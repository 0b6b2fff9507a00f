"""Connections to the control database: SQLite (WAL) by default, PostgreSQL by URL."""

import functools
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import alembic.command
import alembic.config
import sqlalchemy as sa

from fleet_dagster.model.errors import StorageError
from fleet_dagster.storage.control.schema import counters

BUSY_TIMEOUT_S = 60.0
POLL_S = 0.05
MIGRATIONS = Path(__file__).parent.parent / "migrations"
MIGRATION_LOCK = 20_611_975
"""Number of PostgreSQL's advisory lock under which tables are created."""


class Control:
    """The control database. Every write is one transaction, and writers of one database queue up rather than fail."""

    def __init__(self, url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.url = url
        self.engine = _engine(url, busy_timeout_s)
        self._file: Path | None = None

    def migrate(self) -> None:
        """Bring the database's tables up to this version of the code; does nothing where they are."""
        with self.transaction() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            alembic.command.upgrade(self._alembic(connection), "head")
        is_file = self.engine.dialect.name == "sqlite" and self.engine.url.database
        self._file = Path(str(self.engine.url.database)) if is_file else None

    def downgrade(self, revision: str = "base") -> None:
        """Take the database's tables back to an earlier revision; what they hold is lost."""
        with self.transaction() as connection:
            alembic.command.downgrade(self._alembic(connection), revision)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Open a transaction that commits on success and leaves no trace on failure."""
        with self._errors_told(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads: it never waits for writers."""
        with (
            self._errors_told(),
            self.engine.connect().execution_options(reads_only=True) as connection,
        ):
            yield connection

    def next_numbers(self, connection: sa.Connection, name: str, count: int = 1) -> range:
        """Take the next `count` numbers of a counter; they are seen by others in the order they are committed."""
        taken = connection.execute(
            sa.update(counters)
            .where(counters.c.name == name)
            .values(value=counters.c.value + count)
            .returning(counters.c.value)
        ).scalar_one()
        return range(int(taken) - count + 1, int(taken) + 1)

    def serialize(self, connection: sa.Connection, name: str) -> None:
        """Let one transaction at a time go on from here among those that name the same counter.

        SQLite's writers queue up anyway; elsewhere they wait for the counter's row.
        """
        query = sa.select(counters.c.value).where(counters.c.name == name)
        connection.execute(query.with_for_update())

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        """Say what is wrong with the database; a broken constraint is the caller's to understand."""
        if self._file is not None and not self._file.exists():
            raise StorageError(
                f"control database {self.engine.url!r} is gone: {self._file} was there when it was opened. "
                "Put it back (or restore a copy made together with the lake), then run the same again"
            )
        try:
            yield
        except sa.exc.IntegrityError:
            raise
        except sa.exc.TimeoutError as error:
            raise StorageError(
                f"control database {self.engine.url!r} gave no connection in time: too many wait for a lock. "
                "Find out which program keeps it locked; the same is tried again or can be run again"
            ) from error
        except sa.exc.DBAPIError as error:
            raise StorageError(
                f"control database {self.engine.url!r} failed: {error.orig}. The transaction left no trace. "
                "Check that it runs, may be written and is not locked by another program, then run the same again"
            ) from error

    @staticmethod
    def _alembic(connection: sa.Connection) -> alembic.config.Config:
        config = alembic.config.Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        return config


def _engine(url: str, busy_timeout_s: float) -> sa.Engine:
    if not url.startswith("sqlite"):
        return _server_engine(url)
    arguments = {"timeout": busy_timeout_s, "isolation_level": None}
    engine = sa.create_engine(url, connect_args=arguments)
    sa.event.listen(engine, "connect", functools.partial(_sqlite_settings, busy_timeout_s))
    sa.event.listen(engine, "begin", _begin)
    return engine


def _server_engine(url: str) -> sa.Engine:
    try:
        return sa.create_engine(url, pool_pre_ping=True)
    except (sa.exc.ArgumentError, ImportError) as error:  # a bad URL or scheme, or no driver
        shown = url.rsplit("@", maxsplit=1)[-1]
        raise StorageError(
            f"control database address ending in {shown!r} cannot be used: {error}. Expected sqlite:///FILE or "
            "postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME; for PostgreSQL install the extra `postgres`"
        ) from error


def _sqlite_settings(
    busy_timeout_s: float, connection: sqlite3.Connection, _record: object
) -> None:
    """Let readers go on beside a writer, and let a committed transaction survive a power cut."""
    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except (
            sqlite3.OperationalError
        ):  # SQLite does not wait here where others open the file for the first time
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)
        else:
            break
    connection.execute("PRAGMA synchronous=FULL")


def _begin(connection: sa.Connection) -> None:
    """Take SQLite's write lock at the start of a writing transaction: one that upgrades half-way would fail, not wait."""
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
