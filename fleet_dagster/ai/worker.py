"""The process of one model: loads it, then answers batch after batch until the line is closed."""

import json
import resource
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.backends import Model, load
from fleet_dagster.ai.runners import kind_of, said
from fleet_dagster.model.slots import AIModelSlot


def serve(line: Connection) -> None:
    """Answer until the other end closes the line."""
    given, root = json.loads(line.recv_bytes())
    slot = AIModelSlot.model_validate(given)
    limit = slot.memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        model = load(slot, ModelFolder(Path(root)))
    except BaseException as error:  # noqa: BLE001 - a model may raise anything at all
        line.send_bytes(_error(error))
        return
    line.send_bytes(b"{}")
    while True:
        _answer(line, model)


def _answer(line: Connection, model: Model) -> None:
    shape = json.loads(line.recv_bytes())
    rows = np.frombuffer(line.recv_bytes(), dtype=np.float32).reshape(shape)
    is_asked = np.frombuffer(line.recv_bytes(), dtype=np.bool_)
    try:
        found = model.predict(rows, is_asked)
    except BaseException as error:  # noqa: BLE001 - a model may raise anything at all
        line.send_bytes(_error(error))
        return
    line.send_bytes(b"{}")
    line.send_bytes(np.stack([found.value, found.confidence]).tobytes())


def _error(error: BaseException) -> bytes:
    return json.dumps({"error": said(error), "kind": kind_of(error)}).encode()


def main() -> None:
    """Serve the line whose file descriptor is the first argument."""
    try:
        serve(Connection(int(sys.argv[1])))
    except EOFError:
        return


if __name__ == "__main__":
    main()
