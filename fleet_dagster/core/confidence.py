"""How sure it is that one cause explains an incident: a logistic model, calibrated on simulated fleets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

VERSION = "1"
"""Raised with every calibration."""
LEAST_P = 1e-12
"""p-values below are as good as this one."""
LONE: Mapping[str, float] = {"intercept": -0.2, "log2_peak_ratio": 1.3}
SEVERAL: Mapping[str, float] = {
    "intercept": -4.63,
    "log2_peak_ratio": 1.78,
    "log2_n_sites": 0.04,
    "minus_log10_p": 0.93,
}
"""Weights of the figures for incidents of one site and of several, as `python -m benchmarks.root_cause.calibrate` prints them."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the confidence is told from; all of it stands in the incident's row."""

    n_sites: int
    peak_ratio: float
    """Median over the sites of their largest E/U. [1]"""
    p_value: float
    """Chance of so many alarms at once; NaN for one site, or where nothing was tested."""


def features_of(evidence: Evidence) -> dict[str, float]:
    """Turn evidence into the figures that the model weighs.

    Parameters
    ----------
    evidence : Evidence
        What is known of an incident.

    Returns
    -------
    dict of str to float
        One figure per weight; a p-value that is not known counts as 1.
    """
    peak = math.log2(max(evidence.peak_ratio, 1e-3))
    if evidence.n_sites == 1:
        return {"intercept": 1.0, "log2_peak_ratio": peak}
    p = 1.0 if math.isnan(evidence.p_value) else evidence.p_value
    return {
        "intercept": 1.0,
        "log2_peak_ratio": peak,
        "log2_n_sites": math.log2(evidence.n_sites),
        "minus_log10_p": -math.log10(min(1.0, max(p, LEAST_P))),
    }


def confidence_of(evidence: Evidence) -> float:
    """Compute the calibrated probability that one cause explains an incident.

    Parameters
    ----------
    evidence : Evidence
        What is known of it.

    Returns
    -------
    float
        For several sites, that they share one cause; for one site, that it has a fault at all. Rounded to 1e-9. [1]
    """
    weights = LONE if evidence.n_sites == 1 else SEVERAL
    figures = features_of(evidence)
    total = sum(weight * figures[name] for name, weight in weights.items())
    return round(1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, total)))), 9)
