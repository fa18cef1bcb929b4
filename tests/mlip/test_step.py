"""The compiled step gives the gradients of the eager one, and dummies count for nothing."""

import numpy as np
import pytest
import torch

from aiida_argonaut.mlip import step as steps
from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.batching import batch_limits, batches
from aiida_argonaut.mlip.frames import Configuration, LabelledFrame
from aiida_argonaut.mlip.objective import Weights
from aiida_argonaut.mlip.potential import get_architecture
from aiida_argonaut.mlip.samples import Samples
from aiida_argonaut.mlip.step import CompileError, Network, compiled

BASELINE = Baseline(tuple((z, -10.0 * z) for z in range(1, 19)), scale=1.5)
SMALL = {
    "teanet": {"n_blocks": 2, "scalar_width": 12, "bond_width": 8, "vector_width": 4},
    "leignn": {},
}
WEIGHTS = Weights(3.0, 1.0, 0.5, 0.1)


def frames(sizes, seed=0):
    random = np.random.default_rng(seed)
    made = []
    for number, n in enumerate(sizes):
        cell = np.eye(3) * (n * 12.0) ** (1 / 3) + 0.2 * random.normal(size=(3, 3))
        periodic = number % 3 != 2
        given = Configuration(
            random.integers(1, 19, n), random.random((n, 3)) @ cell, cell if periodic else np.zeros((3, 3)),
            (periodic,) * 3,
        )  # fmt: skip
        stress = 0.1 * random.normal(size=(3, 3)) if number % 2 else None
        made.append(LabelledFrame(given, float(random.normal()), random.normal(size=(n, 3)), stress, "p"))
    return made


def network(name):
    architecture = get_architecture(name)
    config = type(architecture.preset("campaign"))(**SMALL[name])
    weights = architecture.init(config, torch.Generator().manual_seed(0))
    shapes = {key: tuple(weight.shape) for key, weight in weights.items()}
    flat = torch.cat([weight.flatten() for weight in weights.values()])
    return Network(architecture, config, shapes, BASELINE, True, WEIGHTS.linear_from), flat


@pytest.mark.parametrize("name", sorted(SMALL))
def test_dummies_change_neither_loss_nor_gradient(name):
    net, flat = network(name)
    samples = Samples.prepare(frames([3, 5, 2]), BASELINE, net.config.cutoff)
    limits = batch_limits(samples, range(3), 3, 10**6)
    plain, padded = samples.batch(range(3)), samples.padded(range(3), limits.padded())
    assert padded.graph.n_bonds > plain.graph.n_bonds
    (loss, gradient), (same, there) = (net.eager(flat, sample, WEIGHTS) for sample in (plain, padded))
    assert float(same) == pytest.approx(float(loss), rel=1e-5)
    torch.testing.assert_close(there, gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max()))


def test_compiled_gradients_are_the_eager_ones():
    net, flat = network("teanet")
    samples = Samples.prepare(frames([3, 5, 2, 4, 6]), BASELINE, net.config.cutoff)
    sizes = batch_limits(samples, range(5), 3, 10**6).padded()
    run, seconds = compiled(net, flat, samples.padded([0], sizes))
    assert seconds > 0
    for indices, scale in (([1, 2, 3], 1.0), ([4], 1.1)):  # other batches and other weights than it was made with
        value, gradient = run(scale * flat, samples.padded(indices, sizes), WEIGHTS)
        expected, there = net.eager(scale * flat, samples.batch(indices), WEIGHTS)
        assert float(value) == pytest.approx(float(expected), rel=1e-5)
        assert float((gradient - there).norm()) < 1e-4 * float(there.norm())


def test_a_compiled_step_with_other_gradients_is_not_used(monkeypatch):
    net, flat = network("teanet")
    samples = Samples.prepare(frames([3, 4]), BASELINE, net.config.cutoff)
    sample = samples.padded([0], batch_limits(samples, range(2), 2, 10**6).padded())

    def wrong(*arguments):
        return lambda *parts: tuple(1.01 * part for part in net.eager(flat, sample, Weights(1.0, 1.0, 1.0, 0.1)))

    monkeypatch.setattr(steps, "_traced", wrong)
    with pytest.raises(CompileError, match="differs from the eager one by"):
        compiled(net, flat, sample)


def test_without_a_compiler_the_reason_is_told(monkeypatch):
    net, flat = network("teanet")
    samples = Samples.prepare(frames([3]), BASELINE, net.config.cutoff)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(CompileError, match="no C\\+\\+ compiler"):
        compiled(net, flat, samples.batch([0]))


def test_batches_keep_to_their_limits_and_lose_no_frame():
    sizes = np.random.default_rng(1).integers(1, 30, 60).tolist()
    samples = Samples.prepare(frames(sizes), BASELINE, 4.0)
    limits = batch_limits(samples, range(60), 6, 3000)
    order = np.random.default_rng(2).permutation(60)
    found = batches(samples, order, limits)
    assert np.concatenate(found).tolist() == order.tolist()
    for batch in found:
        assert len(batch) <= limits.structures
        assert samples.atoms[batch].sum() <= limits.atoms
        assert samples.bonds[batch].sum() <= limits.bonds
        samples.padded(batch, limits.padded())
    assert 4 < 60 / len(found) < 8


def test_frames_of_one_size_make_batches_of_exactly_the_batch_size():
    samples = Samples.prepare(frames([4] * 30)[::3] * 3, BASELINE, 0.1)
    limits = batch_limits(samples, range(30), 7, 10**6)
    assert [len(batch) for batch in batches(samples, range(30), limits)] == [7, 7, 7, 7, 2]
