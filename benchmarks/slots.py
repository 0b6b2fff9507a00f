"""P10: sixteen AI slots over an hour of a large fleet, beside the bare predictions of their models."""

import datetime as dt
import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import skops.io
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from benchmarks.report import Figure, Result, ratios, seconds
from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.slots import Slots, opened
from fleet_dagster.core.blas import on_one_thread
from fleet_dagster.core.windows import HOUR, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.ingest.simulator import demo_config
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import ANOMALY_SCORE, KPI_NAMES, SITE_KPI
from fleet_dagster.nodes.ai_inference import ai_inference, route
from fleet_dagster.nodes.region_mapper import region_mapper

N_SITES, INTERVAL_S, N_WINDOWS = 1_000, 30, 120
N_FEATURES, HIDDEN = 16, 64
PAIRS = 5
MOST = 1.5
_START = int(dt.datetime(2026, 2, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000
_SPAN = Span(_START, _START + HOUR)
_ESTIMATORS: tuple[tuple[Any, str], ...] = (
    (RandomForestClassifier(100, max_depth=8, random_state=1), "probability"),
    (RandomForestRegressor(50, max_depth=8, random_state=1), "value"),
    (HistGradientBoostingClassifier(max_iter=100, random_state=1), "probability"),
    (HistGradientBoostingRegressor(max_iter=100, random_state=1), "value"),
)
Predict = Callable[[NDArray[np.float32]], object]


def p10() -> Result:
    """Measure routing, asking and collecting, models loaded."""
    with tempfile.TemporaryDirectory() as folder:
        home = ModelFolder(Path(folder) / "models")
        config, bare = _fleet(home, Path(folder))
        site_kpi = _site_rows(config)
        fleet = Fleet.of(config)
        nothing = frames.empty_frame(ANOMALY_SCORE)
        assignment = region_mapper(fleet, _SPAN)
        rows = site_kpi[list(KPI_NAMES)].to_numpy(np.float32)
        ours, theirs = [], []
        n_ok = 0
        for n in range(PAIRS + 1):
            with opened(home) as slots:
                _load(slots, config)
                began = time.perf_counter()
                routed = route(fleet, site_kpi, nothing, assignment, _SPAN)
                found = ai_inference(routed, slots)
                spent = time.perf_counter() - began
            n_ok = int((found["outcome"] == "ok").sum())
            alone = _bare(bare, rows)
            if n:
                ours.append(spent)
                theirs.append(alone)
    found_ratios = ratios(ours, theirs)
    return Result(
        "AI slots",
        f"{N_SITES:,} sites x {N_WINDOWS} windows, {N_FEATURES} KPIs as features; 4 scikit-learn models (two forests, two "
        f"boosted), 4 ONNX networks ({N_FEATURES}-{HIDDEN}-{HIDDEN}-1), 8 disabled; models loaded, site rows in memory, rows "
        f"returned. Bare: each model predicts all rows in one call. One thread of linear algebra; {PAIRS} interleaved pairs after one.",
        (
            Figure(
                f"16 slots, {n_ok:,} answers",
                seconds(ours),
                f"bare predictions {seconds(theirs)}",
                f"{median(found_ratios):.2f}",
                f"≤ {MOST}",
                median(found_ratios) <= MOST,
            ),
        ),
    )


def _fleet(home: ModelFolder, folder: Path) -> tuple[FleetConfig, list[Predict]]:
    rng = np.random.default_rng(7)
    rows = rng.random((2_000, N_FEATURES)).astype(np.float32)
    target = rows[:, 0] + 0.3 * np.sin(6 * rows[:, 1]) + 0.1 * rng.normal(size=len(rows))
    content = demo_config(
        "bench", "mixed", n_sites=N_SITES, n_regions=20, start_date=dt.date(2026, 2, 1)
    )
    features = [kpi["name"] for kpi in content["kpis"]]
    slots: list[dict[str, Any]] = []
    bare: list[Predict] = []
    for estimator, output in _ESTIMATORS:
        is_value = output == "value"
        estimator.fit(rows, target if is_value else target > np.median(target))
        path = folder / f"{len(slots)}.skops"
        path.write_bytes(skops.io.dumps(estimator))
        slots.append({"backend": "sklearn", "output": output, **_pinned(home, path)})
        bare.append(estimator.predict if is_value else estimator.predict_proba)
    for n in range(4):
        content_of = _network(rng).SerializeToString()
        path = folder / f"{n}.onnx"
        path.write_bytes(content_of)
        slots.append({"backend": "onnx", **_pinned(home, path)})
        bare.append(_session(content_of))
    own = {"features": features, "rate_limit_hz": N_SITES / INTERVAL_S, "timeout_s": 60.0}
    active = [{"slot_id": n, "model_id": f"m{n}", **own, **slot} for n, slot in enumerate(slots)]
    idle = [{**active[0], "slot_id": n, "active": False} for n in range(8, 16)]
    settings = {
        **content,
        "profile": "large",
        "interval_s": INTERVAL_S,
        "ai_models": [*active, *idle],
    }
    return FleetConfig.model_validate(settings), bare


def _pinned(home: ModelFolder, path: Path) -> dict[str, str]:
    name, digest = home.add(path)
    return {"artifact": name, "sha256": digest}


def _network(rng: np.random.Generator) -> onnx.ModelProto:
    sizes = (N_FEATURES, HIDDEN, HIDDEN, 1)
    nodes, weights, name = [], [], "rows"
    for k, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        matrix = rng.normal(size=(n_in, n_out)) / np.sqrt(n_in)
        weights.append(
            helper.make_tensor(f"w{k}", TensorProto.FLOAT, [n_in, n_out], matrix.ravel().tolist())
        )
        nodes.append(helper.make_node("MatMul", [name, f"w{k}"], [f"z{k}"]))
        nodes.append(helper.make_node("Tanh", [f"z{k}"], [f"a{k}"]))
        name = f"a{k}"
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", N_FEATURES])
    out = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1])
    graph = helper.make_graph(nodes, "network", [rows], [out], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _session(content: bytes) -> Predict:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda rows: session.run(None, {"rows": rows})


def _site_rows(config: FleetConfig) -> pd.DataFrame:
    """Return every site in every window, with random KPIs."""
    rng = np.random.default_rng(11)
    n = N_SITES * N_WINDOWS
    starts = np.repeat(_START + np.arange(N_WINDOWS) * INTERVAL_S * 1_000_000, N_SITES)
    sites = [m.site_id for m in config.region_mappings]
    content: dict[str, Any] = {
        "window_start": frames.stamps(starts),
        "site_id": frames.names(np.tile(np.arange(N_SITES), N_WINDOWS), sites),
        **{name: rng.random(n, dtype=np.float32) for name in KPI_NAMES},
        "status": np.zeros(n, dtype=np.int8),
        "uptime_pct": np.full(n, 100.0),
        "fault_count": np.zeros(n, dtype=np.int32),
        "last_seen": frames.stamps(starts),
        "published": np.ones(n, dtype=np.bool_),
    }
    rest = {c: None for c in frames.empty_frame(SITE_KPI).columns if c not in content}
    return pd.DataFrame({**content, **rest})


def _load(slots: Slots, config: FleetConfig) -> None:
    """Load the models before the clock starts, as a run that has begun has done."""
    rows = np.full((64, N_FEATURES), 0.5, dtype=np.float32)
    for slot in config.ai_models or ():
        if slot.active:
            slots.runner(slot).ask(rows, np.ones(64, dtype=np.bool_))


def _bare(models: Sequence[Predict], rows: NDArray[np.float32]) -> float:
    with on_one_thread():
        began = time.perf_counter()
        for predict in models:
            predict(rows)
        return time.perf_counter() - began
