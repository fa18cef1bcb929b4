"""Recipes: shares and counts, and what cannot be."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from aiida_argonaut.mlip.generate.recipe import (
    SOURCES,
    check_feasible,
    check_recipe,
    configuration,
    generate,
    recipe_from_mapping,
)
from aiida_argonaut.mlip.settings import SettingsError

SMALL = {"source": "packing", "elements": ["H", "C"], "atoms": [2, 3], "species": [1, 2]}
OTHER = {"source": "packing", "elements": ["Si"], "atoms": [2, 3], "species": [1, 1]}


def mix(*entries):
    return recipe_from_mapping({"sources": list(entries)})


def elements(recipe, index):
    return set(configuration(recipe, 0, index).to_atoms().get_chemical_symbols())


def test_counts_come_first_and_weights_go_on():
    recipe = mix({**SMALL, "weight": 2}, {**OTHER, "count": 3}, {**OTHER, "elements": ["Al"], "weight": 1})
    found = [elements(recipe, index) for index in range(33)]
    assert found[:3] == [{"Si"}] * 3
    assert not any("Si" in each for each in found[3:])
    for begin in range(3, 33, 3):
        assert sum(each == {"Al"} for each in found[begin : begin + 3]) == 1
    assert recipe.length is None
    assert recipe.counted == 3
    assert recipe.elements == ["H", "C", "Al", "Si"]


def test_counts_alone_come_to_an_end():
    recipe = mix({**SMALL, "count": 4}, {**OTHER, "count": 2})
    assert recipe.length == 6
    assert elements(recipe, 5) == {"Si"}
    with pytest.raises(SettingsError, match="index 6: the recipe's counts end after 6 configurations"):
        configuration(recipe, 0, 6)


def test_turns_are_those_of_the_source_alone():
    """A second source does not disturb the round robin of the first: all pairs in any 171 of its configurations."""
    recipe = mix({"source": "dimers", "weight": 1, "trimers": 0, "isolated_atoms": 0}, {**OTHER, "weight": 2})
    pairs = Counter()
    for index in range(3 * 171):
        made = generate(recipe, 4, index)
        if made.configuration.origin.source == "dimers":
            pairs[made.configuration.formula] += 1
    assert len(pairs) == 171
    assert set(pairs.values()) == {1}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"weight": 0}, "weight 0: expected a whole number of 1 or more"),
        ({"count": -1}, "count -1"),
        ({"count": 2.5}, "count 2.5"),
        ({"weight": True}, "weight True"),
        ({"weight": 1, "count": 1}, "weight and count: expected one of them"),
        ({"weight": 2000}, "2000 in all: expected 255 at most, and 1000 at most"),
    ],
)
def test_bad_shares(entry, message):
    with pytest.raises(SettingsError, match=message):
        mix({**SMALL, **entry})


def test_a_recipe_is_checked_without_its_files():
    check_recipe({"sources": [SMALL, {"source": "user", "files": ["is-not-there.cif"]}]})
    with pytest.raises(SettingsError, match=r"sources\[1\]: files"):
        check_recipe({"sources": [SMALL, {"source": "user", "files": []}]})
    with pytest.raises(SettingsError, match=r"sources\[1\]: .*is-not-there.cif: no such file"):
        mix(SMALL, {"source": "user", "files": ["is-not-there.cif"]})


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"user"}))
def test_every_source_is_the_same_in_any_order_and_keeps_its_settings_in_the_hash(name):
    recipe = recipe_from_mapping({"source": name})
    forwards = [configuration(recipe, 9, index).configuration_id for index in range(12)]
    backwards = [configuration(recipe, 9, index).configuration_id for index in reversed(range(12))]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 12
    assert configuration(recipe, 9, 3).origin.source == name
    assert configuration(recipe, 10, 3).configuration_id != forwards[3]
    field = SOURCES[name].settings.__dataclass_fields__["minimum_distance_ratio"]
    other = {"minimum_distance_ratio": [0.7, 0.9] if isinstance(field.default, tuple) else 0.77}
    assert recipe_from_mapping({"source": name, **other}).content_hash != recipe.content_hash


def test_group_and_element_of_a_crystal_have_turns_of_their_own():
    """As many groups as elements: each pair of them occurs, and not always the same."""
    recipe = recipe_from_mapping(
        {
            "source": "spacegroups",
            "space_groups": [1, 14, 62, 166, 225],
            "elements": ["H", "C", "O", "Si", "Cl"],
            "species": [1, 1],
        }
    )
    made = [generate(recipe, 0, index) for index in range(300)]
    assert len({(each.figures["space_group"], each.configuration.numbers[0]) for each in made}) == 25


def test_what_stands_on_a_surface_is_not_what_it_is_made_of():
    prototype = {"kinds": [1, 0, 0]}
    recipe = recipe_from_mapping(
        {"source": "slabs", "adsorbate_share": 1.0, "maximum_adsorbate_atoms": 1, "prototype": prototype}
    )
    made = [generate(recipe, 0, index).configuration for index in range(120)]
    assert sum(len(set(each.numbers.tolist())) == 1 for each in made) < 25


def test_impossible_sources_are_found_before_any_work():
    check_feasible(mix({**SMALL, "weight": 1}, {"source": "slabs", "weight": 1}))
    hopeless = mix({**SMALL, "weight": 1}, {"source": "slabs", "maximum_volume": 5.0, "weight": 1})
    with pytest.raises(SettingsError, match="source slabs: none of 8 configurations could be made: index 7"):
        check_feasible(hopeless)


HASHES = """
import hashlib
from aiida_argonaut.mlip.generate.recipe import recipe_from_mapping
from aiida_argonaut.mlip.generate.shards import make_shard
for name in ("packing", "prototypes", "spacegroups", "slabs", "fluids", "clusters", "dimers"):
    print(name, hashlib.sha256(make_shard(recipe_from_mapping({"source": name}), 2, 0, 150).text).hexdigest())
"""


def test_another_processor_makes_the_same():
    """OpenBLAS has code for each family of processors, which rounds otherwise: the last bit must decide nothing."""
    found = set()
    for family in ("Haswell", "Nehalem", ""):
        environment = {**os.environ, **({"OPENBLAS_CORETYPE": family} if family else {})}
        run = subprocess.run([sys.executable, "-c", HASHES], env=environment, check=True, capture_output=True)
        found.add(run.stdout)
    assert len(found) == 1
