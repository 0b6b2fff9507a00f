"""How much of a fleet's time is reduced at once."""

from fleet_dagster.core.windows import HOUR
from fleet_dagster.model.fleet import Fleet

BLOCK_HOURS = (24, 12, 8, 6, 4, 3, 2)
BLOCK_SITE_WINDOWS = 120_000
"""Site-windows reduced at once; the hour of a thousand sites at half-minute windows is one block."""


def block_length(fleet: Fleet) -> int:
    """Return how much time is reduced at once: whole hours that divide a day, fewer for larger fleets.

    Parameters
    ----------
    fleet : Fleet
        The fleet.

    Returns
    -------
    int
        Length of a block. [us]

    Notes
    -----
    The sums of these kernels are exact, so the rows do not depend on it.
    """
    per_hour = max(1, len(fleet.sites)) * (HOUR // fleet.interval)
    return next((h for h in BLOCK_HOURS if h * per_hour <= BLOCK_SITE_WINDOWS), 1) * HOUR
