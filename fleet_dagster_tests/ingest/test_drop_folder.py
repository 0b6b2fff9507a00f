import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fleet_dagster.core.windows import DAY, MINUTE, SECOND, iso
from fleet_dagster.ingest import importing
from fleet_dagster.ingest.drop_folder import DONE, FAILED, REASON, Look, Seen, Stamp, shown, take_in
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ConfigError, LeaseError, SourceError
from fleet_dagster.model.tables import SITE_TELEMETRY
from fleet_dagster.storage.leases import Leases
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.cli.cases import HEADER, content

CONFIG = FleetConfig.model_validate(content())
NOW = at.FIRST + 2 * DAY
LONG_AGO = NOW - DAY


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.at(at.new_home(tmp_path / "home")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut files into parts of two rows, so that small ones have several."""
    monkeypatch.setattr(importing, "PART_ROWS", 2)


def rows(first: int, n: int) -> str:
    """Return a CSV file's text; its rows are numbered by their minutes."""
    lines = [f"S1,{iso(at.FIRST + (first + i) * MINUTE)},20,100" for i in range(n)]
    return "\n".join([HEADER, *lines]) + "\n"


def drop(inbox: Path, name: str, text: str, *, written: int = LONG_AGO) -> Path:
    """Put a file into the folder, last written at an instant."""
    path = inbox / name
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(written * 1000, written * 1000))
    return path


def look(store: Store, inbox: Path, seen: Seen | None = None, *, now: int = NOW) -> Look:
    """Look at the folder as an earlier look has seen it, by default as it is now."""
    return take_in(store, CONFIG, inbox, now=now, seen=seen_in(inbox) if seen is None else seen)


def seen_in(inbox: Path) -> Seen:
    """Return what a look at the folder as it is now leaves to the next."""
    files = [(p.name, p.stat()) for p in inbox.iterdir() if p.is_file()] if inbox.exists() else []
    return {name: Stamp(found.st_size, found.st_mtime_ns) for name, found in files}


def minutes(store: Store) -> list[int]:
    """Return the numbers of the landed rows."""
    found = at.rows_of(store, SITE_TELEMETRY)["timestamp"].astype("datetime64[us, UTC]")
    return sorted((found.astype("int64") - at.FIRST) // MINUTE)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_files_are_landed_in_the_order_of_their_names_and_moved_to_done(
    store: Store, inbox: Path
) -> None:
    drop(inbox, "b.csv", rows(3, 2))
    drop(inbox, "a.csv", rows(0, 3))
    found = look(store, inbox)
    assert [(t.name, t.report and t.report.n_landed) for t in found.taken] == [
        ("a.csv", 3),
        ("b.csv", 2),
    ]
    assert minutes(store) == [0, 1, 2, 3, 4]
    assert names(inbox) == [DONE]
    assert names(inbox / DONE) == ["a.csv", "b.csv"]
    assert set(at.rows_of(store, SITE_TELEMETRY)["received_at"]) == {
        pd.Timestamp(NOW, unit="us", tz="UTC")
    }


def test_a_folder_that_is_missing_is_made(store: Store, inbox: Path) -> None:
    assert look(store, inbox / "plant") == Look()
    assert names(inbox) == ["plant"]


def test_a_file_that_changes_between_two_looks_waits(store: Store, inbox: Path) -> None:
    drop(inbox, "a.csv", rows(0, 1))
    first = look(store, inbox, {})
    assert (first.taken, first.waiting) == ((), ("a.csv",))
    drop(inbox, "a.csv", rows(0, 2))
    second = look(store, inbox, first.seen)
    assert second.waiting == ("a.csv",)
    assert [t.name for t in look(store, inbox, second.seen).taken] == ["a.csv"]
    assert minutes(store) == [0, 1]


def test_a_file_whose_writer_pauses_does_not_lose_its_rest(store: Store, inbox: Path) -> None:
    """It was written to long enough ago at the first look, and is unchanged but fresh at a later one."""
    drop(inbox, "a.csv", rows(0, 1), written=NOW - 6 * SECOND)
    first = look(store, inbox, {})
    drop(inbox, "a.csv", rows(0, 2), written=NOW + 8 * SECOND)
    second = look(store, inbox, first.seen, now=NOW + 9 * SECOND)
    third = look(store, inbox, second.seen, now=NOW + 12 * SECOND)
    assert [one.waiting for one in (first, second, third)] == [("a.csv",)] * 3
    fourth = look(store, inbox, third.seen, now=NOW + 13 * SECOND)
    assert [t.name for t in fourth.taken] == ["a.csv"]
    assert minutes(store) == [0, 1]


@pytest.mark.parametrize("name", [".a.csv", "a.csv.part", "a.csv.TMP", "a.csv.crdownload"])
def test_a_file_that_says_it_is_unfinished_is_left_alone(
    store: Store, inbox: Path, name: str
) -> None:
    drop(inbox, name, rows(0, 1))
    assert look(store, inbox) == Look()
    assert names(inbox) == [name]


def test_folders_within_are_left_alone(store: Store, inbox: Path) -> None:
    for folder in ("2025.csv", DONE, FAILED):
        (inbox / folder).mkdir()
        drop(inbox / folder, "a.csv", rows(0, 1))
    assert look(store, inbox) == Look()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.xlsx", "PK", "unknown ending"),
        ("a.csv", HEADER + "\n", "holds no snapshots"),
        ("a.parquet", "PAR1", "not whole Parquet"),
        ("a.csv", "when,where\n1,2\n", "site_id"),
    ],
)
def test_a_file_that_cannot_be_read_goes_to_failed_beside_the_reason(
    store: Store, inbox: Path, name: str, text: str, words: str
) -> None:
    drop(inbox, name, text)
    (taken,) = look(store, inbox).taken
    assert words in taken.reason
    assert names(inbox / FAILED) == [name, f"{name}{REASON}"]
    assert words in (inbox / FAILED / f"{name}{REASON}").read_text(encoding="utf-8")
    assert minutes(store) == []


def test_one_bad_file_does_not_keep_the_others_out(store: Store, inbox: Path) -> None:
    drop(inbox, "a.txt", "?")
    drop(inbox, "b.csv", rows(0, 1))
    assert [bool(t.reason) for t in look(store, inbox).taken] == [True, False]


def test_a_name_that_is_no_text_goes_to_failed(store: Store, inbox: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(inbox) + b"/\xff.csv"))
    path.write_text(rows(0, 1), encoding="utf-8")
    (taken,) = look(store, inbox, now=NOW + 1000 * DAY).taken
    assert "not UTF-8" in taken.reason
    assert shown(taken.name) == r"\udcff.csv"
    assert len(names(inbox / FAILED)) == 2


def test_a_name_that_was_used_before_gets_a_number(store: Store, inbox: Path) -> None:
    for first in range(3):
        drop(inbox, "a.b.csv.gz.csv", rows(first, 1))
        drop(inbox, "c", f"{first}")
        look(store, inbox)
    assert names(inbox / DONE) == [
        "a.b.csv.gz-2.csv",
        "a.b.csv.gz-3.csv",
        "a.b.csv.gz.csv",
    ]
    kept = [n for n in names(inbox / FAILED) if not n.endswith(REASON)]
    assert [(n, (inbox / FAILED / n).read_text("utf-8")) for n in kept] == [
        ("c", "0"),
        ("c-2", "1"),
        ("c-3", "2"),
    ]


def test_a_reason_never_replaces_a_file_that_was_dropped(store: Store, inbox: Path) -> None:
    drop(inbox, f"a{REASON}", "precious")
    look(store, inbox)
    drop(inbox, "a", "?")
    look(store, inbox)
    assert (inbox / FAILED / f"a{REASON}").read_text("utf-8") == "precious"
    assert (inbox / FAILED / "a-2").read_text("utf-8") == "?"


def test_a_file_that_was_landed_before_is_moved_and_lands_nothing(
    store: Store, inbox: Path
) -> None:
    drop(inbox, "a.csv", rows(0, 3))
    look(store, inbox)
    drop(inbox, "again.csv", rows(0, 3))
    (taken,) = look(store, inbox).taken
    assert taken.report is not None
    assert not taken.report.is_new
    assert minutes(store) == [0, 1, 2]
    assert names(inbox / DONE) == ["a.csv", "again.csv"]


def test_a_look_out_of_time_ends_between_two_parts_and_the_next_goes_on(
    store: Store, inbox: Path
) -> None:
    drop(inbox, "a.csv", rows(0, 5))
    drop(inbox, "b.csv", rows(5, 1))
    landed = []
    for _ in range(4):
        found = take_in(store, CONFIG, inbox, now=NOW, seen=seen_in(inbox), is_over=lambda: True)
        landed.append((len(minutes(store)), found.waiting))
    assert landed == [
        (2, ("a.csv", "b.csv")),
        (4, ("a.csv", "b.csv")),
        (5, ("b.csv",)),
        (6, ()),
    ]
    assert minutes(store) == [0, 1, 2, 3, 4, 5]


def test_a_file_that_grows_while_it_is_landed_is_taken_again(store: Store, inbox: Path) -> None:
    drop(inbox, "a.csv", rows(0, 3))

    def grow() -> bool:
        drop(inbox, "a.csv", rows(0, 4), written=NOW)
        return False

    found = take_in(store, CONFIG, inbox, now=NOW, seen=seen_in(inbox), is_over=grow)
    assert (found.taken, found.waiting) == ((), ("a.csv",))
    assert look(store, inbox, found.seen, now=NOW + MINUTE).waiting == ("a.csv",)
    look(store, inbox, now=NOW + MINUTE)
    assert names(inbox / DONE) == ["a.csv"]
    assert set(minutes(store)) == {0, 1, 2, 3}


def test_settings_that_go_with_no_file_leave_all_files_where_they_are(
    store: Store, inbox: Path
) -> None:
    raw = content()
    raw["source"] = {"kpis": {"temp": {"column": "temp", "unit": "kW"}}}
    drop(inbox, "a.csv", rows(0, 1))
    with pytest.raises(ConfigError):
        take_in(store, FleetConfig.model_validate(raw), inbox, now=NOW, seen=seen_in(inbox))
    assert names(inbox) == ["a.csv"]


def test_two_processes_do_not_land_from_one_folder_at_a_time(store: Store, inbox: Path) -> None:
    drop(inbox, "a.csv", rows(0, 1))
    with (
        Leases(store.control).hold([f"inbox/{CONFIG.name}"]),
        pytest.raises(LeaseError, match="inbox/plant"),
    ):
        look(store, inbox)
    assert len(look(store, inbox).taken) == 1


def test_a_folder_that_cannot_be_used_is_named_with_what_to_do(store: Store, inbox: Path) -> None:
    drop(inbox, "a.csv", rows(0, 1))
    drop(inbox, DONE, "a file where the folder should be")
    with pytest.raises(SourceError, match="FLEET_INBOX"):
        look(store, inbox)
    (inbox / DONE).unlink()
    (taken,) = look(store, inbox).taken
    assert taken.report is not None
    assert not taken.report.is_new


class KilledError(Exception):
    """Stands for the end of a process: nothing that comes after is carried out."""


class WatchedFolder(RuleBasedStateMachine):
    """Files are dropped, copied and broken; looks are killed anywhere: every row is landed exactly once."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.home = self.folder / f"{id(self)}"
        shutil.rmtree(self.home, ignore_errors=True)
        self.inbox = self.home / "inbox"
        self.inbox.mkdir(parents=True)
        self.contents: list[str] = []
        self.n_rows = self.n_dropped = self.n_broken = 0

    @rule(n=st.integers(1, 5))
    def drop_new_rows(self, n: int) -> None:
        """Drop a file with rows that no other has."""
        self.contents.append(rows(self.n_rows, n))
        self.n_rows += n
        self._drop(self.contents[-1])

    @precondition(lambda self: self.contents)
    @rule(chosen=st.integers(0, 100))
    def drop_what_was_dropped_before(self, chosen: int) -> None:
        """Drop a copy under another name."""
        self._drop(self.contents[chosen % len(self.contents)])

    @rule()
    def drop_something_else(self) -> None:
        """Drop a file that is no telemetry."""
        drop(self.inbox, f"{self.n_dropped % 3}-{self.n_broken}.txt", "?")
        self.n_broken += 1

    @rule(step=st.integers(0, 8))
    def look_and_be_killed(self, step: int) -> None:
        """Look, and be killed between two steps of a write."""
        passed: list[str] = []

        def kill(name: str) -> None:
            passed.append(name)
            if len(passed) > step:
                raise KilledError

        with Store.at(at.new_home(self.home), checkpoint=kill) as store, suppress(KilledError):
            look(store, self.inbox)

    @rule()
    def look_and_fail_before_moving(self) -> None:
        """Look where nothing can be moved to `done/`."""
        hidden = self.home / "hidden"
        is_there = (self.inbox / DONE).exists()
        if is_there:
            (self.inbox / DONE).rename(hidden)
        (self.inbox / DONE).touch()
        os.utime(self.inbox / DONE, ns=(NOW * 1000, NOW * 1000))
        with Store.at(at.new_home(self.home)) as store, suppress(SourceError):
            look(store, self.inbox)
        (self.inbox / DONE).unlink(missing_ok=True)
        if is_there:
            hidden.rename(self.inbox / DONE)

    @rule(n_looks=st.integers(1, 3))
    def look_without_time(self, n_looks: int) -> None:
        """Look so briefly that only a part is landed each time."""
        with Store.at(at.new_home(self.home)) as store:
            for _ in range(n_looks):
                take_in(
                    store,
                    CONFIG,
                    self.inbox,
                    now=NOW,
                    seen=seen_in(self.inbox),
                    is_over=lambda: True,
                )

    @invariant()
    def no_file_is_lost(self) -> None:
        """Every file dropped is somewhere."""
        kept = [p for p in self.inbox.rglob("*") if p.is_file() and not p.name.endswith(REASON)]
        assert len(kept) == self.n_dropped + self.n_broken

    def teardown(self) -> None:
        """Look once more: every row is landed exactly once, and every file is where it belongs."""
        with Store.at(at.new_home(self.home)) as store:
            look(store, self.inbox)
            assert minutes(store) == list(range(self.n_rows))
        assert len(names(self.inbox / DONE)) == self.n_dropped
        assert len(names(self.inbox / FAILED)) == 2 * self.n_broken
        shutil.rmtree(self.home)

    def _drop(self, text: str) -> None:
        drop(self.inbox, f"{self.n_dropped % 3}.csv" if self._is_free() else self._other(), text)
        self.n_dropped += 1

    def _is_free(self) -> bool:
        return not (self.inbox / f"{self.n_dropped % 3}.csv").exists()

    def _other(self) -> str:
        return f"x{self.n_dropped}.csv"


def test_every_row_is_landed_exactly_once_wherever_a_look_is_killed(tmp_path: Path) -> None:
    machine = type("Machine", (WatchedFolder,), {"folder": tmp_path})
    run_state_machine_as_test(machine, settings=settings(max_examples=8, stateful_step_count=10))
