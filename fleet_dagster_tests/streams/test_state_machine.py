"""Append, restate, expire, merge, rewind and slow consumers together, against a model that a child could check."""

import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage.merging import merge_log
from fleet_dagster.storage.store import Store
from fleet_dagster.streams import deliveries
from fleet_dagster.streams.deliveries import Delivery
from fleet_dagster.streams.subscription import subscribe
from fleet_dagster_tests.streams import fleet_windows as fw

N_DAYS, DAY_WINDOWS = 3, 24
FLEET = fw.CONFIG.name
NAMES = st.sampled_from(["fast", "slow"])
DAYS = st.integers(0, N_DAYS - 1)


@dataclass
class Follower:
    """What a consumer must still be told of each window, in order, and what it knows."""

    owed: dict[int, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    """Of each window: the entries' numbers and kinds."""
    copy: dict[int, float] = field(default_factory=dict)
    was_rewound: bool = False
    last_seq: int = 0

    def owes(self, number: int) -> bool:
        """Whether it has not been told of all that was written to a day."""
        windows = range(number * DAY_WINDOWS, (number + 1) * DAY_WINDOWS)
        return any(kind != "expire" for w in windows for _, kind in self.owed[w])

    def take(self, delivery: Delivery, *, is_done: bool) -> None:
        """Apply a delivery, which must tell of each window what is owed next, or repeat what was told before."""
        assert delivery.seq >= self.last_seq
        start, end = (
            (t - fw.window(0)) // fw.HOURS for t in (delivery.span.start, delivery.span.end)
        )
        rows = fw.healths_of(delivery.rows)
        assert all(start <= w < end for w in rows)
        for w in range(start, end):
            self._take_one(w, delivery.kind, rows, is_done=is_done)
        if is_done:
            self.last_seq = delivery.seq

    def _take_one(self, w: int, kind: str, rows: dict[int, float], *, is_done: bool) -> None:
        if kind == "expire":
            self.copy.pop(w, None)
        elif kind != "missed":
            self.copy[w] = rows[w]
        owed = self.owed[w]
        fits = bool(owed) and owed[0][1] in ((kind,) if kind != "missed" else ("append", "restate"))
        assert fits or self.was_rewound or kind == "expire"
        if fits and is_done:
            owed.pop(0)


class Streams(RuleBasedStateMachine):
    """A stream of hourly windows over three days, and two consumers that come and go."""

    def __init__(self, store: Store | None = None) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.store = store or Store.at(self.home)
        self.stands: dict[int, float] = {}
        self.told: dict[int, list[tuple[int, str]]] = defaultdict(list)
        self.followers: dict[str, Follower] = {}

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
        before = self.store.history.last_number()
        fw.write(self.store, dict.fromkeys(range(start, end), health), fw.span(start, end))
        entries = self.store.history.entries(FLEET_KPI.name, FLEET, after=before)
        expected = {
            w: "restate" if w in self.stands else "append"
            for w in range(start, end)
            if self.stands.get(w) != health
        }
        logged = {}
        for entry in entries:
            for w in range(
                (entry.span.start - fw.window(0)) // fw.HOURS,
                (entry.span.end - fw.window(0)) // fw.HOURS,
            ):
                logged[w] = entry.kind
                self._tell(w, entry.seq, entry.kind)
        assert logged == expected
        self.stands |= dict.fromkeys(range(start, end), health)

    @rule(number=DAYS)
    def expire(self, number: int) -> None:
        """Remove a day, and hear who had not read it."""
        windows = range(number * DAY_WINDOWS, (number + 1) * DAY_WINDOWS)
        if not any(w in self.stands for w in windows):
            return
        lag = {name for name, f in self.followers.items() if f.owes(number)}
        fw.expire(self.store, number)
        missed = {m.consumer for m in self.store.cursors.missed(FLEET) if m.span == fw.day(number)}
        assert missed == lag
        seq = self.store.history.last_number()
        for w in windows:
            self.stands.pop(w, None)
            self._tell(w, seq, "expire")

    @rule()
    def merge(self) -> None:
        """Merge what is settled: no row and no other entry is lost."""
        self.store.history.coverage.settle(FLEET, [FLEET_KPI.name], fw.day(N_DAYS - 1).end)
        before = self.store.history.entries(FLEET_KPI.name, FLEET)
        n_merged = merge_log(self.store.history, FLEET_KPI, FLEET)
        after = self.store.history.entries(FLEET_KPI.name, FLEET)
        assert len(before) - len(after) == n_merged
        assert sum(e.n_rows for e in before) == sum(e.n_rows for e in after)
        assert [e for e in before if e.kind != "append"] == [e for e in after if e.kind != "append"]

    @rule(name=NAMES, n=st.integers(1, 12), crashes=st.booleans())
    def consume(self, name: str, n: int, crashes: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """Take some deliveries; one that crashes has worked on the last of them and not said so."""
        follower = self._follower(name)
        with subscribe(self.store, fw.CONFIG, fw.STREAM, name) as subscription:
            for i, delivery in enumerate(subscription.pending(), start=1):
                is_done = not (crashes and i == n)
                follower.take(delivery, is_done=is_done)
                if is_done:
                    subscription.done(delivery)
                if i == n:
                    break

    @rule(name=NAMES)
    def drain(self, name: str) -> None:
        """Take all that there is: nothing is owed then, and the copy is the table."""
        follower = self._follower(name)
        with subscribe(self.store, fw.CONFIG, fw.STREAM, name) as subscription:
            for delivery in subscription.pending():
                follower.take(delivery, is_done=True)
                subscription.done(delivery)
            assert not list(subscription.pending())
        assert not any(follower.owed.values())
        assert follower.copy == self.stands

    @precondition(lambda self: self.followers)
    @rule(name=NAMES, share=st.floats(0, 1))
    def rewind(self, name: str, share: float) -> None:
        """Go back to an earlier entry."""
        cursor = self.store.cursors.find(FLEET, fw.STREAM.name, name)
        if cursor is None:
            return
        position = int(cursor.position * share)
        self.store.cursors.move(cursor, position)
        follower = self.followers[name]
        follower.was_rewound, follower.last_seq = True, 0
        for w, told in self.told.items():
            follower.owed[w] = [one for one in told if one[0] > position]

    @invariant()
    def the_table_stands_as_written(self) -> None:
        """Find what the door wrote, and nothing else."""
        rows = self.store.lake.read(FLEET_KPI, FLEET, fw.span(0, N_DAYS * DAY_WINDOWS))
        assert fw.healths_of(rows) == self.stands

    def _tell(self, w: int, seq: int, kind: str) -> None:
        self.told[w].append((seq, kind))
        for follower in self.followers.values():
            follower.owed[w].append((seq, kind))

    def _follower(self, name: str) -> Follower:
        if name not in self.followers:
            owed = {w: list(told) for w, told in self.told.items()}
            self.followers[name] = Follower(defaultdict(list, owed), was_rewound=False)
        return self.followers[name]


def _run(n_examples: int, n_steps: int) -> None:
    run_state_machine_as_test(
        Streams,
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


def test_nothing_is_missed_and_order_is_kept() -> None:
    _run(6, 20)


@pytest.mark.slow
def test_nothing_is_missed_and_order_is_kept_for_long() -> None:
    _run(150, 40)
