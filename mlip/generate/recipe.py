"""Recipe: which sources make configurations, in which shares, with which settings.

A file is either one source (`source: packing` and its keys) or a mix (`sources:`, a list of the same). In a mix every
source has a `weight:` (a whole number: so many of every round of the mix) or a `count:` (exactly so many, which come
before the rest). A new source is one file with a settings dataclass and one function, and one line in SOURCES.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import ase
from ase.data import chemical_symbols

from ..frames import Configuration, hash_document
from ..settings import SettingsError, check_keys, read_mapping, settings_from_mapping
from .checks import element_numbers, shown
from .clusters import ClustersSettings, clusters
from .dimers import DimersSettings, dimers
from .draw import Draw, GenerationError, source_order
from .fluids import FluidsSettings, fluids
from .packing import PackingSettings, packing
from .prototypes import PrototypesSettings, prototypes
from .slabs import SlabsSettings, slabs
from .spacegroups import SpacegroupsSettings, spacegroups
from .user import UserSettings, load_user, user
from .user_files import Reader, folder_reader

HEAVIEST = 1000
"""Largest sum of weights: the length of a round."""
TRIED = 8
"""Configurations that are tried before a source is called impossible."""
MOST_SOURCES = 255
"""Sources of one recipe; their numbers are a byte of the counters of random numbers."""
LARGEST_INDEX = 2**53
"""Indices stay below it; JSON keeps all of them apart."""


class Source(NamedTuple):
    """A way to make configurations."""

    settings: type
    """Frozen dataclass of its keys."""
    make: Callable[[Any, Draw], tuple[Configuration, dict[str, Any]]]
    """(settings, draw) -> (configuration, figures for its info)."""
    load: Callable[[Any, Reader], Any] = lambda settings, read: settings
    """(settings, reader of files) -> what `make` gets in place of the settings."""


SOURCES: dict[str, Source] = {
    "packing": Source(PackingSettings, packing),
    "prototypes": Source(PrototypesSettings, prototypes),
    "spacegroups": Source(SpacegroupsSettings, spacegroups),
    "clusters": Source(ClustersSettings, clusters),
    "fluids": Source(FluidsSettings, fluids),
    "slabs": Source(SlabsSettings, slabs),
    "dimers": Source(DimersSettings, dimers),
    "user": Source(UserSettings, user, load_user),
}
FILES = "files"
"""The key of a source that names files."""


@dataclass(frozen=True)
class Ingredient:
    """One source of a recipe."""

    source: str
    """Name in SOURCES."""
    settings: Any
    """Instance of that source's settings, loaded."""
    weight: int = 1
    """Configurations of this source per round of the recipe; 0 where a count is given."""
    count: int = 0
    """Configurations of this source before the first round; with a weight too, those that are always kept."""

    def document(self) -> dict[str, Any]:
        """All that decides what this source makes."""
        own = getattr(self.settings, "document", None)
        settings = own() if own is not None else dataclasses.asdict(self.settings)
        return {"source": self.source, "weight": self.weight, "count": self.count, "settings": settings}


@dataclass(frozen=True)
class Recipe:
    """What `configuration` needs to know beside a seed and an index."""

    ingredients: tuple[Ingredient, ...]

    @functools.cached_property
    def content_hash(self) -> str:
        """sha256 over sources, weights and all settings, defaults included: a changed default is another recipe."""
        return hash_document(self.document())

    def document(self) -> list[dict[str, Any]]:
        """Sources with all their settings, defaults included; of files their contents' ids."""
        return [ingredient.document() for ingredient in self.ingredients]

    @functools.cached_property
    def weights(self) -> tuple[int, ...]:
        """Configurations of each source per round."""
        return tuple(ingredient.weight for ingredient in self.ingredients)

    @functools.cached_property
    def counted(self) -> int:
        """How many configurations come before the first round."""
        return sum(ingredient.count for ingredient in self.ingredients)

    @functools.cached_property
    def elements(self) -> list[str]:
        """Symbols of all elements that may occur, in order of Z."""
        found = [element_numbers(ingredient.settings.elements) for ingredient in self.ingredients]
        return [chemical_symbols[z] for z in sorted({int(z) for numbers in found for z in numbers})]

    @functools.cached_property
    def kept(self) -> int:
        """The first so many configurations hold all structures of the user as they were given; 0 without any."""
        end, kept = 0, 0
        for ingredient in self.ingredients:
            if own := getattr(ingredient.settings, "structures", ()):
                kept = end + len(own)
            end += ingredient.count
        return kept

    @property
    def left_out(self) -> list[str]:
        """What was wrong with files that were left out on request."""
        return [each for ingredient in self.ingredients for each in getattr(ingredient.settings, "left_out", ())]

    @property
    def length(self) -> int | None:
        """How many configurations there are; None if the list is endless."""
        return None if any(self.weights) else self.counted

    def turn(self, seed: int, index: int) -> tuple[int, int]:
        """(number of the source that makes configuration `index`, how many earlier indices went to it)."""
        if index < self.counted:
            for number, ingredient in enumerate(self.ingredients):
                if index < ingredient.count:
                    return number, index
                index -= ingredient.count
        if len(self.ingredients) == 1:
            return 0, index
        block, place = divmod(index - self.counted, sum(self.weights))
        order = source_order(self.content_hash, seed, block, self.weights)
        number = order[place]
        before = self.ingredients[number].count
        return number, before + block * self.weights[number] + order[:place].count(number)


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
    """Recipe of a YAML or JSON file; SettingsError if a key, a value or a file that it names cannot be used."""
    return recipe_from_mapping(read_mapping(path), str(path), folder_reader(Path(path).parent))


def recipe_from_mapping(mapping: Mapping[str, Any], where: str = "recipe", read: Reader | None = None) -> Recipe:
    """Recipe of a mapping with `source:` or `sources:`.

    :param where: names the place in error messages.
    :param read: reads the files that it names; by default from the working folder.
    """
    read = read or folder_reader(Path())
    check_recipe(mapping, where)
    return Recipe(tuple(_ingredient(entry, place, read) for entry, place in _places(mapping, where)))


def check_recipe(mapping: Mapping[str, Any], where: str = "recipe") -> None:
    """Raise SettingsError if a key or value cannot be used; files that the recipe names are not read."""
    places = _places(mapping, where)
    shares = [_parsed(entry, place)[2] for entry, place in places[: MOST_SOURCES + 1]]
    weight = sum(share.get("weight", 0 if "count" in share else 1) for share in shares)
    if len(places) > MOST_SOURCES or weight > HEAVIEST:
        raise SettingsError(
            f"{where}: {len(places)} sources of weight {shown(weight)} in all: expected {MOST_SOURCES} at most, and "
            f"{HEAVIEST} at most; divide the weights by what they have in common"
        )


def check_feasible(recipe: Recipe) -> None:
    """Raise SettingsError for a source none of whose first TRIED configurations can be made."""
    for number, ingredient in enumerate(recipe.ingredients):
        problem = ""
        for rank in range(TRIED):
            try:
                SOURCES[ingredient.source].make(ingredient.settings, Draw(recipe.content_hash, 0, rank, number, rank))
            except GenerationError as error:
                problem = str(error)
            else:
                break
        else:
            raise SettingsError(f"source {ingredient.source}: none of {TRIED} configurations could be made: {problem}")


def with_files(mapping: Mapping[str, Any], where: str, named: Callable[[int, str], str]) -> dict[str, Any]:
    """The mapping of a recipe with other names for its files: `named(number of the source, file)`."""
    entries = []
    for number, (entry, _) in enumerate(_places(mapping, where)):
        files = entry.get(FILES) if isinstance(entry, Mapping) else None
        if isinstance(files, list) and all(isinstance(name, str) for name in files):
            entry = {**entry, FILES: list(dict.fromkeys(named(number, name) for name in files))}
        entries.append(entry)
    return {"sources": entries} if "sources" in mapping else entries[0]


def _places(mapping: Mapping[str, Any], where: str) -> list[tuple[Any, str]]:
    """Every source's mapping, and what to call its place."""
    if "sources" not in mapping:
        return [(mapping, where)]
    check_keys(mapping, ["sources"], where)
    entries = mapping["sources"]
    if not isinstance(entries, list) or not entries:
        raise SettingsError(f"{where}: sources: given {entries!r}, expected a list of sources")
    return [(entry, f"{where}: sources[{number}]") for number, entry in enumerate(entries)]


def configuration(recipe: Recipe, seed: int, index: int) -> Configuration:
    """Configuration `index` of the list that recipe and seed stand for; the same for any order of calls."""
    return generate(recipe, seed, index).configuration


def generate(recipe: Recipe, seed: int, index: int) -> Generated:
    """Like `configuration`, with the figures of its source.

    Raises SettingsError for a negative seed, for an index that is negative, LARGEST_INDEX or more, or beyond the end
    of a recipe of counts, and GenerationError where the source finds no configuration.
    """
    if seed < 0 or index < 0:
        raise SettingsError(f"seed {seed}, index {index}: expected 0 or more")
    if index >= LARGEST_INDEX:
        raise SettingsError(f"index {shown(index)}: expected less than {LARGEST_INDEX}")
    if recipe.length is not None and index >= recipe.length:
        raise SettingsError(f"index {index}: the recipe's counts end after {recipe.length} configurations")
    number, rank = recipe.turn(seed, index)
    ingredient = recipe.ingredients[number]
    draw = Draw(recipe.content_hash, seed, index, number, rank)
    made, figures = SOURCES[ingredient.source].make(ingredient.settings, draw)
    return Generated(made, {"recipe": "r" + recipe.content_hash[:11], **figures})


def _ingredient(mapping: Mapping[str, Any], where: str, read: Reader) -> Ingredient:
    name, settings, shares = _parsed(mapping, where)
    try:
        loaded = SOURCES[name].load(settings, read)
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from error
    return Ingredient(name, loaded, **_share(loaded, shares, where))


def _parsed(mapping: Any, where: str) -> tuple[str, Any, dict[str, int]]:
    """Name, settings and share of a source."""
    if not isinstance(mapping, Mapping) or "source" not in mapping:
        raise SettingsError(f"{where}: no 'source:'; expected one of {', '.join(SOURCES)}")
    keys = dict(mapping)
    name = keys.pop("source")
    if not isinstance(name, str) or name not in SOURCES:
        raise SettingsError(f"{where}: source {name!r}: expected one of {', '.join(SOURCES)}")
    shares = {key: keys.pop(key) for key in ("weight", "count") if key in keys}
    if len(shares) == 2:
        raise SettingsError(f"{where}: weight and count: expected one of them")
    for key, value in shares.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise SettingsError(f"{where}: {key} {value!r}: expected a whole number of 1 or more")
    return name, settings_from_mapping(SOURCES[name].settings, keys, where), shares


def _share(loaded: Any, shares: dict[str, int], where: str) -> dict[str, int]:
    """weight and count of a source; one with structures of its own has as many as it has, and always all of them."""
    number = getattr(loaded, "number", None)
    if number is not None:
        kept = len(loaded.structures)
        if "weight" in shares:
            return {**shares, "count": kept}
        shares = shares or {"count": number}
        if shares["count"] < kept:
            raise SettingsError(
                f"{where}: count {shares['count']}: the files hold {kept} structures, all of which are kept; leave "
                "count out"
            )
    return {**shares, "weight": 0} if "count" in shares else shares
