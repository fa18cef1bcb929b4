"""The plot of leignn.py: a row per system; g(r), h(r), and the energy without a thermostat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from observables import WIDTH

SYSTEMS = ("solid", "liquid", "gas")
STYLES: dict[str, tuple[str, str, Any]] = {
    "exact": ("exact", "0.35", "-"),
    "published": ("published (direct forces), narrow", "tab:red", "-"),
    "published-full": ("published (direct forces), full width", "tab:purple", "-"),
    "campaign": ("campaign (conservative)", "tab:blue", "--"),
}
"""Form -> legend, colour, line."""
LINEAR_TO = 1.0
"""meV/atom, up to which the axis of energies is linear; logarithmic beyond."""


def plot(found: dict[str, Any], budget: str, file: Path) -> None:
    """Draw the exact results and those of one budget."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 3, figsize=(13, 10), layout="constrained")
    for row, name in zip(axes, SYSTEMS, strict=True):
        for form, (_, colour, line) in STYLES.items():
            one = found.get(f"{name}:{form}", found.get(f"{name}:{form}:{budget}"))
            if one is not None:
                _draw(row, one, {"color": colour, "linestyle": line, "linewidth": 1.0 if line == "-" else 1.4})
        _label(row, name)
    forms = {key.split(":")[1] for key in found}
    shown = [style for form, style in STYLES.items() if form in forms]
    handles = [pyplot.Line2D([], [], color=colour, linestyle=line) for _, colour, line in shown]
    handles += [pyplot.Line2D([], [], color="0.8", linewidth=4), pyplot.Line2D([], [], color="k", marker="x", ls="")]
    legend = [text for text, *_ in shown] + ["exact trajectory of the training frames", "stopped: exploded"]
    figure.legend(handles, legend, loc="outside upper center", ncols=3, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _draw(row: Any, one: dict[str, Any], style: dict[str, Any]) -> None:
    """One form in the three panels of a system."""
    for axis, key in zip(row, ("g", "h"), strict=False):
        values = one["nvt"][key]
        r = WIDTH * (np.arange(len(values)) + 0.5)
        if "reference" in one:
            axis.plot(r, one["reference"][key], color="0.8", linewidth=4, zorder=1)
        axis.plot(r, values, **style)
    nve = one["nve"]
    row[2].plot(nve["ps"], nve["energy_mev_per_atom"], **style)
    if nve["stopped_ps"] is not None:
        row[2].plot(nve["ps"][-1:], nve["energy_mev_per_atom"][-1:], "x", color=style["color"], markersize=9)
        place = (nve["ps"][-1], nve["energy_mev_per_atom"][-1])
        row[2].annotate(f" stopped at {nve['stopped_ps']:.3g} ps", place, color=style["color"], fontsize=8, va="center")
    if one["nvt"]["stopped_ps"] is not None:
        row[0].plot([], [], "x", color=style["color"], label=f"stopped at {one['nvt']['stopped_ps']:.3g} ps")
        row[0].legend(fontsize=8, frameon=False)


def _label(row: Any, name: str) -> None:
    """Axes with units, and the name of the system."""
    for axis in row if not row[0].lines else ():
        axis.text(0.5, 0.5, "not run", ha="center", transform=axis.transAxes)
    for axis, text in zip(row, ("g(r)", "h(r), 1/Å", "change of total energy, meV/atom"), strict=True):
        axis.set_ylabel(text)
        axis.set_xlabel("r, Å")
        axis.set_title(f"{name}, {'no' if axis is row[2] else 'with a'} thermostat", fontsize=10)
    row[2].set_xlabel("time, ps")
    row[2].set_yscale("symlog", linthresh=LINEAR_TO)
    row[2].axhline(0.0, color="0.8", linewidth=0.8)
