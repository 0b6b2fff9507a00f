"""The confidence's weights: `python -m benchmarks.root_cause.calibrate` learns them on some seeds, and checks them on others."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks.root_cause.cascades import CASCADES, CascadeWeeks
from benchmarks.root_cause.outcomes import Told, told
from fleet_dagster.core.confidence import LONE, SEVERAL, features_of

SEEDS = (1,)
"""Learnt from; the seeds of Q7 are only judged."""
PENALTY = 1.0
"""Ridge on the weights but the intercept: a hundred incidents, nearly all right, would else be separated perfectly."""
ROUNDS = 50
N_BINS = 5


def main() -> None:
    """Learn the weights and print them as they stand in `fleet_dagster.core.confidence`."""
    incidents = [t for seed in SEEDS for t in incidents_of(CascadeWeeks(seed, CASCADES))]
    for name, names, own in (
        ("LONE", LONE, [t for t in incidents if t.evidence.n_sites == 1]),
        ("SEVERAL", SEVERAL, [t for t in incidents if t.evidence.n_sites > 1]),
    ):
        weights = learnt(own, tuple(names))
        print(f"{name} = {weights}  # {len(own)} incidents")  # noqa: T201 - a program's output


def incidents_of(weeks: CascadeWeeks) -> Iterator[Told]:
    """Yield the incidents of a simulated fleet, found with its graph."""
    yield from told(weeks, weeks.incidents(weeks.anomalies(), with_graph=True))


def learnt(incidents: Sequence[Told], names: Sequence[str]) -> Mapping[str, float]:
    """Fit a logistic regression with a ridge by Newton's method, rounded to two digits.

    Hosmer, D. W., Lemeshow, S., Sturdivant, R. X. (2013): Applied Logistic Regression. doi:10.1002/9781118548387.
    """
    x = np.array([[features_of(t.evidence)[name] for name in names] for t in incidents])
    y = np.array([t.is_right for t in incidents], dtype=np.float64)
    ridge = PENALTY * np.diag([float(name != "intercept") for name in names])
    ridge += 1e-3 * np.eye(len(names))
    weights = np.zeros(len(names))
    for _ in range(ROUNDS):
        p = 1.0 / (1.0 + np.exp(-x @ weights))
        curvature = (x * (p * (1 - p))[:, None]).T @ x + ridge
        weights += np.linalg.solve(curvature, x.T @ (y - p) - ridge @ weights)
    return dict(zip(names, np.round(weights, 2).tolist(), strict=True))


def calibration_error(incidents: Sequence[Told]) -> float:
    """Return the expected calibration error: bins of equally many incidents, their mean confidence against the share that is right.

    Naeini, M. P., Cooper, G. F., Hauskrecht, M. (2015): Obtaining Well Calibrated Probabilities Using Bayesian Binning.
    AAAI, doi:10.1609/aaai.v29i1.9602.
    """
    order = np.argsort([t.confidence for t in incidents], kind="stable")
    total = 0.0
    for members in np.array_split(order, N_BINS):
        if members.size:
            sure = np.mean([incidents[i].confidence for i in members])
            right = np.mean([incidents[i].is_right for i in members])
            total += members.size * abs(float(sure - right))
    return total / max(1, len(incidents))


if __name__ == "__main__":
    main()
