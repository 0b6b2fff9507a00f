"""An appender killed at random moments: it goes on by itself, records nothing twice, and its log never forks."""

import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fleet_dagster.ledger import appender
from fleet_dagster.ledger.appender import appending
from fleet_dagster.ledger.entries import KEY_ROTATION
from fleet_dagster.ledger.keystore import KeyStore, verifiers
from fleet_dagster.ledger.merkle import leaf_hash, root_of
from fleet_dagster.ledger.note import Checkpoint
from fleet_dagster.ledger.policy import Policy
from fleet_dagster.ledger.signing import VerifierKey
from fleet_dagster.storage.store import Store
from fleet_dagster.streams import deliveries
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.ledger import tampering as t
from fleet_dagster_tests.streams import fleet_windows as fw

N_STEPS = 30
"""About as many steps as an appender that nobody disturbs passes."""
HANDED_OUT = "handed-out"
"""File of the checkpoints that were handed out, each written before the next step."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an installation with rows, restatements and a removal that wait to be recorded."""
    home = tmp_path_factory.mktemp("kill") / "home"
    with Store.at(home) as store:
        KeyStore.of(store, fw.CONFIG).create()
        fw.write(store, dict.fromkeys(range(48), 0.5), fw.span(0, 48))
        fw.write(store, dict.fromkeys(range(20, 30), 0.75), fw.span(20, 30))
        fw.write(store, dict.fromkeys(range(22, 26), 0.25), fw.span(22, 26))
        fw.expire(store, 0)
    return home


def test_an_appender_killed_six_times_goes_on(home: Path, tmp_path: Path) -> None:
    assert killed(home, tmp_path, n_kills=6, seed=3) >= 6


@pytest.mark.slow
def test_an_appender_killed_a_hundred_times_goes_on(home: Path, tmp_path: Path) -> None:
    assert killed(home, tmp_path, n_kills=100, seed=4) >= 100


def killed(home: Path, folder: Path, *, n_kills: int, seed: int) -> int:
    """Kill appenders until enough were, at a step or after a time; each life goes on until all is recorded."""
    rng, done, life = np.random.default_rng(seed), 0, 0
    while done < n_kills:
        life += 1
        own = folder / f"life-{life}"
        shutil.copytree(home, own)
        with Store.at(own) as store:
            first = verifiers(t.keys_of(store))
        is_over = False
        while not is_over:
            by_time = bool(rng.integers(2))
            die_at = 0 if by_time else int(rng.integers(1, N_STEPS + 10))
            with at.at_work(append_and_rotate, (own, die_at)) as (process,):
                if by_time:
                    time.sleep(float(rng.uniform(0.0, 1.0)))
                    process.kill()
            assert process.exitcode in {0, -signal.SIGKILL}
            is_over = process.exitcode == 0
            done += not is_over
            with Store.at(own) as store:
                stands_well(store, own, first)
        with Store.at(own) as store:
            all_is_recorded_once(store)
    return done


def append_and_rotate(home: Path, die_at: int) -> None:
    """Append in many small batches, and hand the log over at the end; die at a step, if one is given."""
    deliveries.PIECE_ROWS, appender.BATCH_ROWS = 3, 6
    passed: Counter[str] = Counter()
    with Store.at(home) as store, (home / HANDED_OUT).open("a", encoding="utf-8") as out:

        def checkpoint(step: str) -> None:
            passed[step] += 1
            if step in ("committed", "rotated") and (newest := t.log_of(store).newest_checkpoint()):
                note = Checkpoint.parse(newest.note().text)
                out.write(f"{note.size} {note.root.hex()}\n")
                out.flush()
            if passed.total() == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

        with appending(store, fw.CONFIG, checkpoint=checkpoint) as one:
            one.run()
            one.rotate()


def stands_well(store: Store, home: Path, first: tuple[VerifierKey, ...]) -> None:
    """Whatever was cut off: the log is whole, signed and as it was handed out, and the first keys lead to it."""
    report = t.verified(store, policy=Policy(first))
    assert report.findings == ()
    hashes = [leaf_hash(leaf.entry) for leaf in t.leaves(store)]
    assert len(hashes) == report.size
    file = home / HANDED_OUT
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        size, root = line.split()
        assert root_of(hashes[: int(size)]).hex() == root


def all_is_recorded_once(store: Store) -> None:
    """Assert that nothing is left to do without a hand, and that each row that stands was recorded once."""
    assert t.append(store) == 0
    leaves = t.leaves(store)
    rows = Counter(
        ((leaf.window_start - fw.window(0)) // fw.HOURS, leaf.revision)
        for leaf in leaves
        if leaf.window_start is not None
    )
    restated = [(w, 1) for w in range(24, 30)] + [(24, 2), (25, 2)]
    assert rows == Counter([*((w, 0) for w in range(24, 48)), *restated])
    kinds = Counter(leaf.kind for leaf in leaves)
    assert kinds["retention"] == 1
    assert kinds[KEY_ROTATION] >= 1
    assert not KeyStore.of(store, fw.CONFIG).coming.exists()
