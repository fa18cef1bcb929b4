"""Compositions: which elements a cell holds, and how many atoms of each.

Three kinds, each with turns, so that small sets are balanced as well as large ones:

- `elements`: each element leads one cell in every round of as many cells as there are elements; further species are
  uniform.
- `pairs`: each unordered pair of elements, like pairs included, leads one cell in every round (171 for H-Ar); a cell of
  one atom, or of one species, has either of the two.
- `charge_balanced`: as `elements`, and the atoms are shared out so that common oxidation states (OXIDATION_STATES)
  add up to zero, by moving atoms between two of the species. Elements without a common oxidation state (He, Ne, Ar) do
  not take part.
"""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from .draw import Draw, GenerationError

Kind = Literal["elements", "pairs", "charge_balanced"]
OXIDATION_STATES: dict[int, tuple[int, ...]] = {
    1: (-1, 1), 3: (1,), 4: (2,), 5: (3,), 6: (-4, -3, -2, -1, 1, 2, 3, 4), 7: (-3, 3, 5), 8: (-2,), 9: (-1,),
    11: (1,), 12: (2,), 13: (3,), 14: (-4, 4), 15: (-3, 3, 5), 16: (-2, 2, 4, 6), 17: (-1, 1, 3, 5, 7),
}  # fmt: skip
"""Common oxidation states by atomic number: pymatgen's (after Greenwood and Earnshaw, Chemistry of the Elements), but
for the 0 that it gives carbon, with which anything would balance. Kept here, for configurations must not depend on the
version of a table; a test compares the two."""
TRIES = 1000
"""Sets of species and charges tried for a neutral one."""


def composition(
    kind: Kind,
    elements: NDArray[np.int64],
    atoms: tuple[int, int],
    species: tuple[int, int],
    draw: Draw,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """(n,) atomic numbers, ascending.

    :param elements: (k,) atomic numbers to choose from, ascending.
    :param atoms: fewest and most atoms n, which is uniform unless charges must balance.
    :param species: fewest and most different elements; no more than fit into n atoms.

    Raises GenerationError if no neutral composition was found.
    """
    if kind == "charge_balanced":
        return _neutral(elements, atoms, species, draw, rng)
    n = int(rng.integers(atoms[0], atoms[1] + 1))
    leading = _leading(kind, elements, draw)
    if len(leading) > min(n, species[1]):
        leading = (leading[int(rng.integers(2))],)
    most = min(species[1], n, len(elements))
    count = max(int(rng.integers(species[0], most + 1)), len(leading))
    others = rng.permutation([z for z in elements.tolist() if z not in leading])
    chosen = np.array([*leading, *others[: count - len(leading)]])
    return np.sort(np.append(chosen, chosen[rng.integers(0, count, n - count)]))


def charged_elements(elements: NDArray[np.int64]) -> NDArray[np.int64]:
    """(m,) those of (k,) atomic numbers that have common oxidation states."""
    return np.array([z for z in elements if oxidation_states(int(z))], dtype=np.int64)


def oxidation_states(z: int) -> tuple[int, ...]:
    """Common oxidation states of an element, ascending; empty for He, Ne and Ar."""
    return OXIDATION_STATES.get(z, ())


def never_neutral(elements: NDArray[np.int64], atoms: tuple[int, int], species: tuple[int, int]) -> list[str]:
    """Symbols of those of (k,) atomic numbers that lead no neutral composition: none of TRIES for each is one."""
    charged, found = charged_elements(elements), []
    for rank in range(len(charged)):
        draw = Draw("0", 0, rank, 0, rank)
        try:
            _neutral(elements, atoms, species, draw, draw.generator())
        except GenerationError:
            found.append(int(charged[draw.turn(len(charged))]))
    return [str(chemical_symbols[z]) for z in sorted(found)]


def _leading(kind: Kind, elements: NDArray[np.int64], draw: Draw) -> tuple[int, ...]:
    if kind == "elements":
        return (int(elements[draw.turn(len(elements))]),)
    pairs = list(itertools.combinations_with_replacement(elements.tolist(), 2))
    first, second = pairs[draw.turn(len(pairs))]
    return (first,) if first == second else (first, second)


def _neutral(
    elements: NDArray[np.int64],
    atoms: tuple[int, int],
    species: tuple[int, int],
    draw: Draw,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    charged = charged_elements(elements)
    lead = charged[draw.turn(len(charged))]
    others = charged[charged != lead]
    for _ in range(TRIES):
        n = int(rng.integers(atoms[0], atoms[1] + 1))
        count = int(rng.integers(max(2, species[0]), min(species[1], n, len(charged)) + 1))
        chosen = rng.permutation(np.append(rng.permutation(others)[: count - 1], lead))
        states = np.array([rng.choice(oxidation_states(int(z))) for z in chosen])
        counts = 1 + np.bincount(rng.integers(0, count, n - count), minlength=count)
        if _balanced(counts, states):
            return np.sort(np.repeat(chosen, counts))
    raise GenerationError(
        f"index {draw.index}: no neutral composition of {atoms[0]} to {atoms[1]} atoms with {chemical_symbols[lead]} "
        f"found in {TRIES} draws; allow more elements, species or atoms"
    )


def _balanced(counts: NDArray[np.int64], states: NDArray[np.int64]) -> bool:
    """Shift atoms between the last two species, in place, until the charges add up to zero; False if they cannot."""
    charge, step = int(counts @ states), int(states[-2] - states[-1])
    if step == 0 or charge % step:
        return charge == 0
    counts[-2] -= charge // step
    counts[-1] += charge // step
    return bool(counts[-2] > 0 and counts[-1] > 0)
