"""What a live engine has done, told to Dagster: a materialization without a run for each asset and partition, every few minutes."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import dagster as dg

from fleet_dagster import checks
from fleet_dagster.assets import dashboard_sink
from fleet_dagster.assets.site_telemetry import landed
from fleet_dagster.assets.spec import asset_key
from fleet_dagster.core.windows import SECOND, Span, gaps, iso
from fleet_dagster.live.events import Event, Kind, Round, Tell
from fleet_dagster.live.trouble import LONGEST_PAUSE_S, Trouble
from fleet_dagster.metadata import partition_figures, work_figures
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.node_report import JudgedReport
from fleet_dagster.model.tables import INGEST_STATS, QUARANTINE, TABLES, Table
from fleet_dagster.partitions import Partitions, keys_touching, partitions_of, span_of
from fleet_dagster.refresh.refresh import Outcome
from fleet_dagster.storage.store import Store
from fleet_dagster.telemetry.observer import standing
from fleet_dagster.views.score_figures import Figures

MADE_BY = "live engine"
OpenInstance = Callable[[], AbstractContextManager[dg.DagsterInstance]]
_IN_FULL = (INGEST_STATS, QUARANTINE)
"""Tables whose figures are as cheap as the materialization, and whose checks need them."""
_BEAT_S = 0.5


@dataclass
class Done:
    """What rounds did to one table of one fleet in one partition since the last report."""

    rows_written: int = 0
    windows_computed: int = 0
    windows_restated: int = 0
    longest_round_s: float = 0.0
    end: int = 0
    """End of the newest window [us]."""
    lag_s: float = 0.0
    violations: list[tuple[Span, str]] = field(default_factory=list)
    """What is wrong with rows that were not written, by the batch."""

    def see(self, batch: Span, violations: Sequence[str]) -> None:
        """Take a batch's violations in place of those that were found in it before."""
        self.violations = [(s, v) for s, v in self.violations if gaps(s, [batch])]
        self.violations += [(batch, v) for v in violations]

    def add(self, later: "Done") -> None:
        """Take what was done after this into account."""
        self.rows_written += later.rows_written
        self.windows_computed += later.windows_computed
        self.windows_restated += later.windows_restated
        self.longest_round_s = max(self.longest_round_s, later.longest_round_s)
        self.violations += later.violations
        if later.end > self.end:
            self.end, self.lag_s = later.end, later.lag_s


@dataclass
class Reports:
    """Gathers what rounds did, in their threads, and tells Dagster from a thread of its own: a slow one delays no window."""

    open_instance: OpenInstance
    open_store: Callable[[], Store]
    tell: Tell
    every_s: float | None = None
    """How often a fleet's reports are made; by default as often as its schedule ticks [s]."""
    _done: dict[tuple[str, str, str], Done] = field(default_factory=dict, init=False)
    _configs: dict[str, FleetConfig] = field(default_factory=dict, init=False)
    _reported: dict[str, float] = field(default_factory=dict, init=False)
    _verdicts: dict[tuple[str, str, str], bool] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)

    def note(self, config: FleetConfig, done: Round) -> None:
        """Take a round into account; what it did is told with the next report."""
        partitions = partitions_of(config)
        with self._lock:
            self._configs[config.name] = config
            self._reported.setdefault(config.name, time.monotonic())
            for outcome in done.outcomes:
                for key in _touched(partitions, outcome, done):
                    place = (config.name, key, outcome.table.name)
                    _add(self._done.setdefault(place, Done()), config, outcome, done)

    def run(self) -> None:
        """Report until told to stop, and once more then."""
        trouble = Trouble(self.tell, "", "Telling Dagster what was computed")
        while True:
            is_last = self._stopping.wait(max(_BEAT_S, trouble.pause_s))
            due = self._due(is_last=is_last)
            if due and self._told(due, trouble):
                trouble.over()
            if is_last:
                return

    def stop(self) -> None:
        """Ask it to make the last report and to end."""
        self._stopping.set()

    def _told(self, due: Iterable[str], trouble: Trouble) -> bool:
        try:
            with self.open_instance() as instance, self.open_store() as store:
                for fleet in due:
                    self.report(instance, store, fleet)
        except Exception as error:  # noqa: BLE001 - Dagster's storage may be any, and none of it may hold up a window
            trouble.met(error)
            trouble.pause_s = LONGEST_PAUSE_S
            return False
        return True

    def _due(self, *, is_last: bool) -> list[str]:
        now = time.monotonic()
        with self._lock:
            waiting = {fleet for fleet, *_ in self._done}
            return sorted(
                fleet
                for fleet in waiting
                if is_last or now - self._reported[fleet] >= self._period(fleet)
            )

    def _period(self, fleet: str) -> float:
        return self.every_s or 60.0 * self._configs[fleet].schedule_minutes

    def report(self, instance: dg.DagsterInstance, store: Store, fleet: str) -> int:
        """Tell Dagster what was done to a fleet since its last report; returns how many materializations that made.

        What could not be told is told with the next report.
        """
        with self._lock:
            config, own = (
                self._configs[fleet],
                {k: d for k, d in self._done.items() if k[0] == fleet},
            )
            self._done = {k: d for k, d in self._done.items() if k not in own}
        partitions, told, judged = partitions_of(config), 0, standing(store, fleet)
        try:
            for place, done in list(own.items()):
                for event in self._events(store, config, partitions, place, done, judged=judged):
                    instance.report_runless_asset_event(event)
                del own[place]
                told += 1
            instance.report_runless_asset_event(_snapshot(store, config))
        finally:
            with self._lock:
                for place, untold in own.items():
                    untold.add(self._done.get(place, Done()))
                self._done |= own
                if not own:
                    self._reported[fleet] = time.monotonic()
        text = f"{told} materializations told to Dagster"
        self.tell(Event(Kind.REPORTED, fleet, text, {"materializations": told}))
        return told

    def _events(
        self,
        store: Store,
        config: FleetConfig,
        partitions: Partitions,
        place: tuple[str, str, str],
        done: Done,
        *,
        judged: Mapping[str, JudgedReport],
    ) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
        _, key, name = place
        table, span = TABLES[name], span_of(partitions, key)
        newest = judged.get(checks.NODE_OF.get(table, ""))
        figures: Mapping[str, Figures] = {}
        if table in _IN_FULL:
            figures = partition_figures(store, table, config.name, {key: span}, [])
        if table is INGEST_STATS:
            yield from landed(config, figures)
        yield dg.AssetMaterialization(
            asset_key(config, name),
            partition=key,
            description=f"Kept current by the live engine, until {iso(done.end)}.",
            metadata={
                **figures.get(
                    key, {"dagster/row_count": store.lake.count(table, config.name, [span])}
                ),
                **work_figures([newest] if newest else []),
                "rows_written": done.rows_written,
                "windows_computed": done.windows_computed,
                "windows_restated": done.windows_restated,
                "longest_round_s": done.longest_round_s,
                "lag_s": done.lag_s,
                "window_end": iso(done.end),
                "made_by": MADE_BY,
            },
        )
        yield from self._verdicts_of(config, table, place, done, figures, newest=newest)

    def _verdicts_of(
        self,
        config: FleetConfig,
        table: Table,
        place: tuple[str, str, str],
        done: Done,
        figures: Mapping[str, Figures],
        *,
        newest: JudgedReport | None,
    ) -> Iterator[dg.AssetCheckEvaluation]:
        """Yield the verdicts of a table's checks that are new: Dagster never prunes what belongs to no run."""
        wrong = tuple(text for _, text in done.violations)
        outcome = Outcome(table, Span(0, 0), (), (), wrong)
        key = asset_key(config, table.name)
        if figures:
            found = checks.results_of(key, outcome, figures, newest=newest)
        else:
            found = [checks.fits(outcome), *checks.thresholds_kept(key, table, newest)]
        for result in found:
            what = (*place[:2], f"{table.name} {result.check_name}")
            if self._verdicts.get(what) == result.passed:
                continue
            yield dg.AssetCheckEvaluation(
                asset_key=key,
                check_name=str(result.check_name),
                passed=result.passed,
                metadata={**result.metadata, "made_by": dg.MetadataValue.text(MADE_BY)},
                severity=result.severity,
            )
            self._verdicts[what] = result.passed  # only once it has been told


def _snapshot(store: Store, config: FleetConfig) -> dg.AssetMaterialization:
    """Write the newest snapshot, which no run does while an engine is at work."""
    told = dashboard_sink.written(store, config)
    return dg.AssetMaterialization(
        asset_key(config, dashboard_sink.NAME), metadata={**told, "made_by": MADE_BY}
    )


def _touched(partitions: Partitions, outcome: Outcome, done: Round) -> list[str]:
    """Return the partitions that a round has computed windows of, or would not write."""
    spans = outcome.computed or ((done.span,) if outcome.violations else ())
    keys = [k for s in spans for k in keys_touching(partitions, s, now=s.end)]
    return list(dict.fromkeys(keys))


def _add(own: Done, config: FleetConfig, outcome: Outcome, done: Round) -> None:
    interval = config.interval_s * SECOND
    own.rows_written += outcome.rows_written
    own.windows_computed += sum(len(s.starts(interval)) for s in outcome.computed)
    own.windows_restated += sum(len(s.starts(interval)) for s in outcome.restated)
    own.longest_round_s = max(own.longest_round_s, done.duration_s)
    own.see(done.span, outcome.violations)
    if done.span.end > own.end:
        own.end, own.lag_s = done.span.end, done.lag_s
