"""The picture of `evaluate`: predictions against labels, and the committee's deviation against the error.

Few points are drawn one by one, many as hexagons whose colour is the logarithm of their number: nothing is hidden
behind anything else. Energies are shown above those of the model's reference atoms, so that parity shows binding rather
than which elements there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frames import LabelledFrame
from .fresh import mae_rmse, rank_correlation
from .predictions import Prediction
from .units import GPA, Z_MAX

MANY = 1500
"""Points from which on hexagons are drawn."""
SMALLEST_DEVIATION = 1e-4
"""eV/Å: what is smaller is drawn there."""


def plot_parity(
    frames: Sequence[LabelledFrame],
    predictions: Sequence[Prediction],
    path: str | Path,
    reference_energies: Mapping[int, float],
) -> None:
    """Write the figure of `draw_parity` as PNG."""
    draw_parity(frames, predictions, reference_energies).savefig(path, dpi=130, format="png")


def draw_parity(
    frames: Sequence[LabelledFrame], predictions: Sequence[Prediction], reference_energies: Mapping[int, float]
) -> Any:
    """A matplotlib figure with panels for energy per atom and force components and, where there are any, for stress
    components and for deviation against error; errors in the titles.

    :param reference_energies: eV by atomic number.
    """
    from matplotlib.figure import Figure

    panels: list[Any] = [_energy_panel, _force_panel]
    stressed = [
        (f, p) for f, p in zip(frames, predictions, strict=True) if f.stress is not None and p.stress is not None
    ]
    deviation = np.concatenate([p.force_deviation for p in predictions])
    if stressed:
        panels.append(_stress_panel)
    if deviation.max() > 0:
        panels.append(_deviation_panel)
    rows, columns = (2, 2) if len(panels) == 4 else (1, len(panels))
    figure = Figure(figsize=(5.6 * columns, 5.2 * rows), layout="constrained")
    for axes, panel in zip(np.ravel(figure.subplots(rows, columns)), panels, strict=True):
        panel(axes, frames, predictions, reference_energies)
    return figure


def _energy_panel(axes: Any, frames: Any, predictions: Any, reference_energies: Mapping[int, float]) -> None:
    table = np.zeros(Z_MAX + 1)
    table[list(reference_energies)] = list(reference_energies.values())
    offset = np.array([table[f.configuration.numbers].sum() for f in frames])
    n_atoms = np.array([len(f) for f in frames])
    truth = (np.array([f.energy for f in frames]) - offset) / n_atoms
    guess = (np.array([p.energy for p in predictions]) - offset) / n_atoms
    _parity(axes, truth, guess, "energy above the reference atoms", "eV/atom")
    axes.set_title(f"energy, {len(frames)} frames\n{_told(1e3 * (guess - truth), 'meV/atom')}", fontsize=11)


def _force_panel(axes: Any, frames: Any, predictions: Any, _: Any) -> None:
    truth = np.concatenate([f.forces.ravel() for f in frames])
    guess = np.concatenate([p.forces.ravel() for p in predictions])
    _parity(axes, truth, guess, "force component", "eV/Å")
    axes.set_title(f"forces, {len(truth)} components\n{_told(1e3 * (guess - truth), 'meV/Å')}", fontsize=11)


def _stress_panel(axes: Any, frames: Any, predictions: Any, _: Any) -> None:
    upper = np.triu_indices(3)
    pairs = [(f, p) for f, p in zip(frames, predictions, strict=True) if f.stress is not None and p.stress is not None]
    truth = np.concatenate([f.stress[upper] for f, _ in pairs]) / GPA
    guess = np.concatenate([p.stress[upper] for _, p in pairs]) / GPA
    errors = np.concatenate([(p.stress - f.stress).ravel() for f, p in pairs]) / GPA  # as in the table of metrics
    _parity(axes, truth, guess, "stress component", "GPa")
    axes.set_title(f"stress, {len(pairs)} frames\n{_told(errors, 'GPa')}", fontsize=11)


def _deviation_panel(axes: Any, frames: Any, predictions: Any, _: Any) -> None:
    spread = np.concatenate([p.force_deviation for p in predictions])
    error = np.concatenate(
        [np.linalg.norm(p.forces - f.forces, axis=1) for f, p in zip(frames, predictions, strict=True)]
    )
    x, y = np.maximum(spread, SMALLEST_DEVIATION), np.maximum(error, SMALLEST_DEVIATION)
    low, high = min(x.min(), y.min()) / 1.3, max(x.max(), y.max()) * 1.3
    axes.set(xscale="log", yscale="log")
    _points(axes, x, y, np.log10([low, high]), scale="log")
    _frame(axes, low, high)
    axes.set_xlabel("force deviation of the committee, eV/Å")
    axes.set_ylabel("error of the mean force, eV/Å")
    correlation = rank_correlation(spread, error)
    told = "not defined" if correlation is None else f"{correlation:.2f}"
    axes.set_title(f"deviation against error, {len(x)} atoms\nrank correlation {told}", fontsize=11)
    if min(spread.min(), error.min()) < SMALLEST_DEVIATION:
        told = f"below {SMALLEST_DEVIATION:g} eV/Å drawn there"
        axes.annotate(told, (0.98, 0.02), xycoords="axes fraction", ha="right", fontsize=8, color="0.4")


def _parity(axes: Any, truth: NDArray[np.float64], guess: NDArray[np.float64], what: str, unit: str) -> None:
    low, high = min(truth.min(), guess.min()), max(truth.max(), guess.max())
    margin = 0.04 * (high - low) or 0.1
    low, high = low - margin, high + margin
    _points(axes, truth, guess, np.array([low, high]))
    _frame(axes, low, high)
    axes.locator_params(nbins=6)
    axes.set_xlabel(f"{what}, label, {unit}")
    axes.set_ylabel(f"{what}, prediction, {unit}")


def _points(
    axes: Any, x: NDArray[np.float64], y: NDArray[np.float64], limits: NDArray[np.float64], scale: str = "linear"
) -> None:
    if len(x) < MANY:
        axes.plot(x, y, "o", ms=4, color="tab:blue", alpha=0.5, mew=0)
        return
    extent = (limits[0], limits[1], limits[0], limits[1])
    drawn = axes.hexbin(
        x, y, gridsize=70, bins="log", mincnt=1, cmap="viridis", extent=extent, xscale=scale, yscale=scale, lw=0.1
    )
    axes.figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02, label="points per hexagon")


def _frame(axes: Any, low: float, high: float) -> None:
    """A square from low to high with the line of identity, which stays visible on top of the points."""
    axes.plot([low, high], [low, high], "-", color="tab:red", lw=0.8, zorder=5)
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set_box_aspect(1)


def _told(error: NDArray[np.float64], unit: str) -> str:
    found = mae_rmse(error)
    return f"MAE {found['mae']:.3g}, RMSE {found['rmse']:.3g} {unit}"
