"""A recipe: the generation numbers of one pseudopotential, read from recipes.yaml.

A recipe is data and independent of the program that carries it out; `ld1.py` turns it into the input of `ld1.x`. Its
hash goes into the label of the family and into every file built from it, so that a changed number is a different
family.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from ..errors import closest

SYMBOLS = ("H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar")
"""The chemistry of this project; the position is Z - 1."""
SHELLS = "spd"
"""Letter of an angular momentum; the position is l."""
NOBLE_CORES = {"He": "1s2", "Ne": "1s2 2s2 2p6"}


class RecipeError(ValueError):
    """An element without a recipe, or a recipe that contradicts itself."""


@dataclass(frozen=True)
class Projector:
    """One radial channel of the PAW dataset."""

    state: str
    """The atomic state it belongs to, such as 2p."""
    number: int
    """Principal number among the pseudo states: 1 for the lowest s, 2 for the lowest p."""
    occupation: float
    """Electrons in the reference; 0 for a second projector, negative for an unbound state."""
    energy: float
    """Ry; 0 means the eigenvalue of the state."""
    radius: float
    """bohr, of the norm-conserving function."""
    ultrasoft_radius: float
    """bohr, of the ultrasoft function."""

    @property
    def angular_momentum(self) -> int:
        """0, 1 or 2 for s, p or d."""
        return SHELLS.index(self.state[1])


@dataclass(frozen=True)
class Recipe:
    """How one PAW dataset is generated."""

    element: str
    variant: str
    configuration: str
    """All-electron reference, such as '[He] 2s2 2p2'."""
    local_channel: str | None
    """Angular momentum that serves as local potential, or None where `local_radius` is given."""
    local_radius: float | None
    """bohr; the all-electron potential is smoothed inside it."""
    core_radius: float | None
    """bohr, of the partial core correction; None: without."""
    projectors: tuple[Projector, ...]

    @property
    def atomic_number(self) -> int:
        """Z, the number of electrons of the neutral atom."""
        return SYMBOLS.index(self.element) + 1

    @property
    def shells(self) -> dict[str, float]:
        """Occupied all-electron states and their electrons, the noble-gas core written out."""
        core = re.match(r"\[(\w+)\]", self.configuration)
        text = self.configuration.replace(core[0], NOBLE_CORES[core[1]]) if core else self.configuration
        states = {match[1]: float(match[2]) for match in re.finditer(r"(\d[spd])(-?[\d.]+)", text)}
        return {state: electrons for state, electrons in states.items() if electrons > 0}

    @property
    def valence_shells(self) -> dict[str, float]:
        """Occupied states that are treated as valence, with their electrons."""
        return {p.state: p.occupation for p in self.projectors if p.occupation > 0}

    @property
    def valence(self) -> float:
        """Number of valence electrons, the z_valence of the dataset."""
        return sum(self.valence_shells.values())

    @property
    def hash(self) -> str:
        """First 8 hex digits of a sha256 over every number of the recipe and the version of the recipe file."""
        return hashlib.sha256(f"{_document()['version']} {self!r}".encode()).hexdigest()[:8]

    def check(self) -> None:
        """Raise RecipeError unless core and valence electrons add up to a neutral atom."""
        if abs(sum(self.shells.values()) - self.atomic_number) > 1e-9:
            raise RecipeError(f"{self.element}/{self.variant}: {self.configuration} is not a neutral atom")
        wrong = [s for s, electrons in self.valence_shells.items() if self.shells.get(s) != electrons]
        if wrong or not self.valence:
            raise RecipeError(f"{self.element}/{self.variant}: projectors {wrong} disagree with {self.configuration}")
        if (self.local_channel is None) == (self.local_radius is None):
            raise RecipeError(f"{self.element}/{self.variant}: local needs either a channel or a radius")


@cache
def _document() -> dict[str, Any]:
    return dict(yaml.safe_load((resources.files(__package__) / "recipes.yaml").read_text()))


def load_recipe(element: str) -> Recipe:
    """The recipe of an element; raises RecipeError."""
    entries = _document()["elements"]
    if element not in entries:
        raise RecipeError(f"no pseudopotential recipe for {element!r}{closest(element, entries)}")
    entry = entries[element]
    recipe = Recipe(
        element=element,
        variant=entry["variant"],
        configuration=entry["configuration"],
        local_channel=entry["local"].get("channel"),
        local_radius=entry["local"].get("radius"),
        core_radius=entry.get("core_radius"),
        projectors=tuple(Projector(row[0], row[1], *map(float, row[2:])) for row in entry["projectors"]),
    )
    recipe.check()
    return recipe


def load_recipes(elements: Iterable[str] | None = None) -> dict[str, Recipe]:
    """The recipes of the given elements, of all 18 where None, in order of Z; raises RecipeError."""
    wanted = SYMBOLS if elements is None else tuple(elements)
    recipes = [load_recipe(element) for element in wanted]
    return {recipe.element: recipe for recipe in sorted(recipes, key=lambda r: r.atomic_number)}


def reason(element: str) -> str:
    """Why this variant of the element was chosen."""
    return str(_document()["elements"][element]["why"])


def family_label(elements: Iterable[str] | None = None) -> str:
    """Label of the family of these elements (all 18 where None): 'argonaut/0.1/PBE/PAW/<8 hex digits>'.

    The digits are a hash of the recipes: another number in a recipe, or another set of elements, is another label.
    """
    digest = hashlib.sha256(" ".join(recipe.hash for recipe in load_recipes(elements).values()).encode())
    document = _document()
    return f"argonaut/{document['version']}/{document['functional']}/{document['kind']}/{digest.hexdigest()[:8]}"
