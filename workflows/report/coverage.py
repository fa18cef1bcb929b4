"""What was labelled: sizes, elements and their pairs, volumes, energies, and how alike the frames are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from ...mlip.fingerprint import composition, near_duplicates
from ...mlip.frames import LabelledFrame
from ...mlip.units import Z_MAX
from ..reference_atoms import without_atoms
from .canvas import COLOURS, Card, drawn, mark
from .quality import atomic_references
from .story import Story

NONE_YET = "No configuration has been labelled yet."
COMPARED = 5000
"""Frames at most that are compared with each other for near duplicates."""


def elements_of(story: Story) -> list[int]:
    """Atomic numbers that the campaign may use, or else those that occur."""
    settings = story.settings
    named = settings.get("label", {}).get("elements") or settings.get("train", {}).get("elements") or []
    numbers = {atomic_numbers[each] if isinstance(each, str) else int(each) for each in named}
    return sorted(numbers | {int(z) for frame in story.frames for z in frame.configuration.numbers})


def pair_counts(frames: Sequence[LabelledFrame]) -> NDArray[np.int64]:
    """(19, 19): frames in which both elements occur; on the diagonal, in which the element does."""
    counts = np.zeros((Z_MAX + 1, Z_MAX + 1), dtype=np.int64)
    for frame in frames:
        present = np.unique(frame.configuration.numbers)
        counts[np.ix_(present, present)] += 1
    return counts


def pairs_card(story: Story) -> Card:
    """Which elements met which, as a triangle."""
    name, title = "pairs", "Elements that met"
    if not story.frames:
        return Card(name, title, absent=NONE_YET)
    elements = elements_of(story)
    counts = pair_counts(story.frames)[np.ix_(elements, elements)]
    most, size = int(counts.max()), len(elements)

    def draw(figure: Any, axes: Any) -> None:
        from matplotlib.patches import Rectangle

        def square(column: float, row: float, count: int) -> None:
            box = Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, lw=0)
            box.set(facecolor=COLOURS["data"] if count else COLOURS["rule"], alpha=shade(count, most))
            mark(axes.add_patch(box))

        for row in range(size):
            for column in range(row + 1):
                square(column, row, int(counts[row, column]))
        symbols = [chemical_symbols[z] for z in elements]
        axes.set(xlim=(-0.6, size - 0.4), ylim=(size - 0.4, -0.6), aspect="equal")
        axes.set_xticks(range(size), symbols, fontsize=10, rotation=90 if size > 12 else 0)
        axes.set_yticks(range(size), symbols, fontsize=10)
        axes.tick_params(length=0)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        for place, count in enumerate(sorted({0, 1, round(most**0.5), most})):
            box = Rectangle((0.66, 0.93 - 0.085 * place), 0.05, 0.06, transform=axes.transAxes, lw=0)
            box.set(facecolor=COLOURS["data"] if count else COLOURS["rule"], alpha=shade(count, most))
            axes.add_patch(box)
            axes.text(
                0.73, 0.96 - 0.085 * place, f"{count} frame{'s' * (count != 1)}", transform=axes.transAxes, va="center"
            )

    covered = int(np.count_nonzero(np.tril(counts, -1)))
    possible = size * (size - 1) // 2
    caption = (
        f"Frames that hold both elements; on the diagonal, that hold the element. {covered} of {possible} pairs of "
        f"different elements occur together at least once."
    )
    return drawn(
        name, title, caption, f"Triangle of element pairs, darker where more frames hold both. {caption}", draw
    )


def shade(count: int, most: int) -> float:
    """Opacity: logarithmic, so that one frame is seen beside hundreds."""
    if count in (0, most):
        return 1.0 if count else 0.6
    return 0.22 + 0.78 * float(np.log1p(count - 1) / max(np.log1p(most - 1), 1e-9))


def histogram(name: str, title: str, values: Any, label: str, caption: str, whole: bool = False) -> Card:
    """Counts of frames over a figure of theirs; `whole` for whole numbers, each with a bar of its own."""
    values = np.asarray(values, dtype=float)
    edges: Any = np.histogram_bin_edges(values, bins=min(30, max(8, len(values) // 4)))
    if whole and np.ptp(values) <= 40:
        edges = np.arange(values.min() - 0.5, values.max() + 1)

    def draw(figure: Any, axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        _, _, bars = axes.hist(values, bins=edges, color=COLOURS["data"], rwidth=0.92)
        mark(list(bars))
        axes.set(xlabel=label, ylabel="frames")
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=whole))
        if whole:
            axes.set_xlim(values.min() - 1, values.max() + 1)
        axes.grid(axis="x", visible=False)

    low, middle, high = np.min(values), np.median(values), np.max(values)
    numbers = f"Median {middle:.3g}, from {low:.3g} to {high:.3g}.".replace("-", "−")
    return drawn(name, title, f"{caption} {numbers}", f"Histogram of {label}. {numbers}", draw)


def atoms_card(story: Story) -> Card:
    """Atoms per frame."""
    name, title = "atoms", "Atoms per frame"
    if not story.frames:
        return Card(name, title, absent=NONE_YET)
    sizes = [len(frame) for frame in story.frames]
    return histogram(name, title, sizes, "atoms in the cell", f"{sum(sizes)} atoms in {len(sizes)} frames.", whole=True)


def species_card(story: Story) -> Card:
    """Different elements per frame."""
    name, title = "species", "Different elements per frame"
    if not story.frames:
        return Card(name, title, absent=NONE_YET)
    counts = [len(np.unique(frame.configuration.numbers)) for frame in story.frames]
    return histogram(name, title, counts, "different elements", f"{len(counts)} frames.", whole=True)


def volume_card(story: Story) -> Card:
    """Volume per atom of the periodic frames that are no isolated atoms."""
    name, title = "volume", "Volume per atom"
    cells = [frame for frame in without_atoms(story.frames) if frame.configuration.periodic]
    values = [frame.configuration.volume / len(frame) for frame in cells]
    if not values:
        return Card(name, title, absent="No labelled frame is periodic." if story.frames else NONE_YET)
    return histogram(name, title, values, "volume per atom, Å³", f"{len(values)} periodic frames.")


def energy_card(story: Story) -> Card:
    """Energy above the atoms, per atom."""
    name, title = "energies", "Energy of the labels"
    if not story.frames:
        return Card(name, title, absent=NONE_YET)
    references = atomic_references(story)
    values = [(f.energy - references[f.configuration.numbers].sum()) / len(f) for f in story.frames]
    return histogram(name, title, values, "energy above the atoms, eV/atom", f"Counted from {story.zero}.")


def force_card(story: Story) -> Card:
    """Largest force per frame: how far from rest the labels are."""
    name, title = "forces", "Largest force per frame"
    if not story.frames:
        return Card(name, title, absent=NONE_YET)
    values = [float(np.linalg.norm(frame.forces, axis=1).max()) for frame in story.frames]
    return histogram(name, title, values, "largest force on an atom, eV/Å", f"{len(values)} labels.")


def likeness(story: Story) -> list[tuple[str, str]]:
    """(what, count): how many different compositions and elements, and how many frames are nearly the same."""
    configurations = [frame.configuration for frame in story.frames]
    if not configurations:
        return []
    near = float(story.settings.get("select", {}).get("config", {}).get("near_distance", 0.05))
    found, _ = near_duplicates(configurations[:COMPARED], (), 0, near)
    compared = f" (first {COMPARED} frames)" if len(configurations) > COMPARED else ""
    return [
        ("frames", str(len(configurations))),
        ("atoms", str(sum(len(each) for each in configurations))),
        ("different compositions", str(len({composition(each) for each in configurations}))),
        ("elements", str(len({int(z) for each in configurations for z in each.numbers}))),
        (
            f"near duplicates: fingerprint distance below {near:g} to an earlier frame{compared}",
            str(sum(each is not None for each in found)),
        ),
    ]


def sources(story: Story) -> list[tuple[str, str]]:
    """(source, frames), most first."""
    counted = Counter(frame.configuration.origin.source for frame in story.frames)
    return [(source, str(count)) for source, count in counted.most_common()]
