"""Pictures of what dft_cutoffs.py and equations_of_state.py have measured; nothing is run.

Run it as

    python benchmarks/plot_cutoffs.py      # docs/cutoffs.png and docs/equations_of_state.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dft_cutoffs
import equations_of_state
import numpy as np
from matplotlib.figure import Figure

from aiida_argonaut.dft_inputs.elements import STRINGENCIES, load_elements

DOCS = Path(__file__).parents[1] / "docs"
QUANTITIES = (
    ("force, meV/Å", "#2171b5", "o"),
    ("pressure, 0.1 GPa", "#cb181d", "s"),
    ("energy difference, meV/atom", "#238b45", "^"),
)
COLOURS = dict(zip(STRINGENCIES, ("#fdae6b", "#3182bd", "#31a354"), strict=True))
FLOOR = 0.05
"""Smaller errors are drawn here."""
STYLES = {5: ("--", "none"), 8: ("-", None)}
"""Density cutoff in units of that of the wave functions: line, and face of the markers (None: the line's colour)."""


def convergence(runs: dict[str, Any], ratio: int) -> list[tuple[float, list[float]]]:
    """(wave-function cutoff in Ry, errors as in QUANTITIES) at one ratio of the cutoffs, in order."""
    found = []
    for name in runs:
        if name.endswith(dft_cutoffs.GROWN) or name == dft_cutoffs.REFERENCE:
            continue
        wavefunction, density = equations_of_state.as_pair(name)
        errors, energy = dft_cutoffs.errors(runs, name), dft_cutoffs.energy_errors(runs, name)
        if density == ratio * wavefunction and errors is not None:
            rest = abs(energy[1]) if energy else np.nan
            found.append((wavefunction, [errors[0], 10 * abs(errors[1]), rest]))
    return sorted(found)


def draw_cutoffs(elements: dict[str, Any]) -> Figure:
    """A panel per element: errors against the wave-function cutoff, and the cutoffs that were chosen."""
    figure = Figure(figsize=(13, 15), constrained_layout=True)
    panels = figure.subplots(6, 3, sharex=True, sharey=True)
    for panel, (element, runs) in zip(panels.flat, elements.items(), strict=True):
        for stringency, colour in COLOURS.items():
            chosen = load_elements()[element].cutoffs[stringency][0]
            panel.axvspan(chosen - 0.6, chosen + 0.6, color=colour, alpha=0.45, linewidth=0)
        for ratio, (line, face) in STYLES.items():
            rows = convergence(runs, ratio)
            for column, (_, colour, marker) in enumerate(QUANTITIES):
                errors = [max(row[1][column], FLOOR) for row in rows]
                panel.semilogy(
                    [row[0] for row in rows], errors, line, color=colour, marker=marker, markersize=4,
                    markerfacecolor=face or colour, linewidth=1,
                )  # fmt: skip
        panel.text(0.97, 0.95, element, transform=panel.transAxes, ha="right", va="top", fontsize=14, weight="bold")
        panel.grid(alpha=0.25)
    panels[0, 0].set_ylim(FLOOR * 0.8, 1000)
    figure.supxlabel("wave-function cutoff, Ry")
    figure.supylabel(f"error against {dft_cutoffs.REFERENCE} Ry (below {FLOOR}: drawn at {FLOOR})")
    figure.legend(handles=_keys(), loc="outside upper center", ncols=4, frameon=False)
    return figure


def _keys() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    keys: list[Any] = [Line2D([], [], color=c, marker=m, label=name) for name, c, m in QUANTITIES]
    keys += [
        Line2D([], [], color="0.3", ls=line, marker="o", markerfacecolor=face or "0.3", label=f"density x {ratio}")
        for ratio, (line, face) in STYLES.items()
    ]
    return keys + [Patch(color=colour, alpha=0.45, label=name) for name, colour in COLOURS.items()]


def draw_equations(elements: dict[str, Any]) -> Figure:
    """Deviations of volume and bulk modulus from the all-electron ones: FCC in squares, the lowest structure round."""
    figure = Figure(figsize=(12, 7), constrained_layout=True)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for place, (element, entry) in enumerate(elements.items()):
        best = list(equations_of_state.lowest(element, entry["runs"]))[:1]
        for structure, marker, size in (("FCC", "s", 26), *((name, "o", 70) for name in best)):
            for shift, stringency in zip((-0.24, 0, 0.24), STRINGENCIES, strict=True):
                found = equations_of_state.deviation(element, entry["runs"], structure, stringency)
                for panel, value in zip((upper, lower), found or (), strict=False):
                    face = COLOURS[stringency] if marker == "s" else "none"
                    panel.scatter(
                        place + shift, value, size, face, marker=marker, edgecolors=COLOURS[stringency], zorder=3
                    )
    for panel, column, label in ((upper, 0, "volume, %"), (lower, 1, "bulk modulus, %")):
        for stringency in ("fast", "balanced"):
            goal = equations_of_state.GOALS[stringency][column]
            panel.axhspan(-goal, goal, color=COLOURS[stringency], alpha=0.15, linewidth=0)
        panel.axhline(0, color="0.4", linewidth=0.8)
        panel.set_ylabel(f"deviation of the {label}")
        panel.grid(axis="y", alpha=0.25)
    lower.set_xticks(range(len(elements)), list(elements))
    figure.legend(handles=_marks(), loc="outside upper center", ncols=7, frameon=False)
    return figure


def _marks() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    kinds = (("FCC", "s", "0.3"), ("lowest of FCC, BCC, SC, diamond", "o", "none"))
    keys: list[Any] = [Patch(color=colour, label=name) for name, colour in COLOURS.items()]
    keys += [
        Line2D([], [], linestyle="", marker=marker, markerfacecolor=face, markeredgecolor="0.3", label=name)
        for name, marker, face in kinds
    ]
    return [*keys, *(Patch(color=COLOURS[n], alpha=0.15, label=f"goal of {n}") for n in ("fast", "balanced"))]


def main() -> None:
    """Draw both pictures."""
    for name, figure in (
        ("cutoffs.png", draw_cutoffs(dft_cutoffs.load()["elements"])),
        ("equations_of_state.png", draw_equations(equations_of_state.load()["elements"])),
    ):
        figure.savefig(DOCS / name, dpi=110, metadata={"Software": None})
        print(DOCS / name)


if __name__ == "__main__":
    main()
