"""A witness killed at random moments under load: whatever it answered is on the disk, and it stands by it."""

import re
import signal
import sys
import threading
import time
from http.client import HTTPException
from pathlib import Path

import numpy as np
import pytest

from fleet_dagster.ledger.witness.serving import serve_witness
from fleet_dagster.ledger.witness.witness import Witness
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.ledger.witness import scene

N_THREADS = 4
STEP = 3
"""Entries by which the log may grow at once."""
ENTRIES_A_LIFE = 60
"""More than a life lasts for, so that the log still grows when the witness is killed."""


def serve(folder: Path, told: Path) -> None:
    """Answer, and write down at what address."""
    witness = Witness.open(folder, lambda: int(time.time()))
    with told.open("w") as out:

        def report(line: str) -> None:
            out.write(f"{line}\n")
            out.flush()

        serve_witness(witness, "127.0.0.1", 0, report=report)
    sys.exit("a witness ends when it is asked to")


class Load:
    """Threads that show a log, and a fork of it, to whichever witness is up, and keep what it answered."""

    def __init__(self, n_entries: int, seed: int) -> None:
        self.log = scene.memory_log(n_entries)
        self.logs = (self.log, scene.forked(self.log, at=1))
        self.vouched: list[tuple[int, bytes]] = []
        self.url = ""
        self.is_over = threading.Event()
        self.failed: list[BaseException] = []
        self.rng = np.random.default_rng(seed)
        self.threads = [
            threading.Thread(target=self._push, args=(n, int(self.rng.integers(1 << 30))))
            for n in range(N_THREADS)
        ]

    def _push(self, number: int, seed: int) -> None:
        rng, log = np.random.default_rng(seed), self.logs[number % 2]
        stands = 0
        try:
            while not self.is_over.is_set():
                url = self.url
                new = min(stands + int(rng.integers(STEP + 1)), len(log.entries))
                submission = log.submission(stands, new)
                try:
                    reply = scene.post(url, submission)
                except (OSError, HTTPException):  # it was killed
                    time.sleep(0.01)
                    continue
                assert reply.status in {200, 409, 422}
                if reply.status == 200:
                    self.vouched.append((new, log.checkpoint(new).root))
                    stands = new
                elif reply.status == 409:
                    stands = int(reply.content)
        except BaseException as error:
            self.failed.append(error)
            raise

    def stands_by_what_it_said(self, url: str) -> None:
        """Ask a witness that has just come up where it stands, with a size that it cannot stand at."""
        so_far = list(self.vouched)
        end = len(self.log.entries)
        reply = scene.post(url, self.log.submission(end, end))
        if reply.status == 409:
            assert int(reply.content) >= max((size for size, _ in so_far), default=0)
        else:  # it stands at all there is
            assert reply.status == 200


def test_a_witness_killed_five_times_stands_by_what_it_said(tmp_path: Path) -> None:
    assert killed(tmp_path, n_kills=5, seed=1) > 1


@pytest.mark.slow
def test_a_witness_killed_a_hundred_times_stands_by_what_it_said(tmp_path: Path) -> None:
    assert killed(tmp_path, n_kills=100, seed=2) > 100


def killed(folder: Path, *, n_kills: int, seed: int) -> int:
    """Kill a witness again and again while threads ask it; returns the size that it vouched for last."""
    load = Load(ENTRIES_A_LIFE * (n_kills + 1), seed)
    scene.made(folder / "witness", *load.log.keys)
    for life in range(n_kills + 1):
        told = folder / f"life-{life}.txt"
        with at.at_work(serve, (folder / "witness", told)) as (process,):
            try:
                load.url = up(told)
                load.stands_by_what_it_said(load.url)
                if life == 0:
                    for thread in load.threads:
                        thread.start()
                time.sleep(float(load.rng.uniform(0.0, 0.3)))
                if life == n_kills:
                    load.is_over.set()
                    for thread in load.threads:
                        thread.join()
                    load.stands_by_what_it_said(load.url)
            finally:
                process.kill()
        assert process.exitcode == -signal.SIGKILL
    assert not load.failed
    roots: dict[int, set[bytes]] = {}
    for size, root in load.vouched:
        roots.setdefault(size, set()).add(root)
    assert all(len(found) == 1 for found in roots.values())
    pasts = [
        {size for size, root in load.vouched if size > 1 and root == log.checkpoint(size).root}
        for log in load.logs
    ]
    assert sum(1 for past in pasts if past) <= 1
    return max(roots)


def up(told: Path) -> str:
    """Wait until a witness has said where it answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = re.search(r"answers at (\S+)\n", told.read_text() if told.exists() else "")
        if found is not None:
            return found[1]
        time.sleep(0.005)
    pytest.fail("the witness did not come up")
