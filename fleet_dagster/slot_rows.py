"""What a slot would have been fed in the past: the rows to train your own model on."""

from collections.abc import Sequence

import pandas as pd

from fleet_dagster.ai.inputs import SlotInputs
from fleet_dagster.ai.router import question
from fleet_dagster.core.windows import Span
from fleet_dagster.frames.columns import microseconds, stamps
from fleet_dagster.model.errors import ModelError, SpanError
from fleet_dagster.model.features import reach_of, unknown_sources
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.pipeline import Evaluation

_UNLIMITED_HZ = 1e9


def slot_rows(result: Evaluation, features: Sequence[str]) -> pd.DataFrame:
    """Return `site_id`, `window_start` and one column for each feature, for the published site-windows of an evaluation.

    They are computed as for a slot, so a model is trained on what it will be asked about. The first windows serve as the past
    of those that follow. KPIs are normalised: 0 is `lo`, 1 is `hi`.

    Raises
    ------
    ModelError
        A feature reads what the fleet does not report.
    SpanError
        The evaluation is shorter than what the features look back.
    """
    fleet = result.fleet
    unknown = unknown_sources(features, fleet.config.kpi_names)
    if unknown:
        known = ", ".join(fleet.config.kpi_names)
        raise ModelError(f"features {unknown}", "are no KPIs of the fleet", f"It reports: {known}")
    starts = microseconds(result.site_kpi["window_start"])
    reach = reach_of(features)
    first, last = (int(starts.min()), int(starts.max())) if starts.size else (0, -1)
    if last - first < reach * fleet.interval:
        raise SpanError(
            f"the features look back {reach} windows, the evaluation has fewer. Evaluate a longer span"
        )
    span = Span(first + reach * fleet.interval, last + fleet.interval)
    inputs = SlotInputs.of(
        fleet,
        result.site_kpi,
        result.anomaly_score,
        result.site_assignment,
        span,
        reach=reach,
    )
    slot = AIModelSlot(slot_id=0, model_id="training", rate_limit_hz=_UNLIMITED_HZ)
    asked = question(inputs, slot, span)
    rows = pd.DataFrame(inputs.matrix(features, asked.site, asked.window), columns=list(features))
    names = [site.site_id for site in fleet.sites]
    rows.insert(0, "site_id", [names[site] for site in asked.site.tolist()])
    rows.insert(1, "window_start", stamps(span.start + asked.window * fleet.interval))
    return rows
