"""ONNX models, run by ONNX Runtime on one thread: one file, nothing beside it."""

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx.external_data_helper import uses_external_data

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.backends import Rows
from fleet_dagster.ai.outputs import Predictions, read_output
from fleet_dagster.model.errors import ModelError
from fleet_dagster.model.slots import AIModelSlot

_N_DIMENSIONS = 2


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A session, its input and its outputs."""

    session: onnxruntime.InferenceSession
    input_name: str
    output: str

    def predict(self, rows: Rows, is_asked: NDArray[np.bool_]) -> Predictions:  # noqa: ARG002 - the protocol's
        """Run the graph; of a classifier's outputs, the probabilities are read."""
        found = self.session.run(None, {self.input_name: rows})
        if self.output == "value":
            return read_output(found[0], self.output, len(rows))
        if self.output == "class" and len(found) > 1:
            best = read_output(found[-1], self.output, len(rows))
            label = read_output(found[0], "value", len(rows))
            return Predictions(label.value, best.confidence)
        return read_output(found[-1], self.output, len(rows))


def load(slot: AIModelSlot, folder: ModelFolder) -> OnnxModel:
    """Load a graph, after a look at what it would read besides its own file."""
    name = f"model {slot.model_id!r}"
    content = folder.read(slot)
    _refuse_outside_data(name, content)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises types of its own for each kind of fault
        raise ModelError(
            name, f"ONNX Runtime refuses it: {_first_line(error)}", "Export it again"
        ) from error
    inputs = session.get_inputs()
    shape = inputs[0].shape if inputs else []
    if (
        len(inputs) != 1
        or len(shape) != _N_DIMENSIONS
        or inputs[0].type != "tensor(float)"
        or isinstance(shape[0], int)
    ):
        found = ", ".join(f"{i.name}: {i.type} {i.shape}" for i in inputs) or "none"
        raise ModelError(
            name,
            f"has inputs {found}, expected one of float32 with shape (any number of rows, {len(slot.features)})",
            "Export it with one float tensor and a free first dimension",
        )
    if isinstance(shape[1], int) and shape[1] != len(slot.features):
        raise ModelError(
            name,
            f"takes {shape[1]} features, {len(slot.features)} are registered",
            "List the features in the order of training",
        )
    kinds = [output.type for output in session.get_outputs()]
    if not all(kind.startswith("tensor(") for kind in kinds):
        raise ModelError(
            name,
            f"returns {', '.join(kinds)}, expected tensors",
            "Export classifiers without the ZipMap operator (zipmap=False)",
        )
    return OnnxModel(session, inputs[0].name, slot.output)


def _refuse_outside_data(name: str, content: bytes) -> None:
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's errors differ from version to version
        raise ModelError(name, "the file is no ONNX model", "Export it again") from error
    for tensor in _tensors(model.graph):
        if uses_external_data(tensor):
            where = {entry.key: entry.value for entry in tensor.external_data}
            raise ModelError(
                name,
                f"tensor {tensor.name!r} is kept in another file ({where.get('location', '?')})",
                "Export the model with all data in one file",
            )


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Return the tensors of a graph and of the graphs within its nodes."""
    found = list(graph.initializer)
    found += [t for sparse in graph.sparse_initializer for t in (sparse.values, sparse.indices)]
    for node in graph.node:
        for attribute in node.attribute:
            found += [attribute.t] if attribute.HasField("t") else []
            found += attribute.tensors
            if attribute.HasField("sparse_tensor"):
                found += [attribute.sparse_tensor.values, attribute.sparse_tensor.indices]
            inner = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            found += [tensor for own in inner for tensor in _tensors(own)]
    return found


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
