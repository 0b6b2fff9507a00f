"""A consumer killed at random moments: everything at least once, nothing skipped, no cursor ahead of its work."""

import signal
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fleet_dagster.core.windows import iso
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.streams import fleet_windows as fw
from fleet_dagster_tests.streams.consumer import NAME, consume, told

N_DAYS = 30


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an installation with a month of windows, an entry a day."""
    home = tmp_path_factory.mktemp("home")
    with Store.at(home) as store:
        for number in range(N_DAYS):
            first = number * 24
            fw.write(store, dict.fromkeys(range(first, first + 24), 0.5), fw.day(number))
    return home


def test_a_consumer_killed_six_times_skips_nothing(home: Path, tmp_path: Path) -> None:
    assert killed(home, tmp_path, n_kills=6, seed=1) >= 6


@pytest.mark.slow
def test_a_consumer_killed_a_hundred_times_skips_nothing(home: Path, tmp_path: Path) -> None:
    assert killed(home, tmp_path, n_kills=100, seed=2) >= 100


def killed(home: Path, folder: Path, *, n_kills: int, seed: int) -> int:
    """Kill consumers until enough were, then let one finish; each life goes on until all is consumed."""
    rng, done, life = np.random.default_rng(seed), 0, 0
    while done < n_kills:
        life += 1
        file = folder / f"life-{life}.jsonl"
        with Store.at(home) as store:
            if (cursor := store.cursors.find(fw.CONFIG.name, fw.STREAM.name, NAME)) is not None:
                store.cursors.move(cursor, 0)
        is_over = False
        while not is_over:
            with at.at_work(consume, (home, file)) as (process,):
                if done < n_kills:
                    time.sleep(float(rng.uniform(0.0, 0.5)))
                    process.kill()
            is_over = process.exitcode == 0
            assert process.exitcode in {0, -signal.SIGKILL}
            done += not is_over
            nothing_is_ahead_of_its_work(home, file)
        all_is_told_in_order(file)
    return done


def nothing_is_ahead_of_its_work(home: Path, file: Path) -> None:
    with Store.at(home) as store:
        cursor = store.cursors.find(fw.CONFIG.name, fw.STREAM.name, NAME)
        entries = store.history.entries(fw.STREAM.table.name, fw.CONFIG.name)
    if cursor is None:
        return
    owed = [
        (e.seq, iso(start))
        for e in entries
        for start in e.span.starts(fw.HOURS).tolist()
        if e.seq <= cursor.position or (e.seq == cursor.part_seq and start < cursor.part_until)
    ]
    assert set(owed) <= set(told(file))


def all_is_told_in_order(file: Path) -> None:
    found = told(file)
    first = list(dict.fromkeys(found))
    assert [w for _, w in first] == [iso(fw.window(n)) for n in range(N_DAYS * 24)]
    assert all(left <= right for (left, _), (right, _) in pairwise(first))
