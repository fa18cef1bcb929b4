"""Molecules of the G2 set as plain arrays, and how things without a crystal are turned, distorted and boxed.

Geometries: MP2/6-31G(d) structures of the G2 set (Curtiss et al., J. Chem. Phys. 106, 1063 (1997)) as ASE holds them.
All 162 species are made of H-Ar: 14 atoms, and 148 molecules and radicals of 2 to 14 atoms. No He, Ne, Mg or Ar.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import numpy as np
from ase.data import atomic_numbers, chemical_symbols, g2
from numpy.typing import NDArray

from ..contacts import pushed_apart
from ..sanity import RADII
from .draw import Draw

G2: dict[str, Any] = g2.data
"""ASE's entry for each species."""
ORIENTATIONS = 16
"""Random orientations of which the one with the smallest box is taken."""
VACUUM_FACTORS = np.array([1.0, 1.06, 1.12])
"""Vacuum along the shortest, middle and longest edge: three different edges leave no degenerate levels by symmetry of
the box, whose occupation keeps an open-shell atom or dimer from converging."""


class Molecule(NamedTuple):
    """A molecule or atom at rest."""

    name: str
    """As in ASE's G2 set; the symbol for an atom."""
    numbers: NDArray[np.int64]
    """(n,) atomic numbers."""
    positions: NDArray[np.float64]
    """(n, 3) Å, the mean at the origin."""


@functools.cache
def molecule(name: str) -> Molecule:
    """The molecule of a G2 name, or the atom of a symbol; KeyError for neither."""
    if name not in G2:
        return Molecule(name, np.array([atomic_numbers[name]]), np.zeros((1, 3)))
    from ase.symbols import string2symbols

    numbers = np.array([atomic_numbers[symbol] for symbol in string2symbols(G2[name]["symbols"])])
    positions = np.array(G2[name]["positions"], dtype=np.float64)
    return Molecule(name, numbers, positions - positions.mean(axis=0))


def molecule_names(elements: NDArray[np.int64], largest: int, smallest: int = 2) -> list[str]:
    """Sorted names of the G2 species of `smallest` to `largest` atoms that hold none but these (k,) atomic numbers."""
    allowed = set(elements.tolist())
    numbers = {name: molecule(name).numbers for name in sorted(G2)}
    return [name for name, z in numbers.items() if smallest <= len(z) <= largest and allowed.issuperset(z.tolist())]


def by_element(names: list[str]) -> list[list[str]]:
    """The names of molecules and atoms that hold an element, for each element that is in any, by atomic number."""
    of: dict[int, list[str]] = {}
    for name in names:
        for z in set(molecule(name).numbers.tolist()):
            of.setdefault(z, []).append(name)
    return [of[z] for z in sorted(of)]


def leading(leads: list[list[str]], draw: Draw, purpose: int = 0) -> str:
    """The name whose turn it is: elements take turns, and among the names of each element as well."""
    of_element = leads[draw.turn(len(leads), purpose)]
    return of_element[at_rank(draw, draw.rank // len(leads)).turn(len(of_element), purpose)]


def formula(numbers: NDArray[np.int64]) -> str:
    """Symbols joined by hyphens, such as H-O for (n,) = (1, 8)."""
    return "-".join(chemical_symbols[z] for z in numbers)


def at_rank(draw: Draw, rank: int) -> Draw:
    """The draw with the turns of another rank: for turns of a part of a source, which is counted on its own."""
    return dataclasses.replace(draw, rank=rank)


def shared_out(draw: Draw, share: float) -> tuple[bool, Draw]:
    """Whether this draw is one of a `share` (0 to 1) of all, evenly spaced, and the draw counted among its own kind."""
    before, after = (math.floor(rank * share + 1e-9) for rank in (draw.rank, draw.rank + 1))
    return after > before, at_rank(draw, before if after > before else draw.rank - before)


def check_vacuum(vacuum: tuple[float, float], ratio: float, numbers: NDArray[np.int64]) -> None:
    """Raise ValueError where the largest of the (k,) elements would be closer than `ratio` to its own image."""
    largest = numbers[RADII[numbers].argmax()]
    if vacuum[0] <= 2 * ratio * RADII[largest]:
        raise ValueError(
            f"vacuum {vacuum[0]:g} Å: images of {chemical_symbols[largest]} may be closer than {ratio:g} of their "
            f"radii; expected more than {2 * ratio * RADII[largest]:.2f}"
        )


def random_rotations(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """(count, 3, 3) rotation matrices, uniform over all orientations (Shoemake, Graphics Gems III (1992), 124)."""
    w, x, y, z = (q := rng.standard_normal((count, 4))).T / np.sqrt((q**2).sum(axis=1))
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def random_directions(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """(count, 3) unit vectors, uniform on the sphere."""
    vectors = rng.standard_normal((count, 3))
    return np.asarray(vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True)))


def tilted(positions: NDArray[np.float64], degrees: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(n, 3) Å turned about a random axis by a uniform angle up to `degrees`."""
    x, y, z = random_directions(rng, 1)[0]
    angle = math.radians(rng.uniform(0.0, degrees))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return _turned(positions, np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross))


def _turned(positions: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., n, 3) Å: sums are written out, so that they are the same to the bit on every machine."""
    x, y, z = (positions[:, a, None] for a in range(3))
    r = rotation[..., None, :, :]
    return np.asarray(x * r[..., 0] + y * r[..., 1] + z * r[..., 2])


def boxed(positions: NDArray[np.float64], vacuum: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, 3) Å in the middle of a brick, and its (3, 3) Å rows: images are `vacuum` Å apart or more, edges differ."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    edges = high - low
    edges[np.argsort(edges, kind="stable")] += vacuum * VACUUM_FACTORS
    return positions + (edges - low - high) / 2, np.diag(edges)


def smallest_box(
    positions: NDArray[np.float64], vacuum: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As `boxed`, in the one of ORIENTATIONS random orientations that has the smallest box."""
    turned = _turned(positions, random_rotations(rng, ORIENTATIONS))
    edges = np.sort(turned.max(axis=1) - turned.min(axis=1), axis=1) + vacuum * VACUUM_FACTORS
    return boxed(turned[edges.prod(axis=1).argmin()], vacuum)


def distorted(
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    ratio: float,
    rng: np.random.Generator,
    scale: float = 1.0,
    rattle: float = 0.0,
) -> NDArray[np.float64] | None:
    """(n, 3) Å of a free molecule: scaled, each coordinate off by a normal deviate, pairs pushed to `ratio` of contact.

    :param rattle: Å, standard deviation.

    None where pushing finds no end.
    """
    moved = scale * positions + rng.normal(0.0, rattle, positions.shape)
    return pushed_apart(numbers, moved, free_cell(moved), ratio)


def free_cell(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) Å: a cube in which (n, 3) Å have no images near, even after they are pushed apart."""
    return np.eye(3) * (4.0 * float(np.abs(positions).max()) + 40.0)
