"""Answers far from the start of the telemetry: what they are fed is trained first, and then they are current."""

from pathlib import Path

from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import AI_INFERENCE
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at

N_DAYS = 8


def reaching() -> FleetConfig:
    """Return a fleet whose model is fed scores of more than two days ago."""
    own = at.with_models(at.coarse())
    far = ["site.anomaly_score@110", "efficiency_pct", "site.health"]
    slots = [
        {**slot.model_dump(), "features": far, "domain": "all"} for slot in own.ai_models or ()
    ]
    return FleetConfig.model_validate({**own.model_dump(), "ai_models": slots})


def test_a_day_alone_has_the_answers_of_a_whole_range_and_stays_current(
    store: Store, tmp_path: Path
) -> None:
    config, raw = reaching(), at.telemetry(N_DAYS, step_s=600)
    last = at.days(N_DAYS - 1, N_DAYS)
    with Store.at(at.new_home(tmp_path / "whole")) as whole:
        for one in (store, whole):
            at.put_model(one)
            at.land(one, config, raw, batch_id="all")
        Refresh(whole, config).baselines(Span(last.start - 5 * DAY, last.end))
        Refresh(whole, config).ai_inference(last)
        (done,) = Refresh(store, config).ai_inference(last)
        assert done.computed == (last,)
        (again,) = Refresh(store, config).ai_inference(last)
        assert again.computed == ()
        at.assert_same(
            AI_INFERENCE, at.rows_of(store, AI_INFERENCE), at.rows_of(whole, AI_INFERENCE)
        )
        assert (at.rows_of(store, AI_INFERENCE)["outcome"] == "ok").mean() > 0.5
