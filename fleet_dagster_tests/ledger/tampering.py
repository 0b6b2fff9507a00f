"""An honest history of a ledger, and what somebody can do to it who may write to the control database, the lake or the keys."""

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from deltalake import write_deltalake

from fleet_dagster.core.windows import iso
from fleet_dagster.ledger.appender import appending
from fleet_dagster.ledger.entries import KpiEntry, RareEntry, Row, canonical, read_entry
from fleet_dagster.ledger.findings import Finding, Report
from fleet_dagster.ledger.keystore import Keys, KeyStore
from fleet_dagster.ledger.log import Leaf, Log, StoredCheckpoint
from fleet_dagster.ledger.merkle import leaf_hash, root_of
from fleet_dagster.ledger.note import Checkpoint
from fleet_dagster.ledger.policy import Policy
from fleet_dagster.ledger.signing import signed
from fleet_dagster.ledger.tiles import tiles_of
from fleet_dagster.ledger.verify import Verification
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage.control import schema
from fleet_dagster.storage.lake import instant_text
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.streams import fleet_windows as fw

FLEET = fw.CONFIG.name
SIZES = (145, 147, 316, 317)
"""Sizes of the honest history's checkpoints."""
LAST = SIZES[-1]
EXPIRED = 30
"""A window whose row is gone, and the number of its entry: whoever rewrites it need not touch fleet_kpi."""
KEPT = (
    schema.ledgers,
    schema.ledger_entries,
    schema.ledger_tiles,
    schema.ledger_checkpoints,
    schema.ledger_cosignatures,
    schema.cursors,
    schema.commit_log,
    schema.imprints,
)
Values = dict[str, Any]


def begin(store: Store) -> None:
    """Record thirteen days.

    Entries 0 to 143 are the windows 0 to 143, entry 145 restates window 60, entries 147 to 314 are the windows 144 to 311, and
    316 is the removal of day 1.
    """
    KeyStore.of(store, fw.CONFIG).create()
    fw.write(store, dict.fromkeys(range(144), 0.5), fw.span(0, 144))
    append(store)
    fw.write(store, {60: 0.75}, fw.span(60, 61))
    append(store)
    fw.write(store, dict.fromkeys(range(144, 312), 0.5), fw.span(144, 312))
    append(store)
    fw.expire(store, 1)
    append(store)
    assert tuple(c.size for c in checkpoints_of(store)) == SIZES


def append(store: Store, config: FleetConfig = fw.CONFIG) -> int:
    """Bring the ledger up to date; returns how many entries that took."""
    with appending(store, config) as appender:
        return appender.run().n_entries


def rotate(store: Store) -> None:
    """Hand the ledger over to new keys."""
    with appending(store, fw.CONFIG) as appender:
        appender.rotate()


def verified(
    store: Store, config: FleetConfig = fw.CONFIG, *, policy: Policy | None = None
) -> Report:
    """Return what a verification says."""
    return Verification.of(store, config, policy=policy).run()


def log_of(store: Store) -> Log:
    """Return the fleet's log."""
    return Log(store.control, FLEET)


def checkpoints_of(store: Store) -> list[StoredCheckpoint]:
    """Return the stored checkpoints, from the smallest to the largest."""
    return list(log_of(store).checkpoints())


def keys_of(store: Store) -> Keys:
    """Return the keys in the fleet's file."""
    return KeyStore.of(store, fw.CONFIG).load()


def pin_of(store: Store) -> Path:
    """Return the file of what was seen last."""
    return KeyStore.of(store, fw.CONFIG).folder / "pin"


def first(report: Report) -> tuple[str, int | None, int | None]:
    """Return the kind, the entry and the number of the window of what is wrong first."""
    found = report.first_bad
    assert found is not None
    return placed(found)


def placed(found: Finding) -> tuple[str, int | None, int | None]:
    """Return the kind, the entry and the number of the window of a finding."""
    start = found.window_start
    return found.kind, found.number, None if start is None else (start - fw.window(0)) // fw.HOURS


def kinds(report: Report) -> set[str]:
    """Return the kinds of all that was found."""
    return {f.kind for f in report.findings}


@contextmanager
def undone(store: Store) -> Iterator[None]:
    """Put the control database and the keys back as they were, whatever happens to them meanwhile."""
    copy = store.keys.with_name("keys-before")
    shutil.copytree(store.keys, copy)
    with store.control.reading() as tx:
        before = {t.name: [dict(r._mapping) for r in tx.execute(sa.select(t))] for t in KEPT}
    try:
        yield
    finally:
        with store.control.transaction() as tx:
            for table in KEPT:
                tx.execute(sa.delete(table))
                if before[table.name]:
                    tx.execute(sa.insert(table), before[table.name])
        shutil.rmtree(store.keys)
        copy.replace(store.keys)


def run(store: Store, *statements: sa.Executable) -> None:
    """Change the control database."""
    with store.control.transaction() as tx:
        for statement in statements:
            tx.execute(statement)


def leaves(store: Store) -> list[Leaf]:
    """Return the stored entries."""
    return [one.leaf for one in log_of(store).entries()]


def put(store: Store, number: int, leaf: Leaf) -> None:
    """Store an entry in place of another, or as a new one."""
    c, values = schema.ledger_entries.c, {"fleet": FLEET, "number": number}
    run(
        store,
        sa.delete(schema.ledger_entries).where(c.fleet == FLEET, c.number == number),
        sa.insert(schema.ledger_entries).values(values | dataclasses.asdict(leaf)),
    )


def put_all(store: Store, entries: Sequence[Leaf]) -> None:
    """Store entries in place of all that there are, with their tiles and their number."""
    rows = [
        {"fleet": FLEET, "number": n, **dataclasses.asdict(leaf)} for n, leaf in enumerate(entries)
    ]
    with store.control.transaction() as tx:
        tx.execute(sa.delete(schema.ledger_entries))
        tx.execute(sa.insert(schema.ledger_entries), rows)
        tx.execute(sa.update(schema.ledgers).values(size=len(entries)))
    put_tiles(store)


def put_tiles(store: Store) -> None:
    """Store the tiles that the stored entries lead to."""
    hashes = [leaf_hash(leaf.entry) for leaf in leaves(store)]
    rows = [
        {"fleet": FLEET, "level": level, "number": number, "hashes": tile}
        for level, number, tile in tiles_of(hashes)
    ]
    with store.control.transaction() as tx:
        tx.execute(sa.delete(schema.ledger_tiles))
        tx.execute(sa.insert(schema.ledger_tiles), rows)


def sign_again(store: Store, keys: Keys, *, extra: Sequence[int] = ()) -> None:
    """Sign the stored entries anew, at the sizes that the log was signed at, and others."""
    hashes = [leaf_hash(leaf.entry) for leaf in leaves(store)]
    sizes = {*(c.size for c in checkpoints_of(store)), *extra}
    for size in sorted(s for s in sizes if s <= len(hashes)):
        checkpoint = Checkpoint(f"esn/fleet/{FLEET}", size, root_of(hashes[:size]))
        put_note(store, size, signed(checkpoint, keys, time=1_800_000_000).content)


def put_note(store: Store, size: int, note: str) -> None:
    """Store a checkpoint's note."""
    c = schema.ledger_checkpoints.c
    values = {"fleet": FLEET, "size": size, "note": note, "created_at": 0}
    run(
        store,
        sa.delete(schema.ledger_checkpoints).where(c.fleet == FLEET, c.size == size),
        sa.insert(schema.ledger_checkpoints).values(values),
    )


def other_row(leaf: Leaf, health: str = "0.25") -> Row:
    """Return the row of an entry with another health."""
    content = canonical(read_entry(leaf.entry)["row"]).decode()
    assert leaf.window_start is not None
    own = content.split('"fleet_health":')[1].split(",")[0]
    return Row(
        leaf.window_start, content.replace(f'"fleet_health":{own}', f'"fleet_health":{health}')
    )


def forged(leaf: Leaf, number: int, *, health: str = "0.25") -> Leaf:
    """Return an entry with another health, with all that is stored beside it fitting."""
    before = read_entry(leaf.entry)["supersedes"]
    assert leaf.revision is not None
    return KpiEntry(FLEET, other_row(leaf, health), leaf.revision, before).at(number)


def at_number(leaf: Leaf, number: int) -> Leaf:
    """Return an entry as it would be under another number."""
    content = read_entry(leaf.entry)
    if leaf.window_start is not None and leaf.revision is not None:
        row = Row(leaf.window_start, canonical(content["row"]).decode())
        return KpiEntry(FLEET, row, leaf.revision, content["supersedes"]).at(number)
    rest = {k: v for k, v in content.items() if k not in ("fleet", "index", "kind")}
    return RareEntry(FLEET, leaf.kind, rest).at(number)


def new_row(window: int, number: int) -> Leaf:
    """Return the entry of a window that was never computed."""
    start = fw.window(window)
    template = f'{{"fleet_health":0.5,"window_end":"{iso(start + fw.HOURS)}","window_start":"{iso(start)}"}}'
    return KpiEntry(FLEET, Row(start, template), 0, None).at(number)


def put_rows(store: Store, healths: fw.Healths) -> None:
    """Put rows into the lake, past the door."""
    write_deltalake(store.lake.uri(FLEET_KPI), fw.rows(healths), mode="append")


def drop_rows(store: Store, first: int, end: int) -> None:
    """Take the rows of some windows out of the lake, past the door."""
    low, high = (instant_text(fw.window(n)) for n in (first, end))
    store.lake.open(FLEET_KPI).delete(f"window_start >= {low} AND window_start < {high}")
