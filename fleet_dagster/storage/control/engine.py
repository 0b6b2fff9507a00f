"""Connections to the control database: SQLite (WAL) by default, PostgreSQL by URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
import sqlalchemy as sa

from fleet_dagster.model.errors import StorageError

BUSY_TIMEOUT_S = 60
MIGRATIONS = Path(__file__).parent.parent / "migrations"


class Control:
    """The control database. Every write is one transaction, and writers of one database queue up rather than fail."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)

    def migrate(self) -> None:
        """Bring the database's tables up to this version of the code; does nothing where they are."""
        config = alembic.config.Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        try:
            with self.engine.begin() as connection:
                config.attributes["connection"] = connection
                alembic.command.upgrade(config, "head")
        except sa.exc.OperationalError as error:
            msg = f"control database {self.engine.url!r} cannot be opened: {error.orig}. Check that it exists, runs and may be written"
            raise StorageError(msg) from error

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Open a transaction that commits on success and leaves no trace on failure."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads: it never waits for writers."""
        with self.engine.connect().execution_options(reads_only=True) as connection:
            yield connection

    def next_numbers(self, connection: sa.Connection, name: str, count: int = 1) -> range:
        """Take the next `count` numbers of a counter; they are seen by others in the order they are committed."""
        counters = sa.table("counters", sa.column("name"), sa.column("value"))
        taken = connection.execute(
            sa.update(counters)
            .where(counters.c.name == name)
            .values(value=counters.c.value + count)
            .returning(counters.c.value)
        ).scalar_one()
        return range(int(taken) - count + 1, int(taken) + 1)

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _engine(url: str) -> sa.Engine:
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_pre_ping=True)
    engine = sa.create_engine(
        url, connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None}
    )
    sa.event.listen(engine, "connect", _sqlite_settings)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _sqlite_settings(connection: Any, _record: Any) -> None:  # Any: the driver's own connection
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")


def _begin(connection: sa.Connection) -> None:
    """Take SQLite's write lock at the start of a writing transaction: one that upgrades half-way would fail, not wait."""
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
