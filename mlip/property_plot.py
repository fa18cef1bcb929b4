"""Figures of a property regression: its learning curve, and predicted against given values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .property_data import Target


def plot_property_curve(metrics: Sequence[Mapping[str, Any]], target: Target, path: Path) -> None:
    """Validation error of every member over its steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for member in sorted({line["member"] for line in metrics}):
        lines = [line for line in metrics if line["member"] == member]
        axes.plot(
            [line["step"] for line in lines], [line["validation_mae"] for line in lines], label=f"member {member}"
        )
    axes.set(xlabel="step", ylabel=f"validation MAE, {_label(target)}", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=120)


def plot_property_parity(values: ArrayLike, found: ArrayLike, target: Target, path: Path) -> None:
    """Predicted over given values (structures,)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    both = np.concatenate([np.asarray(values, dtype=float), np.asarray(found, dtype=float)])
    ends = [float(both.min()), float(both.max())]
    axes.plot(ends, ends, color="0.6", linewidth=1)
    axes.plot(values, found, ".", markersize=4)
    axes.set(xlabel=f"given, {_label(target)}", ylabel="predicted")
    figure.savefig(path, dpi=120)


def _label(target: Target) -> str:
    name = f"log10 {target.name}" if target.log10 else target.name
    return f"{name}, {target.unit}{' per atom' if target.extensive else ''}" if target.unit else name
