"""What an appender looks at before it signs: nobody who lacks the keys gets them to sign a history that was changed."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from fleet_dagster.ledger.appender import CONSUMER, STREAM, appending
from fleet_dagster.ledger.entries import canonical, read_entry
from fleet_dagster.ledger.keystore import KeyStore, newest_rotation, vkeys
from fleet_dagster.ledger.merkle import HASH_BYTES, leaf_hash
from fleet_dagster.ledger.state import checkpoint_problem
from fleet_dagster.model.errors import LedgerError, StreamError
from fleet_dagster.storage.control import schema
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.ledger import tampering as t
from fleet_dagster_tests.streams import fleet_windows as fw


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return a store with a ledger of one row, and another row that is pending."""
    with Store.at(tmp_path / "home") as opened:
        KeyStore.of(opened, fw.CONFIG).create()
        fw.write(opened, {0: 0.5}, fw.span(0, 1))
        t.append(opened)
        fw.write(opened, {1: 0.5}, fw.span(1, 2))
        yield opened


def refused(store: Store, words: str) -> None:
    """Assert that nothing is recorded, by an append or by a rotation."""
    before = t.log_of(store).head(), t.checkpoints_of(store)
    for do in (t.append, t.rotate):
        with pytest.raises(LedgerError, match=words):
            do(store)
    assert (t.log_of(store).head(), t.checkpoints_of(store)) == before


def rewrite_first(store: Store) -> None:
    """Change the first entry, all that is stored beside it, and its hash in the tree."""
    said = read_entry(t.leaves(store)[0].entry)
    said["row"]["fleet_health"] = 0.75
    entry, digest = canonical(said), hashlib.sha256(canonical(said["row"])).digest()
    entries, tiles = schema.ledger_entries, schema.ledger_tiles
    with store.control.transaction() as tx:
        first = sa.update(entries).where(entries.c.number == 0)
        tx.execute(first.values(entry=entry, row_digest=digest))
        hashes = tx.execute(sa.select(tiles.c.hashes)).scalar_one()
        tx.execute(sa.update(tiles).values(hashes=leaf_hash(entry) + hashes[HASH_BYTES:]))


def test_a_tree_that_was_changed_is_not_signed_again(store: Store) -> None:
    rewrite_first(store)
    refused(store, "does not have the root that the checkpoint of size 2 was signed over")


def test_a_ledger_without_its_newest_checkpoint_is_not_signed_again(store: Store) -> None:
    rewrite_first(store)
    with store.control.transaction() as tx:
        tx.execute(sa.delete(schema.ledger_checkpoints))
    refused(store, "it has 2 entries, but its newest checkpoint is over 0")


def test_a_ledger_that_was_cut_off_after_its_checkpoint_is_not_continued(store: Store) -> None:
    with store.control.transaction() as tx:
        tx.execute(sa.update(schema.ledgers).values(size=1))
    refused(store, "it has 1 entries, but its newest checkpoint is over 2")


def test_keys_that_are_not_the_ledgers_sign_nothing(store: Store) -> None:
    place = KeyStore.of(store, fw.CONFIG)
    own = place.path.rename(place.folder / "lost.pem")
    place.create()
    refused(store, "it is not signed by the ledger's key .*Put the keys at .* back")
    own.replace(place.path)
    assert t.append(store) == 2
    assert t.verified(store).findings == ()


def test_a_batch_whose_place_in_the_stream_is_gone_is_not_recorded(store: Store) -> None:
    def forget(step: str) -> None:
        found = store.cursors.find(t.FLEET, STREAM.name, CONSUMER)
        if step == "signed" and found is not None:
            store.cursors.forget(found)

    before = t.log_of(store).head()
    with (
        pytest.raises(StreamError, match="was removed while it was reading"),
        appending(store, fw.CONFIG, checkpoint=forget) as appender,
    ):
        appender.run()
    assert t.log_of(store).head() == before
    assert t.append(store) == 2
    assert t.verified(store).findings == ()


def test_nobody_without_keys_becomes_a_consumer(tmp_path: Path) -> None:
    """The commit log is kept for every consumer, and its retention tells of those that lag."""
    with Store.at(tmp_path / "other") as other:
        with pytest.raises(LedgerError, match="there is no such file of keys"):
            t.append(other)
        assert other.cursors.of(t.FLEET) == []


def test_a_rotation_that_somebody_else_finishes_is_finished(store: Store) -> None:
    """Whoever looks at the ledger between the entry and the exchange of the files puts the new keys in force."""

    def look(step: str) -> None:
        if step == "rotated":
            assert checkpoint_problem(store, fw.CONFIG) == ""

    old = vkeys(t.keys_of(store))
    with appending(store, fw.CONFIG, checkpoint=look) as appender:
        appender.rotate()
    new = vkeys(t.keys_of(store))
    assert new != old
    assert newest_rotation(t.log_of(store)) == new


def test_what_is_stored_behind_the_end_is_not_written_over(store: Store) -> None:
    with store.control.transaction() as tx:
        row = {"fleet": t.FLEET, "number": 2, "kind": "kpi", "entry": b"{}"}
        tx.execute(sa.insert(schema.ledger_entries), [row])
    with pytest.raises(LedgerError, match="behind its 2 entries is stored already"):
        t.append(store)
    assert t.kinds(t.verified(store)) == {"beyond"}
