"""How sure it is that one cause explains an incident: a logistic model, calibrated on simulated fleets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

VERSION = "1"
"""Raised with every calibration."""
LEAST_P = 1e-12
"""p-values below are as good as this one."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the confidence is told from."""

    n_sites: int
    peak_ratio: float
    """Median over the sites of their largest E/U. [1]"""
    p_value: float
    """Chance of so many alarms at once; NaN for one site, or where nothing was tested."""
    cohesion: float
    """How alike the sites' signatures are. [1]"""
    explained: float
    """Share of the other sites that depend on the origin. [1]"""


LONE: Mapping[str, float] = {"intercept": 0.0, "log2_peak_ratio": 1.0}
SEVERAL: Mapping[str, float] = {"intercept": 0.0, "minus_log10_p": 0.5}
"""Coefficients as written by `python -m benchmarks.root_cause.calibrate`."""


def features_of(evidence: Evidence) -> dict[str, float]:
    """Turn evidence into the figures that the model weighs.

    Parameters
    ----------
    evidence : Evidence
        What is known of an incident.

    Returns
    -------
    dict of str to float
        One figure per coefficient; those of one site where there is one.
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
        "cohesion": evidence.cohesion,
        "explained": evidence.explained,
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
    total = sum(weights.get(name, 0.0) * figure for name, figure in figures.items())
    return round(1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, total)))), 9)
