"""How far predictions are from labels: errors of energy per atom, forces and stress, and what the deviation says.

The last part belongs to a committee: the quantiles of the force deviation and its rank correlation with the true force
error say whether disagreement is a usable warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from .committee import Committee
from .frames import FrameError, LabelledFrame
from .fresh import mae_rmse, quantiles, rank_correlation
from .predictions import Prediction
from .units import GPA

QUANTILES = (0.5, 0.9, 0.99, 1.0)


def evaluate(committee: Committee, frames: Sequence[LabelledFrame]) -> tuple[dict[str, Any], list[Prediction]]:
    """(metrics, predictions) of a committee on labelled frames; see `metrics`. Raises FrameError without frames."""
    with_stress = any(frame.stress is not None for frame in frames)
    predictions = committee.predict([frame.configuration for frame in frames], stress=with_stress)
    return metrics(predictions, frames, committee.n_members), predictions


def metrics(predictions: Sequence[Prediction], frames: Sequence[LabelledFrame], n_members: int) -> dict[str, Any]:
    """MAE and RMSE: energy meV per atom, force components meV/Å (all, per element, per source), stress GPa.

    With two or more members also quantiles of the force deviation (eV/Å) and its rank correlation with the error.
    Raises FrameError without frames.
    """
    if not frames:
        raise FrameError("no labelled frames: nothing to evaluate on")
    energy = np.array([1e3 * (p.energy - f.energy) / len(f) for p, f in zip(predictions, frames, strict=True)])
    difference = [p.forces - f.forces for p, f in zip(predictions, frames, strict=True)]
    force = 1e3 * np.concatenate(difference)
    stress = [
        (p.stress - f.stress) / GPA
        for p, f in zip(predictions, frames, strict=True)
        if p.stress is not None and f.stress is not None
    ]
    found: dict[str, Any] = {
        "n_frames": len(frames),
        "n_atoms": len(force),
        "energy_mev_per_atom": mae_rmse(energy),
        "force_mev_per_angstrom": mae_rmse(force),
        "stress_gpa": mae_rmse(np.array(stress)) if stress else None,
        "force_per_element": _grouped(force, [chemical_symbols[z] for f in frames for z in f.configuration.numbers]),
        "force_per_source": _grouped(force, [f.configuration.origin.source for f in frames for _ in range(len(f))]),
    }
    if n_members > 1:
        deviation = np.concatenate([p.force_deviation for p in predictions])
        found["deviation"] = _deviation(deviation, np.linalg.norm(force, axis=1))
    return found


def _grouped(force: NDArray[np.float64], keys: Sequence[str]) -> dict[str, dict[str, float]]:
    names = np.array(keys)
    return {name: mae_rmse(force[names == name]) for name in sorted(set(keys))}


def _deviation(deviation: NDArray[np.float64], error: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "quantiles_ev_per_angstrom": quantiles(deviation, QUANTILES),
        "rank_correlation_with_error": rank_correlation(deviation, error),
    }
