import gc
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleet_dagster.model.errors import StorageError
from fleet_dagster.model.tables import INGEST_STATS, TABLES, derived_tables, superseded
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.storage.rows import logged, span, stored, write


def test_a_new_folder_gets_every_table(store: Store, tmp_path: Path) -> None:
    names = {t.name for t in (*TABLES.values(), *(superseded(t) for t in derived_tables()))}
    assert {p.name for p in (tmp_path / "home/lake").iterdir()} == names
    assert store.history.last_number() == 0


def test_many_first_starts_at_once_make_one_installation(tmp_path: Path) -> None:
    def start(number: int) -> None:
        with Store.at(tmp_path / "home") as own:
            write(own, {number: [number]}, span(number, number + 1))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(start, range(6)))
    with Store.at(tmp_path / "home") as store:
        assert stored(store) == {n: [n] for n in range(6)}
        assert len(logged(store)) == 6


def test_a_closed_store_leaves_no_thread_and_no_open_file(tmp_path: Path) -> None:
    with Store.at(tmp_path / "home") as store:
        write(store, {0: [1]}, span(0, 1))
    del store
    gc.collect()
    threads, files = threading.active_count(), open_files(tmp_path)
    for turn in range(5):
        with Store.at(tmp_path / "home") as again:
            write(again, {0: [turn]}, span(0, 1))
        del again
        gc.collect()
    assert threading.active_count() == threads
    assert open_files(tmp_path) == files == 0


def test_a_lake_without_its_control_database_is_refused(tmp_path: Path) -> None:
    with Store.at(tmp_path / "home") as store:
        write(store, {0: [1]}, span(0, 1))
    for part in (tmp_path / "home").glob("control.db*"):
        part.unlink()
    with pytest.raises(
        StorageError, match=r"holds rows \(ingest_stats\).*Restore the control database"
    ):
        Store.at(tmp_path / "home")


def test_a_control_database_without_its_lake_is_refused_and_nothing_is_created(
    tmp_path: Path,
) -> None:
    with Store.at(tmp_path / "home") as store:
        write(store, {0: [1]}, span(0, 1))
    lake = tmp_path / "home/lake"
    shutil.move(lake, tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=r"no table ingest_stats.*Mount or restore the lake"):
        Store.at(tmp_path / "home")
    assert not lake.exists()
    shutil.move(tmp_path / "elsewhere", lake)
    with Store.at(tmp_path / "home") as store:
        assert stored(store) == {0: [1]}


def test_a_table_that_is_new_in_this_version_is_created_beside_the_others(tmp_path: Path) -> None:
    with Store.at(tmp_path / "home") as store:
        write(store, {0: [1]}, span(0, 1))
    shutil.rmtree(tmp_path / "home/lake/baseline")
    with Store.at(tmp_path / "home") as store:
        assert stored(store) == {0: [1]}
        assert store.lake.version(TABLES["baseline"]) == 0


def test_a_first_write_that_crashed_does_not_look_like_a_lost_database(tmp_path: Path) -> None:
    def fail(reached: str) -> None:
        if reached == "written":
            raise OSError(reached)

    with Store.at(tmp_path / "home", checkpoint=fail) as store, pytest.raises(OSError):  # noqa: PT011 - our own
        write(store, {0: [1]}, span(0, 1))
    with Store.at(tmp_path / "home") as store:
        assert logged(store) == [(1, "append", 0, 1, 1)]
        assert stored(store) == {0: [1]}
        assert store.lake.version(INGEST_STATS) == 1


def open_files(folder: Path) -> int:
    """Count this process's open files below a folder."""
    return sum(
        str(folder) in str(link.readlink())
        for link in Path("/proc/self/fd").iterdir()
        if link.is_symlink()
    )
