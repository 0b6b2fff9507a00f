import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fleet_dagster.model.tables import SITE_TELEMETRY
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests import worker

SEED = 20_261_122
KILLS_PER_LIFE = 6
Contents = tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame], dict[str, Any]]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an installation from which every killed run starts."""
    home = tmp_path_factory.mktemp("prepared")
    with Store.at(home) as store:
        worker.prepare(store)
    return home


@pytest.fixture(scope="module")
def quiet(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Contents, int, float]:
    """Return what a run that nobody disturbs leaves, how many checkpoints it passes, and how long it takes."""
    home = tmp_path_factory.mktemp("quiet") / "home"
    shutil.copytree(prepared, home)
    passed: list[str] = []
    with Store.at(home, checkpoint=passed.append) as store:
        began = time.monotonic()
        worker.everything(store)
        return contents(store), len(passed), time.monotonic() - began


def test_a_writer_killed_between_any_two_steps_loses_and_doubles_nothing(
    prepared: Path, quiet: tuple[Contents, int, float], tmp_path: Path
) -> None:
    assert killed_lives(prepared, quiet, tmp_path, n_kills=6, seed=SEED) >= 6


@pytest.mark.slow
def test_sixty_more_kills_lose_and_double_nothing(
    prepared: Path, quiet: tuple[Contents, int, float], tmp_path: Path
) -> None:
    assert killed_lives(prepared, quiet, tmp_path, n_kills=60, seed=SEED + 1) >= 60


def killed_lives(
    prepared: Path, quiet: tuple[Contents, int, float], folder: Path, *, n_kills: int, seed: int
) -> int:
    """Kill runs until enough were, several in a row on one installation before it may finish; returns how many."""
    expected, n_steps, duration_s = quiet
    rng, done, life = np.random.default_rng(seed), 0, 0
    while done < n_kills:
        life += 1
        home = folder / f"life-{life}"
        shutil.copytree(prepared, home)
        for _ in range(KILLS_PER_LIFE):
            step = int(rng.integers(1, n_steps // KILLS_PER_LIFE)) if rng.random() < 0.5 else 0
            after_s = float(rng.uniform(0.02, duration_s / KILLS_PER_LIFE))
            done += killed_once(home, step, after_s=after_s)
        with Store.at(home) as store:
            worker.everything(store)
            assert_same_contents(contents(store), expected)
        shutil.rmtree(home)
    return done


def killed_once(home: Path, step: int, *, after_s: float) -> bool:
    """Run the work and kill it at a step, or after a time; tells whether it was still at work."""
    with at.at_work(worker.work, (home, step)) as (process,):
        if not step:
            time.sleep(after_s)
            process.kill()
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode == -signal.SIGKILL


def contents(store: Store) -> Contents:
    """Return all that an installation holds, without clock times and random names."""
    tables = at.tables_of(store)
    tables[SITE_TELEMETRY.name] = at.rows_of(store, SITE_TELEMETRY)
    return tables, at.replaced_rows(store), at.books(store)


def assert_same_contents(found: Contents, expected: Contents) -> None:
    for left, right in zip(found[:2], expected[:2], strict=True):
        for name, rows in right.items():
            pd.testing.assert_frame_equal(left[name], rows, check_exact=True, obj=name)
    for name, rows in expected[2].items():
        assert found[2][name] == rows, name
