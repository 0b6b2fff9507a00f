"""Whether a site's trouble came from the sites that it depends on."""

import numpy as np

from fleet_dagster.ai.backends import Rows
from fleet_dagster.ai.inputs import Grid
from fleet_dagster.reference_models.estimators import boosted_probability
from fleet_dagster.reference_models.figures import of_probabilities
from fleet_dagster.reference_models.recipe import Recipe, Rule, Values
from fleet_dagster.reference_models.simulated_weeks import SimulatedWeek

ANOMALOUS = 0.5
"""Score from which a site is looked at more closely."""


def came_from_upstream(week: SimulatedWeek) -> Grid:
    """Return 1 where a cascade has reached a site that it did not begin at."""
    found = week.blank()
    for effect in week.effects:
        if effect.event.kind == "cascade" and effect.site != effect.event.root:
            found[effect.site, effect.windows] = 1.0
    return found


def is_unusual(week: SimulatedWeek) -> Grid:
    """Return 1 where a site's score is high: there the question is asked in earnest."""
    return np.where(week.inputs.own(week.inputs.scores["score"]) > ANOMALOUS, 1.0, 0.0)


def both_anomalous(_x: Rows, _y: Values) -> Rule:
    """Return the rule that an anomaly came from upstream where there is one as well."""
    return lambda rows: np.nan_to_num(rows.astype(np.float64)).min(axis=1)


CASCADE_DETECTOR = Recipe(
    name="cascade_detector",
    title="Cascade detector",
    predicts="The probability that a disturbance has reached the site from the sites that it depends on.",
    label=(
        "1 where a planted cascade is in effect at a site other than that where it began; 0 elsewhere, also where a site, a region "
        "or half of the fleet is disturbed at once for other reasons"
    ),
    advice=(
        "It needs `depends_on` in the region mappings. A site that depends on none has nothing upstream, and is never told one.",
        "Anomaly scores follow with a delay of some windows: in the first minutes of a cascade it is not sure.",
        "It looks at direct dependences. For the origin of a whole incident see `root_cause_site` in `fleet_correlation`.",
    ),
    features=(
        "site.anomaly_score",
        "site.anomaly_score@3",
        "max(site.anomaly_score, 10)",
        "site.status",
        "upstream(site.anomaly_score)",
        "upstream(site.anomaly_score)@1",
        "upstream(site.anomaly_score)@3",
        "max(upstream(site.anomaly_score), 10)",
        "upstream(site.status)",
        "max(upstream(site.status), 10)",
        "upstream(site.fault_count)",
        "region(site.anomaly_score)",
    ),
    output="probability",
    estimator=boosted_probability,
    target=came_from_upstream,
    figures=of_probabilities,
    rule_words="the lower of the site's own anomaly score and that upstream, taken as the probability",
    rule_features=("site.anomaly_score", "upstream(site.anomaly_score)"),
    rule=both_anomalous,
    focus=is_unusual,
    focus_words=f"windows in which the site's anomaly score is above {ANOMALOUS:g}",
)
