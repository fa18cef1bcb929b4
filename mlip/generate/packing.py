"""Packing: random atoms in a random cell, from compressed to dilute, none closer than a drawn distance.

The randomised chemistry of Pickard and Needs (J. Phys.: Condens. Matter 23, 053201 (2011)) without relaxation: draw the
number of atoms, the composition, the packing fraction and the closest approach; draw a cell of that volume; scatter the
atoms and push overlapping ones apart (Lubachevsky and Stillinger, J. Stat. Phys. 60, 561 (1990), have the idea of
reaching a packing through overlaps). Where a cell cannot be packed another shape of the same volume is drawn; after
SHAPES of them the volume grows by GROWTH.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ..frames import Configuration, Origin
from ..sanity import RADII
from . import checks
from .checks import Elements, check_positive, check_range, check_ratio, element_numbers
from .compositions import Kind, charged_elements, composition, never_neutral
from .draw import Draw, GenerationError

DENSEST = 0.55
"""Largest share of the volume that spheres of radius ratio * covalent radius fill: ratios are drawn below it. Random
packings of equal spheres jam at 0.64, small periodic cells of unequal ones earlier."""
SHAPES = 20
"""Cells of one volume that are tried before it grows."""
GROWTH = 1.08
"""Volume factor from then on."""
FLATTEST = 0.5
"""Smallest volume of a cell relative to a brick of the same edges."""


@dataclass(frozen=True)
class PackingSettings:
    """Keys of a `source: packing` recipe; pairs are [lowest, highest]."""

    elements: Elements = "all"
    """Symbols to draw from; all means H-Ar."""
    atoms: tuple[int, int] = (2, 8)
    """Atoms per cell, uniform."""
    composition: Kind = "elements"
    """Who takes turns in leading a cell: single `elements` or all `pairs`; or `charge_balanced` compositions."""
    species: tuple[int, int] = (1, 4)
    """Different elements per cell, uniform from the number that lead, where there are atoms enough."""
    packing_fraction: tuple[float, float] = (0.08, 0.60)
    """Share of the volume that the spheres fill, log-uniform. Solids at ambient pressure have 0.1 to 0.5."""
    minimum_distance_ratio: tuple[float, float] = (0.65, 1.0)
    """Closest approach over summed covalent radii, one value per cell, uniform up to what DENSEST allows; 0.50 is the
    floor of DFT."""
    minimum_sphere_radius: float = 0.75
    """Å. The spheres have covalent radii, but no less than this: H, He and F keep distance in solids."""
    maximum_volume_per_atom: float = 60.0
    """Å^3. Limits what a dilute cell costs in a plane-wave code; cuts the range of the packing fraction."""
    angles: tuple[float, float] = (60.0, 120.0)
    """Degrees between lattice vectors, uniform, moved towards 90 where the cell would be flat."""
    maximum_elongation: float = 2.0
    """Longest over shortest lattice vector; the logarithms of the edges are uniform."""
    maximum_attempts: int = 200
    """Cells tried per configuration, twenty of each volume."""

    def __post_init__(self) -> None:
        check_range("atoms", self.atoms, 1, checks.MOST)
        check_range("species", self.species, 1, checks.MOST)
        check_range("packing_fraction", self.packing_fraction, 1e-3, 1.0)
        check_range("minimum_distance_ratio", self.minimum_distance_ratio, 0.0, checks.LARGEST_RATIO)
        check_ratio(self.minimum_distance_ratio[0])
        check_positive(self, "minimum_sphere_radius", highest=checks.LARGEST_RADIUS)
        check_positive(self, "maximum_volume_per_atom")
        check_positive(self, "maximum_attempts", highest=checks.MOST_ATTEMPTS)
        self._check_species()
        low, high = self.angles
        if not 30 <= low <= 90 <= high <= 150:
            raise ValueError(
                f"angles [{low}, {high}]: expected [lowest, highest] with 30 <= lowest <= 90 <= highest <= 150"
            )
        if not 1 <= self.maximum_elongation <= checks.MOST_ELONGATED:
            raise ValueError(f"maximum_elongation {self.maximum_elongation:g}: expected 1 to {checks.MOST_ELONGATED:g}")
        self._check_density()

    def _check_species(self) -> None:
        if self.species[0] > min(self.atoms[0], len(self.numbers)):
            raise ValueError(
                f"species {list(self.species)}: a cell of {self.atoms[0]} atoms and {len(self.numbers)} elements "
                f"cannot hold {self.species[0]} species"
            )
        if self.composition == "charge_balanced":
            charged = len(charged_elements(self.numbers))
            if charged < 2 or self.atoms[0] < 2 or self.species[1] < 2 or self.species[0] > charged:
                raise ValueError(
                    f"composition charge_balanced: {charged} of the elements have oxidation states, cells of "
                    f"{self.atoms[0]} atoms and {self.species[1]} species: expected 2 or more of each"
                )
            if unbalanced := never_neutral(self.numbers, self.atoms, self.species):
                raise ValueError(
                    f"composition charge_balanced: nothing that balances {', '.join(unbalanced)} in cells of "
                    f"{self.atoms[0]} to {self.atoms[1]} atoms and {self.species[0]} to {self.species[1]} species; "
                    "leave out these elements, or allow more"
                )

    def _check_density(self) -> None:
        fraction, ratio = self.packing_fraction[0], self.minimum_distance_ratio[0]
        shares = (ratio * RADII[self.numbers]) ** 3 / np.maximum(RADII[self.numbers], self.minimum_sphere_radius) ** 3
        tightest = int(shares.argmax())
        if fraction * shares[tightest] > DENSEST:
            raise ValueError(
                f"packing_fraction {fraction} at minimum_distance_ratio {ratio} cannot be packed with "
                f"{self._symbol(tightest)}: spheres of that ratio would fill {fraction * shares[tightest]:.2f} of the "
                f"volume, expected {DENSEST} or less"
            )
        spheres = _sphere_volumes(self.numbers, self.minimum_sphere_radius)
        needed = float(spheres.max()) / self.packing_fraction[1]
        if needed > self.maximum_volume_per_atom:
            raise ValueError(
                f"maximum_volume_per_atom {self.maximum_volume_per_atom} Å^3: {self._symbol(spheres.argmax())} at "
                f"packing_fraction {self.packing_fraction[1]} needs {needed:.1f} Å^3"
            )

    def _symbol(self, index: Any) -> str:
        return str(chemical_symbols[self.numbers[index]])

    @functools.cached_property
    def numbers(self) -> NDArray[np.int64]:
        """Atomic numbers to draw from, ascending."""
        return element_numbers(self.elements)


def packing(settings: PackingSettings, draw: Draw) -> tuple[Configuration, dict[str, Any]]:
    """One periodic configuration and its figures: packing_fraction (reached), distance_ratio (drawn), packing_attempts.

    Raises GenerationError if no cell could be packed in `maximum_attempts`.
    """
    from ..contacts import cartesian, pushed_apart

    rng = draw.generator()
    numbers = composition(settings.composition, settings.numbers, settings.atoms, settings.species, draw, rng)
    spheres = float(_sphere_volumes(numbers, settings.minimum_sphere_radius).sum())
    volume, ratio = _volume_and_ratio(settings, numbers, spheres, rng)
    for attempt in range(settings.maximum_attempts):
        cell = _random_cell(settings, volume, rng)
        positions = pushed_apart(numbers, cartesian(rng.random((len(numbers), 3)), cell), cell, ratio)
        if positions is not None:
            figures = {
                "packing_attempts": attempt + 1,
                "packing_fraction": round(spheres / volume, 6),
                "distance_ratio": round(ratio, 6),
            }
            return Configuration(numbers, positions, cell, origin=Origin("packing", draw.name)), figures
        if attempt % SHAPES == SHAPES - 1:
            volume *= GROWTH
    raise GenerationError(
        f"index {draw.index}: {len(numbers)} atoms not packed in {settings.maximum_attempts} cells; lower "
        "packing_fraction or minimum_distance_ratio, or raise maximum_attempts"
    )


def _volume_and_ratio(
    settings: PackingSettings, numbers: NDArray[np.int64], spheres: float, rng: np.random.Generator
) -> tuple[float, float]:
    """(Å^3, closest approach): log-uniform within the packing fractions, uniform within the ratios that fit it."""
    loosest = spheres / (len(numbers) * settings.maximum_volume_per_atom)
    covalent = float(_sphere_volumes(numbers, 0.0).sum())
    lowest, highest = settings.minimum_distance_ratio
    densest = DENSEST * spheres / (covalent * lowest**3)
    low = max(settings.packing_fraction[0], loosest)
    high = max(low, min(settings.packing_fraction[1], densest))
    volume = spheres / math.exp(rng.uniform(math.log(low), math.log(high)))
    return volume, rng.uniform(lowest, max(lowest, min(highest, (DENSEST * volume / covalent) ** (1 / 3))))


def _sphere_volumes(numbers: NDArray[np.int64], smallest: float) -> NDArray[np.float64]:
    """(n,) Å^3."""
    volumes: NDArray[np.float64] = 4 / 3 * np.pi * np.maximum(RADII[numbers], smallest) ** 3
    return volumes


def _random_cell(settings: PackingSettings, volume: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(3, 3) Å rows of the given volume (Å^3): a along x, b in the xy plane."""
    edges = np.array([math.exp(x) for x in rng.uniform(0.0, math.log(settings.maximum_elongation), 3)])
    degrees = rng.uniform(*settings.angles, 3)
    while (flatness := _flatness(degrees)) < FLATTEST:
        degrees = 90 + 0.8 * (degrees - 90)
    cos_a, cos_b, cos_c = (math.cos(math.radians(angle)) for angle in degrees)
    sin_c = math.sqrt(1 - cos_c**2)
    y = (cos_a - cos_b * cos_c) / sin_c
    cell = np.array([[1, 0, 0], [cos_c, sin_c, 0], [cos_b, y, flatness / sin_c]]) * edges[:, None]
    return np.asarray(cell * (volume / (flatness * edges.prod())) ** (1 / 3))


def _flatness(degrees: NDArray[np.float64]) -> float:
    """Volume of a cell with unit edges: 1 for a brick, 0 for a flat one."""
    a, b, c = (math.cos(math.radians(angle)) for angle in degrees)
    return math.sqrt(max(0.0, 1 - a * a - b * b - c * c + 2 * a * b * c))
