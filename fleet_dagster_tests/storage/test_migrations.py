from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa

from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import counters, metadata


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    opened = Control(f"sqlite:///{tmp_path / 'control.db'}")
    yield opened
    opened.dispose()


def test_the_migrations_make_the_tables_that_the_code_knows(control: Control) -> None:
    control.migrate()
    assert differences(control) == []
    assert tables(control) == {*metadata.tables, "alembic_version"}


def test_a_second_migration_changes_nothing(control: Control) -> None:
    control.migrate()
    with control.transaction() as tx:
        control.next_numbers(tx, "commit_log", 7)
    control.migrate()
    with control.reading() as tx:
        kept = sa.select(counters.c.value).where(counters.c.name == "commit_log")
        assert tx.execute(kept).scalar() == 7


def test_the_migrations_can_be_taken_back_to_nothing(control: Control) -> None:
    control.migrate()
    control.downgrade("base")
    assert tables(control) == {"alembic_version"}
    control.migrate()
    assert differences(control) == []


def test_many_first_starts_at_once_make_one_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'control.db'}"

    def start(_number: int) -> list[object]:
        opened = Control(url)
        try:
            opened.migrate()
            return differences(opened)
        finally:
            opened.dispose()

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(start, range(6))) == [[]] * 6


def differences(control: Control) -> list[object]:
    """Return what Alembic would change to make the database what the code says."""
    with control.reading() as connection:
        context = alembic.migration.MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(alembic.autogenerate.compare_metadata(context, metadata))


def tables(control: Control) -> set[str]:
    with control.reading() as connection:
        return set(sa.inspect(connection).get_table_names())
