"""How a fleet's figures come to be: nodes, slots, ledger, live engine, telemetry. Read a few seconds apart."""

import json
from collections import Counter

import pyarrow.compute as pc
import sqlalchemy as sa

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, SECOND, Span, floor_to
from fleet_dagster.dashboard.remembered import RememberedRows
from fleet_dagster.ledger.state import ledger_state
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.node_report import NODES
from fleet_dagster.model.snapshot import (
    LedgerShown,
    LiveShown,
    NodeShown,
    PipelineShown,
    SlotShown,
)
from fleet_dagster.model.tables import AI_INFERENCE, FLEET_KPI, QUARANTINE, SITE_TELEMETRY
from fleet_dagster.nodes.dashboard_sink import instant_text
from fleet_dagster.storage.control.schema import node_reports
from fleet_dagster.storage.leases import live_key
from fleet_dagster.storage.status import newest_end, newest_telemetry
from fleet_dagster.storage.store import Store

RENEWED_AFTER = 5 * SECOND
"""Age from which on what is not in a stream is read again [us]."""
_NEWEST_TELEMETRY_IN = 10 * MINUTE


class PipelineFigures:
    """Takes one fleet's pipeline figures."""

    def __init__(self, store: Store, config: FleetConfig, rows: RememberedRows) -> None:
        self.store, self.config, self.rows = store, config, rows
        self._ledger: tuple[int, LedgerShown | None] = (0, None)
        self._telemetry: tuple[int | None, int | None] = (None, None)

    def taken(self, window: Span | None, now: int) -> PipelineShown:
        """Return the figures as of a window and an instant of the wall clock [us]."""
        fleet, coverage = self.config.name, self.store.history.coverage
        telemetry = self._newest_telemetry()
        settled = coverage.settled_through(fleet, FLEET_KPI.name)
        holder = self.store.door.leases.holder_of(live_key(fleet))
        return PipelineShown(
            newest_telemetry=None if telemetry is None else instant_text(telemetry),
            settled_through=None if settled is None else instant_text(settled),
            live=None if holder is None else LiveShown(holder, None),
            nodes=self._nodes(),
            slots=self._slots(window, now),
            ledger=self._ledger_state(now),
            quarantined_last_day=self._quarantined(window, now),
        )

    def _newest_telemetry(self) -> int | None:
        """Return the instant of the newest usable snapshot; of what was landed last only the last minutes are read [us]."""
        landed = self.store.history.newest_landed(self.config.name)
        if landed is not None and landed != self._telemetry[0]:
            rows = self.store.lake.read(
                SITE_TELEMETRY,
                self.config.name,
                Span(max(0, landed - _NEWEST_TELEMETRY_IN), landed),
                columns=["timestamp"],
                time_column="timestamp",
                where=pc.field("problem").is_null(),
            )
            stamps = rows.column("timestamp")
            newest = (
                int(pc.max(stamps).cast("int64").as_py())
                if len(stamps)
                else newest_telemetry(self.store, self.config.name)
            )
            self._telemetry = landed, newest
        return self._telemetry[1]

    def _nodes(self) -> tuple[NodeShown, ...]:
        newest = (
            sa.select(sa.func.max(node_reports.c.number))
            .where(node_reports.c.fleet == self.config.name)
            .group_by(node_reports.c.node)
        )
        with self.store.control.reading() as tx:
            query = sa.select(node_reports).where(node_reports.c.number.in_(newest))
            found = {row["node"]: row for row in tx.execute(query).mappings()}
        return tuple(_node(name, table.name, found.get(name)) for name, table in NODES.items())

    def _slots(self, window: Span | None, now: int) -> tuple[SlotShown, ...]:
        """Return the slots in force, and how the answers of the newest window that has any went."""
        answered = newest_end(self.store, AI_INFERENCE, self.config.name)
        at = now if window is None else window.start
        outcomes: dict[int, dict[str, int]] = {}
        if window is not None and answered is not None:
            end = min(answered, window.end)
            span = Span(max(0, end - (window.end - window.start)), end)
            rows = self.rows.rows(AI_INFERENCE, span, ("window_start", "slot_id", "outcome"))
            pairs = zip(rows["slot_id"], rows["outcome"].astype("str"), strict=True)
            for (slot, outcome), n in Counter(pairs).items():
                outcomes.setdefault(int(slot), {})[outcome] = n
        settings = self.store.registry.fleet(self.config).settings_at(at)
        return tuple(
            SlotShown(s.slot_id, s.model_id, s.version, s.active, outcomes.get(s.slot_id, {}))
            for s in sorted(settings.ai_models, key=lambda s: s.slot_id)
        )

    def _ledger_state(self, now: int) -> LedgerShown | None:
        if now - self._ledger[0] >= RENEWED_AFTER:
            state = ledger_state(self.store, self.config)
            shown = LedgerShown(
                size=state.size,
                pending=state.n_pending,
                witnesses_needed=state.n_needed,
                witnesses=sum(not w.n_behind for w in state.witnesses),
                checkpoint_at=None
                if state.checkpoint_at is None
                else f"{state.checkpoint_at:%Y-%m-%dT%H:%M:%S.%f}Z",
            )
            self._ledger = now, shown if state.has_begun else None
        return self._ledger[1]

    def _quarantined(self, window: Span | None, now: int) -> dict[str, int]:
        """Count what was quarantined in the day before the last hour's end, by reason."""
        end = floor_to(now if window is None else window.end - 1, HOUR) + HOUR
        rows = self.rows.rows(QUARANTINE, Span(max(0, end - DAY), end), ("window_start", "problem"))
        counts = rows["problem"].astype("str").value_counts().sort_index()
        return {str(problem): int(n) for problem, n in counts.items()}


def _node(name: str, asset: str, row: sa.RowMapping | None) -> NodeShown:
    if row is None:
        return NodeShown(name, asset, None, None, 0, 0, 0, 0, 0, None, None, None, None)
    return NodeShown(
        node=name,
        asset=asset,
        recorded_at=instant_text(row["recorded_at"]),
        source=row["source"],
        windows=row["windows"],
        rows_in=row["rows_in"],
        rows_out=row["rows_out"],
        shed=row["shed"],
        quarantined=row["quarantined"],
        duration_s=row["duration_us"] / SECOND,
        lag_s=None if row["lag_us"] is None else row["lag_us"] / SECOND,
        anomaly_score=row["anomaly_score"],
        is_within_thresholds=_is_within(row["breaches"]),
    )


def _is_within(breaches: str) -> bool:
    return not (json.loads(breaches) if breaches else [])
