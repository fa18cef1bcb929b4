"""Dimers: every pair of elements at every distance, with trimers and isolated atoms.

Two-body curves from the repulsive wall to the cutoff keep molecular dynamics from fusing atoms: a potential that has
never seen a short distance may predict attraction there. They are a common part of training sets (Gelžinytė et al.,
J. Chem. Phys. 159, 124801 (2023), have them from 0.65 to 2.5 bond lengths). Isolated atoms fix the energies that
dimers dissociate to; trimers are the shortest way to three-body terms.

One round holds every unordered pair of elements once (171 for H-Ar), `trimers` trimers led by each element and each
element `isolated_atoms` times alone, in random order. Distances are log-uniform, hence dense at the wall. They are
stratified: the logarithms are cut into `strata` equal parts, of which in each round the pairs take all evenly, and each
pair takes each once in every `strata` rounds. A trimer has two sides log-uniform, and the third log-uniform among those
that close the triangle.

Everything stands in a brick of three different edges, the longest side along the longest edge but for a small tilt: a
box costs by its volume. The potential does not see images beyond its cutoff; DFT labels still are those of the periodic
arrangement.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contacts import MARGIN
from ..frames import Configuration, Origin
from ..sanity import RADII
from ..units import MINIMUM_DISTANCE_RATIO_DFT
from .checks import LONGEST, MOST, Elements, check_positive, check_range, check_ratio, element_numbers, shown
from .draw import Draw
from .molecules import at_rank, boxed, check_vacuum, formula, tilted


@dataclass(frozen=True)
class DimersSettings:
    """Keys of a `source: dimers` recipe; pairs are [lowest, highest]."""

    elements: Elements = "all"
    """Symbols to draw from; all means H-Ar."""
    minimum_distance_ratio: float = MINIMUM_DISTANCE_RATIO_DFT
    """Shortest distance over summed covalent radii; 0.50 is the floor of DFT."""
    cutoff: float = 5.0
    """Å, longest distance of a dimer: the cutoff of the potential, beyond which it sees two atoms alone."""
    trimer_cutoff: float = 4.0
    """Å, longest side of a trimer. Boxes of larger ones are costly, and three-body terms fade sooner than two-body."""
    trimers: int = 3
    """Trimers per round that each element leads; the other two atoms are of uniform species."""
    isolated_atoms: int = 1
    """Times per round that each element stands alone."""
    strata: int = 8
    """Equal parts of the logarithm of a dimer's distance; each pair has one distance of each in so many rounds."""
    vacuum: tuple[float, float] = (5.5, 6.5)
    """Å between images along the shortest edge, uniform; 6 % and 12 % more along the others. More than the cutoff of
    the potential (5 Å) shows it no images; drawn, so that isolated atoms are no copies of each other."""
    tilt: float = 10.0
    """Degrees, largest angle by which the longest side is turned away from the longest edge, uniform."""

    def __post_init__(self) -> None:
        check_ratio(self.minimum_distance_ratio)
        check_range("vacuum", self.vacuum, 0.0, LONGEST)
        check_vacuum(self.vacuum, self.minimum_distance_ratio, self.numbers)
        check_positive(self, "strata", highest=MOST)
        check_positive(self, "cutoff", "trimer_cutoff", highest=LONGEST)
        widest = self.minimum_distance_ratio * 2 * float(RADII[self.numbers].max()) + MARGIN
        for name in ("cutoff", "trimer_cutoff"):
            if not getattr(self, name) > widest:
                raise ValueError(
                    f"{name} {getattr(self, name):g} Å: the largest of the elements needs {widest:.2f} at "
                    f"minimum_distance_ratio {self.minimum_distance_ratio:g}; expected more"
                )
        for name in ("trimers", "isolated_atoms"):
            if not 0 <= getattr(self, name) <= MOST:
                raise ValueError(f"{name} {shown(getattr(self, name))}: expected 0 to {MOST}")
        if not 0 <= self.tilt <= 90:
            raise ValueError(f"tilt {self.tilt:g}: expected 0 to 90 degrees")

    @functools.cached_property
    def numbers(self) -> NDArray[np.int64]:
        """Atomic numbers to draw from, ascending."""
        return element_numbers(self.elements)

    @functools.cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Unordered pairs of atomic numbers, like pairs included."""
        return list(itertools.combinations_with_replacement(self.numbers.tolist(), 2))

    @property
    def round_length(self) -> int:
        """Configurations per round."""
        return len(self.pairs) + (self.trimers + self.isolated_atoms) * len(self.numbers)


def dimers(settings: DimersSettings, draw: Draw) -> tuple[Configuration, dict[str, Any]]:
    """One atom, dimer or trimer in a box and its figures.

    `arrangement` (atom, dimer, trimer); of more than one atom `species` such as H-O, and `distance`, the shortest in Å.
    """
    rng = draw.generator()
    n, rounds, place = len(settings.numbers), draw.rank // settings.round_length, draw.turn(settings.round_length)
    trimer = place - len(settings.pairs)
    atom = trimer - settings.trimers * n
    if trimer < 0:
        numbers, positions = _dimer(settings, place, at_rank(draw, rounds).turn(settings.strata), rng)
    elif atom < 0:
        lead = settings.numbers[at_rank(draw, rounds * settings.trimers * n + trimer).turn(n)]
        numbers, positions = _trimer(settings, lead, rng)
    else:
        numbers = settings.numbers[[at_rank(draw, rounds * settings.isolated_atoms * n + atom).turn(n)]]
        positions = np.zeros((1, 3))
    positions, cell = boxed(tilted(positions, settings.tilt, rng), rng.uniform(*settings.vacuum))
    figures: dict[str, Any] = {
        "arrangement": ("atom", "dimer", "trimer")[len(numbers) - 1],
    }
    if len(numbers) > 1:
        sides = [np.linalg.norm(positions[i] - positions[j]) for i, j in itertools.combinations(range(len(numbers)), 2)]
        figures["species"] = formula(numbers)
        figures["distance"] = round(float(min(sides)), 6)
    return Configuration(numbers, positions, cell, origin=Origin("dimers", draw.name)), figures


def _dimer(
    settings: DimersSettings, pair: int, shift: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(2,) atomic numbers and (2, 3) Å along z; pairs and rounds go through the strata as through a Latin square."""
    numbers = np.array(settings.pairs[pair])
    stratum = (pair + shift) % settings.strata
    place = (stratum + rng.random()) / settings.strata
    return numbers, np.array([[0, 0, 0], [0, 0, _log_uniform(_shortest(settings, numbers), settings.cutoff, place)]])


def _trimer(
    settings: DimersSettings, lead: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(3,) ascending atomic numbers and (3, 3) Å, the longest side along z."""
    a, b, c = rng.permutation([lead, *rng.choice(settings.numbers, 2)])
    to_b, to_c = (
        _log_uniform(_shortest(settings, np.array([a, z])), settings.trimer_cutoff, rng.random()) for z in (b, c)
    )
    nearest = max(_shortest(settings, np.array([b, c])), abs(to_b - to_c))
    across = _log_uniform(nearest, min(to_b + to_c, settings.trimer_cutoff), rng.random())
    # the corner opposite to the longest side comes last
    sides = [(across, a), (to_c, b), (to_b, c)]
    (short, p), (middle, q), (longest, r) = sorted(sides)
    along = (middle**2 + longest**2 - short**2) / (2 * longest)
    height = math.sqrt(max(0.0, middle**2 - along**2))
    numbers, positions = np.array([p, q, r]), np.array([[0, 0, 0], [0, 0, longest], [0, height, along]])
    order = np.argsort(numbers, kind="stable")
    return numbers[order], positions[order]


def _shortest(settings: DimersSettings, numbers: NDArray[np.int64]) -> float:
    """Å, the closest approach of two atoms (2,)."""
    return settings.minimum_distance_ratio * float(RADII[numbers].sum()) + MARGIN


def _log_uniform(low: float, high: float, place: float) -> float:
    """The number at share `place` (0 to 1) between the logarithms of low and high."""
    return low * (high / low) ** place
