"""The two kinds of models used here: trees for skops files, small networks for ONNX."""

import warnings
from typing import Any

from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from fleet_dagster.ai.backends import Rows
from fleet_dagster.reference_models.recipe import Estimator, Values

SEED = 7
_TREES: dict[str, Any] = {  # Any: numbers and switches
    "max_iter": 60,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 50,
    "l2_regularization": 1.0,
    "early_stopping": False,
    "random_state": SEED,
}
_NETWORK: dict[str, Any] = {  # Any: numbers and sizes
    "hidden_layer_sizes": (32, 16),
    "max_iter": 60,
    "tol": 0.0,
    "n_iter_no_change": 60,
    "batch_size": 512,
    "learning_rate_init": 2e-3,
    "random_state": SEED,
}


def boosted_probability() -> HistGradientBoostingClassifier:
    """Return trees for the probability of class 1; inputs may be absent."""
    return HistGradientBoostingClassifier(**_TREES)


def boosted_lower_quantile(share: float) -> HistGradientBoostingRegressor:
    """Return trees for a value that only so small a share of what comes lies below; inputs may be absent."""
    return HistGradientBoostingRegressor(loss="quantile", quantile=share, **_TREES)


def boosted_residuals() -> Pipeline:
    """Return trees on whitened inputs: a fault shows where KPIs that move together no longer do. Classes count alike."""
    trees = HistGradientBoostingClassifier(class_weight="balanced", **_TREES | {"max_iter": 40})
    return make_pipeline(StandardScaler(), PCA(whiten=True, svd_solver="covariance_eigh"), trees)


def network_value() -> TransformedTargetRegressor:
    """Return a network for a value."""
    network = make_pipeline(StandardScaler(), MLPRegressor(**_NETWORK))
    return TransformedTargetRegressor(regressor=network, transformer=StandardScaler())


def network_probability() -> Pipeline:
    """Return a network for the probability of class 1."""
    return make_pipeline(StandardScaler(), MLPClassifier(**_NETWORK))


def fitted(estimator: Estimator, x: Rows, y: Values) -> Estimator:
    """Fit on one thread, so that sums have one order, and for a fixed number of passes, converged or not."""
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(x, y)
    return estimator
