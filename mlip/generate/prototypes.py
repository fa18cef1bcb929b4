"""Prototypes: known crystal structures with other elements on their sites, and perturbed copies of them.

High-throughput databases (Curtarolo et al., Comput. Mater. Sci. 58, 227 (2012); Kirklin et al., npj Comput. Mater. 1,
15010 (2015)) decorate prototypes systematically; here every decoration has the same chance, whether it is stable or
not. Elemental, binary and ternary types take turns in fixed shares, and so do the elements or pairs of elements that
lead a decoration; the prototype is uniform among those of its kind.

Volume: the length of the cell is such that the first pair of atoms touches at a drawn multiple (`contact`) of its
summed contact radii. These are the covalent radii, but at least 0.75 Å (H and F next to metals: LiH, LiF and MgH2 come
out within 10 %), and 3/4 of the van der Waals radius for He, Ne and Ar, which do not bond. Known crystals have a
multiple of 0.90 (MgH2) to 1.37 (solid Ne); 1.0 is diamond, 1.05 NaCl, 1.18 aluminium.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from ase.data import chemical_symbols, vdw_radii
from numpy.typing import NDArray

from ..frames import Configuration, Origin
from ..sanity import RADII
from .checks import LARGEST_RATIO, MOST, Elements, check_positive, check_range, check_ratio, element_numbers
from .compositions import Kind, oxidation_states
from .draw import Draw, GenerationError
from .perturb import PerturbSettings, perturbed
from .structure_types import StructureType, structure_types

SMALLEST_RADIUS = 0.75
"""Å, smallest contact radius."""
CONTACT = 1.05
"""Multiple of the summed contact radii at which an ideal prototype is made."""
ATTEMPTS = 200
"""Crystals drawn until one fits into its volume."""
MARGIN = 1e-6
"""Share by which compressed cells stay above the closest approach."""
HEAVIEST = 100
"""Largest sum of the weights of kinds."""
_NOBLE = [2, 10, 18]

CONTACT_RADII = np.maximum(RADII, SMALLEST_RADIUS)
"""(19,) Å by atomic number."""
CONTACT_RADII[_NOBLE] = 0.75 * np.asarray(vdw_radii)[_NOBLE]


@dataclass(frozen=True)
class PrototypesSettings:
    """Keys of a `source: prototypes` recipe; pairs are [lowest, highest]."""

    elements: Elements = "all"
    """Symbols to draw from; all means H-Ar."""
    prototypes: Literal["all"] | list[str] = "all"
    """Names of structure types (see structure_types.yaml); all means those that `maximum_atoms` admits."""
    kinds: tuple[int, int, int] = (1, 2, 1)
    """Weights of elemental, binary and ternary types. A kind drops out that has no prototype or more kinds of site than
    there are elements."""
    composition: Kind = "pairs"
    """Who takes turns in leading a decoration: single `elements`, all `pairs` (like pairs too: one element on all
    sites of a binary type), or `charge_balanced`: elements, in decorations whose common oxidation states add up to
    zero. Further elements are uniform; which site the leading ones take is random."""
    contact: tuple[float, float] = (0.9, 1.25)
    """Multiple of the summed contact radii at which the closest pair touches, uniform."""
    minimum_distance_ratio: float = 0.65
    """Closest approach over summed covalent radii, also after the perturbation; 0.50 is the floor of DFT."""
    maximum_atoms: int = 16
    """Atoms in the primitive cell of a prototype; supercells have a limit of their own."""
    maximum_volume_per_atom: float = 45.0
    """Å^3, before the perturbation. Open prototypes of large atoms are compressed to it, as long as the closest pair
    stays at `minimum_distance_ratio`; else another prototype is drawn."""
    maximum_volume: float = 400.0
    """Å^3 of the primitive cell, before the perturbation; works like the limit for one atom."""
    perturb: PerturbSettings = field(default_factory=PerturbSettings)
    """What is done to the decorated prototype."""

    def __post_init__(self) -> None:
        numbers = element_numbers(self.elements)
        check_ratio(self.minimum_distance_ratio)
        check_positive(self, "maximum_atoms", highest=MOST)
        check_positive(self, "maximum_volume_per_atom", "maximum_volume")
        check_range("contact", self.contact, self.minimum_distance_ratio, LARGEST_RATIO)
        self._check_names()
        if min(self.kinds) < 0 or not 1 <= sum(self.kinds) <= HEAVIEST:
            raise ValueError(f"kinds {list(self.kinds)}: expected weights of 0 or more, with a sum of 1 to {HEAVIEST}")
        if not any(self.weights):
            raise ValueError(
                f"kinds {list(self.kinds)}: no prototype of these kinds can be decorated ({len(numbers)} elements, "
                f"maximum_atoms {self.maximum_atoms}, composition {self.composition})"
            )
        self._check_volume(int(numbers[RADII[numbers].argmax()]))

    def _check_volume(self, largest: int) -> None:
        for names, weight in zip(self.types, self.weights, strict=True):
            fits = [self.compressible(name, (largest,) * len(structure_types()[name].formula)) for name in names]
            if weight and not any(fits):
                raise ValueError(
                    f"maximum_volume_per_atom {self.maximum_volume_per_atom:g} Å^3, maximum_volume "
                    f"{self.maximum_volume:g} Å^3: {names[0]} of {chemical_symbols[largest]} needs more at "
                    f"minimum_distance_ratio {self.minimum_distance_ratio:g}"
                )

    def _check_names(self) -> None:
        if self.prototypes == "all":
            return
        for name in self.prototypes:
            if name not in structure_types():
                near = difflib.get_close_matches(name, structure_types(), n=1, cutoff=0.0)
                raise ValueError(f"prototypes: {name!r} is not known; did you mean {near[0]!r}?")
            if len(structure_types()[name]) > self.maximum_atoms:
                atoms = len(structure_types()[name])
                raise ValueError(f"prototypes: {name} has {atoms} atoms, maximum_atoms is {self.maximum_atoms}")
        if not self.prototypes or len(set(self.prototypes)) < len(self.prototypes):
            raise ValueError(f"prototypes {self.prototypes}: expected 'all' or names, each once")

    @functools.cached_property
    def types(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Names that can be drawn: elemental, binary, ternary."""
        names = list(structure_types()) if self.prototypes == "all" else self.prototypes
        admitted = [structure_types()[name] for name in names if len(structure_types()[name]) <= self.maximum_atoms]
        elements = tuple(element_numbers(self.elements).tolist())
        one, two, three = (
            tuple(each.name for each in admitted if len(each.formula) == kind and self._can_hold(each, elements))
            for kind in (1, 2, 3)
        )
        return one, two, three

    @functools.cached_property
    def weights(self) -> tuple[int, ...]:
        """Weights of the three kinds as they are used: 0 where nothing can be drawn."""
        return tuple(weight if names else 0 for weight, names in zip(self.kinds, self.types, strict=True))

    def largest_volume(self, name: str) -> float:
        """Å^3 per atom up to which the prototype may extend."""
        return min(self.maximum_volume_per_atom, self.maximum_volume / len(structure_types()[name]))

    def compressible(self, name: str, species: tuple[int, ...]) -> bool:
        """Whether the decorated prototype has an allowed volume at which the closest pair is far enough apart."""
        kind = structure_types()[name]
        length = self.minimum_distance_ratio * (1 + MARGIN) * kind.touching(RADII[list(species)])
        return length**3 * float(np.linalg.det(kind.cell)) <= self.largest_volume(name) * len(kind)

    def _can_hold(self, kind: StructureType, elements: tuple[int, ...]) -> bool:
        if len(kind.formula) > len(elements):
            return False
        return self.composition != "charge_balanced" or bool(_balanced(kind.formula, elements))


def prototypes(settings: PrototypesSettings, draw: Draw) -> tuple[Configuration, dict[str, Any]]:
    """One decorated, perturbed prototype; figures: prototype, and those of the perturbation."""
    rng = draw.generator()
    name, numbers, positions, cell = decorated(settings, draw, rng)
    allowed = element_numbers(settings.elements)
    numbers, positions, cell, figures = perturbed(
        numbers, positions, cell, settings.perturb, settings.minimum_distance_ratio, rng, allowed
    )
    made = Configuration(numbers, positions, cell, origin=Origin("prototypes", draw.name))
    return made, {"prototype": name, **figures}


def decorated(
    settings: PrototypesSettings, draw: Draw, rng: np.random.Generator
) -> tuple[str, NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Name, (n,) atomic numbers, (n, 3) Å and (3, 3) Å of a decorated prototype at its volume, not perturbed.

    The draw decides the kind and the leading elements; prototype, further elements and volume come from `rng`, so that
    another call with the same generator is another crystal. Raises GenerationError if none of ATTEMPTS crystals fits
    into its volume.
    """
    kind, draw = _kind(settings.weights, draw)
    elements = tuple(element_numbers(settings.elements).tolist())
    names = settings.types[kind]
    for _ in range(ATTEMPTS):
        if settings.composition == "charge_balanced" and kind > 0:
            name, species = _neutral(names, elements, draw, rng)
        else:
            name = names[rng.integers(len(names))]
            species = _species(settings.composition, kind + 1, elements, draw, rng)
        if settings.compressible(name, species):
            return name, *ideal_prototype(name, species, rng.uniform(*settings.contact), settings.largest_volume(name))
    raise GenerationError(
        f"index {draw.index}: none of {ATTEMPTS} prototypes fits into its volume; raise maximum_volume_per_atom or "
        "maximum_volume"
    )


def ideal_prototype(
    name: str, numbers: tuple[int, ...], contact: float = CONTACT, maximum_volume_per_atom: float = np.inf
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """(n,) atomic numbers, (n, 3) Å and (3, 3) Å of a prototype with one element (of H-Ar) for each kind of site.

    The closest pair is at `contact` times its summed contact radii, or closer where the volume would be too large.
    Raises KeyError for an unknown name and ValueError if there is not one number for each kind of site.
    """
    kind = structure_types()[name]
    if len(numbers) != len(kind.formula):
        raise ValueError(f"{name}: given {len(numbers)} elements, expected {len(kind.formula)}")
    species = np.array(numbers, dtype=np.int64)
    length = contact * kind.touching(CONTACT_RADII[species])
    largest = (maximum_volume_per_atom * len(kind) / float(np.linalg.det(kind.cell))) ** (1 / 3)
    cell = kind.cell * min(length, largest)
    return species[kind.kinds], kind.fractional @ cell, cell


def _kind(weights: tuple[int, ...], draw: Draw) -> tuple[int, Draw]:
    """(0 elemental, 1 binary, 2 ternary; the draw with its rank among those of this kind)."""
    total = sum(weights)
    block, place = divmod(draw.rank, total)
    kinds = np.repeat(np.arange(3), weights)
    order = [int(kinds[dataclasses.replace(draw, rank=block * total + k).turn(total)]) for k in range(place + 1)]
    kind = order[-1]
    return kind, dataclasses.replace(draw, rank=block * weights[kind] + order[:-1].count(kind))


def _species(
    composition: Kind, kind: int, elements: tuple[int, ...], draw: Draw, rng: np.random.Generator
) -> tuple[int, ...]:
    """One element for each of the kinds of site."""
    if composition != "pairs" or kind == 1:
        leading = [elements[draw.turn(len(elements))]]
    else:
        pairs = list(itertools.combinations_with_replacement(elements, 2))
        leading = list(pairs[draw.turn(len(pairs))])
    others = rng.permutation([z for z in elements if z not in leading])
    return tuple(rng.permutation([*leading, *others[: kind - len(leading)]]).tolist())


def _neutral(
    names: tuple[str, ...], elements: tuple[int, ...], draw: Draw, rng: np.random.Generator
) -> tuple[str, tuple[int, ...]]:
    """A prototype and a neutral decoration that holds the element whose turn it is."""
    choices = {name: _balanced(structure_types()[name].formula, elements) for name in names}
    leading = sorted({z for each in choices.values() for z in each})
    lead = leading[draw.turn(len(leading))]
    fitting = [name for name in names if lead in choices[name]]
    name = fitting[rng.integers(len(fitting))]
    decorations = choices[name][lead]
    return name, decorations[rng.integers(len(decorations))]


@functools.lru_cache(maxsize=1024)
def _balanced(formula: tuple[int, ...], elements: tuple[int, ...]) -> dict[int, list[tuple[int, ...]]]:
    """Neutral decorations with different elements, by element; a single element is neutral."""
    found: dict[int, list[tuple[int, ...]]] = {}
    for species in itertools.permutations(elements, len(formula)):
        states = [oxidation_states(z) for z in species]
        charges = (sum(n * q for n, q in zip(formula, each, strict=True)) for each in itertools.product(*states))
        if len(formula) == 1 or 0 in charges:
            for z in species:
                found.setdefault(z, []).append(species)
    return found
