"""argonaut coverage: what files of configurations hold, and what they lack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .given import FRAMES, OUTPUT_FILE, writing

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..coverage.counts import Coverage, Tally
    from ..frames import Configuration

PICTURES = (".png", ".pdf", ".svg")
FRAMES_PER_WORD = 1000
"""Frames between two looks at whether it is time to say how far reading is."""


@click.command()
@click.argument("files", nargs=-1, required=True, type=FRAMES)
@click.option("--json", "as_json", is_flag=True, help="Print all counts as JSON.")
@click.option("-o", "--output", type=OUTPUT_FILE, help="Figure to write: *.png, *.pdf, *.svg")
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True, help="Count one frame of so many.")
def coverage(files: tuple[Path, ...], as_json: bool, output: Path | None, every: int) -> None:
    """What FILES hold and lack: elements, pairs of elements, densities, distances, cells, by source.

    FILES are extended XYZ, labelled or not, or folders that `generate` has written. They are read frame by frame, so
    their size does not matter.

    \b
    Example: argonaut coverage starts.extxyz labels.extxyz -o coverage.png
    """
    from ..coverage.counts import Coverage
    from ..coverage.gaps import missing
    from ..generate.recipe import SOURCES
    from .progress import Progress

    if output is not None and output.suffix not in PICTURES:
        raise click.UsageError(f"-o {output}: expected a name that ends in {', '.join(PICTURES)}")
    found, read = Coverage(), 0
    with Progress("counting", len(files)) as progress:
        for done, path in enumerate(files):
            for configuration in configurations(path, every):
                found.add(configuration)
                read += 1
                if read % FRAMES_PER_WORD == 0:
                    progress.update(done, f"{path.name}, {read} frames so far")
    gaps = missing(found, SOURCES)
    if output is not None:
        _draw(found, output)
    if as_json:
        click.echo(json.dumps({**found.document(), "every": every, "missing": gaps}, indent=1))
    else:
        _print(found, gaps, every)
        if output is not None:
            click.echo(str(output))


def configurations(path: Path, every: int = 1) -> Iterator[Configuration]:
    """Frames 0, every, 2 every ... of a file or a sharded folder; FrameError names file and frame of a bad one."""
    from ..extxyz import FrameError, iterate_atoms
    from ..frames import Configuration

    frames, index = iterate_atoms(path), 0
    while True:
        try:
            atoms = next(frames, None)
        except FrameError as error:
            raise FrameError(f"{error} (after {index} frames)" if index else str(error)) from error
        if atoms is None:
            return
        try:
            if index % every == 0:
                configuration = Configuration.from_atoms(atoms)
                configuration.check_elements()
                yield configuration
        except (ValueError, TypeError) as error:
            raise FrameError(f"{path}, frame {index}: {error}") from error
        index += 1


def _draw(found: Coverage, output: Path) -> None:
    from ..coverage.plot import draw_coverage

    partial = output.with_name(f".{output.stem}.partial{output.suffix}")
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            draw_coverage(found).savefig(partial, dpi=120)
            partial.replace(output)
        finally:
            partial.unlink(missing_ok=True)


def _print(found: Coverage, gaps: list[str], every: int) -> None:
    from rich.console import Console, Group
    from rich.text import Text

    total = found.total
    parts: list[RenderableType] = [Text(_headline(found, total, every)), Text("")]
    parts += [_sources(found), Text(""), _elements(total), Text(""), _distributions(total), Text("")]
    parts += [*(Text(line) for line in _pair_map(total)), Text(""), Text("missing:" if gaps else "missing: nothing")]
    parts += [Text(f"  {gap}") for gap in gaps]
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console = Console(width=120)
    console.print(Group(*parts))


def _headline(found: Coverage, total: Tally, every: int) -> str:
    from ..coverage.counts import MOST_FORMULAS

    some = "" if every == 1 else f" (1 of {every} counted)"
    least = "at least " if len(found.formulas) >= MOST_FORMULAS else ""
    return (
        f"{total.frames} frames{some}, {total.isolated} of them not periodic; {total.atoms} atoms; {least}"
        f"{len(found.formulas)} reduced formulas of {len(found.systems)} sets of elements"
    )


def _table(*columns: str) -> Any:
    """A table without lines; the first column is text, the others are numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for k, column in enumerate(columns):
        table.add_column(column, justify="right" if k else "left", no_wrap=True)
    return table


def _sources(found: Coverage) -> Any:
    from rich.text import Text

    table = _table("source", "frames", "share", "not periodic", "atoms", "closest ratio", "largest")
    frames = found.total.frames
    for name, tally in sorted(found.sources.items(), key=lambda item: (-item[1].frames, item[0])):
        low, high = tally.extremes.get("ratio", (None, None))
        share = f"{100 * tally.frames / frames:.1f} %"
        counts = (str(tally.frames), share, str(tally.isolated), str(tally.atoms))
        table.add_row(Text(name), *counts, _number(low), _number(high))  # Text: a name is no markup
    return table


def _elements(total: Tally) -> Any:
    from ..coverage.counts import ELEMENT_COUNTS
    from ..coverage.pair_ratios import SYMBOLS

    table = _table("element", "frames", "share", "atoms", "most frequent in", "pairs in contact")
    for k, symbol in enumerate(SYMBOLS):
        frames, atoms, leads = (int(total.counts[name][k]) for name in ELEMENT_COUNTS)
        share = f"{100 * frames / total.frames:.1f} %"
        table.add_row(symbol, str(frames), share, str(atoms), str(leads), f"{_partners(total, k + 1)} of 18")
    return table


def _partners(total: Tally, number: int) -> int:
    from ..coverage.pair_ratios import PAIRS

    return sum(
        number in pair and count > 0 for pair, count in zip(PAIRS, total.counts["pairs_in_contact"], strict=True)
    )


def _distributions(total: Tally) -> Any:
    from ..coverage.counts import QUANTITIES

    table = _table("", "smallest", "5 %", "50 %", "95 %", "largest")
    for name, quantity in QUANTITIES.items():
        low, high = total.extremes.get(name, (None, None))
        values = [low, *(total.quantile(name, share) for share in (0.05, 0.5, 0.95)), high]
        if name == "ratio" and total.counts[name][-1]:
            values[-1] = float("inf")
        if name in ("atoms", "species"):
            values = [None if value is None or value == float("inf") else int(value) for value in values]
        table.add_row(f"{quantity.title}{f', {quantity.unit}' if quantity.unit else ''}", *map(_number, values))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else "beyond" if value == float("inf") else f"{value:.4g}"


def _pair_map(total: Tally) -> list[str]:
    """Two triangles of single digits side by side."""
    from ..coverage.pair_ratios import CONTACT, PAIRS, SYMBOLS

    together, contact = total.counts["pairs_together"], total.counts["pairs_in_contact"]
    lines = [
        f"pairs in one cell: {int((together > 0).sum())} of {len(PAIRS)}; in contact, nearer than {CONTACT:g} of their "
        f"summed spheres: {int((contact > 0).sum())}",
        "left: in one cell, right: in contact; . no frame, 1 below 10 frames, 2 below 100, 3 below 1000 ...",
    ]
    for b, symbol in enumerate(SYMBOLS):
        start = b * (b + 1) // 2
        rows = [" ".join(_digit(count) for count in counts[start : start + b + 1]) for counts in (together, contact)]
        lines.append(f"{symbol:>3} {rows[0]:<37}  {symbol:>3} {rows[1]}")
    axis = "".join(f"{symbol:<2}" for symbol in SYMBOLS)
    return [*lines, f"    {axis:<37}      {axis}".rstrip()]


def _digit(count: int) -> str:
    return str(min(len(str(count)), 9)) if count else "."
