"""Snapshots as JSON documents, and the difference of two: what a client is sent instead of the whole."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from fleet_dagster.model.snapshot import Snapshot

Document = dict[str, Any]  # Any: JSON
ALWAYS = ("seq", "taken_at", "window")
"""Keys that every update carries."""


def document_of(snapshot: Snapshot) -> Document:
    """Return a snapshot as a document; like `dataclasses.asdict`, but lists of plain values are not copied."""
    return {f.name: _plain(getattr(snapshot, f.name)) for f in fields(snapshot)}


def encoded(document: Mapping[str, Any]) -> bytes:  # Any: JSON
    """Return a document as bytes on one line; NaN has no place in it."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.encode()


def difference(before: Document, after: Document) -> Document | None:
    """Return what turns one document into a later one; None where only the whole does, the list of sites being another."""
    if before["sites"]["site_id"] != after["sites"]["site_id"]:
        return None
    changed = {
        name: value
        for name, value in after.items()
        if name != "sites" and (name in ALWAYS or before[name] != value)
    }
    sites = _changed_sites(before["sites"], after["sites"])
    return {**changed, "sites": sites} if sites else changed


def says_nothing(before: Document, update: Document) -> bool:
    """Tell whether an update carries nothing but that somebody looked, or that something else was committed."""
    return update.keys() <= set(ALWAYS) and update["window"] == before["window"]


def merged(document: Document, update: Document) -> Document:
    """Return a document with an update in it, as a client does it."""
    sites = {name: list(column) for name, column in document["sites"].items()}
    change = update.get("sites", {"at": [], "values": {}})
    for name, values in change["values"].items():
        for row, value in zip(change["at"], values, strict=True):
            sites[name][row] = value
    return {**document, **update, "sites": sites}


def _changed_sites(before: Document, after: Document) -> Document | None:
    """Return the rows that differ, and of these the columns that do."""
    at: set[int] = set()
    names = []
    for name, column in after.items():
        rows = _differing(before[name], column)
        if rows:
            names.append(name)
            at.update(rows)
    if not names:
        return None
    ordered = sorted(at)
    return {"at": ordered, "values": {n: [after[n][row] for row in ordered] for n in names}}


def _differing(before: Sequence[object], after: Sequence[object]) -> list[int]:
    if before == after:
        return []
    pairs = zip(before, after, strict=True)
    return [row for row, (old, new) in enumerate(pairs) if old != new]


def _plain(value: Any) -> Any:  # Any: what a snapshot holds
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value] if value and is_dataclass(value[0]) else list(value)
    return value
