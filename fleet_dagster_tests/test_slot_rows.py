import numpy as np
import pandas as pd
import pytest

from fleet_dagster.core.windows import HOUR, MINUTE
from fleet_dagster.model.errors import ModelError, SpanError
from fleet_dagster.pipeline import Evaluation, evaluate
from fleet_dagster.slot_rows import slot_rows
from fleet_dagster_tests.fleets import NOON, SITES, config, telemetry, utc


def result(minutes: int = 20) -> Evaluation:
    """Evaluate some minutes of a small fleet."""
    snapshots = telemetry(SITES[:6], NOON - HOUR, NOON + minutes * MINUTE, seed=5)
    return evaluate(config(), snapshots, utc(NOON), utc(NOON + minutes * MINUTE))


def test_the_rows_are_the_published_windows_with_their_kpis() -> None:
    found = result()
    rows = slot_rows(found, ["vibration", "vibration@2"])
    published = found.site_kpi[found.site_kpi["published"].to_numpy(np.bool_)]
    merged = rows.merge(
        published.astype({"site_id": "str"})[["site_id", "window_start", "kpi_01"]],
        on=["site_id", "window_start"],
    )
    assert len(merged) == len(rows)
    assert len(rows) == (published["window_start"] >= utc(NOON + 2 * MINUTE)).sum()
    np.testing.assert_allclose(merged["vibration"], merged["kpi_01"], rtol=1e-6)
    of_one = rows[rows["site_id"] == "S-01"].set_index("window_start")
    earlier = of_one["vibration"].shift(freq=pd.Timedelta(minutes=2)).dropna()
    both = of_one.join(earlier.rename("earlier"), how="inner")
    np.testing.assert_array_equal(both["vibration@2"], both["earlier"])


def test_a_feature_that_the_fleet_does_not_report_is_named() -> None:
    with pytest.raises(ModelError, match=r"speed.*output_kw"):
        slot_rows(result(), ["speed"])


def test_an_evaluation_shorter_than_the_look_back_is_refused() -> None:
    with pytest.raises(SpanError, match="look back 30 windows"):
        slot_rows(result(), ["vibration@30"])
