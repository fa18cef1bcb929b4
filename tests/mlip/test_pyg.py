"""What goes to torch_geometric and its loaders comes back the same."""

import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.frames import Configuration, FrameError, LabelledFrame
from aiida_argonaut.mlip.pyg import GraphDataset, from_data, to_data
from aiida_argonaut.mlip.samples import Samples


def labelled(seed):
    random = np.random.default_rng(seed)
    n, periodic = 1 + seed % 4, bool(seed % 2)  # the first has no bonds at all
    configuration = Configuration(random.integers(1, 19, n), 3 * random.random((n, 3)), 3 * np.eye(3), (periodic,) * 3)
    stress = random.normal(size=(3, 3)) if seed % 3 else None
    return LabelledFrame(configuration, float(random.normal()), random.normal(size=(n, 3)), stress, "p")


FRAMES = [labelled(seed) for seed in range(7)]
SAMPLES = Samples.prepare(FRAMES, Baseline(tuple((z, -1.0 * z) for z in range(1, 19))), 4.0)


def assert_same(one, other):
    for first, second in zip((*one.graph, *one[1:]), (*other.graph, *other[1:]), strict=True):
        assert first.dtype == second.dtype
        assert torch.equal(first, second)


def test_a_loader_gives_our_batches():
    batches = list(DataLoader(GraphDataset(SAMPLES), batch_size=3))
    assert [batch.num_graphs for batch in batches] == [3, 3, 1]
    for batch, indices in zip(batches, ([0, 1, 2], [3, 4, 5], [6]), strict=True):
        assert_same(from_data(batch), SAMPLES.batch(indices))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_and_a_frame(dtype):
    assert_same(from_data(to_data(SAMPLES.batch([5], dtype))), SAMPLES.batch([5], dtype))
    data = to_data(FRAMES[5], 4.0, dtype)
    assert data.energy.item() == FRAMES[5].energy
    assert torch.equal(data.forces, torch.tensor(FRAMES[5].forces, dtype=dtype))
    ends = data.pos[data.edge_index[1]] - data.pos[data.edge_index[0]] + data.edge_image @ data.cell[0]
    assert torch.allclose(ends, data.edge_vectors, atol=1e-5)
    assert data.is_undirected()


def test_what_is_not_ours_is_refused():
    with pytest.raises(FrameError, match="2 structures"):
        to_data(SAMPLES.batch([0, 1]))
    with pytest.raises(FrameError, match="cutoff"):
        to_data(FRAMES[0])
    data = to_data(SAMPLES.batch([5]))
    shuffled = data.clone()
    order = torch.argsort(data.edge_index[0], stable=True)
    shuffled.edge_index, shuffled.edge_vectors = data.edge_index[:, order], data.edge_vectors[order]
    with pytest.raises(FrameError, match="followed by its mirror"):
        from_data(shuffled)
    del data.forces
    with pytest.raises(FrameError, match="without forces"):
        from_data(data)
    with pytest.raises(IndexError, match="7 frames"):
        GraphDataset(SAMPLES)[7]
