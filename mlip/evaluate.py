"""How far predictions are from labels: errors of energy, forces, stress, where they are, and what the deviation says.

Energies are compared per atom and, for molecules, per structure; forces by component, and by the length of the error
vector |F - F*|, which does not depend on the axes. Groups say where errors are: by element, by source, by number of
atoms; the worst frames are named by file and index.

The last part belongs to a committee: the quantiles of the force deviation and its rank correlation with the true force
error say whether disagreement is a usable warning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from .committee import Committee
from .evaluation_frames import Place
from .frames import FrameError, LabelledFrame
from .fresh import mae_rmse, quantiles, rank_correlation
from .predictions import Prediction
from .units import GPA

QUANTILES = (0.5, 0.9, 0.99, 1.0)
WORST = 10
"""Frames named, by force and by energy."""
MOST_SIZES = 12
"""More numbers of atoms than this are put together between powers of two."""
CHUNK = 512
"""Frames whose graphs are in memory at a time."""


def evaluate(committee: Committee, frames: Sequence[LabelledFrame]) -> tuple[dict[str, Any], list[Prediction]]:
    """(metrics, predictions) of a committee on labelled frames; see `metrics`. Raises FrameError without frames."""
    predictions = predict(committee, frames)
    return metrics(predictions, frames, committee.n_members), predictions


def predict(
    committee: Committee, frames: Sequence[LabelledFrame], report: Callable[[int], None] | None = None
) -> list[Prediction]:
    """One prediction per frame, with stresses where any frame has one; `report(frames done)` is called now and then."""
    stress = any(frame.stress is not None for frame in frames)
    predictions: list[Prediction] = []
    for start in range(0, len(frames), CHUNK):
        part = [frame.configuration for frame in frames[start : start + CHUNK]]
        predictions += committee.predict(part, stress=stress)
        if report is not None:
            report(len(predictions))
    return predictions


def metrics(predictions: Sequence[Prediction], frames: Sequence[LabelledFrame], n_members: int) -> dict[str, Any]:
    """MAE and RMSE of everything, and of groups of frames.

    energy_mev_per_atom; energy_mev_per_structure; force_mev_per_angstrom (components); force_vector_mev_per_angstrom
    (mean and root mean square of |F - F*|); stress_gpa (components; None where no frame has a stress);
    force_per_element and force_per_source (components); per_source and per_n_atoms: n_frames and all of the above per
    group. With two or more members also quantiles of the force deviation (eV/Å) and its rank correlation with the
    error. Raises FrameError without frames.
    """
    if not frames:
        raise FrameError("no labelled frames: nothing to evaluate on")
    errors = [_Errors(p, f) for p, f in zip(predictions, frames, strict=True)]
    force = np.concatenate([each.force for each in errors])
    elements = np.concatenate([f.configuration.numbers for f in frames])
    per_source = dict(sorted(_groups(errors, [f.configuration.origin.source for f in frames]).items()))
    by_size = sorted(errors, key=lambda each: each.n_atoms)
    found: dict[str, Any] = {
        "n_frames": len(frames),
        "n_atoms": len(force),
        **_summary(errors),
        "force_per_element": {
            chemical_symbols[z]: mae_rmse(force[elements == z]) for z in sorted(set(elements.tolist()))
        },
        "force_per_source": {name: group["force_mev_per_angstrom"] for name, group in per_source.items()},
        "per_source": per_source,
        "per_n_atoms": _groups(by_size, sizes([each.n_atoms for each in by_size])),
    }
    if n_members > 1:
        deviation = np.concatenate([p.force_deviation for p in predictions])
        found["deviation"] = {
            "quantiles_ev_per_angstrom": quantiles(deviation, QUANTILES),
            "rank_correlation_with_error": rank_correlation(deviation, np.linalg.norm(force, axis=1)),
        }
    return found


def worst(
    predictions: Sequence[Prediction], frames: Sequence[LabelledFrame], places: Sequence[Place], number: int = WORST
) -> dict[str, list[dict[str, Any]]]:
    """The `number` frames with the largest force RMSE (`by_force`) and energy error (`by_energy`), worst first.

    Each with file, index, formula, source, n_atoms, energy_error_mev_per_atom (prediction minus label) and
    force_rmse_mev_per_angstrom.
    """
    errors = [_Errors(p, f) for p, f in zip(predictions, frames, strict=True)]
    rows: list[dict[str, Any]] = [
        {
            "file": place.file,
            "index": place.index,
            "formula": frame.configuration.formula,
            "source": frame.configuration.origin.source,
            "n_atoms": len(frame),
            "energy_error_mev_per_atom": each.energy / len(frame),
            "force_rmse_mev_per_angstrom": float(np.sqrt(np.mean(each.force**2))),
        }
        for each, frame, place in zip(errors, frames, places, strict=True)
    ]
    return {
        "by_force": sorted(rows, key=lambda row: -row["force_rmse_mev_per_angstrom"])[:number],
        "by_energy": sorted(rows, key=lambda row: -abs(row["energy_error_mev_per_atom"]))[:number],
    }


class _Errors:
    """Prediction minus label of one frame of n atoms."""

    def __init__(self, prediction: Prediction, frame: LabelledFrame) -> None:
        self.n_atoms = len(frame)
        self.energy = 1e3 * (prediction.energy - frame.energy)
        """meV"""
        self.force: NDArray[np.float64] = 1e3 * (prediction.forces - frame.forces)
        """(n, 3) meV/Å"""
        both = prediction.stress is not None and frame.stress is not None
        self.stress = (prediction.stress - frame.stress) / GPA if both else None  # type: ignore[operator]
        """(3, 3) GPa"""


def _summary(errors: Sequence[_Errors]) -> dict[str, Any]:
    force = np.concatenate([each.force for each in errors])
    stress = [each.stress for each in errors if each.stress is not None]
    return {
        "energy_mev_per_atom": mae_rmse(np.array([each.energy / each.n_atoms for each in errors])),
        "energy_mev_per_structure": mae_rmse(np.array([each.energy for each in errors])),
        "force_mev_per_angstrom": mae_rmse(force),
        "force_vector_mev_per_angstrom": mae_rmse(np.linalg.norm(force, axis=1)),
        "stress_gpa": mae_rmse(np.array(stress)) if stress else None,
    }


def _groups(errors: Sequence[_Errors], keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Summaries by key, in the order in which the keys are met."""
    groups: dict[str, list[_Errors]] = {}
    for key, each in zip(keys, errors, strict=True):
        groups.setdefault(key, []).append(each)
    return {key: {"n_frames": len(group), **_summary(group)} for key, group in groups.items()}


def sizes(n_atoms: Sequence[int]) -> list[str]:
    """The group of each frame by its number of atoms: the number itself or, if there are many, '5-8', '9-16' ..."""
    if len(set(n_atoms)) <= MOST_SIZES:
        return [str(n) for n in n_atoms]
    powers = [(n - 1).bit_length() for n in n_atoms]
    return [f"{2 ** (power - 1) + 1}-{2**power}" if power > 1 else str(2**power) for power in powers]
