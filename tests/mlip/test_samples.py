"""Batches from flat arrays say exactly what graphs built one by one say; dummies say nothing."""

import ase
import numpy as np
import pytest
import torch
from ase.data import covalent_radii

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.batching import batch_limits, batches
from aiida_argonaut.mlip.frames import Configuration, FrameError, LabelledFrame
from aiida_argonaut.mlip.graph import build_graph, join
from aiida_argonaut.mlip.potential import baseline_part, evaluate, get_architecture, network_part
from aiida_argonaut.mlip.sample import Sizes
from aiida_argonaut.mlip.samples import Samples

CUTOFF = 4.0
BASELINE = Baseline(tuple((z, -13.7 * z**2) for z in range(1, 19)), scale=2.0)


def labelled(seed):
    """Tiny and large cells, molecules, single atoms, atoms in contact, atoms far outside the cell, odd stresses."""
    random = np.random.default_rng(seed)
    n, edge, periodic = int(random.integers(1, 9)), 1.8 + 6 * random.random(), bool(seed % 3)
    numbers = random.integers(1, 19, n)
    cell = edge * (np.eye(3) + 0.2 * random.normal(size=(3, 3))) if periodic or seed % 2 else np.zeros((3, 3))
    positions = edge * random.random((n, 3)) + 5 * random.normal(size=(n, 3)) * periodic
    tension = random.normal(size=(3, 3)) if seed % 4 else None
    return LabelledFrame(
        Configuration(numbers, positions, cell, (periodic,) * 3),
        float(random.normal() - 1e4),
        random.normal(size=(n, 3)),
        tension,
        "p",
    )


@pytest.fixture(scope="module")
def frames():
    return [labelled(seed) for seed in range(24)]


@pytest.fixture(scope="module")
def samples(frames):
    return Samples.prepare(frames, BASELINE, CUTOFF)


def one_by_one(frames, baseline, dtype):
    """Graph, energy, forces, stress and has_stress of frames, each formed by itself and then joined."""
    parts = []
    for frame in frames:
        graph = build_graph([frame.configuration], CUTOFF)
        ground = baseline_part(baseline, graph, stress=True)
        known = frame.stress is not None and frame.configuration.periodic
        stress = torch.tensor(frame.stress)[None] - ground.stress if known else torch.zeros(1, 3, 3).double()
        forces = torch.tensor(frame.forces) - ground.forces
        parts.append((frame.energy - ground.energy, forces.to(dtype), stress.to(dtype), torch.tensor([known])))
    graph = join([build_graph([frame.configuration], CUTOFF).to(dtype=dtype) for frame in frames])
    return graph, *(torch.cat(part) for part in zip(*parts, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("repulsion", [True, False])
def test_a_batch_is_bit_for_bit_the_graphs_joined(frames, dtype, repulsion):
    baseline = Baseline(BASELINE.reference_energies, repulsion)
    samples = Samples.prepare(frames, baseline, CUTOFF)
    assert (samples.repulsion > 0).any() == repulsion
    for seed in range(6):
        chosen = np.random.default_rng(seed).integers(len(frames), size=7)
        batch = samples.batch(chosen, dtype)
        graph, *labels = one_by_one([frames[index] for index in chosen], baseline, dtype)
        for name, expected in zip(graph._fields, graph, strict=True):
            found = getattr(batch.graph, name)
            assert found.dtype == expected.dtype, name
            assert torch.equal(found, expected), name
        for found, expected in zip(batch[1:5], labels, strict=True):
            assert found.dtype == expected.dtype
            assert torch.equal(found, expected)
        assert bool(batch.real_atoms.all())
        assert bool(batch.real_structures.all())


def test_counts(frames, samples):
    graphs = [build_graph([frame.configuration], CUTOFF) for frame in frames]
    assert samples.atoms.tolist() == [graph.n_atoms for graph in graphs]
    assert samples.bonds.tolist() == [graph.n_bonds for graph in graphs]


def test_dummies_change_nothing(frames, samples):
    network = get_architecture("teanet")
    config = network.preset("campaign")
    parameters = network.init(config, torch.Generator().manual_seed(0))
    samples = Samples.prepare(frames, BASELINE, config.cutoff)
    limits = batch_limits(samples, range(len(frames)), 5, 10**6)
    sizes = limits.padded()
    for batch in batches(samples, range(len(frames)), limits)[:2]:
        plain, padded = samples.batch(batch), samples.padded(batch, sizes)
        n, g = plain.graph.n_atoms, len(batch)
        assert (padded.graph.n_atoms, padded.graph.n_bonds, padded.graph.n_structures) == sizes
        assert padded.real_atoms.sum() == n
        assert padded.real_structures.sum() == g
        assert torch.bincount(padded.graph.structure, minlength=sizes.structures).min() > 0
        found = network_part(network, config, parameters, BASELINE, padded.graph)
        expected = network_part(network, config, parameters, BASELINE, plain.graph)
        for one, other, count in zip(found, expected, (g, n, g), strict=True):
            assert torch.allclose(one[:count], other, rtol=1e-4, atol=1e-5)
        assert torch.isfinite(found.energy).all()
        assert not found.forces[n:].any()
        assert not found.stress[g:].any()
        assert not padded.has_stress[g:].any()
        assert not padded.graph.pbc[g:].any()
        real = evaluate(network, config, parameters, BASELINE, padded.graph).energy[:g]
        assert torch.allclose(real, expected.energy + baseline_part(BASELINE, plain.graph).energy, rtol=1e-6)


def test_what_does_not_fit_is_refused(samples):
    batch = range(4)
    sizes = Sizes(int(samples.atoms[:4].sum()) + 1, int(samples.bonds[:4].sum()), 5)
    assert samples.padded(batch, sizes).graph.n_atoms == sizes.atoms
    for less in (sizes._replace(atoms=sizes.atoms - 1), sizes._replace(bonds=sizes.bonds - 1), Sizes(999, 9999, 4)):
        with pytest.raises(FrameError, match=r"does not fit into .* batching\.Limits"):
            samples.padded(batch, less)
    with pytest.raises(FrameError, match="no frames"):
        Samples.prepare([], BASELINE, CUTOFF)
    with pytest.raises(FrameError, match="cutoff 0"):
        Samples.from_frames([], 0)


def test_the_repulsion_is_seen_as_far_as_it_reaches():
    radius = covalent_radii[8]
    for ratio, any_ in ((0.7499, True), (0.7501, False)):
        pair = ase.Atoms("O2", [[0, 0, 0], [2 * ratio * radius, 0, 0]])
        frame = LabelledFrame(Configuration.from_atoms(pair), 0.0, np.zeros((2, 3)), None, "p")
        assert Samples.from_frames([frame], CUTOFF).repulsion.any() == any_


def test_a_baseline_can_be_changed_later(frames, samples):
    other = Baseline(tuple((z, 1.0 * z) for z in range(1, 19)))
    assert np.array_equal(samples.with_baseline(other).energy, Samples.prepare(frames, other, CUTOFF).energy)
    with pytest.raises(FrameError, match="repulsion"):
        samples.with_baseline(Baseline(other.reference_energies, repulsion=False))
    unknown = samples.with_baseline(Baseline(((1, 0.0),)))
    assert np.isnan(unknown.energy).any()
