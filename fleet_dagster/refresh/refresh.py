"""`Refresh`: brings the tables of one fleet up to date for a span, node by node."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter

import pandas as pd
import pyarrow.compute as pc

from fleet_dagster import site_rows, training
from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.known import KNOWN_COLUMNS
from fleet_dagster.ai.slots import opened
from fleet_dagster.anomaly_history import anomalous, with_history
from fleet_dagster.core.sampling import training_span
from fleet_dagster.core.windows import DAY, HOUR, Span, ceil_to, floor_to, gaps, iso_day, union
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.scoring_models import ModelBook
from fleet_dagster.frames.site_grids import COLUMNS as GRID_COLUMNS
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ExpiredError
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import (
    feature_windows,
    incident_lookback,
    inference_lookback,
    persistence_lookback,
    scoring_lookback,
)
from fleet_dagster.model.node_report import Source
from fleet_dagster.model.tables import (
    AI_INFERENCE,
    ALL_DOMAINS,
    ANOMALY_SCORE,
    BASELINE,
    BASELINES,
    FLEET_CORRELATION,
    FLEET_KPI,
    INGEST_STATS,
    QUARANTINE,
    REGION_KPI,
    REGIONAL_HEALTH,
    SITE_ASSIGNMENT,
    SITE_KPI,
    SITE_RANKING,
    SITE_TELEMETRY,
    Table,
)
from fleet_dagster.nodes.ai_inference import Routed, ai_inference, route
from fleet_dagster.nodes.anomaly_correlator import anomaly_correlator
from fleet_dagster.nodes.anomaly_scorer import KPI_COLUMNS, score_sites
from fleet_dagster.nodes.fleet_aggregator import Rollup, fleet_aggregator
from fleet_dagster.nodes.performance_comparator import performance_comparator
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster.nodes.regional_scorer import regional_scorer
from fleet_dagster.nodes.site_ingest import Ingested
from fleet_dagster.refresh.baselines import StoredModels, stored_models
from fleet_dagster.refresh.chunks import chunks
from fleet_dagster.refresh.currency import Currency, compares
from fleet_dagster.refresh.node_work import NodeWork, Observe, Tally, unobserved
from fleet_dagster.refresh.touched import standing_part
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.clock import Clock, now_us
from fleet_dagster.storage.constraints import violations
from fleet_dagster.storage.coverage import Covered
from fleet_dagster.storage.door import Write, WriteReport
from fleet_dagster.storage.history import EXPIRE
from fleet_dagster.storage.maintenance import expired_days, removed_days
from fleet_dagster.storage.store import Store

ROUNDS = 3
"""Times that a node looks for windows to compute: telemetry may land, or a storm begin, while it is at work."""
COUNTED = ("window_start", "site_id", "state", "is_anomalous")
"""Columns of `anomaly_score` that anomalies are counted by."""
FED = ("window_start", "site_id", "domain", "state", "score", "baseline_sigma")
"""Columns of `anomaly_score` that AI models may be fed."""
OVERALL = pc.field("domain") == ALL_DOMAINS
"""Rows of `anomaly_score` that say whether a site is scored, and how."""
Progress = Callable[[str, Span, Span], None]
"""Called after each chunk with the node, the chunk and the whole span."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What refreshing one table did."""

    table: Table
    span: Span
    computed: tuple[Span, ...]
    reports: tuple[WriteReport, ...]
    violations: tuple[str, ...] = ()

    @property
    def rows_written(self) -> int:
        """Rows appended or restated."""
        return sum(r.rows_written for r in self.reports)

    @property
    def restated(self) -> tuple[Span, ...]:
        """Windows whose stored rows were replaced."""
        return tuple(s for r in self.reports for s in r.restated)


def _joined(table: Table, span: Span, done: Sequence[Outcome]) -> Outcome:
    """Return several refreshes of one table as one."""
    computed = tuple(s for o in done for s in o.computed)
    reports = tuple(r for o in done for r in o.reports)
    return Outcome(table, span, computed, reports, tuple(v for o in done for v in o.violations))


@dataclass(frozen=True)
class Refresh:
    """One run over one fleet. With `recompute`, windows are computed even where they are proven current."""

    store: Store
    config: FleetConfig
    run_id: str = ""
    recompute: bool = False
    threads: Executor | None = None
    progress: Progress = field(default=lambda _node, _chunk, _span: None)
    clock: Clock = now_us
    observe: Observe = unobserved
    """Called with what each node did, when it did anything."""
    source: Source = "cli"
    samples: training.Samples = field(default_factory=training.Samples, repr=False)
    models: StoredModels = field(default_factory=StoredModels, repr=False)

    @cached_property
    def name(self) -> str:
        """Name of the fleet."""
        return self.config.name

    def site_assignment(self, span: Span) -> list[Outcome]:
        """Refresh `site_assignment` for the whole hours of a span."""
        return self._run(
            "region_mapper",
            (SITE_ASSIGNMENT,),
            span.to_whole(HOUR),
            lambda b, s: (region_mapper(b.fleet, s),),
        )

    def site_ingest(self, span: Span) -> list[Outcome]:
        """Refresh `site_kpi`, `quarantine` and `ingest_stats`, after the baselines that a large fleet is compared with."""
        self.store.registry.ensure(self.config)
        if compares(self.store.registry.fleet(self.config), span):
            self.baselines(span)

        def compute(block: Block, chunk: Span) -> Sequence[pd.DataFrame]:
            done = self._ingest(block, chunk)
            return done.site_kpi, done.quarantine, done.ingest_stats

        return self._run("site_ingest", (SITE_KPI, QUARANTINE, INGEST_STATS), span, compute)

    def fleet_aggregator(self, span: Span) -> list[Outcome]:
        """Refresh `fleet_kpi` and `region_kpi`, after the baselines that anomalies are counted by."""
        self.baselines(span)

        def compute(block: Block, chunk: Span) -> Sequence[pd.DataFrame]:
            rollup = self._rollup(block, chunk)
            return rollup.fleet_kpi, rollup.region_kpi

        return self._run("fleet_aggregator", (FLEET_KPI, REGION_KPI), span, compute)

    def regional_scorer(self, span: Span) -> list[Outcome]:
        """Refresh `regional_health`, after the baselines that anomalies are counted by."""
        self.baselines(span)

        def compute(block: Block, chunk: Span) -> Sequence[pd.DataFrame]:
            return (
                regional_scorer(
                    self._rows(
                        block, REGION_KPI, chunk, lambda s: self._rollup(block, s).region_kpi
                    )
                ),
            )

        return self._run("regional_scorer", (REGIONAL_HEALTH,), span, compute)

    def anomaly_scorer(self, span: Span) -> list[Outcome]:
        """Refresh `anomaly_score`, after the baselines that it compares with."""
        self.baselines(span)

        def compute(block: Block, chunk: Span) -> Sequence[pd.DataFrame]:
            return (self._scores(block, chunk),)

        return self._run("anomaly_scorer", (ANOMALY_SCORE,), span, compute)

    def anomaly_correlator(self, span: Span) -> list[Outcome]:
        """Refresh `fleet_correlation`, after the baselines of the days that incidents look back at.

        What stands of the days after, which look back at this span, is brought up to date with it.
        """
        self.store.registry.ensure(self.config)
        fleet = self.store.registry.fleet(self.config)
        self.baselines(with_history(fleet, span))

        def compute(block: Block, chunk: Span) -> Sequence[pd.DataFrame]:
            reach = with_history(block.fleet, chunk)
            rates = self.models.rates(self.store, block.fleet, reach)
            return (anomaly_correlator(block.fleet, self._anomalies(block, reach), rates, chunk),)

        done = self._run("anomaly_correlator", (FLEET_CORRELATION,), span, compute)
        reach = ceil_to(span.end, DAY) + incident_lookback(fleet, 0, 0)
        for later in standing_part(
            Currency(fleet, self.store.history), FLEET_CORRELATION, Span(span.end, reach)
        ):
            done += self._run("anomaly_correlator", (FLEET_CORRELATION,), later, compute)
        return [_joined(FLEET_CORRELATION, span, done)]

    def ai_inference(self, span: Span) -> list[Outcome]:
        """Refresh `ai_inference`, after the baselines that the anomaly scores it reads compare with."""
        self.baselines(self.fed_span(span))
        with opened(ModelFolder(self.store.models)) as slots:

            def compute(block: Block, chunk: Span) -> Sequence[pd.DataFrame]:
                return (ai_inference(self.routed(block, chunk), slots),)

            return self._run("ai_inference", (AI_INFERENCE,), span, compute)

    def fed_span(self, span: Span) -> Span:
        """Return a span with the whole days before it whose scores AI models may be fed."""
        self.store.registry.ensure(self.config)
        fleet = self.store.registry.fleet(self.config)
        return span.widen(before=ceil_to(inference_lookback(fleet), DAY))

    def performance_comparator(self, span: Span) -> list[Outcome]:
        """Refresh `site_ranking`, after the baselines that govern the span."""
        self.baselines(span)

        def compute(block: Block, chunk: Span) -> Sequence[pd.DataFrame]:
            reach = chunk.widen(before=persistence_lookback(block.fleet))
            assignment = region_mapper(block.fleet, reach)
            trained = self.models.baselines(self.store, block.fleet, chunk)
            return (
                performance_comparator(
                    block.fleet,
                    self._site_kpi(block, reach, GRID_COLUMNS),
                    assignment,
                    trained,
                    chunk,
                ),
            )

        return self._run("performance_comparator", (SITE_RANKING,), span, compute)

    def baselines(self, span: Span) -> list[Outcome]:
        """Refresh the baselines that govern a span; reported as one outcome."""
        self.store.registry.ensure(self.config)
        days = training.training_days_of(self.store.registry.fleet(self.config), span)
        done = [outcome for day in days for outcome in self.baseline(day)]
        return [_joined(t, span, [o for o in done if o.table is t]) for t in BASELINES]

    def baseline(self, training_day: int) -> list[Outcome]:
        """Refresh the baseline of one training day.

        One whose telemetry has been removed, even in part, stands as it was stored.
        """
        span, reads = Span(training_day, training_day + DAY), training_span(training_day)

        def compute(block: Block, _chunk: Span) -> Sequence[pd.DataFrame]:
            self.refuse(removed_days(self.store, self.name, reads))
            trained = training.train(
                block.fleet, block.read, training_day, self.samples, landing=block.landing
            )
            return trained.baseline, trained.baseline_model

        is_gone = removed_days(self.store, self.name, reads)
        if is_gone and self.store.history.coverage.covered(BASELINE.name, self.name, span):
            return [Outcome(t, span, (), ()) for t in BASELINES]
        return self._run("baseline", BASELINES, span, compute)

    def everything(self, span: Span) -> list[Outcome]:
        """Refresh every table, in pipeline order."""
        return [*self.windows(span), *self.ai_inference(span)]

    def windows(self, span: Span) -> list[Outcome]:
        """Refresh every table but the answers of AI models, in pipeline order."""
        nodes = (
            self.site_assignment,
            self.site_ingest,
            self.anomaly_scorer,
            self.anomaly_correlator,
            self.fleet_aggregator,
            self.regional_scorer,
            self.performance_comparator,
        )
        return [outcome for node in nodes for outcome in node(span)]

    def _run(
        self,
        node: str,
        tables: tuple[Table, ...],
        span: Span,
        compute: "Callable[[Block, Span], Sequence[pd.DataFrame]]",
    ) -> list[Outcome]:
        self.store.registry.ensure(self.config)
        work = self.work(node, tables)
        reports: dict[str, list[WriteReport]] = {t.name: [] for t in tables}
        wrong: dict[str, list[str]] = {t.name: [] for t in tables}
        computed: list[Span] = []
        for n in range(ROUNDS):
            fleet, wanted = self.round(tables, span, is_first=n == 0)
            if not wanted or any(wrong.values()):
                break
            computed += wanted
            parts = wanted if tables is BASELINES else chunks(fleet, tables[0], wanted)
            for chunk in parts:
                for table, report, found in self._refresh_chunk(work, chunk, compute):
                    reports[table.name] += [report] if report else []
                    wrong[table.name] += found
                self.progress(node, chunk, span)
        self.store.history.coverage.settle(self.name, [t.name for t in tables], self.settled_end())
        done = tuple(union(computed))
        self.tell(work, span, done, [r for own in reports.values() for r in own])
        return [
            Outcome(t, span, done, tuple(reports[t.name]), tuple(wrong[t.name])) for t in tables
        ]

    def round(
        self, tables: tuple[Table, ...], span: Span, *, is_first: bool
    ) -> tuple[Fleet, list[Span]]:
        """Return the fleet as it is now and what is to be computed; later rounds see to inputs that changed meanwhile."""
        landing = self.store.history.landing_version(self.name)
        fleet = self.store.registry.fleet(self.config)
        if self.recompute and not is_first:
            return fleet, []
        return fleet, self._wanted(Currency(fleet, self.store.history), tables, span, landing)

    def _wanted(
        self, currency: Currency, tables: Sequence[Table], span: Span, landing: int
    ) -> list[Span]:
        """Return what is to be computed, in whole windows; records of the rest are brought up to `landing`."""
        whole = span.to_whole(max(currency.grain(t) for t in tables))
        if self.recompute:
            return [whole]
        stale = {t.name: currency.stale(t, whole) for t in tables}
        for name, parts in stale.items():
            self.store.history.coverage.confirm(name, self.name, gaps(whole, parts), landing)
        return union([part for parts in stale.values() for part in parts])

    def work(self, node: str, tables: Sequence[Table]) -> NodeWork:
        """Begin to count what a node does."""
        return NodeWork(self.config, node, tables, self.source, self.run_id, self.clock())

    def tell(
        self, work: NodeWork, span: Span, computed: Sequence[Span], reports: Sequence[WriteReport]
    ) -> None:
        """Report what a node did, if it did anything, to whoever observes this refresh."""
        if computed and self.observe is not unobserved:
            n_written = sum(r.rows_written for r in reports)
            self.observe(
                work.report(
                    self.store.history, span, computed, rows_out=n_written, now=self.clock()
                )
            )

    def _refresh_chunk(
        self,
        work: NodeWork,
        chunk: Span,
        compute: "Callable[[Block, Span], Sequence[pd.DataFrame]]",
    ) -> list[tuple[Table, WriteReport | None, list[str]]]:
        """Compute and write one chunk, while no other run does; what another run did meanwhile is not done again."""
        done: list[tuple[Table, WriteReport | None, list[str]]] = []
        tables = work.tables
        with self.store.door.hold(tables, self.name, chunk) as holder:
            block = Block.now(self.store, self.config, work.tally)
            if not self.recompute and not any(block.currency.stale(t, chunk) for t in tables):
                return done
            if tables is not BASELINES:
                self.refuse(expired_days(self.store, self.name, chunk))
            # Named before anything is read: inputs that change meanwhile make the rows stale, never falsely current.
            covered = [block.currency.pieces(t, chunk, landing=block.landing) for t in tables]
            computed = compute(block, chunk)
            for table, frame, pieces in zip(tables, computed, covered, strict=True):
                work.tally.made(table, frame)
                report, found = self.write(block, table, frame, pieces, chunk, holder=holder)
                done.append((table, report, found))
        return done

    def write(
        self,
        block: "Block",
        table: Table,
        frame: pd.DataFrame,
        covered: Sequence[Covered],
        chunk: Span,
        *,
        holder: str,
    ) -> tuple[WriteReport | None, list[str]]:
        """Write one chunk of a table, unless its rows do not fit the definition; returns what is wrong with them."""
        rows = frames.arrow_of(table, schema_of(table), self.name, frame)
        found = violations(table, rows)
        if found:
            return None, found
        write = Write(
            table,
            self.name,
            chunk,
            rows,
            covered=covered,
            interval=block.currency.grain(table),
            run_id=self.run_id,
        )
        return self.store.door.write(write, holder=holder), []

    def _rows(
        self,
        block: "Block",
        table: Table,
        span: Span,
        compute: Callable[[Span], pd.DataFrame],
        *,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
    ) -> pd.DataFrame:
        """Read a span's stored rows where they are proven current, and compute the others, a chunk at a time.

        Of all columns, or those named; of the stored rows only those that `where` holds for, the others being of no use.
        """
        stale = self._unreadable(block, table, span)
        parts = [
            (
                gap,
                block.tally.taken(
                    self.store.frame(table, self.name, gap, columns=columns, where=where)
                ),
            )
            for gap in gaps(span, stale)
        ]
        wanted = slice(None) if columns is None else list(columns)
        parts += [
            (part, compute(part).loc[:, wanted]) for part in chunks(block.fleet, table, stale)
        ]
        rows = frames.concat(table, [rows for _, rows in sorted(parts, key=itemgetter(0))])
        return rows.loc[:, wanted]

    def _unreadable(self, block: "Block", table: Table, span: Span) -> list[Span]:
        """Return what of a span must be computed to be read.

        Rows whose telemetry has been removed are read as they stand. Where they have expired too, nothing may be computed that
        reads them; where there never were any, sites count as silent.
        """
        missing = block.currency.unproven(table, span)
        if not missing:
            return missing
        hull, covered = Span(missing[0].start, missing[-1].end), self.store.history.coverage.covered
        if not removed_days(self.store, self.name, hull):
            return missing
        days = [day for part in missing for day in part.days()]
        lost = [day for day in days if removed_days(self.store, self.name, day)]
        stands = [c.span for c in covered(table.name, self.name, hull)]
        rows_went = self.store.history.entries(table.name, self.name, hull, kind=EXPIRE)
        left = [part for day in lost for part in gaps(day, stands)]
        gone = [part for part in left if any(e.span.overlaps(part) for e in rows_went)]
        self.refuse([iso_day(part.start) for part in gone])
        return sorted([*left, *(day for day in days if day not in lost)])

    def _site_kpi(self, block: "Block", span: Span, columns: Sequence[str]) -> pd.DataFrame:
        return self._rows(
            block,
            SITE_KPI,
            span,
            lambda part: self._ingest(block, part).site_kpi,
            columns=columns,
        )

    def _ingest(self, block: "Block", span: Span) -> Ingested:
        trained = frames.empty_frame(BASELINE)
        if compares(block.fleet, span):
            trained = self.models.baselines(self.store, block.fleet, span)
        return site_rows.ingest(
            block.fleet,
            block.read,
            region_mapper(block.fleet, span),
            trained,
            span,
            threads=self.threads,
        )

    def _scores(self, block: "Block", span: Span) -> pd.DataFrame:
        reach = span.widen(before=scoring_lookback(block.fleet))
        return score_sites(
            self.models.book(self.store, block.fleet, span),
            self._site_kpi(block, reach, KPI_COLUMNS),
            region_mapper(block.fleet, span),
            span,
        )

    def _anomalies(self, block: "Block", span: Span) -> pd.DataFrame:
        """Return the anomalous rows of a span: stored ones where they are proven current, a chunk at a time where not.

        Hours without any model have none.
        """
        stale = self._unreadable(block, ANOMALY_SCORE, span)
        fresh = [
            block.tally.taken(
                self.store.frame(ANOMALY_SCORE, self.name, gap, where=pc.field("is_anomalous"))
            )
            for gap in gaps(span, stale)
        ]
        if not stale:
            return frames.concat(ANOMALY_SCORE, fresh)
        book = ModelBook(block.fleet, stored_models(self.store, block.fleet, span))
        judged = union([hour for s in stale for hour in s.steps(HOUR) if book.is_open(hour)])
        computed = [
            anomalous(self._scores(block, chunk))
            for chunk in chunks(block.fleet, ANOMALY_SCORE, judged)
        ]
        return frames.concat(ANOMALY_SCORE, [*fresh, *computed])

    def routed(
        self, block: "Block", span: Span, *, reach: int | None = None, stored: bool = True
    ) -> Routed:
        """Find out what every AI slot is asked about a span.

        Inputs reach back as the slots say, or by `reach` windows. Unless `stored` answers are taken over, all are asked for.
        """
        is_silent = reach is None and not _is_asked(block.fleet, span)
        if reach is None:
            reach = feature_windows(block.fleet, span.start, span.end)
        whole = span.widen(before=reach * block.fleet.interval)
        known = None
        if stored:
            known = self.store.frame(AI_INFERENCE, self.name, span, columns=KNOWN_COLUMNS)
        return route(
            block.fleet,
            *self._fed(block, whole, is_empty=is_silent),
            region_mapper(block.fleet, whole),
            span,
            stored=known,
            reach=reach,
        )

    def _fed(
        self, block: "Block", span: Span, *, is_empty: bool
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the site rows and anomaly scores that AI models may be fed; none where nothing is asked."""
        if is_empty:
            return frames.empty_frame(SITE_KPI), frames.empty_frame(ANOMALY_SCORE)
        scores = self._rows(
            block,
            ANOMALY_SCORE,
            span,
            lambda part: self._scores(block, part),
            columns=FED,
            where=OVERALL,
        )
        return self._site_kpi(block, span, GRID_COLUMNS), scores

    def _rollup(self, block: "Block", span: Span) -> Rollup:
        scores = self._rows(
            block,
            ANOMALY_SCORE,
            span,
            lambda part: self._scores(block, part),
            columns=COUNTED,
            where=OVERALL | pc.field("is_anomalous"),
        )
        return fleet_aggregator(
            block.fleet,
            self._site_kpi(block, span, GRID_COLUMNS),
            region_mapper(block.fleet, span),
            scores,
            span,
        )

    def refuse(self, gone: list[str]) -> None:
        """Refuse to compute days whose telemetry has expired."""
        if gone:
            raise ExpiredError(self.name, gone, self.config.telemetry_retention_days)

    def settled_end(self) -> int:
        """Return until when windows are settled [us]."""
        return floor_to(
            self.clock() - self.config.grace_s * 1_000_000, self.config.interval_s * 1_000_000
        )


def _is_asked(fleet: Fleet, span: Span) -> bool:
    """Tell whether any AI slot is active in a span."""
    runs = fleet.settings_runs(span.start, span.end)
    return any(slot.active for run in runs for slot in run.version.settings.ai_models)


@dataclass(frozen=True, slots=True)
class Block:
    """One consistent view of the inputs: settings and sites are read after telemetry, so that no snapshot is of an unknown site."""

    fleet: Fleet
    landing: int
    read: training.ReadTelemetry
    currency: Currency
    tally: Tally

    @classmethod
    def now(cls, store: Store, config: FleetConfig, tally: Tally | None = None) -> "Block":
        """Look at the inputs as they stand now."""
        store.door.refuse_lost_commits(SITE_TELEMETRY)
        landing = store.history.landing_version(config.name)
        counts = Tally() if tally is None else tally
        read = counts.counting(store.telemetry_reader(config.name))
        fleet = store.registry.fleet(config)
        return cls(fleet, landing, read, Currency(fleet, store.history), counts)
