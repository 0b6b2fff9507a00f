"""Which kind of fault a site has."""

import numpy as np

from fleet_dagster.ai.backends import Rows
from fleet_dagster.ai.inputs import Grid
from fleet_dagster.reference_models.estimators import boosted_residuals
from fleet_dagster.reference_models.figures import of_classes
from fleet_dagster.reference_models.recipe import Recipe, Rule, Values
from fleet_dagster.reference_models.simulated_weeks import SimulatedWeek

CLASSES = ("none", "thermal", "electrical", "mechanical", "environmental")
"""Domains, by the number that stands for each."""
CLEAR_SIGMA = 3.0
"""Size from which a fault that creeps counts."""
FAR = 2.5
"""Standard deviations from which a KPI is out of the ordinary for the rule of thumb."""
_DOMAINS = {
    "thermal_efficiency_pct": 1,
    "steam_pressure_bar": 1,
    "heat_rate_kj_kwh": 1,
    "exhaust_temp_c": 1,
    "net_output_mw": 2,
    "generator_voltage_kv": 2,
    "reactive_power_mvar": 2,
    "bearing_temp_c": 3,
    "vibration_mm_s": 3,
    "oil_pressure_bar": 3,
    "fuel_flow_t_h": 4,
    "nox_mg_m3": 4,
    "carbon_kg_mwh": 4,
}
"""The KPIs looked at, and the class that each speaks for."""


def domain_of_fault(week: SimulatedWeek) -> Grid:
    """Return the class of the fault in effect; of several, that of the one that began last."""
    found = week.blank()
    for effect in week.effects:
        if effect.event.kpis:
            label = CLASSES.index(week.config.kpis[effect.event.kpis[0]].domain)
            before = found[effect.site, effect.windows]
            found[effect.site, effect.windows] = np.where(
                effect.size_sigma >= CLEAR_SIGMA, label, before
            )
    return found


def furthest_kpi(x: Rows, _y: Values) -> Rule:
    """Return the rule that the KPI furthest from its mean names the domain, if it is far at all."""
    centre, spread = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    labels = np.array(list(_DOMAINS.values()), dtype=np.float64)

    def rule(rows: Rows) -> Values:
        far = np.nan_to_num(np.abs((rows - centre) / spread))
        return np.where(far.max(axis=1) > FAR, labels[far.argmax(axis=1)], 0.0)

    return rule


FAULT_CLASSIFIER = Recipe(
    name="fault_classifier",
    title="Fault classifier",
    predicts="The domain of the site's fault: "
    + ", ".join(f"{number} {name}" for number, name in enumerate(CLASSES))
    + ".",
    label=(
        "the domain of the planted fault in effect at the site, of several the one that began last; one that creeps counts from "
        "three standard deviations on"
    ),
    advice=(
        "It names one domain. Of two faults at once it names the clearer one.",
        "Classes count alike in training, so it would rather report a fault too many: look at the confidence.",
        "It takes KPIs as they stand, and knows the simulator's plants. Train your own for plants with other levels.",
    ),
    features=tuple(_DOMAINS),
    output="class",
    missing="refuse",
    estimator=boosted_residuals,
    target=domain_of_fault,
    figures=of_classes,
    rule_words=f"the domain of the KPI furthest from its mean, from {FAR:g} standard deviations on",
    rule_features=tuple(_DOMAINS),
    rule=furthest_kpi,
)
