"""The picture of a training: losses and errors of every member, against steps and against seconds.

It is drawn from the lines of metrics.jsonl and shows what they hold: train_loss and validation_loss; validation errors
of energy, forces and stress; below them learning rate and energy weight. A roll-back (a line with more `rollbacks` than
the one before, or with `event: rollback`) is a dotted line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Lines = Sequence[Mapping[str, Any]]
"""Lines of metrics.jsonl."""
PANELS = {
    "validation_loss": "loss",
    "validation_energy_mae_mev_per_atom": "energy MAE, meV/atom",
    "validation_force_mae_mev_per_angstrom": "force MAE, meV/Å",
    "validation_stress_mae_gpa": "stress MAE, GPa",
}
"""Key -> label of the panels above the schedules; a panel without numbers is left out."""
SCHEDULES = ("learning_rate", "energy_weight")
AXES = {"step": "step", "seconds": "wall time, s"}
SHOWN_IN_LEGEND = 10
"""Members; of more than these only the first are named."""


class LearningCurveError(ValueError):
    """Metrics that show no training."""


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Lines of a metrics.jsonl; raises LearningCurveError, naming file and line, for what is none."""
    lines: list[dict[str, Any]] = []
    try:
        texts = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LearningCurveError(f"{path}: cannot be read: {error}") from error
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise LearningCurveError(f"{path}, line {number}: not valid JSON: {error}") from error
        if not isinstance(line, dict):
            raise LearningCurveError(f"{path}, line {number}: holds a {type(line).__name__}, expected a JSON object")
        lines.append(line)
    return lines


def plot_learning_curve(metrics: Lines | str | Path, path: str | Path) -> None:
    """Write the figure of `draw_learning_curve` as PNG; `metrics` are lines, or the metrics.jsonl that holds them."""
    lines = read_metrics(metrics) if isinstance(metrics, str | Path) else metrics
    draw_learning_curve(lines).savefig(path, dpi=130, format="png")


def draw_learning_curve(metrics: Lines) -> Any:
    """A matplotlib figure: rows for loss, errors and schedules, columns for steps and seconds, a colour per member.

    Raises LearningCurveError without a line that has a step.
    """
    from matplotlib.figure import Figure

    members = _members(metrics)
    if not members:
        raise LearningCurveError("no line of the metrics has a step; a learning curve needs at least one")
    columns, rows = [key for key in AXES if _has(members, key)], [key for key in PANELS if _has(members, key)]
    figure = Figure(figsize=(6.2 * len(columns), 1.8 * len(rows) + 2.8), layout="constrained")
    heights = [1.6 if key == "validation_loss" else 1.0 for key in rows]
    grid = figure.subplots(len(rows) + 1, len(columns), sharex="col", squeeze=False, height_ratios=[*heights, 0.9])
    for column, horizontal in zip(grid.T, columns, strict=True):
        for axes, key in zip(column, rows, strict=False):
            _curves(axes, members, horizontal, key)
        _schedules(column[-1], members, horizontal)
        for axes in column:
            _mark_rollbacks(axes, members, horizontal)
        column[-1].set_xlabel(AXES[horizontal])
    grid[0, 0].set_title("thin: training, one batch; dot: lowest value", fontsize=9, loc="left")
    if any(_rollbacks(lines, columns[0]) for lines in members.values()):
        grid[0, -1].set_title("dotted: rolled back to an earlier state", fontsize=9, loc="left")
    return figure


def _has(members: Mapping[int, Lines], key: str) -> bool:
    return any(isinstance(line.get(key), int | float) for lines in members.values() for line in lines)


def _members(metrics: Lines) -> dict[int, list[Mapping[str, Any]]]:
    """Lines by member, those without a step left out."""
    members: dict[int, list[Mapping[str, Any]]] = {}
    for line in metrics:
        if isinstance(line.get("step"), int | float):
            members.setdefault(int(line.get("member", 0)), []).append(line)
    return dict(sorted(members.items()))


def _series(lines: Lines, horizontal: str, vertical: str) -> NDArray[np.float64]:
    """(2, k) the points of a curve that are numbers."""
    points = [(line.get(horizontal), line.get(vertical)) for line in lines]
    numbers = [
        (x, y) for x, y in points if isinstance(x, int | float) and isinstance(y, int | float) and np.isfinite(y)
    ]
    return np.array(numbers, dtype=float).reshape(-1, 2).T


def _curves(axes: Any, members: Mapping[int, Lines], horizontal: str, key: str) -> None:
    for order, (member, lines) in enumerate(members.items()):
        colour = f"C{order % 10}"
        if key == "validation_loss":
            axes.plot(*_series(lines, horizontal, "train_loss"), "-", color=colour, lw=0.7, alpha=0.5)
        x, y = _series(lines, horizontal, key)
        label = f"member {member}" if order < SHOWN_IN_LEGEND else None
        axes.plot(x, y, "-", color=colour, lw=1.4, label=label)
        if len(y):
            axes.plot(x[y.argmin()], y.min(), "o", ms=4, color=colour)
    axes.set_ylabel(PANELS[key], fontsize=9)
    _logarithmic(axes)
    if key == "validation_loss" and len(members) > 1:
        axes.legend(frameon=False, fontsize=9, ncols=1 + len(members) // 5)


def _schedules(axes: Any, members: Mapping[int, Lines], horizontal: str) -> None:
    """Learning rate on the left, energy weight (dashed), if the lines have it, on the right."""
    places = [axes, axes.twinx()] if _has(members, SCHEDULES[1]) else [axes]
    for place, key, style in zip(places, SCHEDULES, ("-", "--"), strict=False):
        for order, lines in enumerate(members.values()):
            place.plot(*_series(lines, horizontal, key), style, color=f"C{order % 10}", lw=1.2)
        name = key.replace("_", " ")
        place.set_ylabel(f"{name} (dashed)" if style == "--" else name, fontsize=9)
        _logarithmic(place)


def _logarithmic(axes: Any) -> None:
    """A logarithmic axis with plain numbers, some of them within a decade where there are few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()] or [np.ones(1)])
    positive = values[values > 0]
    if not len(positive):
        return
    axes.set_yscale("log")
    decades = np.log10(positive.max() / positive.min())
    steps = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if decades < 0.8 else (1.0, 2.0, 5.0) if decades < 1.6 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=steps))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25, which="both", lw=0.5)


def _rollbacks(lines: Lines, horizontal: str) -> list[float]:
    """Where training went back to an earlier state."""
    found, before = [], 0
    for line in lines:
        count = line.get("rollbacks", before)
        more = isinstance(count, int) and count > before
        if (more or line.get("event") == "rollback") and isinstance(line.get(horizontal), int | float):
            found.append(float(line[horizontal]))
        before = count if more else before
    return found


def _mark_rollbacks(axes: Any, members: Mapping[int, Lines], horizontal: str) -> None:
    for order, lines in enumerate(members.values()):
        for place in _rollbacks(lines, horizontal):
            axes.axvline(place, ls=":", lw=1.2, color=f"C{order % 10}")
