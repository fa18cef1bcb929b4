"""The picture of `coverage`: elements, pairs in both senses, and the distributions, stacked by source."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .counts import QUANTITIES, Coverage, Tally
from .pair_ratios import CONTACT, PAIRS, SYMBOLS

PLACES = (0, 1, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 11, 12, 13, 14, 15, 16, 17, 18)
"""Horizontal places of H ... Ar: a gap between the periods."""
GREY = "0.7"


def draw_coverage(coverage: Coverage) -> Any:
    """A matplotlib figure with twelve panels; it belongs to no window and needs no closing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17, 19), constrained_layout=True)
    grid = figure.add_gridspec(4, 4, height_ratios=(1.0, 2.2, 1.0, 1.0))
    groups = _groups(coverage)
    total = coverage.total
    _elements(figure.add_subplot(grid[0, :2]), total)
    _sources(figure.add_subplot(grid[0, 2:]), groups)
    maps = [figure.add_subplot(grid[1, :2]), figure.add_subplot(grid[1, 2:])]
    _pair_maps(figure, maps, total)
    for k, name in enumerate(QUANTITIES):
        _histogram(figure.add_subplot(grid[2 + k // 4, k % 4]), name, groups)
    share = f", {total.isolated} of them not periodic" if total.isolated else ""
    figure.suptitle(f"{total.frames} frames{share}, {total.atoms} atoms", fontsize=14)
    return figure


def _groups(coverage: Coverage) -> list[tuple[str, Any, Tally]]:
    """(name, colour, tally), the largest source first; those beyond the 18 colours that there are together in grey."""
    import matplotlib

    pairs = matplotlib.color_sequences["tab20"]  # a dark and a light one of ten colours, the eighth of which is grey
    colours = [pairs[2 * k + light] for light in (0, 1) for k in range(10) if k != 7]
    ordered = sorted(coverage.sources.items(), key=lambda item: (-item[1].frames, item[0]))
    groups: list[tuple[str, Any, Tally]] = [
        (name, colour, tally) for (name, tally), colour in zip(ordered, colours, strict=False)
    ]
    rest = ordered[len(groups) :]
    if rest:
        together = Tally()
        for _, tally in rest:
            together.merge(tally)
        groups.append((f"{len(rest)} other sources", GREY, together))
    return groups


def _elements(axes: Any, total: Tally) -> None:
    for label, width, colour in (("frames", 0.84, "#c6dbef"), ("leads", 0.42, "#2171b5")):
        said = "in a frame" if label == "frames" else "the most frequent of its frame"
        axes.bar(PLACES, total.counts[f"element_{label}"], width, color=colour, label=said)
    axes.set_xticks(PLACES, SYMBOLS)
    axes.set_xlim(-0.8, PLACES[-1] + 0.8)
    axes.set_ylabel("frames")
    axes.set_title("elements", fontsize=11)
    axes.margins(y=0.2)
    axes.legend(frameon=False, fontsize=9, ncols=2, loc="upper right")
    for place, frames in zip(PLACES, total.counts["element_frames"], strict=True):
        if not frames:
            axes.annotate("none", (place, 0), ha="center", va="bottom", fontsize=8, color="tab:red")


def _sources(axes: Any, groups: list[tuple[str, Any, Tally]]) -> None:
    names = [name if len(name) <= 24 else f"{name[:22]}..." for name, _, _ in groups]
    frames = [tally.frames for _, _, tally in groups]
    bars = axes.barh(range(len(names)), frames, color=[colour for _, colour, _ in groups])
    axes.bar_label(bars, padding=3, fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(len(names), 4) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.set_xlabel("frames")
    axes.set_title("sources, which have the same colours below", fontsize=11)


def _pair_maps(figure: Any, panels: list[Any], total: Tally) -> None:
    from matplotlib.colors import LogNorm

    most = max(int(total.counts["pairs_together"].max()), int(total.counts["pairs_in_contact"].max()), 2)
    titles = {
        "pairs_together": "together in a cell",
        "pairs_in_contact": f"in contact, below {CONTACT:g} of the spheres",
    }
    image = None
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        table = _triangle(total.counts[name])
        image = axes.imshow(np.where(table > 0, table, np.nan), norm=LogNorm(1, most), cmap="viridis")
        absent = np.argwhere(table == 0)
        axes.plot(absent[:, 1], absent[:, 0], "x", color="tab:red", ms=6, mew=1.5)
        for axis in (axes.set_xticks, axes.set_yticks):
            axis(range(len(SYMBOLS)), SYMBOLS, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        present = int((total.counts[name] > 0).sum())
        axes.set_title(f"pairs {title}: {present} of {len(PAIRS)}", fontsize=11)
    panels[1].annotate("red cross: no frame", (0.98, 0.96), xycoords="axes fraction", ha="right", fontsize=10)
    figure.colorbar(image, ax=panels, label="frames", shrink=0.85, pad=0.01)


def _triangle(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(18, 18) counts at row b, column a <= b, and NaN above the diagonal."""
    table = np.full((len(SYMBOLS), len(SYMBOLS)), np.nan)
    for (a, b), count in zip(PAIRS, counts, strict=True):
        table[b - 1, a - 1] = count
    return table


def _histogram(axes: Any, name: str, groups: list[tuple[str, Any, Tally]]) -> None:
    quantity = QUANTITIES[name]
    counts = np.array([tally.counts[name] for _, _, tally in groups])
    filled = np.flatnonzero(counts[:, 1:-1].sum(axis=0))
    axes.set_xlabel(f"{quantity.title}{f', {quantity.unit}' if quantity.unit else ''}")
    if not len(filled):
        axes.annotate("no frames", (0.5, 0.5), xycoords="axes fraction", ha="center")
        return
    edges = np.array(quantity.edges[filled[0] : filled[-1] + 2])
    if name in ("atoms", "species"):
        edges = edges - 0.5
    bottom, outline = np.zeros(len(edges) - 1), 0.3 if len(groups) < 8 else 0.0
    for (_, colour, _), row in zip(groups, counts[:, filled[0] + 1 : filled[-1] + 2], strict=True):
        axes.bar(edges[:-1], row, np.diff(edges), bottom, align="edge", color=colour, ec="white", lw=outline)
        bottom += row
    axes.set_ylim(0, 1.06 * bottom.max())
    if quantity.logarithmic:
        _logarithmic(axes, edges)
    if name == "species":
        axes.set_xticks(range(int(edges[0] + 0.5), int(edges[-1] + 0.5)))
    axes.set_ylabel("angles" if name == "angles" else "frames")
    below, above = counts[:, 0].sum(), counts[:, -1].sum()
    outside = [f"{n} {side}" for n, side in ((below, "below"), (above, "above")) if n]
    if outside:
        axes.set_title(f"not shown: {', '.join(outside)}", fontsize=9)


def _logarithmic(axes: Any, edges: NDArray[np.float64]) -> None:
    """A logarithmic axis with plain numbers, some of them within a decade where there are few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_xlim(edges[0], edges[-1])
    decades = np.log10(edges[-1] / edges[0])
    steps = (1.0, 1.2, 1.5, 2.0, 3.0, 5.0) if decades < 0.7 else (1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
