"""Clusters: distorted molecules and random clumps of atoms in vacuum.

Molecules are those of the G2 set (see `molecules`), in turns, so that each comes once per round of as many (148 for
H-Ar). A drawn share has all atoms of one element replaced by another element of its column of the periodic table, or H
by F or Cl and back, and the bonds stretched until no pair is closer, relative to covalent radii, than the closest one
was before. All bonds are scaled by a common factor and each coordinate is moved by a normal deviate, which samples
bonds far from equilibrium without a potential (the idea of normal mode sampling, Smith, Isayev and Roitberg, Chem. Sci.
8, 3192 (2017), without the modes).

Random clusters are those of Pickard and Needs (J. Phys.: Condens. Matter 23, 053201 (2011)), without relaxation: drawn
elements in a drawn ellipsoid, pushed apart to a drawn closest approach. Elements lead them in turns; those that G2 does
not hold (He, Ne, Mg, Ar) are reached through them, Mg also by substitution.

The orientation is random, the best of a few by the volume of the box; the three edges differ.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from ..contacts import closest_ratio
from ..frames import Configuration, Origin
from ..sanity import RADII
from . import checks
from .checks import Elements, check_positive, check_range, check_ratio, element_numbers
from .compositions import composition
from .draw import Draw, GenerationError
from .molecules import (
    VACUUM_FACTORS,
    check_vacuum,
    distorted,
    free_cell,
    molecule,
    molecule_names,
    random_directions,
    shared_out,
    smallest_box,
)

COLUMNS = ("Li Na", "Be Mg", "B Al", "C Si", "N P", "O S", "H F Cl")
"""Elements that replace each other: columns of the periodic table, and H with the halogens."""
LARGEST_MOLECULE = 14
"""Atoms of the largest molecule of the G2 set."""
SHAPE = 0.35
"""Standard deviation of the logarithms of an ellipsoid's axes: from rods to discs."""
MOST_ATOMS = 256
"""Largest random cluster that may be asked for."""


@dataclass(frozen=True)
class ClustersSettings:
    """Keys of a `source: clusters` recipe; pairs are [lowest, highest]."""

    elements: Elements = "all"
    """Symbols to draw from; all means H-Ar. Molecules are made of no others."""
    molecule_share: float = 0.6
    """Share of molecules, evenly spaced; the rest are random clusters."""
    bond_scale: tuple[float, float] = (0.85, 1.25)
    """Factor of all distances in a molecule, uniform."""
    rattle: tuple[float, float] = (0.0, 0.15)
    """Å, standard deviation of the displacement of a molecule's atoms along each axis, uniform."""
    substitution_share: float = 0.25
    """Probability that one element of a molecule is replaced, where there is one that can be."""
    atoms: tuple[int, int] = (3, 7)
    """Atoms of a random cluster, uniform."""
    species: tuple[int, int] = (1, 3)
    """Different elements of a random cluster, uniform."""
    packing_fraction: tuple[float, float] = (0.15, 0.60)
    """Share of the volume of a random cluster that spheres of covalent radii fill before pushing, log-uniform."""
    minimum_distance_ratio: tuple[float, float] = (0.6, 1.0)
    """Closest approach over summed covalent radii of a random cluster, uniform; molecules keep the lowest value."""
    minimum_sphere_radius: float = 0.75
    """Å. The spheres have covalent radii, but no less than this."""
    vacuum: tuple[float, float] = (4.0, 6.0)
    """Å between images along the shortest edge, uniform; 6 % and 12 % more along the others."""
    maximum_volume: float = 600.0
    """Å^3, largest box: where it would be larger the lowest vacuum is taken, then shape and size are drawn again."""
    maximum_attempts: int = 60
    """Shapes tried per configuration."""

    def __post_init__(self) -> None:
        for name in ("molecule_share", "substitution_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name):g}: expected 0 to 1")
        check_range("bond_scale", self.bond_scale, 0.1, 10.0)
        check_range("rattle", self.rattle, 0.0, checks.LARGEST_RATTLE)
        check_range("atoms", self.atoms, 1, MOST_ATOMS)
        check_range("species", self.species, 1, checks.MOST)
        check_range("packing_fraction", self.packing_fraction, 1e-3, 1.0)
        check_range("minimum_distance_ratio", self.minimum_distance_ratio, 0.0, checks.LARGEST_RATIO)
        check_ratio(self.minimum_distance_ratio[0])
        check_range("vacuum", self.vacuum, 0.0, checks.LONGEST)
        check_vacuum(self.vacuum, self.minimum_distance_ratio[1], self.numbers)
        check_positive(self, "minimum_sphere_radius", highest=checks.LARGEST_RADIUS)
        check_positive(self, "maximum_attempts", highest=checks.MOST_ATTEMPTS)
        if self.species[0] > min(self.atoms[0], len(self.numbers)):
            raise ValueError(
                f"species {list(self.species)}: a cluster of {self.atoms[0]} atoms and {len(self.numbers)} elements "
                f"cannot hold {self.species[0]} species"
            )
        if self.molecule_share > 0 and not self.molecules:
            raise ValueError(
                f"elements {self.elements}: no molecule of the G2 set is made of these; expected others, or "
                "molecule_share 0"
            )
        smallest = self.vacuum[0] ** 3 * float(VACUUM_FACTORS.prod())
        if not self.maximum_volume > smallest:
            raise ValueError(
                f"maximum_volume {self.maximum_volume:g} Å^3: the lowest vacuum takes {smallest:.0f}; expected more"
            )

    @functools.cached_property
    def numbers(self) -> NDArray[np.int64]:
        """Atomic numbers to draw from, ascending."""
        return element_numbers(self.elements)

    @functools.cached_property
    def molecules(self) -> list[str]:
        """Names of the molecules to draw from."""
        return molecule_names(self.numbers, LARGEST_MOLECULE)

    @functools.cached_property
    def substitutes(self) -> dict[int, list[int]]:
        """Atomic numbers that may replace an element, where there are any."""
        found: dict[int, list[int]] = {}
        for column in COLUMNS:
            numbers = [z for symbol in column.split() if (z := atomic_numbers[symbol]) in self.numbers]
            found |= {z: [other for other in numbers if other != z] for z in numbers if len(numbers) > 1}
        return found


def clusters(settings: ClustersSettings, draw: Draw) -> tuple[Configuration, dict[str, Any]]:
    """One molecule or random cluster in a box and its figures.

    `cluster` (molecule or random); of a molecule `molecule` (its name in G2), `bond_scale`, `rattle` (Å) and
    `substitution`, such as C>Si, where there is one; of a random cluster `packing_fraction` and `distance_ratio`.

    Raises GenerationError if none was found in `maximum_attempts`.
    """
    rng = draw.generator()
    is_molecule, own = shared_out(draw, settings.molecule_share)
    make = _molecule if is_molecule else _random
    for _ in range(settings.maximum_attempts):
        numbers, positions, figures = make(settings, own, rng)
        if positions is None:
            continue
        vacuum = rng.uniform(*settings.vacuum)
        for chosen in (vacuum, settings.vacuum[0]):
            placed, cell = smallest_box(positions, chosen, rng)
            if cell.diagonal().prod() <= settings.maximum_volume:
                return Configuration(numbers, placed, cell, origin=Origin("clusters", draw.name)), figures
    raise GenerationError(
        f"index {draw.index}: no cluster within {settings.maximum_volume:g} Å^3 found in {settings.maximum_attempts} "
        "attempts; lower vacuum, atoms, bond_scale or minimum_distance_ratio, or raise maximum_volume"
    )


def _molecule(
    settings: ClustersSettings, draw: Draw, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None, dict[str, Any]]:
    """(n,) atomic numbers, (n, 3) Å or None where they overlap, figures."""
    name, numbers, positions = molecule(settings.molecules[draw.turn(len(settings.molecules))])
    scale, rattle = rng.uniform(*settings.bond_scale), rng.uniform(*settings.rattle)
    figures = {"cluster": "molecule", "molecule": name, "bond_scale": round(scale, 6), "rattle": round(rattle, 6)}
    replaceable = [z for z in dict.fromkeys(numbers.tolist()) if z in settings.substitutes]
    if replaceable and rng.random() < settings.substitution_share:
        old = int(rng.choice(replaceable))
        new = int(rng.choice(settings.substitutes[old]))
        ratio = closest_ratio(numbers, positions, free_cell(positions))
        numbers = np.where(numbers == old, new, numbers)
        stretched = distorted(numbers, positions, ratio, rng)
        if stretched is None:
            return numbers, None, figures
        positions = stretched
        figures["substitution"] = f"{chemical_symbols[old]}>{chemical_symbols[new]}"
    lowest = settings.minimum_distance_ratio[0]
    return numbers, distorted(numbers, positions, lowest, rng, scale, rattle), figures


def _random(
    settings: ClustersSettings, draw: Draw, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None, dict[str, Any]]:
    """As `_molecule`, of a random cluster."""
    numbers = composition("elements", settings.numbers, settings.atoms, settings.species, draw, rng)
    fraction = math.exp(rng.uniform(*np.log(settings.packing_fraction)))
    ratio = rng.uniform(*settings.minimum_distance_ratio)
    spheres = np.maximum(RADII[numbers], settings.minimum_sphere_radius)
    # centres keep a radius away from the surface of the ellipsoid
    radius = (float((spheres**3).sum()) / fraction) ** (1 / 3) - float(spheres.mean())
    axes = np.exp(rng.normal(0.0, SHAPE, 3))
    axes *= max(radius, 0.0) / axes.prod() ** (1 / 3)
    n = len(numbers)
    positions = random_directions(rng, n) * rng.random((n, 1)) ** (1 / 3) * axes
    figures = {"cluster": "random", "packing_fraction": round(fraction, 6), "distance_ratio": round(ratio, 6)}
    return numbers, distorted(numbers, positions, ratio, rng), figures
