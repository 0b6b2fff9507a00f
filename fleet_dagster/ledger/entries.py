"""Entries: what the ledger records, as canonical JSON; the bytes that are stored are the bytes that are hashed.

Canonical form: A. Rundgren, B. Jordan, S. Erdtman, "JSON Canonicalization Scheme (JCS)", RFC 8785, 2020 (doi:10.17487/RFC8785).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import rfc8785

from fleet_dagster.core.windows import Span, iso
from fleet_dagster.ledger.log import Leaf
from fleet_dagster.model.tables import FLEET_KPI

KPI, MATERIALIZATION, RETENTION, KEY_ROTATION = (
    "kpi",
    "materialization",
    "retention",
    "key_rotation",
)
KINDS = (KPI, MATERIALIZATION, RETENTION, KEY_ROTATION)
_EXACT, _EXACT_DIGITS = 2**53, 16
"""Integers below this, which has so many digits, are doubles too."""
RECORDED = tuple(c.name for c in FLEET_KPI.columns if c.name not in ("fleet", "day"))
"""Columns of fleet_kpi that an entry holds: the fleet is named beside the row, and the day follows from the window."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of fleet_kpi as an entry holds it."""

    window_start: int
    content: str
    """The row in canonical JSON."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        return hashlib.sha256(self.content.encode()).digest()


@dataclass(frozen=True, slots=True)
class KpiEntry:
    """The entry of a row, wherever in the log it stands."""

    fleet: str
    row: Row
    revision: int
    """How often the window had been restated, or removed, when the row was written: it grows from row to row of a window."""
    supersedes: int | None
    """Number of the entry with the window's row before; None for its first."""

    def at(self, number: int) -> Leaf:
        """Return the entry as number `number` of the log."""
        head, tail = kpi_frame(self.fleet, number, self.revision, self.supersedes)
        entry = f"{head}{self.row.content}{tail}".encode()
        return Leaf(entry, KPI, self.row.window_start, self.revision, self.row.digest)


@dataclass(frozen=True, slots=True)
class RareEntry:
    """An entry of another kind, wherever in the log it stands."""

    fleet: str
    kind: str
    content: Mapping[str, Any]  # Any: what JSON can hold

    def at(self, number: int) -> Leaf:
        """Return the entry as number `number` of the log."""
        whole = {**self.content, "fleet": self.fleet, "index": number, "kind": self.kind}
        return Leaf(canonical(whole), self.kind)


def kpi_frame(fleet: str, number: int, revision: int, supersedes: int | None) -> tuple[str, str]:
    """Return what stands before and after the row in its entry: all keys are in the order of RFC 8785."""
    before = "null" if supersedes is None else supersedes
    head = f'{{"fleet":"{fleet}","index":{number},"kind":"{KPI}","revision":{revision},"row":'
    return head, f',"supersedes":{before}}}'


def canonical(content: object) -> bytes:
    """Return canonical JSON of what JSON can hold."""
    return rfc8785.dumps(content)  # type: ignore[arg-type] # whatever it refuses, it refuses in words


def read_entry(entry: bytes) -> dict[str, Any]:  # Any: what JSON can hold
    """Read an entry.

    Raises
    ------
    ValueError
        It is no JSON object, or not in canonical form: other bytes could say the same.
    """
    try:
        found = json.loads(entry, parse_int=_number)
    except RecursionError:
        msg = "it is nested too deeply"
        raise ValueError(msg) from None
    if not isinstance(found, dict) or canonical(found) != entry:
        msg = "it is no JSON object in canonical form (RFC 8785)"
        raise ValueError(msg)
    return found


def removed(content: Mapping[str, Any]) -> Span | None:  # Any: what JSON can hold
    """Return what an entry of retention says was removed; None where it does not say so as we do."""
    try:
        found = Span(*(_us(content[key]) for key in ("from", "to")))
        fits = [iso(found.start), iso(found.end)] == [content["from"], content["to"]]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return found if fits and found.start < found.end else None


def _us(stamp: str) -> int:
    return int(np.datetime64(stamp.removesuffix("Z"), "us").astype(np.int64))


def _number(text: str) -> int | float:
    """Read an integer as what it was written from: beyond what a double holds exactly, that was no integer."""
    return (
        float(text)
        if len(text.lstrip("-")) > _EXACT_DIGITS or abs(int(text)) >= _EXACT
        else int(text)
    )


class Rows:
    """Rows of fleet_kpi in canonical JSON, made column by column: ten times as fast as one by one."""

    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows in their order."""
        starts = self.rows.column("window_start").cast(pa.int64()).to_pylist()
        for start, values in zip(starts, zip(*self._columns, strict=True), strict=True):
            yield Row(start, self._template % values)

    @cached_property
    def _columns(self) -> list[list[str]]:
        return [_texts(self.rows.column(name)) for name in sorted(RECORDED)]

    @cached_property
    def _template(self) -> str:
        return "{" + ",".join(f'"{name}":%s' for name in sorted(RECORDED)) + "}"


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Return a column's values in canonical JSON."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        instants = column.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
        return [f'"{iso(int(at))}"' for at in instants]
    write = _writer(column.type)
    return ["null" if value is None else write(value) for value in column.to_pylist()]


def _writer(kind: pa.DataType) -> Callable[[Any], str]:  # Any: a value of that type
    if pa.types.is_floating(kind):
        return number_text
    if pa.types.is_integer(kind):
        return str
    return _text


def number_text(value: float) -> str:
    """Return a number as ECMAScript writes it, which RFC 8785 asks for: the shortest digits that read back the same.

    Raises
    ------
    ValueError
        It is not finite: JSON has no such number.
    """
    text = repr(value)
    if text.endswith(".0"):
        return "0" if value == 0 else text[:-2]
    if "e" in text or "n" in text:
        if not np.isfinite(value):
            msg = f"found {value}, expected a finite number"
            raise ValueError(msg)
        return canonical(value).decode()
    return text


def _text(value: str) -> str:
    return canonical(value).decode()


def numbered(entries: Sequence[KpiEntry | RareEntry], first: int) -> list[Leaf]:
    """Return entries as the log's next, from number `first` on."""
    return [entry.at(number) for number, entry in enumerate(entries, start=first)]
