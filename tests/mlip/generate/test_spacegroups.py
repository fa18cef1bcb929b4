"""Space groups: operations are those of pymatgen and spglib, crystals have the symmetry that was asked for."""

import warnings
from collections import Counter

import numpy as np
import pytest
import spglib
from scipy import stats

from aiida_argonaut.mlip.generate.draw import Draw, GenerationError
from aiida_argonaut.mlip.generate.spacegroups import SpacegroupsSettings, spacegroups
from aiida_argonaut.mlip.generate.symmetry import orbit, random_points, smallest_orbit, symmetry_operations
from aiida_argonaut.mlip.sanity import distance_ratio


def some(n, seed=0, start=0, **keys):
    settings = SpacegroupsSettings(**keys)
    return [spacegroups(settings, Draw("ab12", seed, index, 0, index)) for index in range(start, start + n)]


@pytest.fixture(scope="module")
def all_groups():
    return some(460)


@pytest.fixture(scope="module")
def pymatgen_group():
    from pymatgen.symmetry.groups import SpaceGroup

    def group(number):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SpaceGroup.from_int_number(number, hexagonal=True)

    return group


def same_structure(one, other, numbers, cell, tolerance):
    """Whether fractional coordinates `one` lie on atoms `other` of the same element, within `tolerance` in Å."""
    difference = one[:, None, :] - other[None, :, :]
    distances = np.linalg.norm((difference - np.round(difference)) @ cell, axis=-1)
    distances[numbers[:, None] != numbers[None, :]] = np.inf
    return distances.min(axis=1).max() < tolerance and len(set(distances.argmin(axis=1))) == len(numbers)


def test_every_group_comes_once_in_a_round(all_groups):
    for turn in (all_groups[:230], all_groups[230:]):
        assert sorted(figures["space_group"] for _, figures in turn) == list(range(1, 231))


def test_every_operation_maps_the_crystal_on_itself(all_groups):
    for each, figures in all_groups:
        symmetry = symmetry_operations(figures["space_group"])
        points = each.positions @ np.linalg.inv(each.cell)
        for rotation, shift in zip(symmetry.rotations, symmetry.translations, strict=True):
            assert same_structure(points @ rotation.T + shift, points, each.numbers, each.cell, 1e-6)
            matrix = each.cell.T @ rotation @ np.linalg.inv(each.cell.T)
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("number", [1, 5, 9, 15, 38, 43, 64, 70, 88, 98, 146, 154, 161, 166, 167, 180, 197, 206, 217])
def test_operations_are_those_of_pymatgens_space_group(number, pymatgen_group):
    """Its operations, in its conventional cell, map the crystal on itself; its orbits have as many points."""
    group, vectors = pymatgen_group(number), symmetry_operations(number).primitive
    centring = round(1 / np.linalg.det(vectors))
    assert len(symmetry_operations(number).rotations) * centring == len(group.symmetry_ops)
    each, _ = some(1, space_groups=[number])[0]
    conventional = np.linalg.inv(vectors) @ each.cell
    steps = np.array([np.array(k) - 3 for k in np.ndindex(7, 7, 7)]) @ vectors
    steps = steps[((steps > -1e-6) & (steps < 1 - 1e-6)).all(axis=1)]
    assert len(steps) == centring
    primitive_points = each.positions @ np.linalg.inv(conventional)
    points = (primitive_points[:, None, :] + steps[None, :, :]).reshape(-1, 3)
    numbers = np.repeat(each.numbers, centring)
    for operation in group.symmetry_ops:
        assert same_structure(operation.operate_multi(points), points, numbers, conventional, 1e-6)
    rng = np.random.default_rng(number)
    for point, size in list(zip(*random_points(symmetry_operations(number), 30, rng), strict=True))[:8]:
        assert len(group.get_orbit(point @ vectors)) == size * centring
        assert len(orbit(symmetry_operations(number), point)) == size


def test_spglib_finds_the_group_or_a_supergroup(all_groups):
    same = 0
    for each, figures in all_groups:
        found = spglib.get_symmetry_dataset(
            (each.cell, each.positions @ np.linalg.inv(each.cell), each.numbers), symprec=1e-5
        )
        assert len(found.rotations) % len(symmetry_operations(figures["space_group"]).rotations) == 0
        same += found.number == figures["space_group"]
    assert same > 0.5 * len(all_groups)


@pytest.mark.parametrize(
    ("number", "expected"),  # multiplicities in International Tables A, for one lattice point
    [
        (2, {1, 2}),
        (62, {4, 8}),
        (136, {2, 4, 8, 16}),
        (166, {1, 2, 3, 6, 12}),
        (194, {2, 4, 6, 12, 24}),
        (225, {1, 2, 6, 8, 12, 24, 48}),
        (227, {2, 4, 8, 12, 24, 48}),
        (229, {1, 3, 4, 6, 8, 12, 24, 48}),
    ],
)
def test_all_sizes_of_orbits_are_drawn(number, expected):
    _, sizes = random_points(symmetry_operations(number), 4000, np.random.default_rng(0))
    assert set(sizes.tolist()) == expected


def test_smallest_orbits():
    known = {1: 1, 19: 4, 62: 4, 169: 6, 194: 2, 198: 4, 205: 4, 206: 4, 220: 6, 225: 1, 227: 2, 230: 8}
    assert {number: smallest_orbit(number) for number in known} == known
    assert max(smallest_orbit(number) for number in range(1, 231)) == 8


def test_distances_and_sizes(all_groups):
    for each, figures in all_groups:
        assert 0.65 <= figures["distance_ratio"] <= 0.95
        assert distance_ratio(each) >= figures["distance_ratio"] - 1e-6
        assert 2 <= len(each) <= 16
        assert each.volume <= 500
        assert each.volume / len(each) <= 45
        assert 1 <= figures["orbits"] <= len(each)
    assert len({len(each) for each, _ in all_groups}) == 15


def test_elements_are_drawn_evenly(all_groups):
    counts = Counter(z for each, _ in all_groups for z in set(each.numbers.tolist()))
    assert set(counts) == set(range(1, 19))
    assert min(counts.values()) > 0.6 * np.mean(list(counts.values()))
    for start in (0, 18):
        lead = some(18, start=start, species=(1, 1))
        assert {int(each.numbers[0]) for each, _ in lead} == set(range(1, 19))


def test_drawn_ratios_and_packing_fractions():
    made = some(300, space_groups=[1], atoms=(2, 2), species=(1, 1), elements=["C"], maximum_volume_per_atom=1e3)
    ratios = [figures["distance_ratio"] for _, figures in made]
    assert stats.kstest(ratios, stats.uniform(0.65, 0.3).cdf).pvalue > 0.01
    loose = some(300, space_groups=[2], atoms=(1, 2), elements=["C"], species=(1, 1), packing_fraction=(0.01, 0.05))
    assert max(figures["packing_fraction"] for _, figures in loose) <= 0.05 + 1e-6


def test_any_order_gives_the_same_bits(all_groups):
    for index in (400, 17, 3):
        again, figures = some(1, start=index)[0]
        assert again.configuration_id == all_groups[index][0].configuration_id
        assert figures == all_groups[index][1]
        assert again.origin.source == "spacegroups"
        assert again.origin.seed == f"0/{index}"
    assert some(1, seed=1)[0][0].configuration_id != all_groups[0][0].configuration_id


def test_hard_cases_are_made():
    for each, figures in some(
        60, space_groups=[230, 206, 220], elements=["Na", "Ar"], minimum_distance_ratio=(0.9, 0.95)
    ):
        assert distance_ratio(each) >= figures["distance_ratio"] - 1e-6
    assert all(
        len(each) == 1 for each, _ in some(10, space_groups=[225, 221], atoms=(1, 1), elements=["H"], species=(1, 1))
    )


def test_what_cannot_be_made_is_an_error():
    with pytest.raises(GenerationError, match="index 0: no crystal of space group 1 with Na found in 2 attempts"):
        some(
            1, space_groups=[1], elements=["Na"], species=(1, 1), atoms=(16, 16), maximum_attempts=2,
            maximum_volume=560, minimum_distance_ratio=(1.19, 1.2),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"elements": ["K"]}, r"elements \['K'\]"),
        ({"space_groups": [0, 12]}, r"space_groups \[0\]: expected numbers of 1 to 230"),
        ({"space_groups": []}, "expected numbers of 1 to 230"),
        ({"space_groups": [2, 2]}, "each once"),
        ({"space_groups": [230], "atoms": (2, 7)}, "space group 230 has orbits of 8 atoms or more"),
        ({"space_groups": [230], "atoms": (9, 15)}, "space group 230"),
        ({"atoms": (2, 4)}, "space group .* has orbits"),
        ({"atoms": (0, 4)}, r"atoms \[0, 4\]"),
        ({"species": (3, 2)}, r"species \[3, 2\]"),
        ({"species": (2, 3), "elements": ["C"]}, "there are 1 elements only"),
        ({"packing_fraction": (0.3, 0.9)}, r"packing_fraction \[0.3, 0.9\]"),
        ({"axial_ratio": (0.1, 1)}, r"axial_ratio \[0.1, 1\]"),
        ({"angles": (95, 120)}, r"angles \[95, 120\]"),
        ({"minimum_distance_ratio": (0.4, 0.8)}, "minimum_distance_ratio 0.4: expected 0.5 or more"),
        ({"minimum_distance_ratio": (0.8, 0.6)}, r"minimum_distance_ratio \[0.8, 0.6\]"),
        ({"maximum_volume_per_atom": 20}, "Na at packing_fraction 0.55 needs 34.8"),
        ({"maximum_attempts": 0}, "maximum_attempts 0"),
    ],
)
def test_impossible_settings_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        SpacegroupsSettings(**keys)


def test_large_atoms_in_the_largest_cell_are_not_lost():
    """Eight Na in Ia-3d fill more than the drawn fraction of the largest cell; the volume is then cut to it."""
    settings = SpacegroupsSettings(
        space_groups=[230], elements=["Na"], species=(1, 1), atoms=(2, 12), maximum_volume=250.0
    )
    for index in range(20):
        configuration, _ = spacegroups(settings, Draw("ab12", 3, index, 0, index))
        assert configuration.volume <= 250.0
