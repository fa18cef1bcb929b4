"""Errors on fresh labels: the only honest measure an active-learning loop has while it runs.

A candidate is predicted *before* it is labelled; those predictions against the labels say how good the committee was on
configurations it had chosen because it was unsure, and whether its deviation tells its error. The same labels predicted
after training on them say only that training worked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from .frames import LabelledFrame
from .predictions import PredictedFrame, Prediction
from .units import GPA

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def fresh_errors(
    labels: Sequence[LabelledFrame], after: Sequence[PredictedFrame], before: Sequence[PredictedFrame] | None
) -> dict[str, Any]:
    """Errors before and after training, and for the predictions made before also deviation against error.

    :param before: may lack some of the labels: what a user brought was not predicted first.
    :returns: n_frames; `after` and, where there are predictions, `before`: each the document of `errors`; `deviation`
        as `deviation_against_error` gives it.
    """
    result: dict[str, Any] = {"n_frames": len(labels), "after": errors(labels, by_id(after))}
    predictions = by_id(before or ())
    predicted = [label for label in labels if label.configuration.configuration_id in predictions]
    if predicted:
        result["before"] = errors(predicted, predictions)
        result["deviation"] = deviation_against_error(predicted, predictions)
    return result


def by_id(frames: Sequence[PredictedFrame]) -> dict[str, Prediction]:
    """Predictions by configuration_id."""
    return {frame.configuration.configuration_id: frame.prediction for frame in frames}


def errors(labels: Sequence[LabelledFrame], predictions: Mapping[str, Prediction]) -> dict[str, float]:
    """MAE and RMSE of energy (meV/atom), forces (meV/Å, over components) and stress (GPa, over components).

    Raises KeyError if a labelled configuration has no prediction.
    """
    pairs = [(label, predictions[label.configuration.configuration_id]) for label in labels]
    energy = np.array([1000 * (p.energy - label.energy) / len(label) for label, p in pairs])
    forces = np.concatenate([1000 * (p.forces - label.forces).ravel() for label, p in pairs])
    document = {**_named("energy", "meV_per_atom", energy), **_named("forces", "meV_per_A", forces)}
    stresses = [
        (p.stress - label.stress).ravel() / GPA
        for label, p in pairs
        if p.stress is not None and label.stress is not None
    ]
    return {**document, **(_named("stress", "GPa", np.concatenate(stresses)) if stresses else {})}


def deviation_against_error(labels: Sequence[LabelledFrame], predictions: Mapping[str, Prediction]) -> dict[str, Any]:
    """Per atom: the committee's force deviation and the error of its mean force, |F - F_label|, in eV/Å.

    :returns: quantiles of both, their rank correlation (Spearman; None for fewer than three atoms), and the pairs.
    """
    pairs = [(label, predictions[label.configuration.configuration_id]) for label in labels]
    deviation = np.concatenate([p.force_deviation for _, p in pairs])
    error = np.concatenate([np.linalg.norm(p.forces - label.forces, axis=1) for label, p in pairs])
    return {
        "deviation_quantiles": quantiles(deviation),
        "error_quantiles": quantiles(error),
        "rank_correlation": rank_correlation(deviation, error),
        "deviation": [round(float(value), 6) for value in deviation],
        "error": [round(float(value), 6) for value in error],
    }


def quantiles(values: NDArray[np.float64], levels: Sequence[float] = QUANTILES) -> dict[str, float]:
    """The quantiles of `values` at `levels`, by name such as '0.95'."""
    return {str(q): float(np.quantile(values, q)) for q in levels}


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    """Spearman's rank correlation of two arrays of equal length; None where it is not defined."""
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)


def mae_rmse(difference: NDArray[np.float64]) -> dict[str, float]:
    """Mean absolute and root mean square of all entries, as {'mae', 'rmse'}."""
    return {"mae": float(np.abs(difference).mean()), "rmse": float(np.sqrt((difference**2).mean()))}


def _named(name: str, unit: str, difference: NDArray[np.float64]) -> dict[str, float]:
    return {f"{name}_{kind}_{unit}": value for kind, value in mae_rmse(difference).items()}
