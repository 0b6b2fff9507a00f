"""Fitted models as files that the backends load; the same model gives the same bytes."""

import io
import json
import zipfile
from typing import Any

import numpy as np
import onnx
import skops.io
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import Pipeline

_OPSET, _IR_VERSION = 17, 8
"""Old enough for every ONNX Runtime of the last years."""
_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LAST = {"logistic": "Sigmoid", "identity": "Identity"}
_ZERO, _ONE = np.zeros(1), np.ones(1)


def skops_bytes(estimator: object) -> bytes:
    """Return an estimator as a skops archive, its members named and dated by their order: not by addresses and clock."""
    names: dict[str, str] = {}
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as found,
        zipfile.ZipFile(out, "w") as archive,
    ):
        schema = _renamed(json.loads(found.read(_SCHEMA)), names)
        contents = {_SCHEMA: json.dumps(schema, indent=1).encode()}
        for name in found.namelist():
            if name != _SCHEMA:
                contents[_member(name, names)] = found.read(name)
        for name, content in sorted(contents.items()):
            archive.writestr(
                zipfile.ZipInfo(name, _EPOCH), content, compress_type=zipfile.ZIP_DEFLATED
            )
    return out.getvalue()


def onnx_bytes(network: Pipeline | TransformedTargetRegressor) -> bytes:
    """Return a scaled network as one ONNX graph: rows in, a value or the probability of class 1 out.

    Written node by node: skl2onnx would be one more library to install for a handful of nodes.
    """
    pipeline = getattr(network, "regressor_", network)
    scaler, layers = pipeline[0], pipeline[-1]
    tensors = {"mean": scaler.mean_, "scale": scaler.scale_}
    nodes = [
        helper.make_node("Sub", ["rows", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["layer_0"]),
    ]
    n_layers = len(layers.coefs_)
    for k, (weights, offsets) in enumerate(zip(layers.coefs_, layers.intercepts_, strict=True)):
        tensors |= {f"weights_{k}": weights, f"offsets_{k}": offsets}
        activation = "Relu" if k < n_layers - 1 else _LAST[layers.out_activation_]
        nodes += [
            helper.make_node("Gemm", [f"layer_{k}", f"weights_{k}", f"offsets_{k}"], [f"sum_{k}"]),
            helper.make_node(activation, [f"sum_{k}"], [f"layer_{k + 1}"]),
        ]
    target = getattr(network, "transformer_", None)
    tensors |= {"range": getattr(target, "scale_", _ONE), "level": getattr(target, "mean_", _ZERO)}
    nodes += [
        helper.make_node("Mul", [f"layer_{n_layers}", "range"], ["ranged"]),
        helper.make_node("Add", ["ranged", "level"], ["answer"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, scaler.mean_.size])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [None, 1])],
        [_tensor(name, values) for name, values in tensors.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _tensor(name: str, values: NDArray[np.float64]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)


def _renamed(node: Any, names: dict[str, str]) -> Any:  # Any: JSON
    """Return a schema whose objects are numbered in order of appearance."""
    if isinstance(node, list):
        return [_renamed(one, names) for one in node]
    if not isinstance(node, dict):
        return node
    out: dict[str, Any] = {}  # Any: JSON
    for key, value in node.items():
        if key == "__id__":
            out[key] = int(_number(str(value), names))
        elif key == "file":
            out[key] = _member(value, names)
        else:
            out[key] = _renamed(value, names)
    return out


def _member(filename: str, names: dict[str, str]) -> str:
    stem, _, ending = filename.rpartition(".")
    return f"{_number(stem, names)}.{ending}"


def _number(address: str, names: dict[str, str]) -> str:
    return names.setdefault(address, str(len(names) + 1))
