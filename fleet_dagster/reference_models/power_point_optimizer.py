"""What a site could give right now, were nothing wrong with it."""

from functools import partial

import numpy as np

from fleet_dagster.ai.backends import Rows
from fleet_dagster.ai.inputs import Grid
from fleet_dagster.reference_models.estimators import network_value
from fleet_dagster.reference_models.figures import of_values
from fleet_dagster.reference_models.recipe import Recipe, Rule, Values
from fleet_dagster.reference_models.simulated_weeks import SimulatedWeek

OUTPUT = "net_output_mw"
RANGE_MW = 60.0
_SIZE_SIGMA = 3.0


def sound_output(week: SimulatedWeek) -> Grid:
    """Return the output of the same site and window had nothing been planted."""
    return week.sound(OUTPUT)


def is_disturbed(week: SimulatedWeek) -> Grid:
    """Return 1 where a fault moves the output."""
    return np.where(
        np.abs(week.own(OUTPUT) - week.sound(OUTPUT)) >= _SIZE_SIGMA * week.noise(OUTPUT), 1.0, 0.0
    )


def actual_output(_x: Rows, _y: Values) -> Rule:
    """Return the rule that a site gives what it can."""
    return lambda rows: rows[:, 0].astype(np.float64)


POWER_POINT_OPTIMIZER = Recipe(
    name="power_point_optimizer",
    title="Power-point optimizer",
    predicts=(
        "The net output that the site could give in the present conditions were it sound, as a share of the KPI's range "
        "(0 = `lo`, 1 = `hi`; times 60 MW in the simulator). What it lies above the actual output is the site's potential."
    ),
    label="the net output of the same site in the same window of the same simulation without any planted fault",
    advice=(
        "A potential below 1 MW is within its error: act on those that last.",
        "It infers the load from fuel, steam and heat rate. A fault that moves all of them at once misleads it.",
        "It knows nothing of orders: a site that is throttled on purpose, its steam still up, shows a potential too.",
    ),
    features=(
        "net_output_mw",
        "fuel_flow_t_h",
        "steam_pressure_bar",
        "heat_rate_kj_kwh",
        "reactive_power_mvar",
        "carbon_kg_mwh",
        "region(net_output_mw)",
        "mean(net_output_mw, 120)",
        "mean(fuel_flow_t_h, 120)",
        "mean(steam_pressure_bar, 120)",
        "mean(heat_rate_kj_kwh, 120)",
        "mean(carbon_kg_mwh, 120)",
    ),
    output="value",
    backend="onnx",
    domain="electrical",
    missing="refuse",
    confidence_threshold=0.0,
    estimator=network_value,
    target=sound_output,
    figures=partial(of_values, unit="MW", scale=RANGE_MW),
    rule_words="the actual output: no site has a potential",
    rule_features=(OUTPUT,),
    rule=actual_output,
    focus=is_disturbed,
    focus_words="windows in which a fault moves the output",
)
