import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.refresh.due import owed
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests import worker
from fleet_dagster_tests.live.days import (
    CONFIG,
    Arrivals,
    Hands,
    Said,
    engine_at,
    running,
    wait_current,
)

SEED = 20_261_123
START = at.FIRST + DAY
LONGEST_LIFE_S = 1.5


def test_an_engine_that_is_killed_again_and_again_loses_and_doubles_nothing(tmp_path: Path) -> None:
    assert killed_day(tmp_path, n_kills=6, step=2 * HOUR, seed=SEED) == 6


@pytest.mark.slow
def test_fifty_kills_during_a_day_lose_and_double_nothing(tmp_path: Path) -> None:
    assert killed_day(tmp_path, n_kills=50, step=30 * MINUTE, seed=SEED + 1) == 50


def killed_day(folder: Path, *, n_kills: int, step: int, seed: int) -> int:
    """Let telemetry arrive for a day while engines are killed at it; returns how many were at work when they were."""
    home, arrivals, rng = at.new_home(folder / "home"), Arrivals(3), np.random.default_rng(seed)
    clock, now, n_killed = folder / "clock", START, 0
    with Store.at(home) as store:
        arrivals.land(store, Span(0, START))
        at.refresh_all(store, CONFIG, Span(at.FIRST, START))
        for _ in range(n_kills):
            arrivals.land(store, Span(now, now + step))
            now += step
            set_clock(clock, now)
            n_killed += killed_once(home, clock, after_s=float(rng.uniform(0.1, LONGEST_LIFE_S)))
        said, hands = Said(), Hands(now)
        with running(engine_at(home, hands, said)) as engine:
            wait_current(engine)
        assert owed(store, CONFIG, now).spans == ()
        whole = Span(at.FIRST, now)
        found = at.tables_of(store)
        assert at.assert_same_tables(found, at.recomputed(store, CONFIG, whole)) > 0
    return n_killed


def set_clock(clock: Path, now: int) -> None:
    """Set the clock that an engine in another process looks at; it never sees half of it."""
    fresh = clock.with_suffix(".new")
    fresh.write_text(str(now), encoding="utf-8")
    fresh.replace(clock)


def killed_once(home: Path, clock: Path, *, after_s: float) -> bool:
    """Run an engine and kill it after a while; tells whether it was still at work."""
    with at.at_work(worker.live, (home, clock)) as (process,):
        time.sleep(after_s)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
    return process.exitcode == -signal.SIGKILL
