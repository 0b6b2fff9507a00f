"""Slots over small fleets made by hand: what is asked, what it is fed, and what becomes of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fleet_dagster.ai.answers import ABSENT, NOT_A_NUMBER, NOT_ASKED, OUT_OF_RANGE
from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.slots import opened
from fleet_dagster.core.windows import Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import feature_windows
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.model.tables import ANOMALY_SCORE, KPI_NAMES, SITE_KPI
from fleet_dagster.nodes.ai_inference import Routed, ai_inference, route
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster_tests import ai_models as models
from fleet_dagster_tests import installations as at

INTERVAL_S = 600
WINDOW = INTERVAL_S * 1_000_000
START = at.FIRST + 20 * WINDOW
SITES = ("MX-0001", "MX-0002", "MX-0003", "MX-0004", "MX-0005", "MX-0006")


def plant(*slots: Mapping[str, Any], **changes: Any) -> FleetConfig:
    named = [{"slot_id": n, "model_id": f"m{n}", **own} for n, own in enumerate(slots)]
    return at.plant(
        interval_s=INTERVAL_S,
        staleness_threshold_s=1200,
        profile="large",
        ai_models=named,
        **changes,
    )


def rows(config: FleetConfig, values: np.ndarray, **changes: Any) -> pd.DataFrame:
    """Return site rows with every KPI as in `values`, shape (n_windows, n_sites), the newest window at `START`."""
    n_windows, n_sites = values.shape
    window, site = (grid.ravel() for grid in np.indices(values.shape))
    starts = START + (window - n_windows + 1) * WINDOW
    n = window.size
    content: dict[str, Any] = {
        "window_start": frames.stamps(starts),
        "window_end": frames.stamps(starts + WINDOW),
        "site_id": frames.names(site, SITES[:n_sites]),
        "region_id": pd.Categorical(["r"] * n),
        **dict.fromkeys(KPI_NAMES, np.full(n, np.nan, dtype=np.float32)),
        **{name: values.ravel().astype(np.float32) for name in KPI_NAMES[: len(config.kpis)]},
        "status": np.zeros(n, dtype=np.int8),
        "uptime_pct": np.full(n, 100.0),
        "fault_count": np.zeros(n, dtype=np.int32),
        "last_seen": frames.stamps(starts),
        "published": np.ones(n, dtype=np.bool_),
        **changes,
    }
    empty = frames.empty_frame(SITE_KPI)
    rest = {name: [None] * n for name in empty.columns if name not in content}
    return pd.DataFrame({**content, **rest})


def scores(values: Sequence[float]) -> pd.DataFrame:
    """Return anomaly scores of the sites in the newest window."""
    n = len(values)
    empty = frames.empty_frame(ANOMALY_SCORE)
    content = {
        "window_start": frames.stamps(np.full(n, START)),
        "site_id": list(SITES[:n]),
        "domain": ["all"] * n,
        "state": ["scored"] * n,
        "score": values,
        "baseline_sigma": values,
    }
    rest = {name: [None] * n for name in empty.columns if name not in content}
    return pd.DataFrame({**content, **rest})


def routed(
    config: FleetConfig, site_kpi: pd.DataFrame, anomaly: pd.DataFrame | None = None, n: int = 1
) -> Routed:
    fleet = Fleet.of(config)
    span = Span(START - (n - 1) * WINDOW, START + WINDOW)
    reach = feature_windows(fleet, span.start, span.end)
    return route(
        fleet,
        site_kpi,
        frames.empty_frame(ANOMALY_SCORE) if anomaly is None else anomaly,
        region_mapper(fleet, span.widen(before=reach * WINDOW)),
        span,
    )


def answered(work: Routed, folder: Path) -> pd.DataFrame:
    with opened(ModelFolder(folder)) as slots:
        return ai_inference(work, slots)


def fed(
    feature: str, values: np.ndarray, anomaly: pd.DataFrame | None = None, **changes: Any
) -> list[float]:
    """Return one feature of every site in the newest window."""
    config = plant({"features": [feature], "artifact": "x"}, **changes)
    work = routed(config, rows(config, values), anomaly)
    n_sites = values.shape[1]
    sites = np.arange(n_sites)
    found = work.inputs.matrix([feature], sites, np.zeros(n_sites, dtype=np.int64))
    return [float(v) for v in found[:, 0]]


PAST = np.array([[0.1, 0.9], [0.3, np.nan], [0.2, 0.5], [0.8, 0.6]])


@pytest.mark.parametrize(
    ("feature", "wanted"),
    [
        ("efficiency_pct", [0.8, 0.6]),
        ("efficiency_pct@2", [0.3, np.nan]),
        ("mean(efficiency_pct, 4)", [0.35, 2.0 / 3]),
        ("min(efficiency_pct, 3)", [0.2, 0.5]),
        ("max(efficiency_pct, 4)", [0.8, 0.9]),
        ("std(efficiency_pct, 2)", [0.3, 0.05]),
        # least squares by hand: times -1.5, -0.5, 0.5, 1.5; and 0, 2, 3 around 5/3
        ("slope(efficiency_pct, 4)", [0.2, -0.114286]),
        ("site.uptime_pct", [100.0, 100.0]),
        ("site.status", [0.0, 0.0]),
        # the window starts at 03:20 UTC
        ("time.hour_sin", [np.sin(2 * np.pi / 7.2)] * 2),
    ],
)
def test_a_feature_is_what_a_hand_computes(feature: str, wanted: list[float]) -> None:
    np.testing.assert_allclose(fed(feature, PAST, n_sites=2, n_regions=1), wanted, atol=1e-5)


def test_what_lies_around_a_site_is_a_mean_of_what_is_there() -> None:
    values = np.array([[0.1, 0.3, np.nan, 0.8]])
    mappings = [
        {"site_id": SITES[0], "region_id": "a"},
        {"site_id": SITES[1], "region_id": "a", "depends_on": [SITES[0]]},
        {"site_id": SITES[2], "region_id": "b", "depends_on": [SITES[0], SITES[3]]},
        {"site_id": SITES[3], "region_id": "b", "depends_on": [SITES[2]]},
    ]
    around = fed("region(efficiency_pct)", values, region_mappings=mappings)
    np.testing.assert_allclose(around, [0.2, 0.2, 0.8, 0.8], atol=1e-6)
    upstream = fed("upstream(efficiency_pct)", values, region_mappings=mappings)
    np.testing.assert_allclose(upstream, [np.nan, 0.1, 0.45, np.nan], atol=1e-6)


def test_scores_are_fed_where_there_are_any() -> None:
    values = np.full((1, 2), 0.5)
    assert fed("site.anomaly_score", values, scores([0.25]), n_sites=2, n_regions=1) == [
        0.25,
        pytest.approx(np.nan, nan_ok=True),
    ]


def test_the_rate_limit_is_spent_on_the_most_anomalous_then_on_the_least_healthy(
    tmp_path: Path,
) -> None:
    config = plant({"rate_limit_hz": 3 / INTERVAL_S, "features": ["efficiency_pct"]}, n_sites=5)
    # the higher these KPIs the better or worse alike at all sites but one: its health is the lowest
    values = np.array([[0.5, 0.5, 0.5, 0.1, 0.5]])
    found = answered(routed(config, rows(config, values), scores([0.2, 0.9])), tmp_path)
    asked = found[found["outcome"] != "rate_limited"]["site_id"].tolist()
    least_healthy = fed("site.health", values, n_sites=5).index(
        min(fed("site.health", values, n_sites=5)[2:])
    )
    assert asked == sorted([SITES[0], SITES[1], SITES[least_healthy]])
    limited = found[found["outcome"] == "rate_limited"]
    assert len(limited) == 2
    assert limited["input_digest"].isna().all()
    assert limited["latency_us"].isna().all()


def test_a_domain_sees_the_published_sites_that_report_one_of_its_kpis(tmp_path: Path) -> None:
    thermal = [k for k, kpi in enumerate(plant().kpis) if kpi.domain == "thermal"]
    config = plant({"domain": "thermal"}, {"domain": "all"}, n_sites=3, n_regions=1)
    site_kpi = rows(config, np.full((1, 3), 0.5), published=[True, True, False])
    site_kpi.loc[0, [KPI_NAMES[k] for k in thermal]] = np.nan
    found = answered(routed(config, site_kpi), tmp_path)
    assert found[found["slot_id"] == 0]["site_id"].tolist() == [SITES[1]]
    assert found[found["slot_id"] == 1]["site_id"].tolist() == [SITES[0], SITES[1]]


def test_a_disabled_slot_has_one_row_a_window(tmp_path: Path) -> None:
    config = plant({"active": False}, n_sites=2, n_regions=1)
    found = answered(routed(config, rows(config, np.full((3, 2), 0.5)), n=3), tmp_path)
    assert found["outcome"].tolist() == ["disabled"] * 3
    assert found["site_id"].tolist() == [""] * 3
    assert found["window_start"].is_unique


def slot_of(folder: ModelFolder, path: Path, **changes: Any) -> dict[str, Any]:
    return {"features": ["efficiency_pct"], **models.pinned(folder, path), **changes}


def test_each_way_to_fail_is_an_outcome_of_its_own_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.install_plugin(tmp_path, monkeypatch)
    folder = ModelFolder(tmp_path / "models")
    own = {"backend": "entry_point", "isolation": "thread", "features": ["efficiency_pct"]}
    good = slot_of(folder, models.sklearn_file(tmp_path, weights=(1.0,)))
    config = plant(
        good,
        {**own, "artifact": "raises"},
        {**own, "artifact": "nan"},
        {**own, "artifact": "shape"},
        {**own, "artifact": "sure"},
        {**own, "artifact": "hangs", "timeout_s": 0.2},
        {**good, "sha256": "0" * 64},
        n_sites=2,
        n_regions=1,
    )
    found = answered(routed(config, rows(config, np.array([[0.25, np.nan]]))), folder.root)
    said = {
        (slot_id, site): (outcome, error)
        for slot_id, site, outcome, error in zip(
            *(found[n].astype(object) for n in ("slot_id", "site_id", "outcome", "error")),
            strict=True,
        )
    }
    wanted = {
        0: ("ok", None),
        1: ("failed", "RuntimeError: the model is broken"),
        2: ("failed", NOT_A_NUMBER),
        3: ("failed", "the model: returned shape (3,)"),
        4: ("failed", OUT_OF_RANGE),
        5: ("timed_out", "did not answer within 0.2 s"),
        6: ("failed", "was registered"),
    }
    for slot_id, (outcome, words) in wanted.items():
        assert said[slot_id, SITES[0]][0] == outcome
        assert (words or "") in str(said[slot_id, SITES[0]][1] or "")
        assert said[slot_id, SITES[1]] == ("failed", ABSENT)
    first = found.iloc[0]
    assert first["prediction"] == pytest.approx(0.25, abs=1e-6)
    assert first["accepted"]


def test_a_slot_that_keeps_us_waiting_is_asked_less_and_less_often(
    tmp_path: Path,
) -> None:
    config = plant(
        {"backend": "http", "artifact": "http://127.0.0.1:9/none", "features": ["efficiency_pct"]},
        n_sites=1,
        n_regions=1,
    )
    work = routed(config, rows(config, np.full((54, 1), 0.5)), n=54)
    found = answered(work, tmp_path)
    hours = found["window_start"].dt.floor("h")
    was_asked = [set(own != NOT_ASKED) for _, own in found["error"].groupby(hours)]
    # six windows an hour go in one call; the pauses are 1, 2 and 4 hours
    assert was_asked == [{n in (0, 1, 2, 4, 7)} for n in range(len(was_asked))]
    assert len(was_asked) > 8
    assert set(found["outcome"]) == {"failed"}


def test_a_site_window_gives_the_same_bits_in_any_company(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path / "models")
    weights = tuple(np.linspace(0.1, 1.7, 16))
    features = [f"efficiency_pct@{n}" for n in range(16)]
    slots = [
        {**slot_of(folder, models.sklearn_file(tmp_path, weights=weights)), "features": features},
        {
            **slot_of(folder, models.onnx_file(tmp_path, weights=weights), backend="onnx"),
            "features": features,
        },
    ]
    config = plant(*slots, n_sites=6)
    values = np.random.default_rng(3).random((24, 6))
    whole = answered(routed(config, rows(config, values), n=8), folder.root)
    site_kpi = rows(config, values)
    newest = site_kpi["window_start"] == site_kpi["window_start"].max()
    others = newest & (site_kpi["site_id"] != SITES[2])
    site_kpi.loc[others, "published"] = False
    alone = answered(routed(config, site_kpi), folder.root)
    last = whole[(whole["window_start"] == whole["window_start"].max())]
    columns = ["slot_id", "prediction", "confidence", "input_digest"]
    same = last[last["site_id"] == SITES[2]][columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, alone[columns].reset_index(drop=True), check_exact=True)


def test_recorded_answers_are_taken_over_where_inputs_and_model_are_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ModelFolder(tmp_path / "models")
    config = plant(
        slot_of(folder, models.sklearn_file(tmp_path, weights=(1.0,))), n_sites=2, n_regions=1
    )
    values = np.array([[0.25, 0.5]])
    work = routed(config, rows(config, values))
    recorded = answered(work, folder.root).assign(prediction=[7.0, 8.0], latency_us=[5, 6])
    fleet, span = work.inputs.fleet, work.inputs.span
    changed = rows(config, np.array([[0.25, 0.75]]))
    again = route(
        fleet,
        changed,
        frames.empty_frame(ANOMALY_SCORE),
        region_mapper(fleet, span),
        span,
        stored=recorded,
    )
    found = answered(again, folder.root)
    assert found["prediction"].tolist() == [7.0, pytest.approx(0.75, abs=1e-6)]
    assert found["latency_us"].iloc[0] == 5
    other = work.inputs.fleet.config.ai_models
    assert other is not None
    newer = config.model_copy(
        update={
            "ai_models": (AIModelSlot.model_validate({**other[0].model_dump(), "version": "2"}),)
        }
    )
    upgraded = Fleet.of(newer)
    work = route(
        upgraded,
        rows(newer, values),
        frames.empty_frame(ANOMALY_SCORE),
        region_mapper(upgraded, span),
        span,
        stored=recorded,
    )
    assert answered(work, folder.root)["prediction"].tolist() == [
        pytest.approx(0.25, abs=1e-6),
        pytest.approx(0.5, abs=1e-6),
    ]
    monkeypatch.undo()


def test_a_row_that_an_endpoint_refuses_costs_its_window_alone(tmp_path: Path) -> None:
    def strict(asked: list[list[float]]) -> object:
        return 400 if max(cell for row in asked for cell in row) > 0.8 else {"predictions": asked}

    values = np.full((6, 1), 0.5)
    values[3] = 0.9
    with models.server(strict) as (url, _):
        config = plant(
            {"backend": "http", "artifact": url, "features": ["efficiency_pct"]},
            n_sites=1,
            n_regions=1,
        )
        found = answered(routed(config, rows(config, values), n=6), tmp_path)
    assert found["outcome"].tolist() == ["ok"] * 3 + ["failed"] + ["ok"] * 2
