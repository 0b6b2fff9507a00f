"""Models behind HTTP: `{"instances": [[…], …]}` is posted, `{"predictions": […]}` comes back.

This is what TensorFlow Serving, KServe (protocol v1), MLflow and others speak.
"""

import json
import math
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import requests
from numpy.typing import NDArray
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.backends import Rows
from fleet_dagster.ai.outputs import Predictions, read_output
from fleet_dagster.ai.runners import RETRIES
from fleet_dagster.model.errors import ModelError
from fleet_dagster.model.slots import AIModelSlot

BACKOFF_S, JITTER_S = 0.1, 0.2
MAX_ANSWER = 32 * 1024 * 1024
"""Bytes of an answer above which it is not read on."""
_TRY_AGAIN = (429, 502, 503, 504)
_OK, _SERVER_FAULT = 200, 500
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class HttpModel:
    """An endpoint that takes rows and returns predictions."""

    session: requests.Session
    url: str
    output: str
    timeout_s: float

    def predict(self, rows: Rows, is_asked: NDArray[np.bool_]) -> Predictions:
        """Post the rows asked for, and no others: a server is paid by the row. What is absent is null, for JSON knows no NaN."""
        wanted = rows[is_asked].astype(np.float64)
        cells = [[None if math.isnan(cell) else cell for cell in row] for row in wanted.tolist()]
        found = self._post({"instances": cells})
        answer = read_output(_plain(found), self.output, len(cells))
        value, confidence = np.full((2, len(rows)), np.nan)
        value[is_asked], confidence[is_asked] = answer.value, answer.confidence
        return Predictions(value, confidence)

    def _post(self, body: Any) -> object:  # Any: JSON
        try:
            with self.session.post(
                self.url, json=body, timeout=self.timeout_s, stream=True, allow_redirects=False
            ) as response:
                if response.status_code in _TRY_AGAIN or response.status_code >= _SERVER_FAULT:
                    raise ConnectionError(
                        f"{_place(self.url)} answered with status {response.status_code}"
                    )
                if response.status_code != _OK:
                    raise _refused(self.url, f"answered with status {response.status_code}")
                content = bytearray()
                for chunk in response.iter_content(_CHUNK):
                    content += chunk
                    if len(content) > MAX_ANSWER:
                        raise _refused(self.url, f"answered with more than {MAX_ANSWER} bytes")
        except requests.Timeout as error:
            raise TimeoutError(f"{_place(self.url)} did not answer in time") from error
        except requests.RequestException as error:
            raise ConnectionError(
                f"{_place(self.url)} cannot be reached ({type(error).__name__})"
            ) from error
        try:
            return json.loads(content)["predictions"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _refused(self.url, "answered without predictions") from error


def load(slot: AIModelSlot, folder: ModelFolder) -> HttpModel:  # noqa: ARG001 - the backends' signature
    """Open a session with an endpoint; its bearer token comes from the environment."""
    if not slot.artifact:
        raise ModelError(
            f"model {slot.model_id!r}", "has no address", "Name it as the slot's artifact"
        )
    session = requests.Session()
    retry = Retry(
        total=RETRIES,
        read=False,
        backoff_factor=BACKOFF_S,
        backoff_jitter=JITTER_S,
        status_forcelist=_TRY_AGAIN,
        allowed_methods=None,
        raise_on_status=False,
        redirect=0,
    )
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.mount("https://", HTTPAdapter(max_retries=retry))
    session.trust_env = False
    if slot.token_env:
        token = os.environ.get(slot.token_env)
        if not token:
            raise ModelError(
                f"model {slot.model_id!r}",
                f"environment variable {slot.token_env} is not set",
                "Set it to the endpoint's token where the pipeline runs",
            )
        session.headers["Authorization"] = f"Bearer {token}"
    return HttpModel(session, slot.artifact, slot.output, slot.timeout_s)


def _plain(found: object) -> object:
    """Return predictions given as records as pairs of prediction and confidence."""
    if isinstance(found, list) and found and isinstance(found[0], dict):
        return [
            [one.get("prediction"), one.get("confidence", 1.0)] if isinstance(one, dict) else one
            for one in found
        ]
    return found


def _place(url: str) -> str:
    """Return an address without its query, which may hold a key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _refused(url: str, problem: str) -> ModelError:
    return ModelError(_place(url), problem, "Look at the endpoint's log")
