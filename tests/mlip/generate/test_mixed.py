"""The mixed recipe as users run it: every element, every pair, and no distance below a limit, by another method."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from vesin import NeighborList

from aiida_argonaut.mlip.coverage.counts import Coverage
from aiida_argonaut.mlip.generate.recipe import generate, load_recipe
from aiida_argonaut.mlip.sanity import RADII
from aiida_argonaut.mlip.units import MINIMUM_DISTANCE_RATIO_DFT

RECIPES = Path(__file__).parents[3] / "examples" / "recipes"
NUMBER = 4000


@pytest.fixture(scope="module")
def recipe():
    return load_recipe(RECIPES / "mixed.yaml")


@pytest.fixture(scope="module")
def made(recipe):
    return [generate(recipe, 11, index) for index in range(NUMBER)]


def closest_ratio(configuration):
    """By vesin's cell lists: the smallest distance over summed covalent radii, images included."""
    finder = NeighborList(cutoff=4.0, full_list=False, n_threads=1)
    i, j, d = finder.compute(np.array(configuration.positions), np.array(configuration.cell), True, "ijd")
    numbers = configuration.numbers
    return (d / (RADII[numbers[i.astype(int)]] + RADII[numbers[j.astype(int)]])).min(initial=np.inf)


def test_no_configuration_is_below_its_limit(recipe, made):
    for index, each in enumerate(made):
        limit = recipe.ingredients[recipe.turn(11, index)[0]].settings.minimum_distance_ratio
        drawn = each.figures.get("distance_ratio", limit[0] if isinstance(limit, tuple) else limit)
        lowest = max(MINIMUM_DISTANCE_RATIO_DFT, drawn)
        assert closest_ratio(each.configuration) >= lowest - 2e-6, (index, each.configuration.origin)


def test_all_elements_and_all_pairs(made):
    coverage = Coverage()
    for each in made:
        coverage.add(each.configuration)
    counted = coverage.document()["total"]
    assert counted["frames"] == NUMBER
    assert len(counted["pairs"]) == 171
    assert min(pair["contact"] for pair in counted["pairs"].values()) > 0
    pairs = Counter()
    for each in made:
        present = np.unique(each.configuration.numbers)
        pairs.update((int(a), int(b)) for a in present for b in present if a < b)
    assert len(pairs) == 153
    assert min(pairs.values()) >= 5
    elements = Counter(int(z) for each in made for z in np.unique(each.configuration.numbers))
    assert set(elements) == set(range(1, 19))
    assert max(elements.values()) < 2.5 * min(elements.values())


def test_shares_are_the_weights(recipe, made):
    found = Counter(each.configuration.origin.source for each in made)
    asked = Counter()
    for ingredient in recipe.ingredients:
        asked[ingredient.source] += ingredient.weight
    rounds = NUMBER // sum(recipe.weights)
    assert found == {source: weight * rounds for source, weight in asked.items()}


def test_nothing_is_twice(made):
    assert len({each.configuration.configuration_id for each in made}) == NUMBER


def test_labels_can_be_paid(made):
    """Cells stay small: what a plane-wave code pays for is volume and electrons."""
    assert max(len(each.configuration) for each in made) <= 17
    assert np.quantile([each.configuration.volume for each in made], 0.99) < 600


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_works(path):
    assert len(generate(load_recipe(path), 0, 0).configuration) > 0
