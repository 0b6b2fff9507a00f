"""Whether a reported carbon intensity can be right."""

import numpy as np

from fleet_dagster.ai.backends import Rows
from fleet_dagster.ai.inputs import Grid
from fleet_dagster.reference_models.estimators import network_probability
from fleet_dagster.reference_models.figures import of_probabilities
from fleet_dagster.reference_models.recipe import Recipe, Rule, Values
from fleet_dagster.reference_models.simulated_weeks import SimulatedWeek

CARBON = "carbon_kg_mwh"
WRONG_SIGMA = 3.0
"""Deviation from which a reading counts as wrong."""


def is_wrong(week: SimulatedWeek) -> Grid:
    """Return 1 where the reading is far from what it were without faults; NaN where there is none."""
    off = np.abs(week.own(CARBON) - week.sound(CARBON))
    return np.where(np.isnan(off), np.nan, off >= WRONG_SIGMA * week.noise(CARBON))


def level(_x: Rows, _y: Values) -> Rule:
    """Return the rule that the higher a reading is, the likelier it is wrong."""
    return lambda rows: np.nan_to_num(rows[:, 0].astype(np.float64))


CARBON_VALIDATOR = Recipe(
    name="carbon_validator",
    title="Carbon validator",
    predicts="The probability that the reported carbon intensity is wrong, given what else the site reports.",
    label=(
        "1 where the reported carbon intensity is off by at least three standard deviations of its noise (18 kg/MWh) from that of "
        "the same simulation without any planted fault"
    ),
    advice=(
        "It finds readings that do not fit the plant. Whether the meter or the combustion is at fault it does not tell.",
        "A drift slower than two hours is only seen once it is large: half of what it looks at is the site's own recent past.",
        "It is no proof for an emissions report: it bounds no error, it points at readings to look into.",
    ),
    features=(
        "carbon_kg_mwh",
        "mean(carbon_kg_mwh, 120)",
        "min(carbon_kg_mwh, 10)",
        "max(carbon_kg_mwh, 10)",
        "net_output_mw",
        "mean(net_output_mw, 120)",
        "steam_pressure_bar",
        "mean(steam_pressure_bar, 120)",
        "heat_rate_kj_kwh",
        "exhaust_temp_c",
        "fuel_flow_t_h",
        "nox_mg_m3",
    ),
    output="probability",
    backend="onnx",
    domain="environmental",
    missing="refuse",
    estimator=network_probability,
    target=is_wrong,
    figures=of_probabilities,
    rule_words="the reading itself: the higher, the likelier wrong",
    rule_features=(CARBON,),
    rule=level,
)
