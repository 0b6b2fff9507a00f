from typing import Any

import pytest
import sqlalchemy as sa

from fleet_dagster.core.windows import Span
from fleet_dagster.ledger.log import Head, Leaf, Log
from fleet_dagster.ledger.note import Checkpoint, Note, parse_signatures
from fleet_dagster.ledger.signing import signed
from fleet_dagster.ledger.tiles import tile_sizes
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.storage.control import schema
from fleet_dagster.storage.control.engine import Control
from fleet_dagster_tests.ledger import definition
from fleet_dagster_tests.ledger.keys import CHECKPOINT, LOG, NOW, ORIGIN, WITNESSES
from fleet_dagster_tests.ledger.logs import FLEET, append, entry, grow, log_of, vouch

W1, W2, W3 = WITNESSES
TABLES = (
    schema.ledgers,
    schema.ledger_entries,
    schema.ledger_tiles,
    schema.ledger_checkpoints,
    schema.ledger_cosignatures,
)


def everything(control: Control) -> list[list[tuple[object, ...]]]:
    """Return what the ledger's tables hold."""
    with control.reading() as tx:
        return [sorted(map(tuple, tx.execute(sa.select(table))), key=repr) for table in TABLES]


def row(window: int, revision: int = 0, digest: bytes = b"d" * 32) -> Leaf:
    return Leaf(f"row {window} {revision}".encode(), "row", window, revision, digest)


def test_a_log_that_was_not_begun_has_nothing(control: Control) -> None:
    log = Log(control, FLEET)
    assert log.head() is None
    assert log.newest_checkpoint() is None
    assert list(log.checkpoints()) == []
    assert log.cosigned_sizes() == []
    assert list(log.entries()) == []


def test_a_log_is_begun_once_and_keeps_its_name(control: Control) -> None:
    log = Log(control, FLEET)
    assert log.begin(ORIGIN) == Head(ORIGIN, 0)
    grow(log, 3)
    assert log.begin(ORIGIN) == Head(ORIGIN, 3)
    with pytest.raises(LedgerError, match=r"it is called 'example.com/fleet/north', but"):
        log.begin("another")


@pytest.mark.parametrize("sizes", [(1,), (3, 7), (255, 256, 257), (5, 5, 600)])
def test_entries_tiles_and_checkpoints_are_those_of_the_definition(
    control: Control, sizes: tuple[int, ...]
) -> None:
    log = log_of(control)
    grow(log, *sizes)
    size = sizes[-1]
    every = [entry(number) for number in range(size)]
    assert log.head() == Head(ORIGIN, size)
    assert [(s.number, s.leaf.entry) for s in log.entries()] == list(enumerate(every))
    with control.reading() as tx:
        stored = {
            (int(t.level), int(t.number)): bytes(t.hashes)
            for t in tx.execute(sa.select(schema.ledger_tiles))
        }
    assert {key: len(tile) // 32 for key, tile in stored.items()} == {
        (level, number): n for level, number, n in tile_sizes(size)
    }
    assert stored == {key: definition.tile(*key, every) for key in stored}
    for checkpoint in log.checkpoints():
        note = checkpoint.note()
        expected = Checkpoint(ORIGIN, checkpoint.size, definition.mth(every[: checkpoint.size]))
        assert Checkpoint.parse(note.text) == expected
        assert LOG.verifier.verifies(note.text, note.signatures[0])
    assert [c.size for c in log.checkpoints()] == sorted(set(sizes))


def test_an_append_to_a_log_that_has_grown_is_refused_and_leaves_no_trace(control: Control) -> None:
    log = log_of(control)
    grow(log, 3)
    head = log.head()
    assert head is not None
    late = log.prepare(head, [Leaf(b"late", "test")])
    note = signed(Checkpoint(ORIGIN, late.size, late.root), [LOG], time=NOW)
    grow(log, 4)
    before = everything(control)
    with (
        pytest.raises(LedgerError, match="no longer has 3 entries"),
        control.transaction() as tx,
    ):
        log.append(tx, late, note)
    assert everything(control) == before
    assert b"late" not in [s.leaf.entry for s in log.entries()]


def test_an_append_that_fails_later_leaves_no_trace(control: Control) -> None:
    log = log_of(control)
    grow(log, 3)
    before, head = everything(control), log.head()
    assert head is not None
    batch = log.prepare(head, [Leaf(b"more", "test")])

    def cut_off() -> None:
        with control.transaction() as tx:
            log.append(tx, batch, None)
            msg = "power cut"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="power cut"):
        cut_off()
    assert everything(control) == before


def test_a_row_of_a_window_is_in_a_ledger_once(control: Control) -> None:
    log = log_of(control)
    for leaves in ([row(1), row(2)], [row(1, 1)], [row(1, 0, b"e" * 32)]):
        head = log.head()
        assert head is not None
        batch = log.prepare(head, leaves)
        with control.transaction() as tx:
            log.append(tx, batch, None)
    before, head = everything(control), log.head()
    assert head == Head(ORIGIN, 4)
    for twice in ([row(2)], [row(3), row(3)], [row(9), row(1, 1)]):
        batch = log.prepare(head, twice)
        with pytest.raises(sa.exc.IntegrityError), control.transaction() as tx:
            log.append(tx, batch, None)
        assert everything(control) == before


def test_the_same_row_may_be_in_the_ledgers_of_two_fleets(control: Control) -> None:
    for fleet in ("north", "south"):
        log = log_of(control, fleet=fleet)
        batch = log.prepare(Head(ORIGIN, 0), [row(1), Leaf(b"start", "begin")])
        with control.transaction() as tx:
            log.append(tx, batch, None)
        assert [s.leaf for s in log.of_windows(Span(1, 2))] == [row(1)]
        assert log.of_windows(Span(2, 9)) == []
        assert [s.number for s in log.of_kind("begin")] == [1]
        assert [s.leaf for s in log.entries(0, 1)] == [row(1)]


def test_entries_are_read_in_order_over_many_pages(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(control)
    grow(log, 23)
    monkeypatch.setattr("fleet_dagster.ledger.log.PAGE", 5)
    assert [s.number for s in log.entries()] == list(range(23))
    assert [s.number for s in log.entries(4, 15)] == list(range(4, 15))
    assert list(log.entries(23)) == []
    with control.transaction() as tx:
        gone = schema.ledger_entries.c.number.between(3, 11)
        tx.execute(sa.delete(schema.ledger_entries).where(gone))
    assert [s.number for s in log.entries()] == [0, 1, 2, *range(12, 23)]


def test_cosignatures_are_kept_with_the_checkpoint_that_they_are_of(control: Control) -> None:
    log = log_of(control)
    grow(log, 2, 4, 6)
    vouch(log, 4, W1, W2)
    vouch(log, 2, W3)
    assert [list(c.lines) for c in log.checkpoints()] == [[W3.name], [W1.name, W2.name], []]
    assert log.cosigned_sizes() == [4, 2]
    assert log.cosigned_sizes(since=3) == [4]
    assert log.cosigned_sizes(n_needed=2) == [4]
    assert [c.size for c in log.checkpoints(since=3)] == [4, 6]
    (stored,) = log.checkpoints(since=4, until=4)
    note = stored.note()
    assert [s.name for s in note.signatures] == [ORIGIN, ORIGIN, W1.name, W2.name]
    assert all(
        w.verifier.verifies(note.text, s)
        for w, s in zip((W1, W2), note.signatures[2:], strict=True)
    )
    newest = log.newest_checkpoint()
    assert newest is not None
    assert (newest.size, newest.lines) == (6, {})


def test_a_witness_that_vouches_again_replaces_its_line(control: Control) -> None:
    log = log_of(control)
    grow(log, 2)
    vouch(log, 2, W1)
    text = next(iter(log.checkpoints())).note().text
    again = W1.sign(text, time=NOW + 99)
    log.attach(2, W1.name, again)
    assert next(iter(log.checkpoints())).lines == {W1.name: again.line}


def test_a_stored_note_or_line_that_was_tampered_with_is_refused(control: Control) -> None:
    log = log_of(control)
    grow(log, 2)
    vouch(log, 2, W1)
    with control.transaction() as tx:
        tx.execute(sa.update(schema.ledger_cosignatures).values(line="— nobody\n"))
    with pytest.raises(LedgerError, match="checkpoint of size 2: found the signature line"):
        next(iter(log.checkpoints())).note()
    with control.transaction() as tx:
        tx.execute(sa.delete(schema.ledger_cosignatures))
        tx.execute(sa.update(schema.ledger_checkpoints).values(note="rewritten"))
    with pytest.raises(LedgerError, match="checkpoint of size 2: found no blank line"):
        next(iter(log.checkpoints())).note()


def test_a_stored_tile_that_lost_hashes_stops_the_log(control: Control) -> None:
    log = log_of(control)
    grow(log, 5)
    with control.transaction() as tx:
        tx.execute(sa.update(schema.ledger_tiles).values(hashes=bytes(32 * 4)))
    with pytest.raises(LedgerError, match=r"tile 0/0: it has 4 hashes, expected 5"):
        append(log, [b"more"])


def test_a_checkpoint_may_be_signed_again(control: Control) -> None:
    log = log_of(control)
    checkpoint = grow(log, 2)
    append(log, [], keys=[LOG])
    (stored,) = log.checkpoints()
    assert stored.note() == Note.parse(stored.content)
    assert [s.name for s in stored.note().signatures] == [ORIGIN]
    assert Checkpoint.parse(stored.note().text) == checkpoint


def test_lines_are_read_as_they_were_written() -> None:
    line = W2.sign(CHECKPOINT.text, time=NOW).line
    assert [s.line for s in parse_signatures(line)] == [line]


def test_two_fleets_have_no_ledger_of_one_name(control: Control) -> None:
    log_of(control)
    with pytest.raises(
        LedgerError, match=f"it would be called '{ORIGIN}', as that of fleet 'north' is"
    ):
        Log(control, "south").begin(ORIGIN)
    assert Log(control, "south").head() is None
    assert log_of(control).head() == Head(ORIGIN, 0)


def test_entries_of_a_rare_kind_are_found_without_reading_the_others(control: Control) -> None:
    """Each append looks for handovers: among a million rows it must not read them all."""
    log = log_of(control)
    asked: list[tuple[str, Any]] = []
    sa.event.listen(control.engine, "before_cursor_execute", lambda *a: asked.append((a[2], a[3])))
    assert log.of_kind("begin") == []
    [(query, values)] = [one for one in asked if "ledger_entries" in one[0]]
    with control.reading() as tx:
        plan = tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values).all()
    assert [row.detail.rpartition("(")[2] for row in plan] == ["fleet=? AND window_start=?)"]


def test_only_the_witnesses_that_are_asked_for_count(control: Control) -> None:
    log = log_of(control)
    grow(log, 2, 4)
    vouch(log, 2, W1, W2)
    vouch(log, 4, W1, W3)
    newest = log.newest_vouched([W1.name, W2.name], 2)
    assert newest is not None
    assert newest.size == 2
    assert log.newest_vouched([W2.name], 2) is None
