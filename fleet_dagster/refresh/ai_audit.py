"""`ai_audit`: a sample of recorded answers, asked for again and compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.slots import opened
from fleet_dagster.core.sampling import unit_hash
from fleet_dagster.core.windows import Span
from fleet_dagster.model.tables import AI_INFERENCE
from fleet_dagster.nodes.ai_inference import ai_inference
from fleet_dagster.refresh.refresh import Block, Refresh

TOLERANCE = 1e-6
"""Difference of predictions that float32 models may show from machine to machine."""
_KEYS = ["window_start", "slot_id", "site_id"]
_COMPARED = ("model_id", "version", "model_digest", "input_digest")
Progress = Callable[[int, int], None]
"""Called after each window with the windows done and all of them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One recorded answer that is not given again."""

    window_start: pd.Timestamp
    slot_id: int
    site_id: str
    what: str
    """The first of model, input or prediction that differs."""
    recorded: str
    found: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What asking again has shown."""

    fleet: str
    span: Span
    n_windows: int
    n_answers: int
    """Recorded answers with outcome ok that were asked for again."""
    differences: tuple[Difference, ...]


def audit(
    refresh: Refresh,
    span: Span,
    *,
    n_windows: int = 24,
    seed: str = "",
    progress: Progress = lambda _done, _total: None,
) -> Audit:
    """Ask again about some windows of a span, chosen by hash, and compare with what is recorded; writes nothing.

    Inputs are computed from site rows as they stand, models are those of the registry as of each window.
    """
    interval = refresh.config.interval_s * 1_000_000
    stored = refresh.store.history.coverage.covered(AI_INFERENCE.name, refresh.name, span)
    starts = [int(t) for one in stored for t in one.span.clip(span).starts(interval)]
    chosen = sorted(sorted(starts, key=lambda t: unit_hash(refresh.name, seed, t))[:n_windows])
    n_answers, found = 0, list[Difference]()
    with opened(ModelFolder(refresh.store.models)) as slots:
        for n, start in enumerate(chosen, start=1):
            window = Span(start, start + interval)
            block = Block.now(refresh.store, refresh.config)
            routed = refresh.routed(block, window, stored=False)
            again = ai_inference(routed, slots)
            recorded = refresh.store.frame(AI_INFERENCE, refresh.name, window)
            answers = recorded[(recorded["outcome"] == "ok").to_numpy(np.bool_)]
            n_answers += len(answers)
            found += _differences(answers, again)
            progress(n, len(chosen))
    return Audit(refresh.name, span, len(chosen), n_answers, tuple(found))


def _differences(recorded: pd.DataFrame, again: pd.DataFrame) -> Sequence[Difference]:
    if recorded.empty:
        return []
    plain = [
        frame.astype({"site_id": "str", "outcome": "str", **dict.fromkeys(_COMPARED, "str")})
        for frame in (recorded, again)
    ]
    both = plain[0].merge(plain[1], on=_KEYS, how="left", suffixes=("", "_again"))
    gap = (both["prediction"] - both["prediction_again"]).abs()
    scale = both["prediction"].abs().clip(lower=1.0)
    off = {
        **{name: both[name] != both[f"{name}_again"] for name in _COMPARED},
        "outcome": both["outcome_again"] != "ok",
        "prediction": ~(gap <= TOLERANCE * scale),
    }
    found = []
    for i in np.flatnonzero(
        np.logical_or.reduce([column.to_numpy(np.bool_) for column in off.values()])
    ):
        what = next(name for name, column in off.items() if column.iloc[i])
        row = both.iloc[i]
        found.append(
            Difference(
                row["window_start"],
                int(row["slot_id"]),
                str(row["site_id"]),
                what,
                str(row[what]),
                str(row[f"{what}_again"]),
            )
        )
    return found
