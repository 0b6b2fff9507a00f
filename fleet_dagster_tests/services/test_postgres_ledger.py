"""The ledger with a control database on PostgreSQL: what holds on SQLite holds here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fleet_dagster.ledger import appender
from fleet_dagster.ledger.keystore import KeyStore
from fleet_dagster.ledger.log import Log
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.store import Store
from fleet_dagster.streams import deliveries
from fleet_dagster_tests.ledger import tampering as t
from fleet_dagster_tests.ledger import test_appender, test_attacks, test_rotation, test_verify
from fleet_dagster_tests.streams import fleet_windows as fw

pytestmark = pytest.mark.services


@pytest.fixture
def bare(control_url: str, tmp_path: Path) -> Iterator[Store]:
    """Return an installation without keys."""
    with Store.of(str(tmp_path / "lake"), control_url, keys=tmp_path / "keys") as opened:
        yield opened


@pytest.fixture
def store(bare: Store) -> Store:
    KeyStore.of(bare, fw.CONFIG).create()
    return bare


def test_every_step_of_the_model_in_one_run(bare: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "PIECE_ROWS", 5)
    monkeypatch.setattr(appender, "BATCH_ROWS", 8)
    test_verify.walk_through(test_verify.Ledgers(bare))


def test_a_restatement_supersedes(store: Store) -> None:
    test_appender.test_a_restatement_supersedes(store)


def test_a_removal_is_recorded(store: Store) -> None:
    test_appender.test_a_removal_is_recorded_after_what_it_removes(store)


def test_two_appenders_record_each_row_once(store: Store) -> None:
    test_appender.two_at_once(store)


def test_who_comes_second_waits(store: Store) -> None:
    test_appender.second_waits(store, n_written_before_it=5)


def test_an_appender_that_was_overtaken_writes_nothing(store: Store) -> None:
    test_appender.test_an_appender_that_was_overtaken_writes_nothing(store)


def test_whoever_trusts_any_of_its_keys_can_follow_it(store: Store) -> None:
    test_rotation.test_whoever_trusts_any_of_its_keys_can_follow_it(store)


def test_attacks_are_found(bare: Store) -> None:
    t.begin(bare)
    for attack in (
        test_attacks.test_the_honest_history_is_found_good,
        test_attacks.test_an_entry_altered_in_place_is_malformed,
        test_attacks.test_an_entry_altered_with_its_columns_has_another_hash,
        test_attacks.test_a_deleted_entry_is_missing,
        test_attacks.test_entries_behind_the_end_are_seen,
        test_attacks.test_a_log_cut_off_at_a_checkpoint_is_told_by_those_behind_it,
        test_attacks.test_a_tile_too_many_is_found,
    ):
        with t.undone(bare):
            attack(bare)


def test_a_cosignature_that_another_process_has_just_kept_is_no_error(
    store: Store, control_url: str
) -> None:
    """Both see that there is none, and both insert one."""
    fw.write(store, {0: 0.5}, fw.span(0, 1))
    t.append(store)
    newest = t.checkpoints_of(store)[-1]
    key = test_attacks.witness_key()
    line = key.sign(newest.note().text, time=1_800_000_000)
    other = Control(control_url)

    def be_quicker(*about: Any) -> None:  # Any: what SQLAlchemy tells of a statement
        if "INSERT INTO ledger_cosignatures" in about[2]:
            Log(other, t.FLEET).attach(newest.size, key.name, line)

    sa.event.listen(store.control.engine, "before_cursor_execute", be_quicker)
    t.log_of(store).attach(newest.size, key.name, line)
    sa.event.remove(store.control.engine, "before_cursor_execute", be_quicker)
    other.dispose()
    assert t.checkpoints_of(store)[-1].lines == {key.name: line.line}
