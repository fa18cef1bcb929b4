"""The half list against ASE's full list, and batching."""

import ase.neighborlist
import numpy as np
import pytest
import torch

from aiida_argonaut.mlip.frames import Configuration, FrameError
from aiida_argonaut.mlip.graph import build_graph, join, split_by_bonds, with_positions

TRICLINIC = np.array([[2.3, 0.2, 0.1], [0.5, 2.9, -0.4], [-0.3, 0.6, 3.1]])


def crystal(n, scale=1.0, seed=0):
    random = np.random.default_rng(seed)
    return Configuration(random.integers(1, 19, n), random.normal(size=(n, 3)) * 6, TRICLINIC * scale)


def molecule(n=4, seed=1):
    random = np.random.default_rng(seed)
    return Configuration(random.integers(1, 19, n), random.random((n, 3)) * 5, np.zeros((3, 3)), (False,) * 3)


@pytest.mark.parametrize("configuration", [crystal(1), crystal(2), crystal(7, 2.0), molecule(), molecule(1)])
def test_half_list_holds_every_bond_once(configuration):
    graph = build_graph([configuration], 4.0)
    full = ase.neighborlist.neighbor_list("ijS", configuration.to_atoms(), 4.0)
    expected = {(int(i), int(j), *map(int, s)) for i, j, s in zip(*full, strict=True)}
    half = [
        (int(i), int(j), *map(int, s)) for i, j, s in zip(graph.i, graph.j, graph.image.int().tolist(), strict=True)
    ]
    mirrored = [(j, i, -a, -b, -c) for i, j, a, b, c in half]
    assert len(half) * 2 == len(expected)
    assert set(half) | set(mirrored) == expected


def test_vectors_follow_from_positions_images_and_cell():
    graph = build_graph([crystal(5), molecule(), crystal(2, 1.5)], 5.0)
    again = with_positions(graph, graph.positions)
    torch.testing.assert_close(again.vectors, graph.vectors, rtol=0, atol=1e-12)
    strained = with_positions(graph, graph.positions * 1.1, graph.cell * 1.1)
    torch.testing.assert_close(strained.vectors, graph.vectors * 1.1, rtol=0, atol=1e-12)


def test_batch_is_the_singles_side_by_side():
    parts = [crystal(5), molecule(), crystal(2, 1.5), molecule(1)]
    batch = build_graph(parts, 5.0)
    assert batch.n_structures == 4
    assert batch.structure.tolist() == [0] * 5 + [1] * 4 + [2] * 2 + [3]
    assert (batch.structure[batch.i] == batch.structure[batch.j]).all()
    singles = [build_graph([part], 5.0) for part in parts]
    for one, two in zip(batch, join(singles), strict=True):
        assert torch.equal(one, two)
    assert torch.equal(join([join(singles[:2]), join(singles[2:])]).i, batch.i)


def test_skin_adds_the_bonds_beyond_the_cutoff():
    near, far = build_graph([crystal(3)], 4.0), build_graph([crystal(3)], 4.0, skin=1.0)
    assert far.vectors.norm(dim=1).max() > 4.0
    assert (far.vectors.norm(dim=1) <= 4.0).sum() == near.n_bonds


def test_float64_positions_keep_float32_vectors_exact():
    start = Configuration([1, 1], np.array([[5000.0, 0, 0], [5000.7, 0, 0]]), np.zeros((3, 3)), (False,) * 3)
    graph = build_graph([start], 5.0, dtype=torch.float32)
    moved = with_positions(graph, torch.tensor(start.positions))
    assert moved.vectors.dtype == torch.float32
    assert abs(abs(float(moved.vectors[0, 0])) - 0.7) < 1e-7


def test_chunks_respect_the_limit():
    assert split_by_bonds([5, 5, 20, 1, 1], 10) == [[0, 1], [2], [3, 4]]


def test_bad_input_is_refused():
    with pytest.raises(FrameError, match="no configurations"):
        build_graph([], 5.0)
    with pytest.raises(FrameError, match="cutoff"):
        build_graph([molecule()], 0.0)
