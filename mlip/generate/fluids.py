"""Fluids: molecules of one or two kinds, turned and placed at random in a cell of given density.

Elements take turns (all of H-Ar but Mg, of which there is no molecule): each leads one fluid in every round, with one
of the small molecules of the G2 set that hold it (see `molecules`), or as a noble gas; the molecules of an element take
turns as well. The other molecules are of the same kind or of one further, uniform kind. Bonds are scaled and rattled,
each copy of a molecule on its own.

The packing fraction (of spheres of covalent radii, as in the packing source) is log-uniform from 0.04 to 0.30. Liquids
at ambient pressure have 0.06 (N2, Ne) to 0.18 (H2O); it covers gases near condensation as well as fluids under
pressure, for every molecule alike. A range of mass densities may be given instead. Placement is random sequential
insertion (Widom, J. Chem. Phys. 44, 3888 (1966)) that keeps molecules and their images a drawn ratio of the summed
covalent radii apart: from 0.8, where reactions begin, to 1.6 (a hydrogen bond has 1.9, van der Waals contacts 2 and
more). What cannot be placed is tried again with more room and less distance.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import units
from ase.data import atomic_masses
from numpy.typing import NDArray

from ..contacts import MARGIN, compiled, face_distances, image_range
from ..frames import Configuration, Origin
from ..sanity import RADII
from . import checks
from .checks import Elements, check_positive, check_range, check_ratio, element_numbers
from .draw import Draw, GenerationError
from .molecules import G2, Molecule, by_element, distorted, leading, molecule, molecule_names, random_rotations

NOBLE = ("He", "Ne", "Ar")
"""Fluids of single atoms."""
G_PER_CM3 = units.kg / 1000 / (units.m / 100) ** 3
"""One g/cm^3 in u/Å^3."""
INSERTIONS = 40
"""Places tried for a molecule."""
GROWTH, SHRINKAGE = 1.06, 0.97
"""Factors of volume and of the intermolecular ratio from one attempt to the next, within their limits."""


@dataclass(frozen=True)
class FluidsSettings:
    """Keys of a `source: fluids` recipe; pairs are [lowest, highest]."""

    elements: Elements = "all"
    """Symbols that may occur; all means H-Ar."""
    molecules: Literal["all"] | list[str] = "all"
    """Names in ASE's G2 set, and He, Ne, Ar; all means those of up to `maximum_molecule_atoms`."""
    maximum_molecule_atoms: int = 6
    """Atoms of the largest molecule where molecules is all."""
    kinds: tuple[int, int] = (1, 2)
    """Different molecules per cell, uniform, where there is room for them; 2 at most."""
    copies: tuple[int, int] = (2, 6)
    """Molecules per cell, uniform, cut to what the limits of atoms and volume hold at the drawn density."""
    packing_fraction: tuple[float, float] = (0.04, 0.30)
    """Share of the volume that the spheres of all atoms fill, log-uniform."""
    mass_density: tuple[float, float] | None = None
    """g/cm^3, log-uniform; takes the place of packing_fraction."""
    intermolecular_ratio: tuple[float, float] = (0.8, 1.6)
    """Closest approach of atoms of different molecules over summed covalent radii, uniform."""
    minimum_distance_ratio: float = 0.6
    """Closest approach within a molecule over summed covalent radii."""
    bond_scale: tuple[float, float] = (0.9, 1.15)
    """Factor of all distances in a molecule, uniform."""
    rattle: tuple[float, float] = (0.0, 0.1)
    """Å, standard deviation of the displacement of a molecule's atoms along each axis, uniform."""
    minimum_sphere_radius: float = 0.75
    """Å. The spheres have covalent radii, but no less than this."""
    maximum_atoms: int = 16
    """Atoms per cell; a single molecule may have more."""
    maximum_volume: float = 500.0
    """Å^3 per cell; cuts the range of the density."""
    maximum_elongation: float = 1.6
    """Longest over shortest lattice vector; the logarithms of the edges are uniform."""
    angles: tuple[float, float] = (75.0, 105.0)
    """Degrees between lattice vectors, uniform."""
    maximum_attempts: int = 60
    """Cells tried per configuration."""

    def __post_init__(self) -> None:
        check_range("kinds", self.kinds, 1, 2)
        check_range("copies", self.copies, self.kinds[0], checks.MOST)
        check_range("packing_fraction", self.packing_fraction, 1e-3, 1.0)
        if self.mass_density is not None:
            check_range("mass_density", self.mass_density, 1e-3, 100.0)
        check_ratio(self.minimum_distance_ratio)
        check_range(
            "intermolecular_ratio", self.intermolecular_ratio, self.minimum_distance_ratio, checks.LARGEST_RATIO
        )
        check_range("bond_scale", self.bond_scale, 0.1, 10.0)
        check_range("rattle", self.rattle, 0.0, checks.LARGEST_RATTLE)
        check_range("angles", self.angles, 70.0, 110.0)
        check_positive(self, "maximum_molecule_atoms", "maximum_atoms", highest=checks.MOST)
        check_positive(self, "minimum_sphere_radius", highest=checks.LARGEST_RADIUS)
        check_positive(self, "maximum_volume")
        check_positive(self, "maximum_attempts", highest=checks.MOST_ATTEMPTS)
        if not 1 <= self.maximum_elongation <= checks.MOST_ELONGATED:
            raise ValueError(f"maximum_elongation {self.maximum_elongation:g}: expected 1 to {checks.MOST_ELONGATED:g}")
        self._check_molecules()

    def _check_molecules(self) -> None:
        if self.molecules != "all":
            unknown = [name for name in self.molecules if name not in G2 and name not in NOBLE]
            if unknown or len(set(self.molecules)) < len(self.molecules):
                raise ValueError(
                    f"molecules {unknown or self.molecules}: expected 'all' or names of the G2 set and noble gases "
                    "such as [H2O, CH3OH, Ar], each once"
                )
        allowed = set(element_numbers(self.elements).tolist())
        outside = [name for name in self.names if not allowed.issuperset(molecule(name).numbers.tolist())]
        if outside or not self.names:
            raise ValueError(f"molecules {outside}: expected one or more that are made of elements {self.elements}")
        densest = (self.packing_fraction if self.mass_density is None else self.mass_density)[1]
        needed, name = max((_volume(self, molecule(name).numbers, densest), name) for name in self.names)
        if needed > self.maximum_volume:
            raise ValueError(f"maximum_volume {self.maximum_volume:g} Å^3: {name} at {densest:g} needs {needed:.0f}")

    @functools.cached_property
    def names(self) -> list[str]:
        """Molecules to draw from."""
        if self.molecules != "all":
            return list(self.molecules)
        numbers = element_numbers(self.elements)
        noble = [name for name in NOBLE if molecule(name).numbers[0] in numbers]
        return molecule_names(numbers, self.maximum_molecule_atoms) + noble

    @functools.cached_property
    def leads(self) -> list[list[str]]:
        """Molecules of each element that is in any."""
        return by_element(self.names)


def fluids(settings: FluidsSettings, draw: Draw) -> tuple[Configuration, dict[str, Any]]:
    """One fluid and its figures.

    `molecules` such as CH4-H2O-H2O, `packing_fraction` and `mass_density` (g/cm^3) reached, `intermolecular_ratio`
    kept, `bond_scale`, `rattle` (Å) and `attempts`.

    Raises GenerationError if the molecules could not be placed in `maximum_attempts`.
    """
    rng = draw.generator()
    low, high = np.log(settings.packing_fraction if settings.mass_density is None else settings.mass_density)
    density = math.exp(rng.uniform(low, high))
    chosen = _chosen(settings, density, draw, rng)
    ratio = rng.uniform(*settings.intermolecular_ratio)
    scale, rattle = rng.uniform(*settings.bond_scale), rng.uniform(*settings.rattle)
    numbers = np.concatenate([each.numbers for each in chosen])
    volume = _volume(settings, numbers, density)
    if volume > settings.maximum_volume:  # of a molecule alone: the range of its density is cut at the lower end
        lowest = math.log(density * volume / settings.maximum_volume)
        volume = _volume(settings, numbers, math.exp(rng.uniform(lowest, max(lowest, high))))
    for attempt in range(settings.maximum_attempts):
        cell = _random_cell(settings, volume, rng)
        positions = _placed(chosen, cell, (settings.minimum_distance_ratio, ratio), scale, rattle, rng)
        if positions is not None:
            figures: dict[str, Any] = {
                "packing_fraction": _volume_of_spheres(settings, numbers) / volume,
                "mass_density": float(atomic_masses[numbers].sum()) / volume / G_PER_CM3,
                "intermolecular_ratio": ratio,
                "bond_scale": scale,
                "rattle": rattle,
            }
            figures = {name: round(figure, 6) for name, figure in figures.items()}
            figures |= {"molecules": "-".join(each.name for each in chosen), "attempts": attempt + 1}
            return Configuration(numbers, positions, cell, origin=Origin("fluids", draw.name)), figures
        volume = min(volume * GROWTH, settings.maximum_volume)
        ratio = max(ratio * SHRINKAGE, settings.intermolecular_ratio[0])
    raise GenerationError(
        f"index {draw.index}: {len(chosen)} molecules not placed in {settings.maximum_attempts} cells; lower the "
        "density, copies or intermolecular_ratio, or raise maximum_volume"
    )


def _chosen(settings: FluidsSettings, density: float, draw: Draw, rng: np.random.Generator) -> list[Molecule]:
    """The leading molecule and as many more as were drawn and fit, large ones first: they are placed first."""
    kinds = [leading(settings.leads, draw)]
    chosen = [molecule(kinds[0])]
    if rng.integers(settings.kinds[0], settings.kinds[1] + 1) == 2 and len(settings.names) > 1:
        others = [name for name in settings.names if name != kinds[0]]
        kinds.insert(0, others[rng.integers(len(others))])
    copies = int(rng.integers(settings.copies[0], settings.copies[1] + 1))
    for copy in range(copies - 1):
        # the second kind comes at once, if it fits, and then each as it falls
        more = [*chosen, molecule(kinds[0 if copy == 0 else rng.integers(len(kinds))])]
        numbers = np.concatenate([each.numbers for each in more])
        if len(numbers) <= settings.maximum_atoms and _volume(settings, numbers, density) <= settings.maximum_volume:
            chosen = more
    return sorted(chosen, key=lambda each: (-len(each.numbers), each.name))


def _volume_of_spheres(settings: FluidsSettings, numbers: NDArray[np.int64]) -> float:
    """Å^3."""
    return 4 / 3 * math.pi * float((np.maximum(RADII[numbers], settings.minimum_sphere_radius) ** 3).sum())


def _volume(settings: FluidsSettings, numbers: NDArray[np.int64], density: float) -> float:
    """Å^3 that these (n,) atoms take at a packing fraction or mass density."""
    if settings.mass_density is None:
        return _volume_of_spheres(settings, numbers) / density
    return float(atomic_masses[numbers].sum()) / (density * G_PER_CM3)


def _random_cell(settings: FluidsSettings, volume: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(3, 3) Å rows of the given volume (Å^3): a along x, b in the xy plane."""
    edges = np.exp(rng.uniform(0.0, math.log(settings.maximum_elongation), 3))
    cos_a, cos_b, cos_c = np.cos(np.radians(rng.uniform(*settings.angles, 3)))
    sin_c = math.sqrt(1 - cos_c**2)
    y = (cos_a - cos_b * cos_c) / sin_c
    shape = np.array([[1, 0, 0], [cos_c, sin_c, 0], [cos_b, y, math.sqrt(1 - cos_b**2 - y**2)]]) * edges[:, None]
    return np.asarray(shape * (volume / shape.diagonal().prod()) ** (1 / 3))


def _placed(
    chosen: list[Molecule],
    cell: NDArray[np.float64],
    ratios: tuple[float, float],
    scale: float,
    rattle: float,
    rng: np.random.Generator,
) -> NDArray[np.float64] | None:
    """(n, 3) Å of the molecules, distorted, where they keep their distance, or None.

    :param ratios: closest approach within molecules and between them.
    """
    copies = [distorted(each.numbers, each.positions, ratios[0], rng, scale, rattle) for each in chosen]
    offsets = np.concatenate([copy for copy in copies if copy is not None])
    if len(offsets) < sum(len(each.numbers) for each in chosen):
        return None
    numbers = np.concatenate([each.numbers for each in chosen])
    first = np.cumsum([0, *(len(each.numbers) for each in chosen)])
    rotations = random_rotations(rng, len(chosen) * INSERTIONS).reshape(len(chosen), INSERTIONS, 3, 3)
    places = rng.random((len(chosen), INSERTIONS, 3))
    positions = np.empty((len(numbers), 3))
    inverse = np.linalg.inv(cell)
    placed = _insert(RADII[numbers], offsets, first, cell, inverse, ratios[1], rotations, places, positions)
    return positions if placed else None


@compiled
def _insert(radii, offsets, first, cell, inverse, ratio, rotations, places, positions):
    """Fill `positions` molecule by molecule; whether each found a place."""
    for m in range(len(first) - 1):
        free = False
        for k in range(places.shape[1]):
            for i in range(first[m], first[m + 1]):
                for a in range(3):
                    at = 0.0
                    for b in range(3):
                        at += places[m, k, b] * cell[b, a] + rotations[m, k, a, b] * offsets[i, b]
                    positions[i, a] = at
            free = _keeps_distance(radii, positions, first[m], first[m + 1], cell, inverse, ratio)
            if free:
                break
        if not free:
            return False
    return True


@compiled
def _keeps_distance(radii, positions, start, end, cell, inverse, ratio):
    """Whether atoms start .. end-1 keep away from those before them, and from all images, their own included."""
    heights, f, d = face_distances(inverse), np.empty(3), np.empty(3)
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for i in range(start, end):
        for j in range(i + 1):
            limit = ratio * (radii[i] + radii[j]) + MARGIN
            for a in range(3):
                d[a] = positions[i, a] - positions[j, a]
            image_range(d, inverse, heights, limit, f, low, high)
            for u in range(low[0], high[0] + 1):
                for v in range(low[1], high[1] + 1):
                    for w in range(low[2], high[2] + 1):
                        if j >= start and u == 0 and v == 0 and w == 0:
                            continue
                        square = 0.0
                        for a in range(3):
                            square += (d[a] + u * cell[0, a] + v * cell[1, a] + w * cell[2, a]) ** 2
                        if square < limit * limit:
                            return False
    return True
