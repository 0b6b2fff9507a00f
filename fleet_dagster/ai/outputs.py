"""What models return, as one prediction and one confidence a row."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.model.errors import ModelError

DECIMALS = 9
"""Predictions and confidences are rounded to so many, like every number that decisions are taken on."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """One prediction and one confidence a row, each of shape (n_rows,), float64; NaN where the model gave none."""

    value: NDArray[np.float64]
    confidence: NDArray[np.float64]


def read_output(
    raw: object, output: str, n_rows: int, *, classes: Sequence[float] | None = None
) -> Predictions:
    """Read what a model returned for `n_rows` rows.

    A value comes alone or with its confidence, shape (n,) or (n, 2); a probability of class 1 as (n,), or of both classes as
    (n, 2); classes as their probabilities, (n, k).

    Raises
    ------
    ModelError
        It has another shape, or holds no numbers.
    """
    try:
        found = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _wrong(f"returned no numbers ({type(raw).__name__})", output, n_rows) from error
    if found.ndim == 2 and found.shape[1] == 1 and output != "class":  # noqa: PLR2004 - a column
        found = found[:, 0]
    is_fit = found.shape[:1] == (n_rows,) and (
        found.ndim == 2 and found.shape[1] > 0  # noqa: PLR2004 - a table
        if output == "class"
        else found.shape in ((n_rows,), (n_rows, 2))
    )
    if not is_fit:
        raise _wrong(f"returned shape {found.shape}", output, n_rows)
    if output == "class":
        return _most_probable(found, classes)
    if output == "probability":
        p = found if found.ndim == 1 else found[:, 1]
        return _rounded(p, np.maximum(p, 1.0 - p))
    if found.ndim == 1:
        return _rounded(found, np.where(np.isnan(found), np.nan, 1.0))
    return _rounded(found[:, 0], found[:, 1])


def _most_probable(
    probabilities: NDArray[np.float64], classes: Sequence[float] | None
) -> Predictions:
    labels = np.arange(probabilities.shape[1]) if classes is None else np.asarray(classes)
    try:
        numbers = labels.astype(np.float64)
    except ValueError as error:
        raise ModelError(
            "the model", f"has classes {labels.tolist()}", "Train it on numbers instead of names"
        ) from error
    is_known = ~np.isnan(probabilities).any(axis=1)
    best = np.argmax(np.round(probabilities, DECIMALS), axis=1)
    confidence = np.take_along_axis(probabilities, best[:, None], axis=1)[:, 0]
    return _rounded(np.where(is_known, numbers[best], np.nan), confidence)


def _rounded(value: NDArray[np.float64], confidence: NDArray[np.float64]) -> Predictions:
    return Predictions(np.round(value, DECIMALS), np.round(confidence, DECIMALS))


def _wrong(problem: str, output: str, n_rows: int) -> ModelError:
    wanted = {
        "value": f"({n_rows},), or ({n_rows}, 2) with the confidence",
        "probability": f"({n_rows},) or ({n_rows}, 2)",
        "class": f"({n_rows}, classes)",
    }[output]
    return ModelError(
        "the model", f"{problem}, expected {wanted} for output {output!r}", "Mend the model"
    )
