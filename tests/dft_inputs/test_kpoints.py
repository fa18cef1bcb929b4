"""The mesh depends on the lattice only, never samples more coarsely than asked, and is Gamma for large cells."""

import math

import numpy as np
import pytest

from aiida_argonaut.dft_inputs.kpoints import KpointsError, is_gamma_only, kpoint_mesh


def spacings(cell, mesh):
    return 2 * math.pi * np.linalg.norm(np.linalg.inv(cell), axis=0) / np.array(mesh)


@pytest.mark.parametrize("spacing", [0.2, 0.5, 1.0])
def test_never_coarser_than_asked(spacing):
    rng = np.random.default_rng(3)
    for _ in range(50):
        cell = np.diag(rng.uniform(2, 9, 3)) + rng.normal(size=(3, 3)) * 0.4
        mesh = kpoint_mesh(cell, spacing)
        assert (spacings(cell, mesh) <= spacing * (1 + 1e-5)).all()
        fewer = np.maximum(np.array(mesh) - 1, 1)
        assert ((spacings(cell, fewer) > spacing) | (np.array(mesh) == 1)).all()


def test_gamma_only_beyond_two_pi_over_spacing():
    limit = 2 * math.pi / 0.8
    assert kpoint_mesh(np.eye(3) * limit * 1.001, 0.8) == (1, 1, 1)
    assert kpoint_mesh(np.eye(3) * limit, 0.8) == (1, 1, 1), "rounding must not add a point"
    assert kpoint_mesh(np.eye(3) * limit * 0.999, 0.8) == (2, 2, 2)
    assert is_gamma_only((1, 1, 1))
    assert not is_gamma_only((1, 1, 2))


def test_supercell_needs_half():
    assert kpoint_mesh(np.eye(3) * 3.0, 0.3) == (7, 7, 7)
    assert kpoint_mesh(np.diag([6.0, 3.0, 3.0]), 0.3) == (4, 7, 7)


def test_rotation_changes_nothing():
    cell = np.array([[0, 2.7, 2.7], [2.7, 0, 2.7], [2.7, 2.7, 0.0]])
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    assert kpoint_mesh(cell @ turn.T, 0.25) == kpoint_mesh(cell, 0.25)


@pytest.mark.parametrize("cell", [np.zeros((3, 3)), np.eye(2), np.diag([1.0, 1.0, 0.0])])
def test_no_volume(cell):
    with pytest.raises(KpointsError, match="volume"):
        kpoint_mesh(cell, 0.3)


def test_bad_spacing():
    with pytest.raises(KpointsError, match="above 0"):
        kpoint_mesh(np.eye(3), 0.0)
