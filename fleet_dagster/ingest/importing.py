"""Landing a whole file: checked first, then part by part, each part at most once."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fleet_dagster.ingest.files import check_file, file_digest, read_parts
from fleet_dagster.ingest.snapshots import landed_table
from fleet_dagster.model.config import FleetConfig, content_digest
from fleet_dagster.storage.landing import Batch
from fleet_dagster.storage.store import Store

PART_ROWS = 500_000
"""Rows judged and committed together; part of every key, since it says where the parts are cut."""
Progress = Callable[[int, int], None]
"""Called after each part with the rows done and the rows of the file."""
Landed = Callable[[Batch], None]
"""Called after each part that was landed now, before `Progress`."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why rows were quarantined."""

    problem: str
    n_rows: int
    example: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What importing one file did."""

    source: str
    n_rows: int
    """Rows of the file."""
    n_landed: int
    """Rows landed now; the others had been landed before."""
    n_quarantined: int
    """Rows among those landed now that cannot be used."""
    reasons: tuple[Reason, ...]
    """Why, most frequent first."""
    days: tuple[str, ...]
    """UTC days of the usable rows landed now."""
    batches: tuple[str, ...]
    unmapped_sites: tuple[str, ...]
    """Sites of the usable rows landed now that no mapping names."""
    new_sites: tuple[str, ...]
    """Those of them that were registered now."""
    n_without_time: int
    """Rows landed now that have no usable time."""
    receipt_days: tuple[str, ...]
    """UTC days of receipt, under which those rows are filed."""

    @property
    def is_new(self) -> bool:
        """Whether anything was landed."""
        return self.n_landed > 0

    @property
    def is_unusable(self) -> bool:
        """Whether rows were landed, and none of them can be used."""
        return 0 < self.n_landed == self.n_quarantined


def import_file(
    store: Store,
    config: FleetConfig,
    path: Path,
    *,
    received_at_us: int,
    historical: bool,
    landed: Landed = lambda _batch: None,
    progress: Progress = lambda _done, _total: None,
) -> ImportReport:
    """Land a telemetry file, or what an interrupted import of it left.

    What a callback raises ends the import between two parts; the next one goes on there.

    Raises
    ------
    SourceError
        The file cannot be read as a whole; nothing of it was landed.
    ConfigError
        A source unit cannot be converted to its KPI's unit; nothing was landed.
    """
    n_rows = check_file(path, config)
    store.registry.ensure(config)
    known = {site.site_id for site in store.registry.fleet(config).sites}
    key, tally, n_done = import_key(config, path, historical=historical), _Tally(), 0
    for number, raw in enumerate(read_parts(path, config, rows_per_part=PART_ROWS)):
        part_key, batch_id = f"{key}:{number}", f"{key[:16]}-{number:05d}"
        if store.landing.find(config.name, part_key) is None:
            rows = landed_table(
                config,
                raw,
                batch_id=batch_id,
                received_at_us=received_at_us,
                historical=historical,
                first_row_no=number * PART_ROWS,
                admit=lambda seen: store.registry.admit(config, seen),
            )
            batch = store.landing.append(
                config.name,
                rows,
                batch_id=batch_id,
                idempotency_key=part_key,
                source=path.name,
                historical=historical,
            )
            if batch.is_new:
                tally.count(rows)
                landed(batch)
        tally.batches.append(batch_id)
        n_done += raw.num_rows
        progress(n_done, n_rows)
    mapped = {mapping.site_id for mapping in config.region_mappings}
    return tally.report(path.name, n_rows, unmapped=tally.sites - mapped, known=known)


def import_key(config: FleetConfig, path: Path, *, historical: bool) -> str:
    """Return what identifies an import: the file's content, and every setting that decides how a row is judged."""
    judging = {
        "source",
        "start_date",
        "timezone",
        "allowed_lateness_days",
        "future_tolerance_s",
        "profile",
    }
    mapping = content_digest(
        [
            config.model_dump(mode="json", include=judging),
            [(k.name, k.unit, k.lo, k.hi) for k in config.kpis],
            historical,
        ]
    )
    parts = [config.name, file_digest(path), mapping, str(PART_ROWS)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(slots=True)
class _Tally:
    """Counts what was landed, part by part."""

    n_landed: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    days: set[str] = field(default_factory=set)
    sites: set[str] = field(default_factory=set)
    n_without_time: int = 0
    receipt_days: set[str] = field(default_factory=set)
    batches: list[str] = field(default_factory=list)

    def count(self, rows: pa.Table) -> None:
        self.n_landed += rows.num_rows
        usable = pc.is_null(rows.column("problem"))
        self.days |= _distinct(rows.column("day").filter(usable))
        self.sites |= _distinct(rows.column("site_id").filter(usable))
        unusable = rows.filter(pc.invert(usable))
        by_receipt = unusable.filter(
            pc.equal(unusable.column("timestamp"), unusable.column("received_at"))
        )
        self.n_without_time += by_receipt.num_rows
        self.receipt_days |= _distinct(by_receipt.column("day"))
        for problem, detail in zip(
            unusable.column("problem").to_pylist(),
            unusable.column("detail").to_pylist(),
            strict=True,
        ):
            self.problems[problem] += 1
            self.examples.setdefault(problem, detail or "")

    def report(
        self, source: str, n_rows: int, *, unmapped: Collection[str], known: Collection[str]
    ) -> ImportReport:
        reasons = tuple(Reason(p, n, self.examples[p]) for p, n in self.problems.most_common())
        return ImportReport(
            source,
            n_rows,
            self.n_landed,
            sum(self.problems.values()),
            reasons,
            tuple(sorted(self.days)),
            tuple(self.batches),
            tuple(sorted(unmapped)),
            tuple(sorted(set(unmapped) - set(known))),
            self.n_without_time,
            tuple(sorted(self.receipt_days)),
        )


def _distinct(column: pa.ChunkedArray) -> set[str]:
    return {str(value) for value in pc.unique(column).to_pylist()}
