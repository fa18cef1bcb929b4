"""The picture of `fresh`: parity, and deviation against error, of predictions made before their labels were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frames import LabelledFrame
from .fresh import by_id, rank_correlation
from .predictions import PredictedFrame
from .units import Z_MAX

Batch = tuple[str, Sequence[LabelledFrame], Sequence[PredictedFrame]]
"""Name in the legend, labels, and the predictions made before."""


def draw_fresh(batches: Sequence[Batch], reference_energies: Mapping[int, float] | None) -> Any:
    """A matplotlib figure with three panels: forces, energies, deviation against error.

    :param reference_energies: eV by atomic number, taken off the energies so that their parity shows binding rather
        than which elements there are; None fits them to the labels.
    """
    import matplotlib.pyplot as plt

    figure, (forces, energies, deviation) = plt.subplots(1, 3, figsize=(15, 5), constrained_layout=True)
    references = atomic_energies([label for _, labels, _ in batches for label in labels], reference_energies)
    pooled: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for name, labels, predicted in batches:
        predictions = by_id(predicted)
        pairs = [(label, predictions[label.configuration.configuration_id]) for label in labels]
        truth = np.concatenate([label.forces.ravel() for label, _ in pairs])
        guess = np.concatenate([p.forces.ravel() for _, p in pairs])
        forces.plot(truth, guess, ".", ms=4, label=name)
        offset = np.array([references[label.configuration.numbers].sum() for label, _ in pairs])
        n_atoms = np.array([len(label) for label, _ in pairs])
        truth_energy = (np.array([label.energy for label, _ in pairs]) - offset) / n_atoms
        guess_energy = (np.array([p.energy for _, p in pairs]) - offset) / n_atoms
        energies.plot(truth_energy, guess_energy, "o", ms=4, label=name)
        spread = np.concatenate([p.force_deviation for _, p in pairs])
        error = np.concatenate([np.linalg.norm(p.forces - label.forces, axis=1) for label, p in pairs])
        deviation.loglog(np.maximum(spread, 1e-4), np.maximum(error, 1e-4), ".", ms=4, label=name)
        pooled.append((spread, error))
    _parity(forces, "force component of the label, eV/Å", "predicted before, eV/Å")
    _parity(energies, "energy of the label above its atoms, eV/atom", "predicted before, eV/atom")
    _diagonal(deviation, "committee force deviation, eV/Å", "error of the mean force, eV/Å")
    correlation = rank_correlation(*(np.concatenate(values) for values in zip(*pooled, strict=True)))
    told = "not defined" if correlation is None else f"{correlation:.2f}"
    deviation.set_title(f"rank correlation {told}", fontsize=10)
    return figure


def atomic_energies(labels: Sequence[LabelledFrame], given: Mapping[int, float] | None) -> NDArray[np.float64]:
    """(19,) eV by atomic number: as given, or for None fitted to the energies of the labels (least squares)."""
    references = np.zeros(Z_MAX + 1)
    if given is not None:
        for number, energy in given.items():
            references[number] = energy
        return references
    if not labels:
        return references
    counts = np.array([np.bincount(label.configuration.numbers, minlength=Z_MAX + 1) for label in labels], dtype=float)
    fitted: NDArray[np.float64] = np.linalg.lstsq(counts, np.array([label.energy for label in labels]), rcond=None)[0]
    return fitted


def _parity(axes: Any, horizontal: str, vertical: str) -> None:
    axes.set_aspect("equal", adjustable="datalim")
    _diagonal(axes, horizontal, vertical)


def _diagonal(axes: Any, horizontal: str, vertical: str) -> None:
    low = min(axes.get_xlim()[0], axes.get_ylim()[0])
    high = max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([low, high], [low, high], "-", color="0.6", lw=1, zorder=0)
    axes.set_xlabel(horizontal)
    axes.set_ylabel(vertical)
    axes.legend(frameon=False, fontsize=9)
