"""How each AI slot does over some windows: what became of its questions, and why some have no answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fleet_dagster.ai.answers import ABSENT, NOT_ASKED
from fleet_dagster.model.tables import OUTCOMES
from fleet_dagster.views.score_figures import Figures

SLOT_COLUMNS = (
    "slot_id",
    "model_id",
    "version",
    "outcome",
    "accepted",
    "error",
    "latency_us",
)
_HEAD = ("slot", "model", "version", *OUTCOMES, "accepted", "latency", "why")


@dataclass(frozen=True, slots=True)
class SlotHealth:
    """One slot and version of a model over some windows."""

    slot_id: int
    model_id: str
    version: str
    counts: dict[str, int]
    """Rows by outcome."""
    n_accepted: int
    latency_us: float | None
    """Mean over its answers. [us]"""
    why: tuple[tuple[str, int], ...]
    """Reasons for which it gave no answer and how often, the most frequent first."""

    @property
    def n_ill(self) -> int:
        """Questions that the slot itself left without an answer: failed or late, and not for want of an input."""
        silent = self.counts["failed"] + self.counts["timed_out"]
        return silent - sum(n for reason, n in self.why if reason == ABSENT)

    @property
    def n_asked(self) -> int:
        """Questions within the rate limit."""
        return sum(self.counts[name] for name in ("ok", "failed", "timed_out"))

    def __str__(self) -> str:
        reasons = [reason for reason, _ in self.why if reason not in (ABSENT, NOT_ASKED)]
        return (
            f"slot {self.slot_id} ({self.model_id} {self.version}): {self.n_ill} of {self.n_asked} "
            f"without an answer; {reasons[0] if reasons else 'no reason recorded'}"
        )


def slot_health(rows: pa.Table) -> list[SlotHealth]:
    """Sum up rows of `ai_inference`, slot by slot and version by version."""
    plain = {name: _plain(rows[name]) for name in SLOT_COLUMNS}
    groups = pa.table(plain).group_by(["slot_id", "model_id", "version", "outcome", "error"])
    parts = groups.aggregate(
        [("accepted", "sum"), ("latency_us", "sum"), ("latency_us", "count"), ([], "count_all")]
    )
    found: dict[tuple[int, str, str], list[dict[str, object]]] = {}
    for part in parts.to_pylist():
        found.setdefault((part["slot_id"], part["model_id"], part["version"]), []).append(part)
    return [_health(key, own) for key, own in sorted(found.items())]


def slot_figures(rows: pa.Table) -> Figures:
    """Return the figures of one partition: outcomes, and which slots are ill and why."""
    health = slot_health(rows)
    ill = [one for one in health if one.n_ill]
    return {
        **{f"outcome_{name}": sum(one.counts[name] for one in health) for name in OUTCOMES},
        "accepted": sum(one.n_accepted for one in health),
        "slots_ill": len({one.slot_id for one in ill}),
        "ill_because": "\n".join(str(one) for one in ill) or "none",
    }


def slot_table(health: Sequence[SlotHealth]) -> str:
    """Return a Markdown table of slots."""
    if not health:
        return "No AI model is registered."
    lines = [_HEAD, ("---",) * len(_HEAD), *_lines(health)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _lines(health: Sequence[SlotHealth]) -> Iterator[tuple[str, ...]]:
    for one in health:
        latency = "" if one.latency_us is None else f"{one.latency_us:,.0f} us"
        why = "; ".join(f"{reason} ({n})" for reason, n in one.why[:2])
        cells = (
            str(one.slot_id),
            one.model_id,
            one.version,
            *(str(one.counts[name]) for name in OUTCOMES),
            str(one.n_accepted),
            latency,
            why,
        )
        yield tuple(cell.replace("|", "\\|") for cell in cells)


def _health(key: tuple[int, str, str], parts: Sequence[dict[str, object]]) -> SlotHealth:
    counts = dict.fromkeys(OUTCOMES, 0)
    reasons: dict[str, int] = {}
    total, number, accepted = 0, 0, 0
    for part in parts:
        n = _int(part["count_all"])
        counts[str(part["outcome"])] += n
        accepted += _int(part["accepted_sum"])
        if part["error"] is not None:
            reasons[str(part["error"])] = reasons.get(str(part["error"]), 0) + n
        if part["outcome"] == "ok":
            total += _int(part["latency_us_sum"])
            number += _int(part["latency_us_count"])
    why = tuple(sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0])))
    return SlotHealth(*key, counts, accepted, total / number if number else None, why)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    is_coded = pa.types.is_dictionary(column.type)
    return pc.cast(column, column.type.value_type) if is_coded else column


def _int(value: object) -> int:
    return int(str(value)) if value is not None else 0
