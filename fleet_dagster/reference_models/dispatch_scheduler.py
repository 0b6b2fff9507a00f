"""Which output a dispatcher can count on in an hour."""

from functools import partial

import numpy as np

from fleet_dagster.ai.backends import Rows
from fleet_dagster.ai.inputs import Grid
from fleet_dagster.reference_models.estimators import boosted_lower_quantile
from fleet_dagster.reference_models.figures import of_lower_quantiles
from fleet_dagster.reference_models.power_point_optimizer import OUTPUT, RANGE_MW
from fleet_dagster.reference_models.recipe import Recipe, Rule, Values
from fleet_dagster.reference_models.simulated_weeks import SimulatedWeek

AHEAD_WINDOWS = 60
SHARE = 0.1
"""Share of the windows in which the site may give less."""


def output_ahead(week: SimulatedWeek) -> Grid:
    """Return the output that came an hour later; NaN where none was reported, and in the last hour."""
    own = week.own(OUTPUT)
    found = np.full(own.shape, np.nan)
    found[:, :-AHEAD_WINDOWS] = own[:, AHEAD_WINDOWS:]
    return found


def present_less_margin(x: Rows, y: Values) -> Rule:
    """Return the rule that a site gives as much as now, less a margin that nine in ten hours kept."""
    margin = np.nanquantile(y - x[:, 0], SHARE)
    usual = np.nanquantile(y, SHARE)
    return lambda rows: np.where(np.isnan(rows[:, 0]), usual, rows[:, 0] + margin)


DISPATCH_SCHEDULER = Recipe(
    name="dispatch_scheduler",
    title="Dispatch scheduler",
    predicts=(
        "The net output that the site will reach or exceed in an hour with a probability of 90 %, as a share of the KPI's range "
        "(0 = `lo`, 1 = `hi`; times 60 MW in the simulator)."
    ),
    label="the lower decile of the net output that was reported 60 windows later, faults included",
    advice=(
        "An hour is 60 windows of a minute. In windows of another length it looks another time ahead: train your own.",
        "Nine in ten windows keep the promise, site by site. Several sites fall short together in bad weather: their sum is less safe.",
        "It knows daily rhythms of the fleet that it learnt from. Maintenance plans and holidays it does not know.",
    ),
    features=(
        "net_output_mw",
        "mean(net_output_mw, 10)",
        "net_output_mw@60",
        "net_output_mw@119",
        "slope(net_output_mw, 20)",
        "slope(net_output_mw, 60)",
        "region(net_output_mw)",
        "fuel_flow_t_h",
        "steam_pressure_bar",
        "site.fault_count",
        "time.hour_sin",
        "time.hour_cos",
    ),
    output="value",
    domain="electrical",
    confidence_threshold=0.0,
    estimator=partial(boosted_lower_quantile, SHARE),
    target=output_ahead,
    figures=partial(of_lower_quantiles, share=SHARE, unit="MW", scale=RANGE_MW),
    rule_words="the present output, less the margin that 90 % of the training windows kept",
    rule_features=(OUTPUT,),
    rule=present_less_margin,
)
