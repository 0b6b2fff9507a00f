import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fleet_dagster.cli.children import MOST_RESTARTS, Child, ChildError
from fleet_dagster_tests.ports import free_port

SLEEPS = "import time; print('begun', flush=True); time.sleep(600)"
STARTS_ANOTHER = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    "print('begun', flush=True); time.sleep(600)"
)
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('begun', flush=True); time.sleep(600)"


def child(folder: Path, program: str, *, url: str = "") -> Child:
    command = (sys.executable, "-c", program)
    return Child("The test", command, folder / "test.log", folder, {}, url, "/")


def begun(one: Child) -> None:
    """Wait until a program has written something."""
    while "begun" not in one.log.read_text():
        one.check()
        time.sleep(0.02)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Child]:
    with child(tmp_path, SLEEPS) as one:
        begun(one)
        yield one


def test_a_program_that_runs_is_left_alone(sleeper: Child) -> None:
    pid = sleeper.process.pid
    assert sleeper.revive() == ""
    assert sleeper.process.pid == pid


def test_a_killed_program_is_started_again_and_how_it_ended_is_told(sleeper: Child) -> None:
    sleeper.process.send_signal(signal.SIGKILL)
    sleeper.process.wait()
    assert sleeper.revive() == "by signal SIGKILL"
    assert sleeper.process.poll() is None


def test_a_program_that_ends_again_and_again_is_given_up_with_the_end_of_its_log(
    tmp_path: Path,
) -> None:
    with child(tmp_path, "print('no space left'); raise SystemExit(3)") as one:
        for _ in range(MOST_RESTARTS):
            one.process.wait()
            assert one.revive() == "with code 3"
        one.process.wait()
        with pytest.raises(ChildError, match=r"ended with code 3(.|\n)*no space left"):
            one.revive()


def test_what_a_program_started_ends_with_it(tmp_path: Path) -> None:
    with child(tmp_path, STARTS_ANOTHER) as one:
        begun(one)
        family = [psutil.Process(one.process.pid), *psutil.Process(one.process.pid).children()]
    assert len(family) == 2
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_a_program_that_dies_while_starting_is_told_at_once(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with (
        child(tmp_path, "raise SystemExit('cannot listen')", url=url) as one,
        pytest.raises(ChildError, match="cannot listen"),
    ):
        one.wait_until_up()


@pytest.mark.slow
def test_a_program_that_does_not_listen_to_requests_is_made_to_end(tmp_path: Path) -> None:
    with child(tmp_path, DEAF) as one:
        begun(one)
    assert one.process.returncode == -signal.SIGKILL
