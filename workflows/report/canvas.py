"""Matplotlib figures as inline SVG: text stays text, colours are the page's, and no two figures share an id."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

WIDTH, HEIGHT = 5.0, 3.75
"""Inches of 72 CSS px: a figure is 360 px wide where its card is as narrow as that."""
FONT = 11
"""Points, which are CSS px in a figure shown at its own size."""
SHOWN = 2500
"""Points of one colour in a scatter plot at most: more make a page heavy and a picture no clearer."""
COLOURS = {
    "ink": "#1d2733",
    "mute": "#6b7785",
    "rule": "#d5dbe1",
    "deviation": "#c8501e",
    "random": "#1f6fb2",
    "after": "#7d8b99",
    "data": "#2a7f86",
    "c0": "#4e79a7",
    "c1": "#f28e2b",
    "c2": "#59a14f",
    "c3": "#b07aa1",
    "c4": "#e15759",
    "c5": "#9c755f",
}
"""Name -> hex. In the SVG each becomes `var(--name, hex)`, so that a page can have a dark set of its own."""


@dataclass(frozen=True)
class Card:
    """A figure with its title and caption, or the sentence that stands where it would be empty."""

    name: str
    title: str
    caption: str = ""
    """What is measured, of what, and what it does not say."""
    svg: str = ""
    absent: str = ""
    """Why there is no figure."""


def drawn(
    name: str, title: str, caption: str, alt: str, draw: Callable[[Any, Any], None], height: float = HEIGHT
) -> Card:
    """A card whose figure `draw(figure, axes)` has drawn; `alt` tells in words what is to be seen."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {
        "font.family": "sans-serif",
        "font.size": FONT,
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "axes.edgecolor": COLOURS["mute"],
        "axes.labelcolor": COLOURS["ink"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": COLOURS["rule"],
        "grid.linewidth": 0.6,
        "text.color": COLOURS["ink"],
        "xtick.color": COLOURS["mute"],
        "ytick.color": COLOURS["mute"],
        "xtick.labelcolor": COLOURS["ink"],
        "ytick.labelcolor": COLOURS["ink"],
        "legend.frameon": False,
        "legend.handlelength": 1.4,
        "legend.columnspacing": 1.2,
        "savefig.transparent": True,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        draw(figure, axes)
        handle = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(handle, format="svg", metadata=nothing)
    return Card(name, title, caption, svg=inline(handle.getvalue(), name, alt))


def inline(svg: str, name: str, alt: str) -> str:
    """The `<svg>` of a file, fit to stand in a page: no prolog, no style of its own, ids that begin with `name`."""
    from markupsafe import escape

    body = svg[svg.index("<svg") :]
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    numbers = itertools.count(1)
    body = re.sub(rf'id="{name}-data"', lambda _: f'id="{name}-data-{next(numbers)}"', body)
    for colour, code in COLOURS.items():
        body = body.replace(code, f"var(--{colour}, {code})")
    head, rest = body.split(">", 1)
    head = re.sub(r'\s(?:width|height|version)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(alt)}">{rest}'


def legend_above(figure: Any, axes: Any, columns: int = 3) -> None:
    """A legend that cannot cover data, read row by row; figures with one thing to name need none."""
    handles, labels = axes.get_legend_handles_labels()
    rows = -(-len(labels) // columns)
    order = [row * columns + column for column in range(columns) for row in range(rows)]
    order = [place for place in order if place < len(labels)]
    handles, labels = [handles[place] for place in order], [labels[place] for place in order]
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, borderpad=0, fontsize=FONT)


def thinned(count: int) -> Any:
    """Indices of the points to show: all, or a fixed random `SHOWN` of them."""
    if count <= SHOWN:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, SHOWN, replace=False))


def told_thinned(counts: Iterable[int]) -> str:
    """For the caption: '' or that only some points are shown; `counts` by colour."""
    told = f" Of each colour {SHOWN} points, drawn at random, are shown; numbers are of all."
    return told if max(counts, default=0) > SHOWN else ""


def log_axis(axis: Any, low: float, high: float, wanted: int = 5) -> None:
    """A logarithmic axis over [low, high] with plain numbers at 1, 2, 5 ... or, over many decades, at 1 only."""
    from matplotlib.ticker import MaxNLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})
    exponents = range(int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 1)
    for digits in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [digit * 10.0**power for power in exponents for digit in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= wanted:
            break
    if len(ticks) < 2:  # less than an octave: evenly spaced numbers serve better
        ticks = [tick for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
    put_ticks(axis, ticks[:: max(1, -(-len(ticks) // (wanted + 1)))])


def put_ticks(axis: Any, ticks: Sequence[float]) -> None:
    """Ticks where asked, with plain numbers and none between them."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axis.set_minor_locator(NullLocator())


def span(values: Any, margin: float = 1.25) -> tuple[float, float]:
    """Limits of a logarithmic axis that holds all positive values."""
    positive = np.asarray(values, dtype=float)
    positive = positive[positive > 0]
    return (float(positive.min()) / margin, float(positive.max()) * margin) if len(positive) else (0.1, 10.0)


def mark(artists: Any) -> None:
    """Say that artists show data: tests look for them, and so may a reader of the SVG."""
    for artist in np.atleast_1d(np.array(artists, dtype=object)):
        artist.set_gid("data")
