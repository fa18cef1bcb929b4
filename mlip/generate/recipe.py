"""Recipe: which sources make configurations, in which shares, with which settings.

A file is either one source (`source: packing` and its keys) or a weighted mix (`sources:`, a list of the same with
`weight:`, a whole number). A new source is one file with a settings dataclass and one function, and one line in
SOURCES.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import ase

from ..frames import Configuration, hash_document
from ..settings import SettingsError, check_keys, read_mapping, settings_from_mapping
from .draw import Draw
from .packing import PackingSettings, packing


class Source(NamedTuple):
    """A way to make configurations."""

    settings: type
    """Frozen dataclass of its keys."""
    make: Callable[[Any, Draw], tuple[Configuration, dict[str, Any]]]
    """(settings, draw) -> (configuration, figures for its info)."""


SOURCES: dict[str, Source] = {"packing": Source(PackingSettings, packing)}


@dataclass(frozen=True)
class Ingredient:
    """One source of a recipe."""

    source: str
    """Name in SOURCES."""
    settings: Any
    """Instance of that source's settings."""
    weight: int = 1
    """Configurations of this source per round of the recipe."""


@dataclass(frozen=True)
class Recipe:
    """What `configuration` needs to know beside a seed and an index."""

    ingredients: tuple[Ingredient, ...]

    @functools.cached_property
    def content_hash(self) -> str:
        """sha256 over sources, weights and all settings, defaults included: a changed default is another recipe."""
        return hash_document([dataclasses.asdict(ingredient) for ingredient in self.ingredients])


@dataclass(frozen=True)
class Generated:
    """A generated configuration with the figures of how it was made."""

    configuration: Configuration
    figures: dict[str, Any] = field(default_factory=dict)

    def to_atoms(self) -> ase.Atoms:
        """ASE atoms with origin, id and figures in `info`."""
        atoms = self.configuration.to_atoms()
        atoms.info.update(self.figures)
        return atoms


def load_recipe(path: str | Path) -> Recipe:
    """Recipe of a YAML or JSON file; SettingsError if a key or value cannot be used."""
    return recipe_from_mapping(read_mapping(path), str(path))


def recipe_from_mapping(mapping: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """Recipe of a mapping with `source:` or `sources:`; `where` names the place in error messages."""
    if "sources" not in mapping:
        return Recipe((_ingredient(mapping, where),))
    check_keys(mapping, ["sources"], where)
    entries = mapping["sources"]
    if not isinstance(entries, list) or not entries:
        raise SettingsError(f"{where}: sources: given {entries!r}, expected a list of sources")
    return Recipe(tuple(_ingredient(entry, f"{where}: sources[{n}]") for n, entry in enumerate(entries)))


def configuration(recipe: Recipe, seed: int, index: int) -> Configuration:
    """Configuration `index` of the endless list that recipe and seed stand for; the same for any order of calls."""
    return generate(recipe, seed, index).configuration


def generate(recipe: Recipe, seed: int, index: int) -> Generated:
    """Like `configuration`, with the figures of its source. Raises SettingsError for a negative seed or index."""
    if seed < 0 or index < 0:
        raise SettingsError(f"seed {seed}, index {index}: expected 0 or more")
    draw = Draw(recipe.content_hash, seed, index)
    weights = tuple(ingredient.weight for ingredient in recipe.ingredients)
    order = draw.source_order(weights)
    block, place = divmod(index, len(order))
    number = order[place]
    rank = block * weights[number] + order[:place].count(number)
    ingredient = recipe.ingredients[number]
    made, figures = SOURCES[ingredient.source].make(
        ingredient.settings, dataclasses.replace(draw, source=number, rank=rank)
    )
    return Generated(made, {"recipe": "r" + recipe.content_hash[:11], **figures})


def _ingredient(mapping: Mapping[str, Any], where: str) -> Ingredient:
    if not isinstance(mapping, Mapping) or "source" not in mapping:
        raise SettingsError(f"{where}: no 'source:'; expected one of {', '.join(SOURCES)}")
    keys = dict(mapping)
    name, weight = keys.pop("source"), keys.pop("weight", 1)
    if not isinstance(name, str) or name not in SOURCES:
        raise SettingsError(f"{where}: source {name!r}: expected one of {', '.join(SOURCES)}")
    if not isinstance(weight, int) or isinstance(weight, bool) or weight < 1:
        raise SettingsError(f"{where}: weight {weight!r}: expected a whole number of 1 or more")
    return Ingredient(name, settings_from_mapping(SOURCES[name].settings, keys, where), weight)
