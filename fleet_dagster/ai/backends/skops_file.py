"""scikit-learn models in skops files: no pickle, and no types but those listed here."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import skops.io
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.tree._tree import Tree

from fleet_dagster.ai.artifacts import MAX_BYTES, ModelFolder
from fleet_dagster.ai.backends import Rows
from fleet_dagster.ai.outputs import Predictions, read_output
from fleet_dagster.model.errors import ModelError
from fleet_dagster.model.slots import AIModelSlot

TRUSTED = (
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.linear_model._sgd_fast.Hinge",
    "sklearn.linear_model._sgd_fast.Log",
    "sklearn.tree._tree.Tree",
)
"""Types that files may hold besides those that skops itself trusts; all belong to scikit-learn's estimators."""
MAX_RATIO = 200
"""Unpacked size over packed size from which an archive counts as a bomb."""


@dataclass(frozen=True, slots=True)
class SkopsModel:
    """A scikit-learn estimator."""

    estimator: Any  # Any: scikit-learn's estimators share no type with predict
    output: str

    def predict(self, rows: Rows, is_asked: NDArray[np.bool_]) -> Predictions:  # noqa: ARG002 - the protocol's
        """Ask for values, or for the probabilities of classes."""
        if self.output == "value":
            return read_output(self.estimator.predict(rows), self.output, len(rows))
        found = self.estimator.predict_proba(rows)
        return read_output(found, self.output, len(rows), classes=self.estimator.classes_.tolist())


def load(slot: AIModelSlot, folder: ModelFolder) -> SkopsModel:
    """Load an estimator, after a look at what the file would bring with it."""
    name = f"model {slot.model_id!r}"
    content = folder.read(slot)
    _refuse_archive(name, content)
    strange = sorted(set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED))
    if strange:
        raise ModelError(
            name,
            f"the file holds types that are not trusted: {', '.join(strange)}",
            "Use estimators of scikit-learn alone, or offer the model as an entry point",
        )
    estimator = skops.io.loads(content, trusted=list(TRUSTED))
    wanted = "predict" if slot.output == "value" else "predict_proba"
    if not isinstance(estimator, BaseEstimator) or not hasattr(estimator, wanted):
        raise ModelError(
            name,
            f"the file holds a {type(estimator).__name__} without {wanted}, which output {slot.output!r} needs",
            "Choose another output, or save a fitted estimator",
        )
    expected = getattr(estimator, "n_features_in_", len(slot.features))
    if expected != len(slot.features):
        raise ModelError(
            name,
            f"was trained on {expected} features, {len(slot.features)} are registered",
            "List the features in the order of training",
        )
    _refuse_broken_trees(name, estimator, len(slot.features))
    return SkopsModel(estimator, slot.output)


def _refuse_broken_trees(name: str, estimator: object, n_features: int) -> None:
    """Refuse trees whose nodes point outside of them: compiled code follows them unchecked, and takes the process along."""
    for tree in _trees(estimator):
        if isinstance(tree, TreePredictor):
            nodes = tree.nodes[tree.nodes["is_leaf"] == 0]
            children = np.concatenate([nodes["left"], nodes["right"]]).astype(np.int64)
            place = np.tile(np.flatnonzero(tree.nodes["is_leaf"] == 0), 2)
            features, n_nodes = nodes["feature_idx"].astype(np.int64), len(tree.nodes)
        else:
            inner = np.flatnonzero(tree.children_left != -1)
            children = np.concatenate([tree.children_left[inner], tree.children_right[inner]])
            place, features = np.tile(inner, 2), tree.feature[inner]
            n_nodes = tree.node_count
        is_sound = ((children > place) & (children < n_nodes)).all() and n_nodes > 0
        if not is_sound or not ((features >= 0) & (features < n_features)).all():
            raise ModelError(
                name, "holds a tree whose nodes point outside of it", "Save the estimator again"
            )


def _trees(root: object) -> Iterator[Any]:  # Any: compiled types without type information
    """Yield the trees in an estimator, and in those it is made of."""
    waiting, seen = [root], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, TreePredictor | Tree):
            yield one
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list | tuple | set):
            waiting += one
        elif isinstance(one, np.ndarray):
            waiting += one.ravel().tolist() if one.dtype == object else []
        elif hasattr(one, "__dict__") and not isinstance(one, type):
            waiting += vars(one).values()


def _refuse_archive(name: str, content: bytes) -> None:
    """Refuse what is no plain archive: a pickle by another name, paths that lead out, sizes that explode."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise ModelError(
            name, "the file is no skops archive", "Save the estimator with skops.io.dump"
        ) from error
    unpacked = sum(member.file_size for member in members)
    if unpacked > min(4 * MAX_BYTES, MAX_RATIO * max(1, len(content))):
        raise ModelError(
            name,
            f"the archive would unpack to {unpacked / 1e6:,.0f} MB from {len(content) / 1e6:,.1f} MB",
            "Save a smaller model",
        )
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if member.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise ModelError(
                name,
                f"the archive names {member.filename!r}, which lies outside of it",
                "Save the estimator with skops.io.dump",
            )
