import os
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.runners import AskError, AskTimeoutError, run_slot
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster_tests import ai_models as models

ROWS = np.array([[0.1, 0.2, 0.3], [0.4, 0.8, 0.6]], dtype=np.float32)
BOTH = np.ones(2, dtype=np.bool_)


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.install_plugin(tmp_path, monkeypatch)


def slot(name: str, isolation: str, **changes: object) -> AIModelSlot:
    content = {"slot_id": 0, "model_id": "m", "features": models.FEATURES, "backend": "entry_point"}
    return AIModelSlot.model_validate(
        {**content, "artifact": name, "isolation": isolation, **changes}
    )


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_a_model_answers_batch_after_batch_where_it_runs(isolation: str, tmp_path: Path) -> None:
    runner = run_slot(slot("mean", isolation), ModelFolder(tmp_path))
    try:
        for _ in range(3):
            found = runner.ask(ROWS, BOTH)
            np.testing.assert_allclose(found.value, ROWS.mean(axis=1), atol=1e-9)
    finally:
        runner.close()


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_an_exception_is_told_and_the_next_window_is_asked_again(
    isolation: str, tmp_path: Path
) -> None:
    runner = run_slot(slot("raises", isolation), ModelFolder(tmp_path))
    try:
        for _ in range(2):
            with pytest.raises(AskError, match="RuntimeError: the model is broken"):
                runner.ask(ROWS, BOTH)
    finally:
        runner.close()


def test_a_thread_that_hangs_is_left_behind_and_asked_no_more(tmp_path: Path) -> None:
    runner = run_slot(slot("hangs", "thread", timeout_s=0.2), ModelFolder(tmp_path))
    with pytest.raises(AskTimeoutError, match=r"within 0\.2 s"):
        runner.ask(ROWS, BOTH)
    began = time.monotonic()
    with pytest.raises(AskTimeoutError, match="not asked"):
        runner.ask(ROWS, BOTH)
    assert time.monotonic() - began < 0.1
    runner.close()


def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    before = set(psutil.Process(os.getpid()).children())
    runner = run_slot(slot("hangs", "process", timeout_s=0.2), ModelFolder(tmp_path))
    with pytest.raises(AskTimeoutError, match="was ended"):
        runner.ask(ROWS, BOTH)
    assert set(psutil.Process(os.getpid()).children()) == before
    runner.close()


def test_a_model_that_wants_more_memory_than_it_may_have_fails_alone(tmp_path: Path) -> None:
    runner = run_slot(slot("hog", "process", memory_mb=1024), ModelFolder(tmp_path))
    try:
        with pytest.raises(AskError, match=r"MemoryError|Unable to allocate"):
            runner.ask(ROWS, BOTH)
    finally:
        runner.close()


def test_a_process_that_dies_is_told_and_started_anew(tmp_path: Path) -> None:
    runner = run_slot(slot("dies", "process"), ModelFolder(tmp_path))
    try:
        for _ in range(2):
            with pytest.raises(AskError, match=r"its process died \(exit code 3\)"):
                runner.ask(ROWS, BOTH)
    finally:
        runner.close()


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_a_model_that_cannot_be_loaded_says_so_every_time(isolation: str, tmp_path: Path) -> None:
    runner = run_slot(slot("nope", isolation), ModelFolder(tmp_path))
    for _ in range(2):
        with pytest.raises(AskError, match="no installed package offers 'nope'"):
            runner.ask(ROWS, BOTH)
    runner.close()


@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize("name", ["surrogate", "mute"])
def test_an_error_that_can_hardly_be_told_is_told(
    name: str, isolation: str, tmp_path: Path
) -> None:
    runner = run_slot(slot(name, isolation), ModelFolder(tmp_path))
    try:
        with pytest.raises(AskError) as error:
            runner.ask(ROWS, BOTH)
    finally:
        runner.close()
    wanted = {"surrogate": "OSError: caf?.bin at 0x…", "mute": "Mute"}
    assert str(error.value) == wanted[name]
    assert str(error.value).encode()


def test_a_thread_that_answers_late_is_asked_again(tmp_path: Path) -> None:
    runner = run_slot(slot("slow_once", "thread", timeout_s=0.2), ModelFolder(tmp_path))
    with pytest.raises(AskTimeoutError):
        runner.ask(ROWS, BOTH)
    time.sleep(0.5)
    found = runner.ask(ROWS, BOTH)
    np.testing.assert_allclose(found.value, ROWS[:, 0], atol=1e-6)
    runner.close()
