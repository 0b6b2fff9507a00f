"""E2: late batches and changes of mapping, each followed by what became stale, against everything computed at once."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.ingest.simulator import Scenario, demo_config, simulate
from fleet_dagster.ingest.snapshots import landed_table
from fleet_dagster.model.config import FleetConfig, HotSettings
from fleet_dagster.model.edits import move_site
from fleet_dagster.model.tables import BASELINE, SITE_ASSIGNMENT, Table, derived_tables
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.store import Store

SEEDS = (11, 23, 47)
N_BATCHES, N_MOVES = 20, 5
N_SITES, N_REGIONS, N_DAYS, INTERVAL_S = 60, 4, 2, 900
START = 1_767_225_600_000_000
"""2026-01-01T00:00Z."""
SPAN = Span(START, START + N_DAYS * DAY)
NAME = "bench"
TABLES = [t for t in derived_tables() if t not in (BASELINE, SITE_ASSIGNMENT)]
"""Tables whose grain is the window."""
Digests = dict[str, dict[int, int]]
"""By table and window, what its rows hash to."""


@dataclass(slots=True)
class Tally:
    """What the steps of one seed did, in windows of all tables."""

    computed: int = 0
    rewritten: int = 0
    rewritten_needlessly: int = 0
    changed: int = 0
    changed_unwritten: int = 0
    of: int = 0
    differing_rows: int = 0
    rows: int = 0
    by_step: list[int] = field(default_factory=list)


def e2() -> str:
    """Measure each seed, and return the table."""
    lines = [
        f"{N_SITES} sites, {N_DAYS} days, windows of {INTERVAL_S} s. {N_BATCHES} late batches of 1 to 40 snapshots and {N_MOVES} changes",
        "of mapping that reach into the past, one after the other in an order drawn from the seed; after each, what is no longer current is",
        "computed. Then everything at once, in a new installation, from the same batches and versions. Window figures count each table's own.",
        "",
        "| seed | rows | differing (target 0) | windows computed, of all x steps | rewritten | needlessly (target 0) | missed (target 0) | met |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for seed in SEEDS:
        t = _measure(seed)
        is_met = not (t.differing_rows or t.rewritten_needlessly or t.changed_unwritten)
        lines.append(
            f"| {seed} | {t.rows:,} | {t.differing_rows} | {t.computed:,} of {t.of:,} ({t.computed / t.of:.2%}) | {t.rewritten:,} | "
            f"{t.rewritten_needlessly} | {t.changed_unwritten} | {'yes' if is_met else 'no'} |"
        )
    return "\n".join(lines)


def _measure(seed: int) -> Tally:
    rng, tally = np.random.default_rng(seed), Tally()
    config, raw = _fleet(seed)
    late = rng.permutation(raw.num_rows)[: N_BATCHES * 40].reshape(N_BATCHES, 40)
    batches = [np.sort(rows[: rng.integers(1, 41)]) for rows in late]
    kept = np.setdiff1d(np.arange(raw.num_rows), np.concatenate(batches))
    moves = [
        (int(rng.integers(N_SITES)), int(rng.integers(N_REGIONS)), int(rng.integers(N_DAYS * 24)))
        for _ in range(N_MOVES)
    ]
    order = rng.permutation(N_BATCHES + N_MOVES).tolist()
    steps = Steps(config, raw, batches, moves, order)
    with tempfile.TemporaryDirectory() as folder:
        with Store.at(Path(folder) / "late") as store:
            _land(store, config, raw.take(kept), "first")
            Refresh(store, config).everything(SPAN)
            before = _digests(store)
            for step in order:
                steps.take(store, step)
                before = _refresh(store, config, before, tally)
        with Store.at(Path(folder) / "once") as once, Store.at(Path(folder) / "late") as store:
            _land(once, config, raw.take(kept), "first")
            for step in order:
                steps.take(once, step)
            Refresh(once, config).everything(SPAN)
            for table in derived_tables():
                rows, differing = _compared(table, store, once)
                tally.rows += rows
                tally.differing_rows += differing
    return tally


@dataclass(frozen=True, slots=True)
class Steps:
    """What happens to a fleet after its days were computed, in the order of `order`."""

    config: FleetConfig
    raw: pa.Table
    batches: list[NDArray[np.int64]]
    moves: list[tuple[int, int, int]]
    """Site, region and hour from which on it lies there."""
    order: list[int]

    def take(self, store: Store, step: int) -> None:
        """Land a late batch, or make a change of mapping."""
        if step < N_BATCHES:
            _land(store, self.config, self.raw.take(self.batches[step]), f"late-{step:02d}")
            return
        site, region, hour = self.moves[step - N_BATCHES]
        site_id = self.config.region_mappings[site].site_id

        def edit(settings: HotSettings, at: int) -> HotSettings:
            return move_site(settings, site_id, f"region-{region + 1:02d}", at=at)

        at = START + hour * HOUR
        store.registry.edit(self.config, edit, source=f"move {step}", valid_from=at)


def _refresh(store: Store, config: FleetConfig, before: Digests, tally: Tally) -> Digests:
    """Compute what is no longer current, and count what that computed, rewrote and changed."""
    outcomes = Refresh(store, config).everything(SPAN)
    after = _digests(store)
    for outcome in outcomes:
        if outcome.table not in TABLES:
            continue
        name = outcome.table.name
        written = {
            start
            for report in outcome.reports
            for span in (*report.appended, *report.restated)
            for start in span.starts(INTERVAL_S * 1_000_000).tolist()
        }
        starts = before[name].keys() | after[name].keys()
        changed = {s for s in starts if before[name].get(s) != after[name].get(s)}
        tally.computed += sum(len(s.starts(INTERVAL_S * 1_000_000)) for s in outcome.computed)
        tally.of += N_DAYS * DAY // (INTERVAL_S * 1_000_000)
        tally.rewritten += len(written)
        tally.rewritten_needlessly += len(written - changed)
        tally.changed_unwritten += len(changed - written)
    return after


def _digests(store: Store) -> Digests:
    return {table.name: dict(_hashed(store.frame(table, NAME, SPAN), table)) for table in TABLES}


def _hashed(rows: pd.DataFrame, table: Table) -> Iterator[tuple[int, int]]:
    if rows.empty:
        return
    ordered = _plain(rows, table)
    hashes = pd.util.hash_pandas_object(ordered, index=False)
    starts = ordered["window_start"].astype("int64")
    sums = hashes.groupby(starts.to_numpy()).sum()
    yield from zip(sums.index.tolist(), sums.tolist(), strict=True)


def _compared(table: Table, left: Store, right: Store) -> tuple[int, int]:
    """Return how many rows two installations hold of a table, and how many of them differ."""
    ours, theirs = (_plain(s.frame(table, NAME, SPAN.to_whole(DAY)), table) for s in (left, right))
    hashes = [pd.util.hash_pandas_object(rows, index=False) for rows in (ours, theirs)]
    both = pd.concat([h.value_counts() for h in hashes], axis=1).fillna(0)
    gap = (both.iloc[:, 0] - both.iloc[:, 1]).abs().sum()
    return max(len(ours), len(theirs)), int(gap)


def _plain(rows: pd.DataFrame, table: Table) -> pd.DataFrame:
    keys = [k for k in table.key if k in rows]
    spelled = rows.assign(
        **{
            str(name): rows[name].astype("str").astype(object)
            for name in rows
            if isinstance(rows[name].dtype, pd.CategoricalDtype)
        }
    )
    return spelled.sort_values(keys, kind="stable", ignore_index=True)


def _fleet(seed: int) -> tuple[FleetConfig, pa.Table]:
    content = demo_config(
        NAME, "mixed", n_sites=N_SITES, n_regions=N_REGIONS, start_date="2026-01-01"
    )
    config = FleetConfig.model_validate({**content, "interval_s": INTERVAL_S})
    scenario = Scenario(
        seed=seed,
        kind="mixed",
        n_sites=N_SITES,
        n_regions=N_REGIONS,
        step_s=INTERVAL_S,
        faults={"site": 6.0, "dropout": 6.0, "region": 1.0},
        duplicates_share=0.01,
        malformed_share=0.001,
    )
    return config, simulate(config, scenario, SPAN.start, SPAN.end).telemetry


def _land(store: Store, config: FleetConfig, raw: pa.Table, batch_id: str) -> None:
    store.registry.ensure(config)
    rows = landed_table(
        config,
        raw,
        batch_id=batch_id,
        received_at_us=SPAN.end + MINUTE,
        historical=True,
        admit=lambda seen: store.registry.admit(config, seen),
    )
    store.landing.append(
        NAME, rows, batch_id=batch_id, idempotency_key=batch_id, source="benchmark", historical=True
    )
