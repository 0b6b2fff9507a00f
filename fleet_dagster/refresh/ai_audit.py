"""`ai_audit`: recorded answers, a sample or all that are new, asked for again and compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.slots import opened
from fleet_dagster.core.sampling import unit_hash
from fleet_dagster.core.windows import HOUR, SECOND, Span, gaps, union
from fleet_dagster.model.lookbacks import feature_windows
from fleet_dagster.model.tables import AI_INFERENCE, ANOMALY_SCORE, SITE_KPI
from fleet_dagster.nodes.ai_inference import ai_inference
from fleet_dagster.refresh.refresh import Block, Refresh
from fleet_dagster.storage.maintenance import removed_days

TOLERANCE = 1e-6
"""Difference of predictions that float32 models may show from machine to machine."""
_KEYS = ["window_start", "slot_id", "site_id"]
_COMPARED = ("model_id", "version", "model_digest", "input_digest")
Progress = Callable[[int, int], None]
"""Called after each piece that was asked about, with the pieces done and all of them."""


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
    n_gone: int = 0
    """Windows that cannot be asked about again: their telemetry has expired, and site rows no longer stand."""


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
    interval = refresh.config.interval_s * SECOND
    stored = refresh.store.history.coverage.covered(AI_INFERENCE.name, refresh.name, span)
    starts = [int(t) for one in stored for t in one.span.clip(span).starts(interval)]
    chosen = sorted(starts, key=lambda t: unit_hash(refresh.name, seed, t))[:n_windows]
    return _asked_again(
        refresh, span, [Span(t, t + interval) for t in sorted(chosen)], progress=progress
    )


def audit_all(
    refresh: Refresh, span: Span, *, progress: Progress = lambda _done, _total: None
) -> Audit:
    """Ask again about every window of a span, an hour at a time; see `audit`."""
    stored = refresh.store.history.coverage.covered(AI_INFERENCE.name, refresh.name, span)
    pieces = [hour for one in union([s.span for s in stored]) for hour in one.steps(HOUR)]
    return _asked_again(refresh, span, pieces, progress=progress)


def _asked_again(
    refresh: Refresh, span: Span, pieces: Sequence[Span], *, progress: Progress
) -> Audit:
    interval = refresh.config.interval_s * SECOND
    n_windows, n_answers, n_gone, found = 0, 0, 0, list[Difference]()
    with opened(ModelFolder(refresh.store.models)) as slots:
        for n, piece in enumerate(pieces, start=1):
            block = Block.now(refresh.store, refresh.config)
            n_piece = len(piece.starts(interval))
            if _is_gone(refresh, block, piece):
                n_gone += n_piece
            else:
                again = ai_inference(refresh.routed(block, piece, stored=False), slots)
                recorded = refresh.store.frame(AI_INFERENCE, refresh.name, piece)
                answers = recorded[(recorded["outcome"] == "ok").to_numpy(np.bool_)]
                n_windows, n_answers = n_windows + n_piece, n_answers + len(answers)
                found += _differences(answers, again)
            progress(n, len(pieces))
    return Audit(refresh.name, span, n_windows, n_answers, tuple(found), n_gone)


def _is_gone(refresh: Refresh, block: Block, piece: Span) -> bool:
    """Tell whether inputs would have to be computed from telemetry that has been removed."""
    reach = feature_windows(block.fleet, piece.start, piece.end) * block.fleet.interval
    wanted, covered = piece.widen(before=reach), refresh.store.history.coverage.covered
    missing: list[Span] = []
    for table in (SITE_KPI, ANOMALY_SCORE):
        stands = [one.span for one in covered(table.name, refresh.name, wanted)]
        missing += [*block.currency.stale(table, wanted), *gaps(wanted, stands)]
    return any(removed_days(refresh.store, refresh.name, span) for span in union(missing))


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
