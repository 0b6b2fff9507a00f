"""A ledger that was handed over to new keys: whoever trusts any of its keys can follow it, and nobody else."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.ledger.appender import appending
from fleet_dagster.ledger.key_files import new_keys
from fleet_dagster.ledger.keystore import KINDS, Keys, KeyStore, newest_rotation, verifiers, vkeys
from fleet_dagster.ledger.policy import Policy
from fleet_dagster.ledger.rotation import is_rightful, rotation_entry
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.ledger import tampering as t
from fleet_dagster_tests.streams import fleet_windows as fw

ORIGIN = f"esn/fleet/{t.FLEET}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.at(tmp_path / "home") as opened:
        KeyStore.of(opened, fw.CONFIG).create()
        yield opened


def handed_over(store: Store, n: int) -> list[Keys]:
    """Hand the ledger over again and again, before its first row and after others; returns all keys, in order."""
    keys = [t.keys_of(store)]
    for number in range(n):
        t.rotate(store)
        keys.append(t.keys_of(store))
        fw.write(store, {number: 0.5}, fw.span(number, number + 1))
        t.append(store)
    return keys


def test_whoever_trusts_any_of_its_keys_can_follow_it(store: Store) -> None:
    keys = handed_over(store, 3)
    assert len({k for some in keys for k in vkeys(some)}) == 8
    for trusted in keys:
        report = t.verified(store, policy=Policy(verifiers(trusted)))
        assert (report.verdict, report.findings, report.n_rows) == ("unwitnessed", (), 3)
    assert newest_rotation(t.log_of(store)) == vkeys(keys[-1])


def test_one_of_two_keys_is_enough_to_trust(store: Store) -> None:
    keys = handed_over(store, 2)
    for key in (*keys[0], *keys[1], *keys[2]):
        assert t.verified(store, policy=Policy((key.verifier,))).verdict == "unwitnessed"


def test_foreign_keys_are_refused(store: Store) -> None:
    handed_over(store, 2)
    foreign = Policy(verifiers(new_keys(ORIGIN, KINDS)))
    report = t.verified(store, policy=foreign)
    assert (report.verdict, *t.first(report)) == ("invalid", "bad_rotation", 0, None)
    assert report.first_bad is not None
    assert "none is trusted" in report.first_bad.problem
    elsewhere = Policy(verifiers(new_keys("esn/fleet/other", KINDS)))
    with pytest.raises(LedgerError, match="the keys that are trusted are those of esn/fleet/other"):
        t.verified(store, policy=elsewhere)


def test_old_keys_do_not_sign_what_comes_after_them(store: Store) -> None:
    keys = handed_over(store, 1)
    newest = t.checkpoints_of(store)[-1]
    t.sign_again(store, keys[0])
    report = t.verified(store)
    assert (report.verdict, t.kinds(report)) == ("invalid", {"bad_signature"})
    for stored in t.checkpoints_of(store):
        t.put_note(
            store, stored.size, newest.content if stored.size == newest.size else stored.content
        )
    assert "bad_signature" in t.kinds(t.verified(store))


def test_an_appender_with_the_old_keys_is_refused(store: Store) -> None:
    place = KeyStore.of(store, fw.CONFIG)
    old = place.path.read_bytes()
    handed_over(store, 1)
    place.path.write_bytes(old)
    fw.write(store, {9: 0.5}, fw.span(9, 10))
    with pytest.raises(LedgerError, match="handed over to other keys"):
        t.append(store)
    assert t.kinds(t.verified(store)) <= {"bad_signature"}


def test_the_pin_outlives_a_rotation(store: Store) -> None:
    fw.write(store, {0: 0.5}, fw.span(0, 1))
    t.append(store)
    assert t.verified(store).verdict == "unwitnessed"
    t.rotate(store)
    report = t.verified(store)
    assert (report.verdict, report.pinned_size, report.size) == ("unwitnessed", 2, 3)


@pytest.mark.parametrize("step", ["made", "rotated"])
def test_a_rotation_that_was_cut_off_is_finished(tmp_path: Path, step: str) -> None:
    home = tmp_path / "home"
    with Store.at(home) as store:
        KeyStore.of(store, fw.CONFIG).create()
        fw.write(store, {0: 0.5}, fw.span(0, 1))
        t.append(store)
        old = t.keys_of(store)
    with at.at_work(_die_rotating, (home, step)) as (process,):
        pass
    assert process.exitcode == -signal.SIGKILL
    with Store.at(home) as store:
        coming = KeyStore.of(store, fw.CONFIG).coming
        assert coming.exists()
        fw.write(store, {1: 0.5}, fw.span(1, 2))
        assert t.append(store) == 2
        assert (vkeys(t.keys_of(store)) != vkeys(old)) == (step == "rotated")
        assert coming.exists() == (step == "made")
        assert t.verified(store).findings == ()
        t.rotate(store)
        assert not coming.exists()
        assert t.verified(store, policy=Policy(verifiers(old))).findings == ()


def _die_rotating(home: Path, step: str) -> None:
    def checkpoint(passed: str) -> None:
        if passed == step:
            os.kill(os.getpid(), signal.SIGKILL)

    with Store.at(home) as store, appending(store, fw.CONFIG, checkpoint=checkpoint) as appender:
        if step == "made":
            appender.keystore.successors()
            checkpoint("made")
        appender.rotate()


def test_only_the_old_and_the_new_keys_can_hand_over() -> None:
    old, new, other = (new_keys(ORIGIN, KINDS) for _ in range(3))
    content = dict(rotation_entry("plant", old, new).content)
    assert is_rightful("plant", content)
    assert not is_rightful("other", content)
    assert not is_rightful("plant", content | {"new": vkeys(other)})
    assert not is_rightful("plant", content | {"old": vkeys(other)})
    assert not is_rightful("plant", content | {"signatures": content["signatures"][::-1]})
    assert not is_rightful("plant", content | {"signatures": content["signatures"][:-1]})
    assert not is_rightful("plant", content | {"new": vkeys(new)[:1]})
