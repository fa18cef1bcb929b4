"""Contacts: the compiled distance rule agrees with the one in numpy, and pushing does what it says."""

import numpy as np
import pytest

from aiida_argonaut.mlip.contacts import closest_ratio, pushed_apart
from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.sanity import distance_ratio


@pytest.mark.parametrize("seed", range(60))
def test_closest_ratio_is_that_of_the_distance_rule(seed):
    rng = np.random.default_rng(seed)
    n, cell = int(rng.integers(1, 9)), np.eye(3) * rng.uniform(2, 6) + rng.uniform(-1.5, 1.5, (3, 3))
    configuration = Configuration(rng.integers(1, 19, n), rng.uniform(-20, 20, (n, 3)), cell)
    arrays = (configuration.numbers, configuration.positions, configuration.cell)
    for reach in (0.3, 1.5, 4.0):
        assert closest_ratio(*arrays, reach=reach) == pytest.approx(distance_ratio(configuration, reach), abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_pushed_atoms_are_apart_and_others_stay(seed):
    rng = np.random.default_rng(seed)
    numbers, cell = rng.integers(1, 19, 12), np.eye(3) * 9 + rng.uniform(-1.5, 1.5, (3, 3))
    positions = rng.random((12, 3)) @ cell
    moved = pushed_apart(numbers, positions, cell, 0.8)
    assert moved is not None
    assert distance_ratio(Configuration(numbers, moved, cell), 2.0) >= 0.8
    again = pushed_apart(numbers, moved, cell, 0.8)
    np.testing.assert_array_equal(again, moved)
    assert pushed_apart(numbers, moved, cell, 0.8) is not moved


def test_atoms_on_the_same_spot_are_pushed_apart_or_refused():
    numbers, cell = np.array([6, 6]), np.eye(3) * 6
    result = pushed_apart(numbers, np.full((2, 3), 1.0), cell, 0.8)
    assert result is None or distance_ratio(Configuration(numbers, result, cell), 2.0) >= 0.8


def test_what_cannot_fit_is_none():
    numbers = np.full(30, 11)
    assert pushed_apart(numbers, np.random.default_rng(0).random((30, 3)) * 4, np.eye(3) * 4, 1.0) is None
    assert pushed_apart(np.array([11]), np.zeros((1, 3)), np.eye(3) * 2, 0.8) is None  # its own image
