"""Packings: reproducible in any order, balanced over the elements, never closer than drawn, never endless."""

import itertools

import numpy as np
import pytest

from aiida_argonaut.mlip.frames import read_configurations, write_atoms
from aiida_argonaut.mlip.generate.packing import PackingError
from aiida_argonaut.mlip.generate.recipe import configuration, generate, load_recipe, recipe_from_mapping
from aiida_argonaut.mlip.sanity import distance_ratio
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


def test_hard_cells_grow_and_are_counted():
    hard = recipe(
        elements=["Al"], atoms=[8, 8], species=[1, 1], packing_fraction=[0.6, 0.6], minimum_distance_ratio=[1, 1]
    )
    made = [generate(hard, 0, index) for index in range(10)]
    attempts = [each.figures["packing_attempts"] for each in made]
    assert max(attempts) > 1
    for each, tries in zip(made, attempts, strict=True):
        assert each.figures["packing_fraction"] == pytest.approx(0.6 / 1.08 ** (tries - 1), abs=1e-5)


def test_never_endless():
    keys = {"elements": ["Al"], "atoms": [8, 8], "species": [1, 1], "minimum_distance_ratio": [1.0, 1.0]}
    hopeless = recipe(**keys, packing_fraction=[0.73, 0.73], maximum_attempts=2)
    with pytest.raises(PackingError, match="index 3: 8 atoms not packed in 2 cells"):
        configuration(hopeless, 0, 3)


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
