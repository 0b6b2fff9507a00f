"""Anomalous rows made by hand: alarms of sites, as the scorer would tell them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fleet_dagster.core.windows import MINUTE
from fleet_dagster_tests.fleets import NOON, utc

VIBRATION = (("vibration", "bearing_c"), (0.7, 0.3))
OUTPUT = (("output_kw",), (1.0,))


def alarm(
    site_id: str,
    start: int,
    end: int,
    *,
    onset: int | None = None,
    ratio: float = 2.0,
    blamed: tuple[Sequence[str], Sequence[float]] = VIBRATION,
    domain: str = "all",
    origin: int = NOON,
) -> pd.DataFrame:
    """Return anomalous rows of a site in the minutes from `start` to before `end` after noon."""
    minutes = np.arange(start, end)
    n = len(minutes)
    began = start if onset is None else onset
    columns: dict[str, Any] = {
        "site_id": site_id,
        "window_start": utc(origin + minutes * MINUTE),
        "domain": domain,
        "score": np.float32(1.0 - 2.0**-ratio),
        "is_anomalous": True,
        "onset": utc(np.full(n, origin + began * MINUTE)),
        "top_kpis": [list(blamed[0])] * n,
        "top_shares": [list(blamed[1])] * n,
    }
    return pd.DataFrame(columns)


def sites(n: int, *, n_regions: int = 1, chain: bool = False) -> pd.DataFrame:
    """Return sites S-00, S-01, … in turn in each region; in a chain each depends on the one before."""
    names = [f"S-{i:02d}" for i in range(n)]
    table = pd.DataFrame({"site_id": names, "region_id": [f"R-{i % n_regions}" for i in range(n)]})
    if chain:
        table["depends_on"] = [[], *([name] for name in names[:-1])]
    return table


def scores(*alarms: pd.DataFrame) -> pd.DataFrame:
    """Stack alarms."""
    return pd.concat(alarms, ignore_index=True)
