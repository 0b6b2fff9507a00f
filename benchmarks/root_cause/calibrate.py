"""The confidence's weights: `python -m benchmarks.root_cause.calibrate` learns them on some seeds; Q7 checks them on others."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.root_cause.cascades import CASCADES, CascadeWeeks
from benchmarks.root_cause.outcomes import Told, told
from fleet_dagster.core.confidence import LONE_OPEN, LONE_OVER, SEVERAL, features_of, weights_for

EVERY_KIND: Mapping[str, float] = {**CASCADES, "region": 0.5, "storm": 0.25}
"""Faults per day: cascades and what else reaches several sites at once."""
LEARNT_FROM: Sequence[CascadeWeeks] = (
    *(CascadeWeeks(seed, CASCADES) for seed in (11, 12, 13, 14, 15)),
    *(CascadeWeeks(seed, EVERY_KIND) for seed in (16, 17, 18)),
    CascadeWeeks(42, {}),
)
"""Fleets that are learnt from, three weeks each, the last without any fault; those of Q7 are only judged."""
WEIGHTS = {"LONE_OPEN": LONE_OPEN, "LONE_OVER": LONE_OVER, "SEVERAL": SEVERAL}
PENALTY = 1.0
"""Ridge on the weights but the intercept: a hundred incidents, nearly all right, would else be separated perfectly."""
ROUNDS = 50
N_BINS = 5
N_DRAWS = 400
SEED = 5


def main() -> None:
    """Learn the weights and print them as they stand in `fleet_dagster.core.confidence`."""
    rows = [t for weeks in LEARNT_FROM for t in rows_of(weeks)]
    for name, standing in WEIGHTS.items():
        own = [t for t in rows if weights_for(t.evidence) is standing]
        print(f"{name} = {learnt(own, tuple(standing))}  # {len(own)} rows")  # noqa: T201 - a program's output


def rows_of(weeks: CascadeWeeks) -> Iterator[Told]:
    """Yield how each incident of a simulated fleet, found with its graph, was told first and last.

    The first row is the one that somebody acts on; the rows between would make incidents count that change often.
    """
    for row in told(weeks, weeks.incidents(weeks.anomalies(), with_graph=True)):
        if row.phase == "opened" or row.is_last:
            yield row


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
    sure = np.array([t.confidence for t in incidents])
    return _error(sure, np.array([t.is_right for t in incidents], dtype=np.float64))


def least_error(incidents: Sequence[Told]) -> float:
    """Return the calibration error that so few incidents show on average where every confidence is exactly right."""
    sure = np.array([t.confidence for t in incidents])
    rng = np.random.default_rng(SEED)
    return float(np.mean([_error(sure, rng.random(sure.size) < sure) for _ in range(N_DRAWS)]))


def _error(sure: NDArray[np.float64], is_right: NDArray[Any]) -> float:  # Any: flags or numbers
    total = 0.0
    for members in np.array_split(np.argsort(sure, kind="stable"), N_BINS):
        if members.size:
            total += members.size * abs(float(sure[members].mean() - is_right[members].mean()))
    return total / max(1, sure.size)


if __name__ == "__main__":
    main()
