"""Models for tests: files of scikit-learn and ONNX, a package of entry points, and an HTTP server, all real."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skops.io
from onnx import TensorProto, helper
from sklearn.linear_model import LinearRegression, LogisticRegression

from fleet_dagster.ai.artifacts import ModelFolder

FEATURES = ("efficiency_pct", "process_temp_c@1", "mean(cooling_temp_c, 4)")
PLUGIN = """
import os, time
import numpy as np
def mean(rows): return rows.mean(axis=1)
def raises(rows): raise RuntimeError("the model is broken")
def hangs(rows): time.sleep(3600)
def nan(rows): return np.full(len(rows), np.nan)
def shape(rows): return np.zeros(3)
def sure(rows): return np.stack([rows[:, 0], np.full(len(rows), 1.5)], axis=1)
def dies(rows): os._exit(3)
def hog(rows): return np.ones(1 << 30).sum() * np.ones(len(rows))
def surrogate(rows): raise OSError("caf\\udce9.bin at 0x7f37a90ae030")
class Mute(Exception):
    def __str__(self): raise ValueError("no")
def mute(rows): raise Mute
calls = []
def slow_once(rows):
    calls.append(1)
    time.sleep(0.4 if len(calls) == 1 else 0)
    return rows[:, 0]
class Sum:
    def predict(self, rows): return rows.sum(axis=1)
"""
NAMES = (
    "mean",
    "raises",
    "hangs",
    "nan",
    "shape",
    "sure",
    "dies",
    "hog",
    "Sum",
    "surrogate",
    "mute",
    "slow_once",
)


def sklearn_file(folder: Path, *, weights: Sequence[float] = (1.0, 0.0, 0.0)) -> Path:
    """Return a file of a linear model: the inputs by `weights`."""
    rows = np.random.default_rng(0).random((64, len(weights))).astype(np.float32)
    model = LinearRegression().fit(rows, rows @ np.asarray(weights))
    return written(folder / "linear.skops", skops.io.dumps(model))


def classifier_file(folder: Path) -> Path:
    """Return a file of a classifier: whether the second input is above a half."""
    rows = np.random.default_rng(0).random((256, 3)).astype(np.float32)
    model = LogisticRegression().fit(rows, (rows[:, 1] > 0.5).astype(int))
    return written(folder / "classifier.skops", skops.io.dumps(model))


def onnx_model(weights: Sequence[float] = (0.0, 1.0, 0.0)) -> onnx.ModelProto:
    """Return a graph: the inputs by `weights`."""
    n = len(weights)
    matrix = helper.make_tensor("W", TensorProto.FLOAT, [n, 1], list(weights))
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", n])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 1])
    node = helper.make_node("MatMul", ["rows", "W"], ["out"])
    graph = helper.make_graph([node], "linear", [rows], [out], [matrix])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def onnx_file(folder: Path, *, weights: Sequence[float] = (0.0, 1.0, 0.0)) -> Path:
    """Return a file of such a graph."""
    return written(folder / "linear.onnx", onnx_model(weights).SerializeToString())


def written(path: Path, content: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content)
    return path


def pinned(folder: ModelFolder, path: Path) -> dict[str, str]:
    """Return the settings of a slot that holds a file."""
    name, digest = folder.add(path)
    return {"artifact": name, "sha256": digest}


def install_plugin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that offers entry points, for this process and those it starts."""
    package = folder / "site"
    info = package / "test_models-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "test_models.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: test-models\nVersion: 1.0\n")
    lines = [f"{name} = test_models:{name}" for name in NAMES]
    (info / "entry_points.txt").write_text("\n".join(["[fleet_dagster.models]", *lines, ""]))
    monkeypatch.syspath_prepend(str(package))
    monkeypatch.setenv("PYTHONPATH", str(package), prepend=":")


Answer = Callable[[list[list[float]]], Any]
"""Returns what a server answers to some rows: the body's content, or a status."""


@contextmanager
def server(answer: Answer) -> Iterator[tuple[str, list[dict[str, Any]]]]:  # Any: JSON
    """Serve a model on this machine; yields its address and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({**body, "authorization": self.headers.get("Authorization")})
            found = answer(body["instances"])
            status, content = (
                (found, b"") if isinstance(found, int) else (200, json.dumps(found).encode())
            )
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/predict", asked
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
