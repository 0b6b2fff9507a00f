"""`Upkeep`: trains baselines ahead of the days that they govern, and compacts the lake every hour."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fleet_dagster.core.sampling import training_day_in_force
from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span, floor_to, iso_day
from fleet_dagster.live.aside import Address, Aside, compact_lake, train
from fleet_dagster.live.events import Event, Kind, Tell
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import BASELINES
from fleet_dagster.nodes.baseline import cutoff
from fleet_dagster.refresh.currency import Currency
from fleet_dagster.storage.clock import Clock, now_us
from fleet_dagster.storage.maintenance import compacted_at
from fleet_dagster.storage.store import Store

AFTER_CUTOFF = 10 * MINUTE
"""How long after the last telemetry that counts for a baseline was received it is trained [us]."""
AGAIN = 10 * MINUTE
"""How long until what failed is tried again [us]."""
Kept = Callable[[], Mapping[str, FleetConfig]]
"""Tells which fleets the engine keeps current."""


@dataclass
class Upkeep:
    """Looks after what is heavy and not urgent, one thing at a time; `look` is called again and again."""

    store: Store
    clock: Clock
    tell: Tell
    kept: Kept
    run_id: str
    compact_every: int = HOUR
    _at: Aside | None = None
    _told: Event | None = None
    _compact_at: int = 0
    _not_before: dict[str, int] = field(default_factory=dict)

    def look(self) -> None:
        """Begin what is due, or see how what was begun went."""
        if self._at is not None:
            if self._at.is_over:
                self._over(self._at)
            return
        for name, config in self.kept().items():
            day = self._to_train(config)
            if day is not None:
                about = Event(Kind.TRAINED, name, f"baseline of {iso_day(day)} trained ahead")
                given = (Address.of(self.store), config, day, self.run_id)
                self._begin(about, Aside(f"baseline {name}", train, *given))
                return
        if self.kept() and now_us() >= self._compact_at and self._is_compaction_due():
            about = Event(Kind.COMPACTED, "", "the lake's small files were merged")
            self._begin(about, Aside("lake", compact_lake, Address.of(self.store)))

    def end(self) -> None:
        """End what is under way."""
        if self._at is not None:
            self._at.end()
            self._at = None

    def _to_train(self, config: FleetConfig) -> int | None:
        """Return the training day that begins next, if its baseline can be trained and is not [us]."""
        day = floor_to(self.clock(), DAY) + DAY
        if self.clock() < cutoff(day) + AFTER_CUTOFF or not self._may(f"baseline {config.name}"):
            return None
        fleet = self.store.registry.fleet(config)
        if training_day_in_force(fleet.start, day) != day:
            return None
        currency, span = Currency(fleet, self.store.history), Span(day, day + DAY)
        return day if any(currency.stale(t, span) for t in BASELINES) else None

    def _is_compaction_due(self) -> bool:
        """Tell whether nobody has compacted the lake for an hour, by the clock on the wall; if so, it is looked at again in one."""
        now, last = now_us(), compacted_at(self.store)
        is_due = last is None or now - last >= self.compact_every
        self._compact_at = (now if is_due or last is None else last) + self.compact_every
        return is_due

    def _may(self, what: str) -> bool:
        return self.clock() >= self._not_before.get(what, 0)

    def _begin(self, told: Event, aside: Aside) -> None:
        self._at, self._told = aside, told

    def _over(self, aside: Aside) -> None:
        problem, told, self._at = aside.problem(), self._told, None
        if problem:
            self._not_before[aside.what] = self.clock() + AGAIN
            self._compact_at = min(self._compact_at, now_us() + AGAIN)
            fleet = told.fleet if told else ""
            text = f"Upkeep ({aside.what}) failed, and is tried again in {AGAIN // MINUTE} minutes: {problem}"
            self.tell(Event(Kind.TROUBLE, fleet, text, {"problem": problem}))
        elif told:
            self.tell(told)
