import pytest

from fleet_dagster.model.streamsight import NodeThresholds, StreamSightSettings
from fleet_dagster_tests import fleets


def test_what_a_node_leaves_out_is_taken_from_the_thresholds_of_all() -> None:
    settings = StreamSightSettings.model_validate(
        {
            "thresholds": {"baseline_window": 100, "max_lag_s": 600},
            "nodes": {"site_ingest": {"max_lag_s": 60}},
        }
    )
    assert settings.of("site_ingest") == NodeThresholds(baseline_window=100, max_lag_s=60)
    assert settings.of("region_mapper") == NodeThresholds(baseline_window=100, max_lag_s=600)


def test_settings_survive_being_written_and_read_again() -> None:
    settings = StreamSightSettings.model_validate(
        {"thresholds": {"max_lag_s": 600}, "nodes": {"baseline": {"anomaly_score": 9}}}
    )
    assert StreamSightSettings.model_validate(settings.model_dump()) == settings


def test_a_node_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"names 'site_ingets', which is not a node.*site_ingest"):
        fleets.config(streamsight={"nodes": {"site_ingets": {}}})


def test_settings_of_measurement_change_no_row() -> None:
    strict = fleets.config(streamsight={"thresholds": {"anomaly_score": 9}})
    assert strict.structure_digest == fleets.config().structure_digest
    assert strict.hot == fleets.config().hot
