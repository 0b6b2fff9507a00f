"""Many logs' processes at one witness: what it stands at never goes back, and no size has two roots."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fleet_dagster.ledger.signing import time_of
from fleet_dagster_tests.ledger.witness import scene

N_THREADS, N_ENTRIES = 8, 60
LOG = scene.memory_log(N_ENTRIES)
FORK = scene.forked(LOG, at=1)
Vouched = list[tuple[int, bytes]]


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[scene.Running]:
    """Run a witness that trusts one log."""
    with scene.running(tmp_path / "witness", *LOG.keys) as found:
        yield found


def push(
    url: str, log: scene.MemoryLog, seed: int, vouched: Vouched, stood: list[list[int]]
) -> None:
    """Show a log to a witness in random steps until all of it is vouched for, or another log is."""
    rng, at, seen = np.random.default_rng(seed), 0, [0]
    stood.append(seen)
    while at < N_ENTRIES:
        new = int(rng.integers(at, min(at + 4, N_ENTRIES), endpoint=True))
        reply = scene.post(url, log.submission(at, new))
        if reply.status == 200:
            note = reply.cosigned(log.note(new))
            assert time_of(note.signatures[-1]) > 0
            vouched.append((new, log.checkpoint(new).root))
            at = new
        elif reply.status == 409 and int(reply.content) != at:
            at = int(reply.content)
        else:
            assert reply.status in {409, 422}  # the witness stands by another log
            return
        seen.append(at)


def raced(url: str, logs: list[scene.MemoryLog]) -> tuple[Vouched, list[list[int]]]:
    """Let threads show logs at the same time; returns what was vouched for, and sizes as each saw them."""
    vouched: Vouched = []
    stood: list[list[int]] = []
    threads = [
        threading.Thread(target=push, args=(url, logs[n % len(logs)], n, vouched, stood))
        for n in range(N_THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return vouched, stood


def test_sizes_never_go_back(witness: scene.Running) -> None:
    vouched, stood = raced(witness.url, [LOG])
    assert len(stood) == N_THREADS
    for seen in stood:
        assert seen == sorted(seen)
        assert seen[-1] == N_ENTRIES
    steps = [line.split() for line in witness.lines if line.endswith(": 200")]
    assert len(steps) == len(vouched)
    (known,) = witness.witness.state.known()
    assert (known.size, known.root) == (N_ENTRIES, LOG.checkpoint(N_ENTRIES).root)


def test_of_a_log_and_its_fork_only_one_is_vouched_for(witness: scene.Running) -> None:
    vouched, _ = raced(witness.url, [LOG, FORK])
    roots = {size: {r for s, r in vouched if s == size} for size, _ in vouched}
    assert all(len(found) == 1 for found in roots.values())
    log, fork = (
        {size for size, root in vouched if size > 1 and root == one.checkpoint(size).root}
        for one in (LOG, FORK)
    )
    assert not (log and fork)
    assert max(log | fork) == N_ENTRIES


def test_two_processes_of_one_witness_agree(witness: scene.Running) -> None:
    second = scene.Running(witness.folder)
    second.up()
    try:
        assert witness.post(LOG.submission(0, 5)).status == 200
        assert second.post(FORK.submission(0, 6)).content == b"5\n"
        assert second.post(LOG.submission(5, 7)).status == 200
        assert witness.post(LOG.submission(5, 6)).content == b"7\n"
    finally:
        second.down()
