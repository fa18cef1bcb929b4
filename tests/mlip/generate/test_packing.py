"""Packings: reproducible in any order, balanced over the elements, never closer than drawn, never endless."""

import itertools

import numpy as np
import pytest
from scipy.stats import kstest

from aiida_argonaut.mlip.frames import read_configurations, write_atoms
from aiida_argonaut.mlip.generate.compositions import OXIDATION_STATES, oxidation_states
from aiida_argonaut.mlip.generate.draw import GenerationError
from aiida_argonaut.mlip.generate.packing import DENSEST, GROWTH, SHAPES
from aiida_argonaut.mlip.generate.recipe import configuration, generate, load_recipe, recipe_from_mapping
from aiida_argonaut.mlip.sanity import RADII, distance_ratio
from aiida_argonaut.mlip.settings import SettingsError


def recipe(**keys):
    return recipe_from_mapping({"source": "packing", **keys})


@pytest.fixture(scope="module")
def batch():
    default = recipe()
    return [generate(default, 7, index) for index in range(180)]


def test_any_order_gives_the_same_bits(batch):
    default = recipe()
    for index in (133, 5, 0, 60):
        again = configuration(default, 7, index)
        assert again.configuration_id == batch[index].configuration.configuration_id
        assert again.origin.seed == f"7/{index}"
    others = {configuration(default, 8, 5).configuration_id, configuration(recipe(atoms=[2, 7]), 7, 5).configuration_id}
    assert batch[5].configuration.configuration_id not in others
    assert len({each.configuration.configuration_id for each in batch}) == 180


def test_no_pair_is_closer_than_drawn(batch):
    for each in batch:
        drawn = each.figures["distance_ratio"]
        assert 0.65 <= drawn <= 1.0
        assert distance_ratio(each.configuration, reach=2.0) >= drawn - 1e-6


def test_cells_are_what_was_asked_for(batch):
    for each in batch:
        cell = each.configuration.to_atoms().cell
        assert all(60 - 1e-6 <= angle <= 120 + 1e-6 for angle in cell.angles())
        assert max(cell.lengths()) / min(cell.lengths()) <= 2 + 1e-6
        assert 2 <= len(each.configuration) <= 8
        assert 1 <= len(set(each.configuration.numbers)) <= 4
        assert each.configuration.volume / len(each.configuration) < 61
        assert each.configuration.periodic
    fractions = [each.figures["packing_fraction"] for each in batch]
    assert min(fractions) < 0.12
    assert max(fractions) > 0.5


@pytest.mark.parametrize("seed", range(5))
def test_every_element_is_in_every_round(seed):
    default = recipe()
    numbers = [set(configuration(default, seed, index).numbers.tolist()) for index in range(36)]
    assert set().union(*numbers[:18]) == set().union(*numbers[18:]) == set(range(1, 19))


def test_elements_are_drawn_evenly(batch):
    counts = np.zeros(19)
    for each in batch:
        for z in set(each.configuration.numbers.tolist()):
            counts[z] += 1
    assert counts[1:].min() > 0.5 * counts[1:].mean()
    assert counts[1:].max() < 1.6 * counts[1:].mean()


def test_limits_are_kept():
    narrow = recipe(elements=["C", "Si"], atoms=[6, 6], species=[2, 2], packing_fraction=[0.3, 0.3])
    for index in range(10):
        each = generate(narrow, 0, index)
        assert sorted(set(each.configuration.numbers.tolist())) == [6, 14]
        assert len(each.configuration) == 6
        if each.figures["packing_attempts"] == 1:
            assert each.figures["packing_fraction"] == pytest.approx(0.3, abs=1e-6)
    single = recipe(elements=["Na"], atoms=[1, 1], species=[1, 1])
    assert len(configuration(single, 0, 0)) == 1


HARD = {"elements": ["Al"], "atoms": [1, 1], "species": [1, 1], "packing_fraction": [0.55, 0.55]}
"""Single atoms: few shapes of a cell keep them from their own images."""


def test_hard_cells_grow_and_are_counted():
    hard = recipe(**HARD, minimum_distance_ratio=[0.99, 1.0])
    made = [generate(hard, 0, index) for index in range(40)]
    attempts = [each.figures["packing_attempts"] for each in made]
    assert max(attempts) > SHAPES
    for each, tries in zip(made, attempts, strict=True):
        grown = GROWTH ** ((tries - 1) // SHAPES)
        assert each.figures["packing_fraction"] == pytest.approx(0.55 / grown, abs=1e-5)


def test_never_endless():
    hopeless = recipe(**HARD, minimum_distance_ratio=[1.0, 1.0], maximum_attempts=1)
    with pytest.raises(GenerationError, match="index 3: 1 atoms not packed in 1 cells"):
        configuration(hopeless, 0, 3)


@pytest.mark.parametrize(("atoms", "n"), [((2, 8), 3000), ((8, 32), 3000)])
def test_density_and_closest_approach_are_distributed_as_stated(atoms, n):
    """Packing fraction log-uniform, ratio uniform, atoms uniform, where neither is cut: one element, not too dense."""
    low, high = 0.08, 0.5
    plain = recipe(elements=["Si"], species=[1, 1], atoms=list(atoms), packing_fraction=[low, high],
                   maximum_volume_per_atom=1000.0)  # fmt: skip
    made = [generate(plain, 3, index) for index in range(n)]
    grown = np.mean([each.figures["packing_attempts"] > SHAPES for each in made])
    assert grown < 0.001
    volume = np.array([each.configuration.volume / len(each.configuration) for each in made])
    fraction = 4 / 3 * np.pi * RADII[14] ** 3 / volume
    assert kstest(np.log(fraction), "uniform", args=(np.log(low), np.log(high / low))).pvalue > 0.01
    ratios = np.array([each.figures["distance_ratio"] for each in made])
    assert kstest(ratios, "uniform", args=(0.65, 0.35)).pvalue > 0.01
    sizes = np.bincount([len(each.configuration) for each in made])[atoms[0] :]
    assert np.abs(sizes / n * len(sizes) - 1).max() < 0.4


def test_dense_cells_have_ratios_that_fit():
    dense = recipe(elements=["Si"], species=[1, 1], atoms=[8, 16], packing_fraction=[0.9, 0.9],
                   minimum_distance_ratio=[0.5, 1.0])  # fmt: skip
    drawn = np.array([generate(dense, 0, index).figures["distance_ratio"] for index in range(300)])
    highest = (DENSEST / 0.9) ** (1 / 3)
    assert kstest(drawn, "uniform", args=(0.5, highest - 0.5)).pvalue > 0.01


def test_large_cells():
    for index in range(5):
        each = generate(recipe(atoms=[200, 200], species=[1, 18]), 0, index)
        assert distance_ratio(each.configuration, reach=1.2) >= each.figures["distance_ratio"] - 1e-6


def test_every_pair_leads_once_in_a_round():
    pairs = recipe(composition="pairs", atoms=[2, 2], species=[1, 2])
    found = {tuple(sorted(set(configuration(pairs, 5, index).numbers.tolist()))) for index in range(171)}
    assert found >= set(itertools.combinations(range(1, 19), 2))


@pytest.mark.parametrize("atoms", [(2, 8), (30, 64)])
def test_charges_balance(atoms):
    neutral = recipe(composition="charge_balanced", atoms=list(atoms), species=[2, 4])
    leading = set()
    for index in range(60):
        numbers, counts = np.unique(configuration(neutral, 2, index).numbers, return_counts=True)
        leading |= set(numbers.tolist())
        states = itertools.product(*(oxidation_states(int(z)) for z in numbers))
        assert any(np.dot(counts, charges) == 0 for charges in states), (numbers, counts)
        assert 2 <= len(numbers) <= 4
        assert atoms[0] <= counts.sum() <= atoms[1]
    assert leading == set(range(1, 19)) - {2, 10, 18}


def test_the_table_of_oxidation_states_is_that_of_pymatgen():
    from pymatgen.core import Element

    for z in range(1, 19):
        states = {int(state) for state in Element.from_Z(z).common_oxidation_states} - {0}
        assert tuple(sorted(states)) == OXIDATION_STATES.get(z, ())


def test_single_atoms_are_of_either_element_of_a_pair():
    single = recipe(composition="pairs", atoms=[1, 1], species=[1, 1])
    counts = np.bincount([int(configuration(single, 1, index).numbers[0]) for index in range(20 * 171)], minlength=19)
    assert counts[1:].min() > 140  # 190 are expected, and 12 is the standard deviation
    assert counts[1:].max() < 240


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"elements": ["H", "K"]}, r"elements \['K'\]: expected 'all' or symbols of H to Ar"),
        ({"elements": ["H", "Xx"]}, r"\['Xx'\]"),
        ({"elements": []}, "expected 'all'"),
        ({"elements": ["H", "H"]}, "occurs twice"),
        ({"atoms": [4, 2]}, r"atoms \[4, 2\]"),
        ({"species": [3, 4]}, "cannot hold 3 species"),
        ({"minimum_distance_ratio": [0.4, 0.8]}, "minimum_distance_ratio 0.4: expected 0.5 or more"),
        ({"packing_fraction": [0.9, 0.95], "minimum_distance_ratio": [1, 1]}, "cannot be packed"),
        ({"maximum_volume_per_atom": 20}, "Na at packing_fraction 0.6 needs 31.9"),
        ({"atoms": [1, 5000]}, "atoms .*<= 1024"),
        ({"packing_fraction": [0, 0.5]}, r"packing_fraction \[0, 0.5\]"),
        ({"composition": "charge_balanced", "elements": ["He", "Li"]}, "1 of the elements have oxidation states"),
        ({"composition": "charge_balanced", "atoms": [1, 4]}, "cells of 1 atoms"),
        (
            {"composition": "charge_balanced", "elements": ["Li", "Na"]},
            "nothing that balances Li, Na in cells of 2 to 8",
        ),
        (
            {"composition": "charge_balanced", "elements": ["Al", "Cl"], "atoms": [2, 3], "species": [2, 2]},
            "nothing that balances Al, Cl in cells of 2 to 3 atoms and 2 to 2 species",
        ),
        ({"angles": [95, 120]}, "lowest <= 90 <= highest"),
        ({"atom": [2, 4]}, "unknown key 'atom'; did you mean 'atoms'"),
        ({"atoms": [2.5, 4]}, "expected a whole number"),
    ],
)
def test_impossible_recipes_are_refused_at_once(keys, message):
    with pytest.raises(SettingsError, match=message):
        recipe(**keys)


def test_bad_recipes():
    for mapping, message in (
        ({}, "no 'source:'; expected one of packing"),
        ({"source": "pakcing"}, "source 'pakcing': expected one of packing"),
        ({"sources": []}, "expected a list of sources"),
        ({"sources": [{"source": "packing", "weight": 0}]}, r"sources\[0\]: weight 0"),
        ({"sources": [{"source": "packing", "atms": 1}]}, r"sources\[0\]: unknown key 'atms'"),
    ):
        with pytest.raises(SettingsError, match=message):
            recipe_from_mapping(mapping)
    with pytest.raises(SettingsError, match="index -1"):
        configuration(recipe(), 0, -1)


def test_weighted_mix_keeps_shares_and_rounds():
    mix = recipe_from_mapping(
        {
            "sources": [
                {"source": "packing", "weight": 3, "elements": ["H", "He", "Li"], "species": [1, 1]},
                {"source": "packing", "elements": ["Ne", "Ar"], "species": [1, 1]},
            ]
        }
    )
    numbers = [configuration(mix, 1, index).numbers[0] for index in range(40)]
    for block in (
        itertools.batched(numbers, 4) if hasattr(itertools, "batched") else zip(*[iter(numbers)] * 4, strict=True)
    ):
        assert sum(z <= 3 for z in block) == 3
    light, heavy = [z for z in numbers if z <= 3], [z for z in numbers if z > 3]
    assert all(sorted(light[k : k + 3]) == [1, 2, 3] for k in range(0, 30, 3))
    assert all(sorted(heavy[k : k + 2]) == [10, 18] for k in range(0, 10, 2))


def test_file_round_trip_and_hash(batch, tmp_path):
    write_atoms(tmp_path / "g.extxyz", (each.to_atoms() for each in batch[:5]))
    back = read_configurations(tmp_path / "g.extxyz")
    assert [c.configuration_id for c in back] == [each.configuration.configuration_id for each in batch[:5]]
    assert back[2].origin.source == "packing"
    (tmp_path / "r.yaml").write_text("source: packing\n")
    assert load_recipe(tmp_path / "r.yaml").content_hash == recipe(elements="all").content_hash
    assert recipe(atoms=[2, 7]).content_hash != recipe().content_hash
