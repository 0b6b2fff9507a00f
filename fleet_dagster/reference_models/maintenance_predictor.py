"""Whether a site wears out, or has a fault that will pass."""

import numpy as np

from fleet_dagster.ai.backends import Rows
from fleet_dagster.ai.inputs import Grid
from fleet_dagster.reference_models.estimators import boosted_probability
from fleet_dagster.reference_models.figures import of_probabilities
from fleet_dagster.reference_models.recipe import Recipe, Rule, Values
from fleet_dagster.reference_models.simulated_weeks import SimulatedWeek

NOTICEABLE_SIGMA = 2.0
"""Drift from which it counts; below, nobody could see it among the noise."""


def wears_out(week: SimulatedWeek) -> Grid:
    """Return 1 where a drift is under way and noticeable."""
    found = week.blank()
    for effect in week.effects:
        if effect.event.kind == "drift":
            is_noticeable = effect.size_sigma >= NOTICEABLE_SIGMA
            found[effect.site, effect.windows] = np.maximum(
                found[effect.site, effect.windows], is_noticeable
            )
    return found


def lasting_anomaly(_x: Rows, _y: Values) -> Rule:
    """Return the rule that a site which has been anomalous for long needs maintenance."""
    return lambda rows: np.nan_to_num(rows[:, 0].astype(np.float64))


MAINTENANCE_PREDICTOR = Recipe(
    name="maintenance_predictor",
    title="Maintenance predictor",
    predicts="The probability that a part of the site is wearing out and will not mend by itself.",
    label=(
        "1 where a planted drift (it grows for one to five days) is under way at the site and has moved its KPIs by at least "
        "two standard deviations of their noise; 0 elsewhere, also under the faults that pass within three hours"
    ),
    advice=(
        "It sees wear that has begun. When a fault will begin it does not know: in the simulator, chance decides that.",
        "It reads two hours of anomaly scores. Where there is no baseline yet, it says little.",
        "After a rebaseline the drift is the new normal, and it falls silent: see to the site first.",
    ),
    features=(
        "site.anomaly_score",
        "min(site.anomaly_score, 30)",
        "min(site.anomaly_score, 120)",
        "mean(site.anomaly_score, 120)",
        "std(site.anomaly_score, 120)",
        "slope(site.anomaly_score, 120)",
        "max(site.status, 30)",
        "mean(site.fault_count, 120)",
        "min(site.uptime_pct, 120)",
        "mean(site.health, 120)",
        "region(site.anomaly_score)",
        "site.baseline_sigma",
    ),
    output="probability",
    estimator=boosted_probability,
    target=wears_out,
    figures=of_probabilities,
    rule_words="the lowest anomaly score of the last two hours, taken as the probability",
    rule_features=("min(site.anomaly_score, 120)",),
    rule=lasting_anomaly,
)
