"""What models answered before: recorded observations, which are not asked for again."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fleet_dagster.core.windows import Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.model.tables import AI_INFERENCE

KNOWN_COLUMNS: Sequence[str] = (
    "window_start",
    "slot_id",
    "site_id",
    "model_id",
    "version",
    "outcome",
    "prediction",
    "confidence",
    "latency_us",
    "input_digest",
    "model_digest",
)
"""Columns of stored rows that are looked at."""
_HEX = np.frombuffer("".join(f"{n:02x}" for n in range(256)).encode(), dtype=np.uint16)
"""Both digits of each octet."""
_DIGITS = 16


@dataclass(frozen=True)
class Known:
    """Answers by slot, window and site; arrays of shape (n_rows,) over the stored rows with outcome ok."""

    shape: tuple[int, int]
    """Windows of the span, sites of the fleet."""
    slot_id: NDArray[np.int64]
    cell: NDArray[np.int64]
    model: NDArray[np.str_]
    digest: NDArray[np.uint64]
    prediction: NDArray[np.float64]
    confidence: NDArray[np.float64]
    latency_us: NDArray[np.int64]
    _places: dict[int, NDArray[np.int64]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, fleet: Fleet, span: Span, stored: pd.DataFrame) -> "Known":
        """Index the stored rows of a span."""
        rows = stored[(stored["outcome"] == "ok").to_numpy(np.bool_)]
        site = frames.codes_of(rows["site_id"], fleet.site_numbers)
        window = (frames.microseconds(rows["window_start"]) - span.start) // fleet.interval
        n_windows = (span.end - span.start) // fleet.interval
        keep = (site >= 0) & (window >= 0) & (window < n_windows)
        rows = rows[keep]
        named = [
            rows[n].astype("str").to_numpy(str) for n in ("model_id", "version", "model_digest")
        ]
        model = (
            np.char.add(
                np.char.add(named[0], "\x1f"), np.char.add(np.char.add(named[1], "\x1f"), named[2])
            )
            if len(rows)
            else np.empty(0, dtype=str)
        )
        return cls(
            shape=(n_windows, len(fleet.sites)),
            slot_id=rows["slot_id"].to_numpy(np.int64),
            cell=(window * len(fleet.sites) + site)[keep],
            model=model,
            digest=numbers_of(rows["input_digest"]),
            prediction=rows["prediction"].to_numpy(np.float64),
            confidence=rows["confidence"].to_numpy(np.float64),
            latency_us=rows["latency_us"].to_numpy(np.int64),
        )

    @classmethod
    def nothing(cls, fleet: Fleet, span: Span) -> "Known":
        """Return that nothing was answered before."""
        return cls.of(fleet, span, frames.empty_frame(AI_INFERENCE))

    def find(
        self,
        slot: AIModelSlot,
        model_digest: str,
        window: NDArray[np.int64],
        site: NDArray[np.int64],
        digest: NDArray[np.uint64],
    ) -> NDArray[np.int64]:
        """Return the row that answers each site-window from equal inputs by an equal model; -1 where none does."""
        if not self.cell.size:
            return np.full(site.size, -1, dtype=np.int64)
        place = self._place_of(slot.slot_id)[window * self.shape[1] + site]
        same = self.model[place] == f"{slot.model_id}\x1f{slot.version}\x1f{model_digest}"
        is_known = (place >= 0) & same & (self.digest[place] == digest)
        return np.where(is_known, place, -1)

    def _place_of(self, slot_id: int) -> NDArray[np.int64]:
        if slot_id not in self._places:
            places = np.full(self.shape[0] * self.shape[1], -1, dtype=np.int64)
            own = np.flatnonzero(self.slot_id == slot_id)
            places[self.cell[own]] = own
            self._places[slot_id] = places
        return self._places[slot_id]


def hex_of(numbers: NDArray[np.uint64], is_null: NDArray[np.bool_]) -> "pd.Series[str]":
    """Return numbers as 16 hex digits each."""
    octets = numbers.astype(">u8").view(np.uint8).reshape(-1, 8)
    digits = _HEX[octets]
    sizes = np.where(is_null, 0, _DIGITS)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    text = np.ascontiguousarray(digits[~is_null] if is_null.any() else digits)
    valid = pa.py_buffer(np.packbits(~is_null, bitorder="little").tobytes())
    made = pa.StringArray.from_buffers(
        len(numbers), pa.py_buffer(offsets), pa.py_buffer(text), valid, int(is_null.sum())
    )
    return pd.Series(made, dtype=pd.ArrowDtype(pa.string()))


def numbers_of(column: "pd.Series[str]") -> NDArray[np.uint64]:
    """Return the numbers of 16 hex digits each; 0 for null."""
    filled = column.fillna("0" * _DIGITS).astype("str").to_numpy(dtype=f"S{_DIGITS}")
    if not filled.size:
        return np.empty(0, dtype=np.uint64)
    digits = np.frombuffer(filled.tobytes(), dtype=np.uint8).reshape(-1, _DIGITS)
    values = np.where(digits < ord("a"), digits - ord("0"), digits - (ord("a") - 10)).astype(
        np.uint64
    )
    shifts = np.arange(_DIGITS - 1, -1, -1, dtype=np.uint64) * np.uint64(4)
    return np.asarray(np.sum(values << shifts, axis=1, dtype=np.uint64))
