"""How surprising it is that so many of independent events happen, each with its own probability."""

import numpy as np
from numpy.typing import NDArray


def poisson_binomial_tail(probabilities: NDArray[np.float64], at_least: int) -> float:
    """Compute the probability that at least so many of independent events happen.

    Parameters
    ----------
    probabilities : ndarray, shape (n_events,)
        Probability of each event. [1]
    at_least : int
        Events that happen, at least.

    Returns
    -------
    float
        The probability; 1 for at_least <= 0, and 0 where there are fewer events than that. [1]

    Notes
    -----
    Recursion over the events, the states "at least so many" taken together: exact but for rounding, without cancellation.
    Events are taken in order of probability, so that the result does not depend on theirs.

    References
    ----------
    Barlow, R. E. and Heidtmann, K. D., "Computing k-out-of-n System Reliability", IEEE Transactions on Reliability,
    vol. R-33, 1984, pp. 322-323, doi:10.1109/TR.1984.5221843.
    Hong, Y., "On computing the distribution function for the Poisson binomial distribution", Computational Statistics and
    Data Analysis, vol. 59, 2013, pp. 41-51, doi:10.1016/j.csda.2012.10.006.

    Examples
    --------
    >>> round(poisson_binomial_tail(np.array([0.5, 0.5, 0.1]), 2), 3)
    0.3
    """
    if at_least <= 0:
        return 1.0
    if at_least > probabilities.size:
        return 0.0
    state = np.zeros(at_least + 1)
    state[0] = 1.0
    for p in np.sort(probabilities):
        moved = p * state[:-1]
        state[:-1] -= moved
        state[1:] += moved
    return float(min(state[-1], 1.0))


def onset_probabilities(rate_per_h: NDArray[np.float64], span_h: float) -> NDArray[np.float64]:
    """Compute the probability that a Poisson process has an event within a span.

    Parameters
    ----------
    rate_per_h : ndarray, shape (n_sites,)
        Events per hour. [1/h]
    span_h : float
        Length of the span. [h]

    Returns
    -------
    ndarray, shape (n_sites,)
        1 - exp(-rate * span). [1]
    """
    return -np.expm1(-rate_per_h * span_h)
