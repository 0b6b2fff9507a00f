"""`regional_scorer`: each region's health, the parts that sum to it, and its band."""

import numpy as np
import pandas as pd

from fleet_dagster.core.health import BANDS, band_of
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.tables import REGION_KPI, REGIONAL_HEALTH

BAND_NAMES = [name for _, name in BANDS]


def regional_scorer(region_kpi: pd.DataFrame) -> pd.DataFrame:
    """Score the regions of a rollup; a region of which no site reports scores 0."""
    if region_kpi.empty:
        return frames.empty_frame(REGIONAL_HEALTH)
    parts = sum(
        region_kpi[name].to_numpy(np.float64) for name in ("kpi_part", "uptime_part", "fault_part")
    )
    score = np.clip(parts, 0.0, 1.0)
    registered = region_kpi["registered_weight"].to_numpy(np.float64)
    weight = region_kpi["weight"].to_numpy(np.float64)
    coverage = np.divide(weight, registered, out=np.zeros(weight.shape), where=registered > 0)
    own = {
        "health_score": score,
        "coverage": np.clip(coverage, 0.0, 1.0),
        "band": frames.names(band_of(score), BAND_NAMES),
    }
    shared = [
        name
        for name in REGIONAL_HEALTH.column_names
        if name in REGION_KPI.by_name and name not in ("fleet", "day")
    ]
    return frames.frame_of(REGIONAL_HEALTH, {**{name: region_kpi[name] for name in shared}, **own})
