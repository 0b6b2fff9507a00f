"""Write, restate, remove, merge, append, rotate and verify in any order: an honest ledger is never found bad, and misses nothing."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from fleet_dagster.ledger import appender
from fleet_dagster.ledger.appender import CONSUMER, STREAM
from fleet_dagster.ledger.entries import KPI, read_entry
from fleet_dagster.ledger.keystore import KeyStore, verifiers
from fleet_dagster.ledger.policy import Policy
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage.merging import merge_log
from fleet_dagster.storage.store import Store
from fleet_dagster.streams import deliveries
from fleet_dagster_tests.ledger import tampering as t
from fleet_dagster_tests.streams import fleet_windows as fw

N_DAYS, DAY_WINDOWS = 3, 24
DAYS = st.integers(0, N_DAYS - 1)
One = tuple[int, int, float]
"""Window, revision, health."""


class Ledgers(RuleBasedStateMachine):
    """A ledger of three days, and a model of what it must hold."""

    def __init__(self, store: Store | None = None) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.store = store or Store.at(self.home)
        self.first_keys = KeyStore.of(self.store, fw.CONFIG).create()
        self.stands: dict[int, float] = {}
        self.revisions: dict[int, int] = {}
        self.waiting: list[One] = []
        self.recorded: list[One] = []

    def teardown(self) -> None:
        """Close the storage and remove it."""
        self.store.close()
        shutil.rmtree(self.home)

    @rule(
        number=DAYS,
        first=st.integers(0, 20),
        n=st.integers(1, 12),
        health=st.sampled_from([0.2, 0.5, 0.9]),
    )
    def write(self, number: int, first: int, n: int, health: float) -> None:
        """Make some windows of a day have one health."""
        start = number * DAY_WINDOWS + first
        end = min(start + n, (number + 1) * DAY_WINDOWS)
        fw.write(self.store, dict.fromkeys(range(start, end), health), fw.span(start, end))
        for w in range(start, end):
            if self.stands.get(w) == health:
                continue
            self.revisions[w] = self.revisions.get(w, 0) + (w in self.stands)
            self.stands[w] = health
            self.waiting.append((w, self.revisions[w], health))

    @rule(number=DAYS)
    def expire(self, number: int) -> None:
        """Remove a day: what was not recorded of it never will be."""
        windows = range(number * DAY_WINDOWS, (number + 1) * DAY_WINDOWS)
        if not any(w in self.stands for w in windows):
            return
        fw.expire(self.store, number)
        for w in windows:
            self.stands.pop(w, None)
            self.revisions[w] = self.revisions.get(w, 0) + 1
        self.waiting = [one for one in self.waiting if one[0] not in windows]

    @rule()
    def merge(self) -> None:
        """Merge the commit log."""
        self.store.history.coverage.settle(t.FLEET, [FLEET_KPI.name], fw.day(N_DAYS - 1).end)
        merge_log(self.store.history, FLEET_KPI, t.FLEET)

    @rule()
    def append(self) -> None:
        """Record what was written since."""
        t.append(self.store)
        self.recorded += self.waiting
        self.waiting = []
        assert sorted(self._entries()) == sorted(self.recorded)
        newest = {w: health for w, _, health in self._entries()}
        assert {w: newest[w] for w in self.stands} == self.stands

    @rule(share=st.floats(0, 1))
    def rewind(self, share: float) -> None:
        """Let the appender go on from an earlier entry."""
        cursor = self.store.cursors.find(t.FLEET, STREAM.name, CONSUMER)
        if cursor is not None:
            self.store.cursors.move(cursor, int(cursor.position * share))

    @rule()
    def rotate(self) -> None:
        """Hand the ledger over to new keys."""
        t.rotate(self.store)

    @rule()
    def verify(self) -> None:
        """Find nothing wrong, and as much pending as was written, or removed, since."""
        report = t.verified(self.store, policy=Policy(verifiers(self.first_keys)))
        assert report.findings == ()
        assert report.n_rows == len(self.recorded)
        assert report.verdict == ("unwitnessed" if report.size else "empty")
        if report.size:
            newest = {w: health for w, _, health in self.recorded}
            differs = [w for w, health in self.stands.items() if newest.get(w) != health]
            assert report.n_pending >= len(differs)

    def _entries(self) -> list[One]:
        found = []
        for leaf in t.leaves(self.store):
            if leaf.kind == KPI and leaf.window_start is not None:
                said = read_entry(leaf.entry)
                number = (leaf.window_start - fw.window(0)) // fw.HOURS
                found.append((number, said["revision"], said["row"]["fleet_health"]))
        return found


def _run(n_examples: int, n_steps: int) -> None:
    run_state_machine_as_test(
        Ledgers,
        settings=settings(
            max_examples=n_examples,
            stateful_step_count=n_steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "PIECE_ROWS", 5)
    monkeypatch.setattr(appender, "BATCH_ROWS", 8)


def test_an_honest_ledger_is_never_found_bad() -> None:
    _run(2, 10)


@pytest.mark.slow
def test_an_honest_ledger_is_never_found_bad_for_long() -> None:
    _run(60, 30)


def test_every_step_in_one_run() -> None:
    machine = Ledgers()
    try:
        walk_through(machine)
    finally:
        machine.teardown()


def walk_through(machine: Ledgers) -> None:
    """Take every step of the model, in one order."""
    machine.verify()
    for n in range(6):
        machine.write(number=0, first=3 * n, n=3, health=0.5)
    machine.append()
    machine.write(number=0, first=2, n=4, health=0.9)
    machine.write(number=0, first=3, n=2, health=0.2)
    machine.write(number=1, first=0, n=12, health=0.5)
    machine.verify()
    machine.rotate()
    machine.append()
    machine.merge()
    machine.rewind(share=0.4)
    machine.verify()
    machine.append()
    machine.expire(0)
    machine.write(number=0, first=0, n=4, health=0.5)
    machine.verify()
    machine.append()
    machine.expire(0)
    machine.write(number=0, first=0, n=4, health=0.5)
    machine.rotate()
    machine.merge()
    machine.rewind(share=0.0)
    machine.verify()
    machine.append()
    machine.expire(1)
    machine.append()
    machine.verify()
