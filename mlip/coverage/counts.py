"""Coverage: what a set of configurations holds, counted frame by frame in memory that does not grow with it.

A `Coverage` takes configurations one at a time and keeps counts and histograms of fixed edges for every source. Two of
them merge into the one that all frames together would have given, so files can be counted apart, or side by side.

A pair of elements is counted in two senses. `together`: both are in one cell (for a pair of one element, two atoms of
it). `contact`: two such atoms, images included, touch in the sense of `pair_ratios`.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frames import Configuration
from ..sanity import RADII
from ..units import Z_MAX
from .pair_ratios import CONTACT, PAIRS, SMALLEST_SPHERE, SYMBOLS, pair_ratios

FORMAT = "argonaut-coverage-1"
MOST_FORMULAS = 500_000
"""Reduced formulas that are told apart (about 50 MB); beyond it their number is a lower bound."""
MOST_SOURCES = 200
"""Names of sources that are counted apart."""
OTHER_SOURCES = "(other sources)"


@dataclass(frozen=True)
class Quantity:
    """A number of every frame (or three of them) whose distribution is kept."""

    title: str
    unit: str
    edges: tuple[float, ...]
    """Bins are [edge, next edge); one more bin on either side takes what is outside."""
    usual: tuple[float, float]
    """Range in which a bin without frames is told as missing."""
    logarithmic: bool = False


def _steps(low: float, high: float, step: float) -> tuple[float, ...]:
    return tuple(round(low + k * step, 10) for k in range(round((high - low) / step) + 1))


def _decades(low: int, high: int, bins: int) -> tuple[float, ...]:
    return tuple(float(f"{10 ** (low + k / bins):.3g}") for k in range((high - low) * bins + 1))


QUANTITIES: dict[str, Quantity] = {
    "atoms": Quantity("atoms per cell", "", _steps(1, 201, 1), (1, 25)),
    "species": Quantity("species per cell", "", _steps(1, 19, 1), (1, 6)),
    "ratio": Quantity("closest pair over summed covalent radii", "", _steps(0, 1.5, 0.05), (0.5, 1.3)),
    "volume": Quantity("volume per atom", "Å^3", _decades(-1, 4, 12), (3.16, 56.2), True),
    "packing": Quantity("volume of covalent spheres over that of the cell", "", _decades(-4, 1, 12), (0.01, 0.6), True),
    "angles": Quantity("angles of the cell", "degrees", _steps(0, 180, 5), (60, 120)),
    "elongation": Quantity("longest over shortest lattice vector", "", _decades(0, 2, 24), (1, 2), True),
    "flatness": Quantity("volume over that of a brick of the same edges", "", _steps(0, 1.05, 0.05), (0.5, 1.0)),
}  # fmt: skip
"""`atoms` and `species` count all frames, `ratio` too; the others periodic ones alone. `angles` has three per frame."""
_EDGES = {name: list(quantity.edges) for name, quantity in QUANTITIES.items()}
ELEMENT_COUNTS = ("element_frames", "element_atoms", "element_leads")
PAIR_COUNTS = ("pairs_together", "pairs_in_contact")


def _empty_counts() -> dict[str, NDArray[np.int64]]:
    sizes = {name: len(quantity.edges) + 1 for name, quantity in QUANTITIES.items()}
    sizes |= dict.fromkeys(ELEMENT_COUNTS, Z_MAX) | dict.fromkeys(PAIR_COUNTS, len(PAIRS))
    return {name: np.zeros(size, dtype=np.int64) for name, size in sizes.items()}


@dataclass
class Tally:
    """Counts over the frames of one source, or of all."""

    frames: int = 0
    isolated: int = 0
    """Frames that are not periodic."""
    atoms: int = 0
    counts: dict[str, NDArray[np.int64]] = field(default_factory=_empty_counts)
    """Per quantity (below its edges, its bins, above), per element (18,) and per pair (171,)."""
    extremes: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Quantity -> smallest and largest finite value."""
    nearest: NDArray[np.float64] = field(default_factory=lambda: np.full(len(PAIRS), np.inf))
    """(171,) smallest distance over summed covalent radii that a pair in contact reaches, infinite for none."""

    def note(self, quantity: str, value: float) -> None:
        """Count one value of a quantity."""
        self.counts[quantity][bisect.bisect_right(_EDGES[quantity], value)] += 1
        if value < np.inf:
            low, high = self.extremes.get(quantity, (value, value))
            self.extremes[quantity] = (min(low, value), max(high, value))

    def merge(self, other: Tally) -> None:
        """Add the counts of other frames."""
        self.frames += other.frames
        self.isolated += other.isolated
        self.atoms += other.atoms
        for name, counts in other.counts.items():
            self.counts[name] += counts
        for name, (low, high) in other.extremes.items():
            own = self.extremes.get(name, (low, high))
            self.extremes[name] = (min(own[0], low), max(own[1], high))
        np.minimum(self.nearest, other.nearest, out=self.nearest)

    def quantile(self, quantity: str, share: float) -> float | None:
        """Value below which `share` of the frames are, to the width of a bin; None without any, infinite if beyond."""
        if quantity not in self.extremes:
            return None
        low, high = self.extremes[quantity]
        counts, edges = self.counts[quantity], QUANTITIES[quantity].edges
        passed = np.cumsum(counts)
        wanted = share * passed[-1]
        place = int(np.searchsorted(passed, wanted))
        if place == len(edges):
            return high if high >= edges[-1] else np.inf
        left, right = (low, edges[0]) if place == 0 else (edges[place - 1], edges[place])
        part = (wanted - (passed[place] - counts[place])) / max(counts[place], 1)
        return float(min(max(left + part * (right - left), low), high))

    def document(self) -> dict[str, Any]:
        """All counts as JSON; the edges are those of the document's `quantities`."""
        return {
            "frames": self.frames,
            "isolated": self.isolated,
            "atoms": self.atoms,
            "elements": {
                symbol: {name.removeprefix("element_"): int(self.counts[name][k]) for name in ELEMENT_COUNTS}
                for k, symbol in enumerate(SYMBOLS)
            },
            "pairs": {
                f"{SYMBOLS[a - 1]}-{SYMBOLS[b - 1]}": self._pair(row)
                for row, (a, b) in enumerate(PAIRS)
            },
            "quantities": {
                name: {
                    "counts": self.counts[name].tolist(),
                    "smallest": self.extremes.get(name, (None, None))[0],
                    "largest": self.extremes.get(name, (None, None))[1],
                }
                for name in QUANTITIES
            },
        }  # fmt: skip

    def _pair(self, row: int) -> dict[str, Any]:
        nearest = float(self.nearest[row])
        together, contact = (int(self.counts[name][row]) for name in PAIR_COUNTS)
        return {"together": together, "contact": contact, "nearest": round(nearest, 6) if nearest < np.inf else None}


@dataclass
class Coverage:
    """Counts over any number of configurations of H-Ar."""

    sources: dict[str, Tally] = field(default_factory=dict)
    """By the source that a frame names, in the order of first occurrence."""
    formulas: set[int] = field(default_factory=set)
    """64-bit hashes of reduced formulas, MOST_FORMULAS at most."""
    systems: set[int] = field(default_factory=set)
    """Sets of elements that occur as frames, bit Z - 1 for element Z; at most 2^18."""

    def add(self, configuration: Configuration) -> None:
        """Count one configuration; FrameError for elements outside H-Ar."""
        configuration.check_elements()
        tally = self._tally(configuration.origin.source)
        numbers, n = configuration.numbers, len(configuration)
        elements = np.bincount(numbers, minlength=Z_MAX + 1)
        present = np.flatnonzero(elements)
        tally.frames += 1
        tally.isolated += not configuration.periodic
        tally.atoms += n
        self._note_composition(tally, elements, present)
        nearest = pair_ratios(configuration)
        rows = np.flatnonzero(nearest < np.inf)
        tally.counts["pairs_in_contact"][rows] += 1
        np.minimum(tally.nearest, nearest, out=tally.nearest)
        tally.note("atoms", n)
        tally.note("species", len(present))
        closest = float(nearest.min())
        tally.note("ratio", closest if closest < CONTACT else np.inf)  # not exact beyond
        if configuration.periodic:
            _note_cell(tally, configuration)

    def merge(self, other: Coverage) -> None:
        """Add what another coverage has counted."""
        for name, tally in other.sources.items():
            self._tally(name).merge(tally)
        self.systems |= other.systems
        self.formulas.update(itertools.islice(other.formulas - self.formulas, MOST_FORMULAS - len(self.formulas)))

    @property
    def total(self) -> Tally:
        """All sources together."""
        total = Tally()
        for tally in self.sources.values():
            total.merge(tally)
        return total

    def document(self) -> dict[str, Any]:
        """Everything counted, as JSON; the same frames give the same document in any grouping into files."""
        return {
            "format": FORMAT,
            "contact": {"share_of_spheres": CONTACT, "smallest_sphere": SMALLEST_SPHERE},
            "quantities": {
                name: {"title": quantity.title, "unit": quantity.unit, "edges": list(quantity.edges)}
                for name, quantity in QUANTITIES.items()
            },
            "reduced_formulas": len(self.formulas),
            "reduced_formulas_exact": len(self.formulas) < MOST_FORMULAS,
            "chemical_systems": len(self.systems),
            "total": self.total.document(),
            "sources": {name: self.sources[name].document() for name in sorted(self.sources)},
        }

    def _tally(self, source: str) -> Tally:
        if source not in self.sources and len(self.sources) >= MOST_SOURCES:
            source = OTHER_SOURCES
        return self.sources.setdefault(source, Tally())

    def _note_composition(self, tally: Tally, elements: NDArray[np.int64], present: NDArray[np.int64]) -> None:
        """Elements and pairs in one cell; `elements` (19,) counts atoms, `present` are the atomic numbers of some."""
        tally.counts["element_frames"][present - 1] += 1
        tally.counts["element_atoms"] += elements[1:]
        leading = np.flatnonzero(elements == elements.max())
        if len(leading) == 1:
            tally.counts["element_leads"][leading[0] - 1] += 1
        a, b = np.tile(present, len(present)), np.repeat(present, len(present))
        pairs = (a < b) | ((a == b) & (elements[a] > 1))
        tally.counts["pairs_together"][(b[pairs] - 1) * b[pairs] // 2 + a[pairs] - 1] += 1
        self.systems.add(int((1 << (present - 1)).sum()))
        if len(self.formulas) < MOST_FORMULAS:
            reduced = (elements // np.gcd.reduce(elements[present])).astype("<u4").tobytes()
            self.formulas.add(int.from_bytes(hashlib.blake2b(reduced, digest_size=8).digest(), "little"))


def _note_cell(tally: Tally, configuration: Configuration) -> None:
    """Density and shape of a periodic cell."""
    cell, volume, n = configuration.cell, configuration.volume, len(configuration)
    edges = np.sqrt((cell**2).sum(axis=1))
    tally.note("volume", volume / n)
    tally.note("packing", float(4 / 3 * np.pi * (RADII[configuration.numbers] ** 3).sum()) / volume)
    for i, j in ((1, 2), (2, 0), (0, 1)):
        cosine = float(cell[i] @ cell[j] / (edges[i] * edges[j]))
        tally.note("angles", round(float(np.degrees(np.arccos(min(max(cosine, -1.0), 1.0)))), 6))
    tally.note("elongation", round(float(edges.max() / edges.min()), 6))
    tally.note("flatness", round(float(volume / edges.prod()), 6))
