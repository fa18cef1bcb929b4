"""Perturbations: each kind does what it says, strengths follow their distributions, no pair comes too close."""

import numpy as np
import pytest
from scipy import stats

from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.generate.draw import GenerationError
from aiida_argonaut.mlip.generate.perturb import PerturbSettings, perturbed
from aiida_argonaut.mlip.generate.prototypes import ideal_prototype
from aiida_argonaut.mlip.sanity import distance_ratio

KINDS = (
    "supercell",
    "volume",
    "strain",
    "shear",
    "rattle",
    "vacancy",
    "interstitial",
    "antisite",
    "substitution",
    "swap",
)


def only(kind=None, **keys):
    off = {f"{each}_probability": float(each == kind) for each in KINDS}
    return PerturbSettings(**(off | keys))


def many(crystal, settings, n, ratio=0.6, allowed=None):
    rng = np.random.default_rng(5)
    return [perturbed(*crystal, settings, ratio, rng, allowed) for _ in range(n)]


@pytest.fixture(scope="module")
def salt():
    return ideal_prototype("rocksalt", (11, 17))


def test_nothing_is_done_where_nothing_may_happen(salt):
    numbers, positions, cell, figures = many(salt, only(), 1)[0]
    assert figures == {}
    np.testing.assert_array_equal(numbers, salt[0])
    np.testing.assert_array_equal(positions, salt[1])
    np.testing.assert_array_equal(cell, salt[2])


def test_given_arrays_stay_as_they_are(salt):
    before = [each.copy() for each in salt]
    many(salt, PerturbSettings(), 50, allowed=np.arange(1, 19))
    for one, other in zip(before, salt, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("form", ["diagonal", "general"])
def test_supercells_are_the_same_crystal(form):
    crystal = ideal_prototype("zincblende", (14, 6))
    volume = np.linalg.det(crystal[2])
    closest = distance_ratio(Configuration(*crystal), reach=3)
    repeats, shapes = [], set()
    for numbers, positions, cell, figures in many(crystal, only("supercell", supercell=form), 200):
        n = figures["supercell"]
        repeats.append(n)
        assert sorted(numbers.tolist()) == sorted(crystal[0].tolist() * n)
        assert np.linalg.det(cell) == pytest.approx(n * volume)
        assert distance_ratio(Configuration(numbers, positions, cell), reach=3) == pytest.approx(closest, abs=1e-6)
        multiples = cell @ np.linalg.inv(crystal[2])
        np.testing.assert_allclose(multiples, np.round(multiples), atol=1e-9)
        inside = positions @ np.linalg.inv(cell)
        assert inside.min() > -1e-6
        assert inside.max() < 1
        shapes.add(tuple(np.round(multiples).ravel()))
    assert stats.chisquare(np.bincount(repeats, minlength=9)[2:]).pvalue > 0.01
    assert len(shapes) > (100 if form == "general" else 20)


def test_supercells_keep_both_limits(salt):
    big = ideal_prototype("rocksalt", (11, 18))
    volume = np.linalg.det(big[2])
    sizes = [made[3].get("supercell", 1) for made in many(big, only("supercell", maximum_volume=3.5 * volume), 60)]
    assert set(sizes) == {2, 3}
    assert all("supercell" not in made[3] for made in many(salt, only("supercell", maximum_atoms=3), 5))


def test_volume_and_shape(salt):
    volume = np.linalg.det(salt[2])
    scales = []
    for _, _, cell, figures in many(salt, only("volume"), 400):
        scales.append(np.linalg.det(cell) / volume)
        assert scales[-1] == pytest.approx(figures["volume_scale"], abs=2e-6)
    assert stats.kstest(scales, stats.uniform(0.75, 0.5).cdf).pvalue > 0.01
    norms = []
    for _, positions, cell, figures in many(salt, only("strain", strain=(0.05, 0.05)), 50):
        matrix = np.linalg.inv(salt[2]) @ cell
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
        np.testing.assert_allclose(positions, salt[1] @ matrix, atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1)
        norms.append(np.linalg.norm(matrix - np.eye(3)))
        assert figures == {"strain": 0.05}
    assert np.allclose(norms, 0.05, rtol=0.05)
    for _, _, cell, figures in many(salt, only("shear"), 20):
        off = np.linalg.inv(salt[2]) @ cell - np.eye(3)
        assert np.linalg.det(cell) == pytest.approx(volume)
        assert (np.abs(off) > 1e-9).sum() == 1
        assert np.abs(off).max() == pytest.approx(figures["shear"], abs=1e-6)


def test_rattle_is_measured_in_shortest_distances(salt):
    large = only("supercell", maximum_atoms=200, maximum_volume=1e4)
    crystal = max((made[:3] for made in many(salt, large, 5)), key=lambda made: len(made[0]))
    shortest = (4 * np.linalg.det(salt[2])) ** (1 / 3) / 2  # Na and Cl alternate along the edge of the cube
    drawn = []
    for made in many(crystal, only("rattle", rattle=(0.05, 0.05)), 10):
        drawn.append((made[1] - crystal[1]).ravel() / shortest)
    assert stats.kstest(np.concatenate(drawn), stats.norm(0, 0.05).cdf).pvalue > 0.01
    amplitudes = [made[3]["rattle"] for made in many(salt, only("rattle"), 300)]
    assert stats.kstest(amplitudes, stats.uniform(0, 0.12).cdf).pvalue > 0.01


def test_vacancies_leave_two_thirds(salt):
    for numbers, _, _, figures in many(salt, only("vacancy"), 10):
        assert len(numbers) == 2
        assert figures == {}
    spinel = ideal_prototype("spinel", (12, 13, 8))
    lost = {14 - len(made[0]) for made in many(spinel, only("vacancy", vacancies=(1, 9)), 60)}
    assert lost == {1, 2, 3, 4}


def test_interstitials_find_the_holes():
    crystal = ideal_prototype("diamond", (14,))
    for numbers, positions, _, figures in many(crystal, only("interstitial"), 20, allowed=np.array([1, 2])):
        assert len(numbers) == 3
        assert numbers[2] in (1, 2)
        assert figures["defects"] == "interstitial:1"
        np.testing.assert_array_equal(positions[:2], crystal[1])
        assert distance_ratio(Configuration(numbers, positions, crystal[2])) > 0.9  # a bond centre has 0.82


def test_antisites_and_swaps_keep_the_composition():
    crystal = ideal_prototype("spinel", (12, 13, 8))
    for numbers, _, _, figures in many(crystal, only("antisite", antisites=(1, 1)), 20):
        assert sorted(numbers) == sorted(crystal[0])
        assert (numbers != crystal[0]).sum() == 2
        assert figures == {"defects": "antisite:1"}
    different = [(made[0] != crystal[0]).sum() for made in many(crystal, only("swap", swaps=(1, 1)), 20)]
    assert max(different) > 4
    assert all(sorted(made[0]) == sorted(crystal[0]) for made in many(crystal, only("swap"), 20))


def test_substitutions_draw_from_what_is_allowed():
    crystal = ideal_prototype("beta_tungsten", (14,))
    seen = set()
    for numbers, _, _, figures in many(crystal, only("substitution"), 60, allowed=np.array([6, 14])):
        others = numbers[numbers != 14]
        assert len(others) == int(figures["defects"].removeprefix("substitution:"))
        seen |= set(others.tolist())
    assert seen == {6}
    for numbers, *_, figures in many(crystal, only("substitution"), 5):
        assert set(numbers.tolist()) == {14}
        assert figures == {}


@pytest.mark.parametrize("ratio", [0.5, 0.65, 0.9])
def test_no_pair_comes_closer_than_allowed(salt, ratio):
    violent = PerturbSettings(rattle=(0.0, 0.4), volume=(0.4, 1.0), interstitial_probability=0.5, shear_probability=0.5)
    pushed = 0
    for numbers, positions, cell, figures in many(salt, violent, 120, ratio, np.arange(1, 19)):
        assert distance_ratio(Configuration(numbers, positions, cell), reach=2) >= ratio
        pushed += figures.get("atoms_pushed", 0)
    assert pushed > 0


def test_volume_grows_where_pushing_does_not_help():
    lone = (np.array([3]), np.zeros((1, 3)), np.eye(3) * 2.0)
    numbers, positions, cell, figures = many(lone, only(), 1, ratio=1.0)[0]
    assert distance_ratio(Configuration(numbers, positions, cell)) >= 1
    assert figures["volume_scale"] == pytest.approx(np.linalg.det(cell) / 8, abs=1e-5)
    assert figures["volume_scale"] > 1


def test_large_given_structures_are_perturbed_too(salt):
    crystal = many(salt, only("supercell", maximum_atoms=400, maximum_volume=1e5), 1)[0][:3]
    for numbers, positions, cell, _ in many(crystal, PerturbSettings(), 5, allowed=np.arange(1, 19)):
        assert distance_ratio(Configuration(numbers, positions, cell)) >= 0.6


def test_same_generator_gives_the_same_bits(salt):
    for one, other in zip(many(salt, PerturbSettings(), 30), many(salt, PerturbSettings(), 30), strict=True):
        assert one[3] == other[3]
        for a, b in zip(one[:3], other[:3], strict=True):
            np.testing.assert_array_equal(a, b)


def test_atoms_at_one_place_are_an_error():
    same = (np.array([6, 6]), np.zeros((2, 3)), np.eye(3) * 5)
    with pytest.raises(GenerationError, match="the same place"):
        many(same, only(), 1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"rattle_probability": 1.2}, "rattle_probability 1.2: expected 0 to 1"),
        ({"swap_probability": -0.1}, "swap_probability -0.1"),
        ({"maximum_atoms": 0}, "maximum_atoms 0: expected a number above 0"),
        ({"maximum_volume": 0}, "maximum_volume 0"),
        ({"volume": (0.1, 1)}, r"volume \[0.1, 1\]"),
        ({"strain": (0.2, 0.1)}, r"strain \[0.2, 0.1\]"),
        ({"shear": (0.0, 2.0)}, r"shear \[0, 2\]"),
        ({"rattle": (-0.1, 0.1)}, r"rattle \[-0.1, 0.1\]"),
        ({"swaps": (0.5, 1.5)}, r"swaps \[0.5, 1.5\]"),
        ({"vacancies": (0, 1)}, r"vacancies \[0, 1\]"),
        ({"interstitials": (2, 1)}, r"interstitials \[2, 1\]"),
    ],
)
def test_impossible_settings_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        PerturbSettings(**keys)
