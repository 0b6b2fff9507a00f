"""How sure it is that one cause explains an incident: a logistic model, calibrated on simulated fleets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

VERSION = "2"
"""Raised with every calibration."""
LEAST_P = 1e-12
"""p-values below are as good as this one."""
LONE_OPEN: Mapping[str, float] = {
    "intercept": -8.16,
    "log2_peak_ratio": 5.75,
    "log2_n_windows": 2.48,
}
LONE_OVER: Mapping[str, float] = {"intercept": -17.72, "log2_n_windows": 3.94}
SEVERAL: Mapping[str, float] = {
    "intercept": 4.75,
    "log2_peak_ratio": 1.13,
    "log2_n_windows": -0.73,
    "log2_n_sites": -0.97,
    "minus_log10_p": 0.33,
}
"""Weights of the figures for a lone site while its incident is open, for one whose incident has closed, and for several sites, as
`python -m benchmarks.root_cause.calibrate` prints them."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the confidence is told from; all of it stands in the incident's row."""

    n_sites: int
    peak_ratio: float
    """Median over the sites of their largest E/U. [1]"""
    p_value: float
    """Chance of so many alarms at once; NaN for one site, or where nothing was tested."""
    n_windows: int
    """From the first deviation to the window of the row. [windows]"""
    is_over: bool
    """The row closes the incident."""


def features_of(evidence: Evidence) -> dict[str, float]:
    """Turn evidence into the figures that the model weighs.

    Parameters
    ----------
    evidence : Evidence
        What is known of an incident.

    Returns
    -------
    dict of str to float
        Every figure that any of the weights is for; a p-value that is not known counts as 1.
    """
    p = 1.0 if math.isnan(evidence.p_value) else evidence.p_value
    return {
        "intercept": 1.0,
        "log2_peak_ratio": math.log2(max(evidence.peak_ratio, 1e-3)),
        "log2_n_windows": math.log2(max(evidence.n_windows, 1)),
        "log2_n_sites": math.log2(evidence.n_sites),
        "minus_log10_p": -math.log10(min(1.0, max(p, LEAST_P))),
    }


def weights_for(evidence: Evidence) -> Mapping[str, float]:
    """Choose the weights of one site, while its incident is open or closed, or of several."""
    if evidence.n_sites > 1:
        return SEVERAL
    return LONE_OVER if evidence.is_over else LONE_OPEN


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
    figures = features_of(evidence)
    total = sum(weight * figures[name] for name, weight in weights_for(evidence).items())
    return round(1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, total)))), 9)
