"""The models that are not ours, from scikit-learn, one task at a time; scores in the terms of common.scores."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ConsiliumError
from common.plan import Plan, Task
from experiments.baselines.inputs import Float32, Float64, LinearInputs, RawInputs

_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # L2 against a sum of losses over rows, tried in cross-validation
_FOLDS = 5
MOST_SVM_ROWS = 5_000
_SMALLEST = 1e-12
_NEVER = -30.0  # score of a class that was not among the training rows


@dataclass(frozen=True)
class Fitted:
    """A model of one task. scores: (n, F) features -> (n, task.outputs) float32. probabilistic: scores are log-odds."""

    scores: Callable[[Float32], Float32]
    parameters: int
    probabilistic: bool = True


Learner = Callable[[Plan, Task, Float32, Float32, int], Fitted]


def logistic_regression(plan: Plan, task: Task, features: Float32, labels: Float32, seed: int) -> Fitted:
    """L2 logistic regression with scikit-learn's default C = 1; for a quantity ridge on the standardised label."""
    linear = _library("sklearn.linear_model")
    return _linear(plan, task, features, labels, linear.Ridge(), linear.LogisticRegression(max_iter=2_000))


def logistic_regression_tuned(plan: Plan, task: Task, features: Float32, labels: Float32, seed: int) -> Fitted:
    """The same with the penalty chosen by cross-validation among the training rows, by log-loss (ridge: squared error).

    With fewer than two rows of some class there is nothing to divide, and the penalty stays at C = 1.
    """
    linear, selection = _library("sklearn.linear_model"), _library("sklearn.model_selection")
    ridge = linear.RidgeCV(alphas=_PENALTIES)
    fewest = 0 if task.kind == "regression" else int(np.unique(labels, return_counts=True)[1].min())
    if task.kind != "regression" and fewest < 2:
        return logistic_regression(plan, task, features, labels, seed)
    folds = selection.StratifiedKFold(min(_FOLDS, fewest)) if fewest else None
    options = {
        "cv": folds,
        "scoring": "neg_log_loss",
        "max_iter": 2_000,
        "use_legacy_attributes": False,
        "l1_ratios": (0.0,),
    }
    model = linear.LogisticRegressionCV(Cs=[1.0 / penalty for penalty in _PENALTIES], **options)
    return _linear(plan, task, features, labels, ridge, model)


def gradient_boosting(plan: Plan, task: Task, features: Float32, labels: Float32, seed: int) -> Fitted:
    """Histogram gradient boosting with scikit-learn's defaults, on values as they are, gaps included."""
    ensemble = _library("sklearn.ensemble")
    inputs = RawInputs.of(plan, task, features)
    options = {"categorical_features": inputs.categorical, "random_state": seed}
    if task.kind == "regression":
        return _regression(ensemble.HistGradientBoostingRegressor(**options), inputs, task, features, labels)
    model = ensemble.HistGradientBoostingClassifier(**options).fit(inputs(features), labels)
    return Fitted(lambda rows: _log_odds(model, inputs(rows), task), _size(model))


def svm(plan: Plan, task: Task, features: Float32, labels: Float32, seed: int) -> Fitted:
    """Support vectors with a radial kernel and scikit-learn's defaults, on the inputs of the logistic regression.

    Of more than MOST_SVM_ROWS rows as many are drawn at random. The decision function is no probability.
    """
    library = _library("sklearn.svm")
    if len(labels) > MOST_SVM_ROWS:
        chosen = np.random.default_rng(seed).permutation(len(labels))[:MOST_SVM_ROWS]
        features, labels = features[chosen], labels[chosen]
    inputs = LinearInputs.of(plan, task, features)
    if task.kind == "regression":
        return _regression(library.SVR(), inputs, task, features, labels)
    model = library.SVC().fit(inputs(features), labels)
    return Fitted(lambda rows: _decision(model, inputs(rows), task), _size(model), probabilistic=False)


def constant(task: Task, labels: Float32) -> Fitted:
    """What can be said without inputs: the classes' shares among `labels`, one row added to each. AUROC is 0.5."""
    classes = 2 if task.classes is None else len(task.classes)
    share = (np.bincount(labels.astype(np.int64), minlength=classes) + 1.0) / (len(labels) + classes)
    odds = _odds_of(share[None, 1:]) if task.kind == "binary" else _of_classes(share[None], task)
    return Fitted(lambda rows: np.repeat(odds, len(rows), axis=0), odds.size)


def _linear(plan: Plan, task: Task, features: Float32, labels: Float32, ridge: Any, logistic: Any) -> Fitted:
    inputs = LinearInputs.of(plan, task, features)
    if task.kind == "regression":
        return _regression(ridge, inputs, task, features, labels)
    model = logistic.fit(inputs(features), labels)
    return Fitted(lambda rows: _log_odds(model, inputs(rows), task), _size(model))


def _regression(model: Any, inputs: Any, task: Task, features: Float32, labels: Float32) -> Fitted:
    mean, std = float(labels.mean(dtype=np.float64)), float(labels.std(dtype=np.float64)) or 1.0
    low, high = task.range or (-np.inf, np.inf)
    model.fit(inputs(features), (labels.astype(np.float64) - mean) / std)

    def scores(rows: Float32) -> Float32:
        value = np.clip(mean + std * model.predict(inputs(rows)), low, high)
        return np.asarray(value[:, None], dtype=np.float32)

    return Fitted(scores, _size(model))


def _log_odds(model: Any, inputs: NDArray[np.floating], task: Task) -> Float32:
    if task.kind == "binary":
        return np.asarray(model.decision_function(inputs)[:, None], dtype=np.float32)
    probability = np.zeros((len(inputs), len(task.classes or ())))
    probability[:, model.classes_.astype(np.int64)] = model.predict_proba(inputs)
    return _of_classes(probability, task)


def _decision(model: Any, inputs: Float64, task: Task) -> Float32:
    decision = model.decision_function(inputs)
    if task.kind == "binary":
        return np.asarray(decision[:, None], dtype=np.float32)
    columns = np.stack([-decision, decision], axis=1) if decision.ndim == 1 else decision
    result = np.full((len(inputs), len(task.classes or ())), _NEVER, dtype=np.float32)
    result[:, model.classes_.astype(np.int64)] = columns
    if task.kind == "multiclass":
        return result
    cuts = range(1, result.shape[1])  # the best class beyond a cut against the best one before it
    return np.stack([result[:, cut:].max(axis=1) - result[:, :cut].max(axis=1) for cut in cuts], axis=1)


def _of_classes(probability: Float64, task: Task) -> Float32:
    """Scores from the probabilities of classes, (n, classes): an ordinal task's are to lie beyond each but the last."""
    if task.kind == "ordinal":
        return _odds_of(probability[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:])
    return _odds_of(probability)


def _odds_of(probability: Float64) -> Float32:
    inside = np.clip(probability, _SMALLEST, 1.0 - _SMALLEST)
    return np.asarray(np.log(inside) - np.log1p(-inside), dtype=np.float32)


def _size(model: Any) -> int:
    """Numbers that the fitted model consists of: coefficients; support vectors and their weights; nodes of trees."""
    if hasattr(model, "support_vectors_"):
        return int(model.support_vectors_.size + model.dual_coef_.size + np.size(model.intercept_))
    if hasattr(model, "coef_"):
        return int(np.size(model.coef_) + np.size(model.intercept_))
    return sum(len(tree.nodes) for trees in model._predictors for tree in trees)


def require_library() -> None:
    """Raises ConsiliumError if scikit-learn is not installed, before any work is done."""
    _library("sklearn")


def one_thread() -> Any:
    """Keeps scikit-learn to one thread until the end of the context: faster for such tables, and its sums repeat."""
    return _library("threadpoolctl").threadpool_limits(limits=1)


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise ConsiliumError(
            "this baseline needs scikit-learn, which is not installed: pip install 'consilium[baselines]'."
        ) from None
