"""The distance rule agrees with ASE's neighbour list, in cells smaller than a bond too."""

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.sanity import RADII, distance_ratio, unphysical


@pytest.mark.parametrize("seed", range(40))
def test_ratio_is_the_closest_pair_over_periodic_images(seed):
    rng = np.random.default_rng(seed)
    n, cell = int(rng.integers(1, 6)), np.eye(3) * rng.uniform(2, 6) + rng.uniform(-1.0, 1.0, (3, 3))
    configuration = Configuration(rng.integers(1, 19, n), rng.uniform(-10, 10, (n, 3)), cell)
    i, j, d = neighbor_list("ijd", configuration.to_atoms(), 5.0)
    ratios = d / (RADII[configuration.numbers[i]] + RADII[configuration.numbers[j]])
    expected = ratios.min(initial=np.inf)
    assert distance_ratio(configuration) == pytest.approx(expected if expected <= 1.5 else np.inf)


def test_own_image_counts_and_a_molecule_has_none():
    assert distance_ratio(Configuration(np.array([11]), np.zeros((1, 3)), np.eye(3) * 2.0)) == pytest.approx(2 / 3.32)
    molecule = Configuration(np.array([1, 1]), np.array([[0, 0, 0], [0.74, 0, 0]]), np.zeros((3, 3)), (False,) * 3)
    assert distance_ratio(molecule) == pytest.approx(0.74 / 0.62)
    assert distance_ratio(Configuration(np.array([1]), np.zeros((1, 3)), np.zeros((3, 3)), (False,) * 3)) == np.inf


def test_words():
    dense = Configuration(np.array([1]), np.zeros((1, 3)), np.eye(3))
    assert unphysical(dense, 0.6) == ""
    assert "1.00 Å^3 per atom" in unphysical(dense, 0.6, (1.5, 200.0))
    assert "below 2.0" in unphysical(dense, 2.0)
