import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_dagster.model.errors import StorageError
from fleet_dagster.model.tables import INGEST_STATS, QUARANTINE
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.installations import ROOT
from fleet_dagster_tests.storage.rows import FLEET, logged, span, stored, write

WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
"""Makes permissions hold for root, too; setpriv belongs to util-linux."""


def test_a_locked_control_database_is_named_and_nothing_is_lost(store: Store) -> None:
    write(store, {0: [1]}, span(0, 1))
    hasty = Control(store.control.url, busy_timeout_s=0.01)
    with store.control.transaction():
        with (
            pytest.raises(StorageError, match=r"control\.db.*locked.*then run the same again"),
            hasty.transaction(),
        ):
            pytest.fail("another transaction is open")
        with hasty.reading():
            assert stored(store) == {0: [1]}
    with hasty.transaction():
        hasty.dispose()
    assert write(store, {0: [2]}, span(0, 1)).restated == (span(0, 1),)


def test_a_control_database_that_vanishes_is_named_and_works_again_when_it_is_back(
    store: Store, tmp_path: Path
) -> None:
    write(store, {0: [1]}, span(0, 1))
    home = tmp_path / "home"
    (home / "control.db").rename(home / "away")
    with pytest.raises(StorageError, match=r"is gone: .*control\.db.*Put it back"):
        write(store, {0: [2]}, span(0, 1))
    assert not (home / "control.db").exists()
    (home / "away").rename(home / "control.db")
    write(store, {0: [2]}, span(0, 1))
    assert stored(store) == {0: [2]}


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "control.db").write_text("This is no database. " * 100)
    with pytest.raises(StorageError, match=r"control\.db.*not a database"):
        Store.at(tmp_path)


def test_a_database_server_that_does_not_answer_is_named_without_its_password(
    tmp_path: Path,
) -> None:
    url = "postgresql+psycopg://fleet:secret@127.0.0.1:1/fleet"
    with pytest.raises(StorageError, match="Check that it runs") as caught:
        Store.of(str(tmp_path / "lake"), url)
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://fleet:secret@db:5432/fleet",
        "nosuch://fleet:secret@db/fleet",
        "postgresql+asyncpg2://fleet:secret@db/fleet",
        "mysql+pymysql://fleet:secret@db/fleet",
        "fleet.db",
        "",
    ],
)
def test_an_address_that_names_no_usable_database_is_told_with_what_would_be(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(StorageError, match="cannot be used") as caught:
        Store.of(str(tmp_path / "lake"), url)
    assert "sqlite:///FILE" in str(caught.value)
    assert "postgresql+psycopg://USER" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "lake").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"file/lake.*Check that the folder exists"):
        Store.of(str(tmp_path / "file/lake"), f"sqlite:///{tmp_path / 'control.db'}")


def test_a_lake_that_turns_read_only_keeps_what_it_has(store: Store, tmp_path: Path) -> None:
    write(store, {0: [1]}, span(0, 1))
    lake = tmp_path / "home/lake"
    for path in [lake, *lake.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    code = (
        "import sys; from pathlib import Path; from fleet_dagster_tests.storage.rows import *\n"
        "with Store.at(Path(sys.argv[1])) as s: write(s, {0: [2]}, span(0, 1))"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [*WITHOUT_RIGHTS, sys.executable, "-c", code, str(tmp_path / "home")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "StorageError: lake table 'ingest_stats" in done.stderr
    assert "What was committed before stands. Check that the folder" in done.stderr
    for path in [lake, *lake.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    store.door.recover()
    assert stored(store) == {0: [1]}
    assert len(logged(store)) == 1
    write(store, {0: [2]}, span(0, 1))
    assert stored(store) == {0: [2]}


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_delta_log_is_named_and_the_other_tables_are_untouched(
    store: Store, tmp_path: Path, share: float
) -> None:
    write(store, {0: [1]}, span(0, 1))
    log = tmp_path / "home/lake/ingest_stats/_delta_log/00000000000000000001.json"
    whole = log.read_bytes()
    log.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(StorageError, match=r"'ingest_stats' at .*restore the table's folder"):
        write_anew(tmp_path / "home")
    with Store.at(tmp_path / "home") as broken:
        assert broken.lake.version(QUARANTINE) == 0
    log.write_bytes(whole)
    write_anew(tmp_path / "home")
    assert stored(store) == {0: [2]}
    assert [e[1] for e in logged(store)] == ["append", "restate"]


def test_a_delta_log_without_its_end_is_named_and_nothing_is_written(
    store: Store, tmp_path: Path
) -> None:
    for n in range(3):
        write(store, {n: [1]}, span(n, n + 1))
    log = tmp_path / "home/lake/ingest_stats/_delta_log/00000000000000000003.json"
    log.rename(tmp_path / "kept")
    with pytest.raises(StorageError, match="ends with version 2, but version 3 was logged"):
        write_anew(tmp_path / "home")
    (tmp_path / "kept").rename(log)
    write_anew(tmp_path / "home")
    assert stored(store) == {0: [2], 1: [1], 2: [1]}


def write_anew(home: Path) -> None:
    with Store.at(home) as opened:
        write(opened, {0: [2]}, span(0, 1))


@pytest.mark.parametrize("keep", [0, 100])
def test_a_damaged_data_file_is_named_and_nothing_else_is_touched(
    store: Store, tmp_path: Path, keep: int
) -> None:
    write(store, {0: [1]}, span(0, 1))
    write(store, {1440: [1]}, span(1440, 1441))
    file = next((tmp_path / "home/lake/ingest_stats").rglob("day=2026-01-01/*.parquet"))
    whole = file.read_bytes()
    file.write_bytes(whole[:keep])
    with pytest.raises(StorageError, match=r"ingest_stats.*missing or damaged: restore"):
        write(store, {0: [2]}, span(0, 1))
    assert store.lake.read(INGEST_STATS, FLEET, span(1440, 1441)).num_rows == 1
    file.write_bytes(whole)
    write(store, {0: [2]}, span(0, 1))
    assert stored(store) == {0: [2], 1440: [1]}


def test_a_missing_data_file_is_named(store: Store, tmp_path: Path) -> None:
    write(store, {0: [1]}, span(0, 1))
    next((tmp_path / "home/lake/ingest_stats").rglob("*.parquet")).unlink()
    with pytest.raises(StorageError, match=r"ingest_stats.*missing or damaged"):
        stored(store)
