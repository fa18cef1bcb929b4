"""Recipes describe neutral atoms, all eighteen of them, and their identity follows their numbers."""

import dataclasses

import pytest

from aiida_argonaut.dft_inputs.elements import load_elements
from aiida_argonaut.dft_inputs.pseudos.recipes import (
    SYMBOLS,
    RecipeError,
    family_label,
    load_recipe,
    load_recipes,
    reason,
)

VALENCE = {
    **{"H": 1, "He": 2, "Li": 3, "Be": 2, "B": 3, "C": 4, "N": 5, "O": 6, "F": 7, "Ne": 8},
    **{"Na": 9, "Mg": 10, "Al": 3, "Si": 4, "P": 5, "S": 6, "Cl": 7, "Ar": 8},
}


def test_all_eighteen_elements_in_order():
    assert tuple(load_recipes()) == SYMBOLS
    assert [r.atomic_number for r in load_recipes().values()] == list(range(1, 19))


@pytest.mark.parametrize("element", SYMBOLS)
def test_recipe_is_a_neutral_atom(element):
    recipe = load_recipe(element)
    assert sum(recipe.shells.values()) == recipe.atomic_number
    assert recipe.valence == VALENCE[element]
    core = recipe.atomic_number - recipe.valence
    assert core in (0, 2, 4, 10), "whole shells in the core; 4 is 1s2 2s2, which would be odd"
    assert core != 4
    assert reason(element)


@pytest.mark.parametrize("element", SYMBOLS)
def test_radii_are_ordered(element):
    for projector in load_recipe(element).projectors:
        assert 0 < projector.radius <= projector.ultrasoft_radius < 2.2


def test_elements_table_is_about_these_recipes():
    entries = load_elements()
    assert tuple(entries) == SYMBOLS
    for element, recipe in load_recipes().items():
        assert (entries[element].variant, entries[element].valence) == (recipe.variant, recipe.valence)


def test_contradiction_is_refused():
    carbon = load_recipe("C")
    first = dataclasses.replace(carbon.projectors[0], occupation=1.0)
    with pytest.raises(RecipeError, match="disagree"):
        dataclasses.replace(carbon, projectors=(first, *carbon.projectors[1:])).check()
    with pytest.raises(RecipeError, match="neutral"):
        dataclasses.replace(carbon, configuration="[He] 2s2 2p3").check()


def test_label_follows_recipes_and_elements(monkeypatch):
    full, some = family_label(), family_label(["C", "H"])
    assert full.startswith("argonaut/0.1/PBE/PAW/")
    assert some == family_label(["H", "C"]) != full
    carbon = load_recipe("C")
    changed = dataclasses.replace(carbon, local_radius=0.91)
    assert changed.hash != carbon.hash == load_recipe("C").hash


def test_unknown_element():
    with pytest.raises(RecipeError, match="'Fe'"):
        load_recipe("Fe")
