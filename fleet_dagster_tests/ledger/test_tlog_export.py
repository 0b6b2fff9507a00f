import base64
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.ledger.tlog_export import MAX_ENTRY_BYTES, export, tile_name
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.storage.control import schema
from fleet_dagster.storage.control.engine import Control
from fleet_dagster_tests.ledger import definition
from fleet_dagster_tests.ledger.keys import ORIGIN, WITNESSES
from fleet_dagster_tests.ledger.logs import append, entry, grow, log_of, vouch


@dataclass(frozen=True)
class Reader:
    """Reads an exported folder with nothing but what c2sp.org/tlog-tiles says of it."""

    folder: Path

    @property
    def checkpoint(self) -> tuple[str, int, bytes]:
        """Origin, size and root."""
        origin, size, root = (self.folder / "checkpoint").read_text().split("\n")[:3]
        return origin, int(size), base64.b64decode(root)

    def resource(self, level: str, number: int, width: int) -> bytes:
        """Return a tile or a bundle of a width."""
        name = f"{number % 1000:03d}"
        while number := number // 1000:
            name = f"x{number % 1000:03d}/{name}"
        suffix = "" if width == 256 else f".p/{width}"
        return (self.folder / "tile" / level / f"{name}{suffix}").read_bytes()

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree, from the tile that holds the nodes at or below it."""
        of_level = self.checkpoint[1] >> (level - level % 8)
        first = index << level % 8
        number = first // 256
        tile = self.resource(str(level // 8), number, min(256, of_level - number * 256))
        nodes = [tile[at : at + 32] for at in range(0, len(tile), 32)]
        nodes = nodes[first % 256 :][: 1 << level % 8]
        while len(nodes) > 1:
            nodes = [definition.node(*nodes[at : at + 2]) for at in range(0, len(nodes), 2)]
        return nodes[0]

    def subtree(self, start: int, end: int) -> bytes:
        """Return the hash over entries, from tiles alone."""
        n = end - start
        if n & (n - 1) == 0:
            return self.node(n.bit_length() - 1, start // n)
        middle = start + definition.split(n)
        return definition.node(self.subtree(start, middle), self.subtree(middle, end))

    def path(self, index: int, start: int, end: int) -> list[bytes]:
        """Return the inclusion proof of an entry, from tiles alone."""
        if end - start == 1:
            return []
        middle = start + definition.split(end - start)
        if index < middle:
            return [*self.path(index, start, middle), self.subtree(middle, end)]
        return [*self.path(index, middle, end), self.subtree(start, middle)]

    def entries(self) -> Iterator[bytes]:
        """Yield every entry."""
        size = self.checkpoint[1]
        for number in range(-(-size // 256)):
            width = min(256, size - number * 256)
            bundle = self.resource("entries", number, width)
            for _ in range(width):
                n = int.from_bytes(bundle[:2], "big")
                yield bundle[2 : 2 + n]
                bundle = bundle[2 + n :]
            assert bundle == b""


def files(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def check(folder: Path, size: int) -> None:
    """Read a folder back and recompute what its checkpoint says."""
    reader = Reader(folder)
    every = [entry(number) for number in range(size)]
    assert list(reader.entries()) == every
    assert reader.checkpoint == (ORIGIN, size, definition.mth(every))
    assert reader.subtree(0, size) == reader.checkpoint[2]
    for index in {0, size // 2, size - 1}:
        proof = reader.path(index, 0, size)
        assert proof == definition.path(index, every)
        leaf = definition.leaf(every[index])
        assert definition.root_by_path(index, size, leaf, proof) == reader.checkpoint[2]


def test_an_export_grows_with_its_log_and_can_be_read_by_anybody(
    control: Control, tmp_path: Path
) -> None:
    log, folder = log_of(control), tmp_path / "public/log"
    before: dict[str, bytes] = {}
    for size in (1, 5, 255, 256, 257, 512, 700):
        grow(log, size)
        assert export(log, folder).size == size
        check(folder, size)
        now = files(folder)
        kept = {name: now[name] for name in before.keys() & now.keys() - {"checkpoint"}}
        assert kept == {name: before[name] for name in kept}
        gone = before.keys() - now.keys()
        assert all(name.rpartition(".p/")[0] in now for name in gone)
        before = now
    assert "tile/entries/000" in before
    assert not any(name.startswith("tile/0/000.p/") for name in before)
    assert {"tile/0/002.p/188", "tile/1/000.p/1", "tile/1/000.p/2"} <= before.keys()


def test_an_export_of_one_go_has_the_same_files_and_the_cosignatures(
    control: Control, tmp_path: Path
) -> None:
    log, steps = log_of(control), []
    grow(log, 300, 600)
    vouch(log, 600, *WITNESSES)
    export(log, tmp_path / "log", lambda done, total: steps.append((done, total)))
    check(tmp_path / "log", 600)
    assert steps == [(256, 600), (512, 600), (600, 600)]
    assert sorted(files(tmp_path / "log")) == [
        "checkpoint",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/88",
    ]
    newest = log.newest_checkpoint()
    assert newest is not None
    assert (tmp_path / "log/checkpoint").read_bytes() == newest.note().content.encode()
    assert len(newest.note().signatures) == 5


def test_files_that_are_there_are_not_written_again(control: Control, tmp_path: Path) -> None:
    log = log_of(control)
    grow(log, 300)
    export(log, tmp_path / "log")
    old = {p: p.stat().st_ino for p in (tmp_path / "log/tile").rglob("*") if p.is_file()}
    vouch(log, 300, WITNESSES[0])
    export(log, tmp_path / "log")
    assert {p: p.stat().st_ino for p in old} == old
    assert WITNESSES[0].name in (tmp_path / "log/checkpoint").read_text()


def test_an_export_that_was_cut_off_goes_on(control: Control, tmp_path: Path) -> None:
    log = log_of(control)
    grow(log, 600)

    def cut_off(done: int, _total: int) -> None:
        if done > 256:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(log, tmp_path / "log", cut_off)
    assert not (tmp_path / "log/checkpoint").exists()
    (tmp_path / "log/.part").write_bytes(b"half a fi")
    export(log, tmp_path / "log")
    check(tmp_path / "log", 600)
    assert not (tmp_path / "log/.part").exists()


@given(st.integers(0, 10**12), st.integers(1, 256))
def test_numbers_of_tiles_become_paths_of_three_digits(number: int, width: int) -> None:
    path, _, rest = tile_name(number, width).partition(".p/")
    parts = path.split("/")
    assert all(part[0] == "x" and len(part) == 4 for part in parts[:-1])
    assert len(parts[-1]) == 3
    digits = "".join(part.removeprefix("x") for part in parts)
    assert int(digits) == number
    assert len(digits) - len(str(number)) < 3
    assert rest == ("" if width == 256 else str(width))


def test_the_path_of_the_specification() -> None:
    assert tile_name(1234067) == "x001/x234/067"


@pytest.mark.parametrize("name", ["readme.txt", "tile/notes", "tile/0x/000", "log/checkpoint"])
def test_a_folder_that_holds_other_things_is_refused(
    control: Control, tmp_path: Path, name: str
) -> None:
    log, other = log_of(control), tmp_path / "log" / name
    grow(log, 3)
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    with pytest.raises(LedgerError, match="it holds other things"):
        export(log, tmp_path / "log")
    assert files(tmp_path / "log") == {name: b"mine"}


def test_a_file_is_no_folder(control: Control, tmp_path: Path) -> None:
    log = log_of(control)
    grow(log, 3)
    (tmp_path / "log").write_text("mine")
    with pytest.raises(LedgerError, match="it is a file"):
        export(log, tmp_path / "log")


def test_the_export_of_another_log_is_refused(control: Control, tmp_path: Path) -> None:
    log, folder = log_of(control), tmp_path / "log"
    grow(log, 5)
    export(log, folder)
    before = files(folder)
    rewritten = log_of(control, fleet="rewritten")
    append(rewritten, [b"another", *(entry(n) for n in range(1, 9))])
    with pytest.raises(LedgerError, match="does not begin with the 5 entries"):
        export(rewritten, folder)
    shorter = log_of(control, fleet="shorter")
    grow(shorter, 4)
    with pytest.raises(LedgerError, match="it has 5 entries, and the ledger only 4"):
        export(shorter, folder)
    (folder / "checkpoint").write_text((folder / "checkpoint").read_text().replace("north", "east"))
    with pytest.raises(LedgerError, match=r"it is of 'example.com/fleet/east', not of"):
        export(log, folder)
    (folder / "checkpoint").write_bytes(before["checkpoint"])
    assert files(folder) == before


def test_a_file_with_another_content_is_never_written_over(
    control: Control, tmp_path: Path
) -> None:
    log, folder = log_of(control), tmp_path / "log"
    grow(log, 300)
    export(log, folder)
    (folder / "tile/entries/000").write_bytes(b"mine")
    before = files(folder)
    grow(log, 600)
    with pytest.raises(LedgerError, match="is never changed once it is written"):
        export(log, folder)
    assert files(folder) == before


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (sa.update(schema.ledger_entries).values(entry=b"x"), "do not lead to the root"),
        (sa.delete(schema.ledger_entries), "entry 290 of 300 is missing"),
    ],
    ids=["rewritten", "lost"],
)
def test_a_log_that_was_tampered_with_is_not_exported(
    control: Control, tmp_path: Path, change: sa.Update | sa.Delete, problem: str
) -> None:
    log, folder = log_of(control), tmp_path / "log"
    grow(log, 300)
    with control.transaction() as tx:
        tx.execute(change.where(schema.ledger_entries.c.number == 290))
    with pytest.raises(LedgerError, match=problem):
        export(log, folder)
    assert files(folder) == {}


def test_entries_of_up_to_65535_bytes_are_exported(control: Control, tmp_path: Path) -> None:
    log = log_of(control)
    append(log, [b"", b"x" * MAX_ENTRY_BYTES])
    export(log, tmp_path / "log")
    assert [len(one) for one in Reader(tmp_path / "log").entries()] == [0, 65_535]
    shutil.rmtree(tmp_path / "log")
    append(log, [b"x" * (MAX_ENTRY_BYTES + 1)])
    with pytest.raises(
        LedgerError, match="entry 2 has 65536 bytes, and the format holds up to 65535"
    ):
        export(log, tmp_path / "log")
    assert files(tmp_path / "log") == {}


def test_a_log_without_a_checkpoint_is_not_exported(control: Control, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="it has no checkpoint"):
        export(log_of(control), tmp_path / "log")
    assert not (tmp_path / "log").exists()
