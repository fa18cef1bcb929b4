"""What a coverage lacks, in words: elements, pairs, ranges and sources without a frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .counts import QUANTITIES, Coverage, Quantity, Tally
from .pair_ratios import PAIRS, SYMBOLS

MOST_NAMED = 24
"""Pairs that are named one by one; the others are in the number that is told before."""


def missing(coverage: Coverage, known_sources: Iterable[str] = ()) -> list[str]:
    """One sentence per kind of gap; empty if there is none.

    :param known_sources: names of which at least one frame is expected.
    """
    total = coverage.total
    gaps = [*_elements(total), *_pairs(total)]
    gaps += [sentence for name, quantity in QUANTITIES.items() for sentence in _ranges(total, name, quantity)]
    if total.isolated == total.frames:
        gaps.append("no periodic frames: density and shape of the cell are not counted")
    absent = [name for name in known_sources if name not in coverage.sources]
    if absent:
        gaps.append(f"sources without frames: {', '.join(absent)}")
    return gaps


def _elements(total: Tally) -> Iterator[str]:
    absent = [symbol for symbol, frames in zip(SYMBOLS, total.counts["element_frames"], strict=True) if not frames]
    if absent:
        yield f"elements in no frame: {', '.join(absent)}"
    never = [symbol for symbol, leads in zip(SYMBOLS, total.counts["element_leads"], strict=True) if not leads]
    if set(never) - set(absent):
        yield f"elements never the most frequent of a frame: {', '.join(s for s in never if s not in absent)}"


def _pairs(total: Tally) -> Iterator[str]:
    present = total.counts["element_frames"] > 0
    for counted, said in (("pairs_together", "in no cell together"), ("pairs_in_contact", "never in contact")):
        absent = [pair for pair, frames in zip(PAIRS, total.counts[counted], strict=True) if not frames]
        named = [(a, b) for a, b in absent if present[a - 1] and present[b - 1]]  # an absent element is told already
        if not named:
            continue
        text = f"pairs {said}: {len(absent)} of {len(PAIRS)}"
        of = "" if len(named) == len(absent) else f", {len(named)} of them of elements that are there"
        more = ", ..." if len(named) > MOST_NAMED else ""
        names = ", ".join(f"{SYMBOLS[a - 1]}-{SYMBOLS[b - 1]}" for a, b in named[:MOST_NAMED])
        yield f"{text}{of}: {names}{more}"


def _ranges(total: Tally, name: str, quantity: Quantity) -> Iterator[str]:
    """Runs of empty bins within the usual range of a quantity."""
    counts, edges = total.counts[name], quantity.edges
    if not counts.sum():
        return
    low, high = quantity.usual
    inside = [k for k in range(len(edges) - 1) if edges[k] >= low - 1e-9 and edges[k + 1] <= high + 1e-9]
    runs: list[list[int]] = []
    for k in inside:
        if counts[k + 1] == 0:
            if runs and runs[-1][1] == k - 1:
                runs[-1][1] = k
            else:
                runs.append([k, k])
    if runs:
        unit = f" {quantity.unit}" if quantity.unit else ""
        told = ", ".join(_run(edges, first, last, name in ("atoms", "species")) for first, last in runs)
        yield f"{quantity.title}: no frames at {told}{unit} (looked at {low:g} to {high - _whole(name):g})"


def _run(edges: tuple[float, ...], first: int, last: int, whole: bool) -> str:
    if whole:
        return f"{edges[first]:g}" if first == last else f"{edges[first]:g}-{edges[last]:g}"
    return f"{edges[first]:g}-{edges[last + 1]:g}"


def _whole(name: str) -> int:
    """1 for numbers that are counted, whose last bin ends above them."""
    return int(name in ("atoms", "species"))
