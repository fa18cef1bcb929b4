"""TeaNet: kept function, tied and untied weights, padding, and derivatives under tracing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.graph import build_graph
from aiida_argonaut.mlip.models.teanet import (
    ARCHITECTURE,
    CAMPAIGN,
    PUBLISHED,
    TeaNetConfig,
    init,
    untied,
    weight_shapes,
)
from aiida_argonaut.mlip.potential import ArchitectureError, network_part

BASELINE = Baseline(tuple((z, 0.0) for z in range(1, 19)), repulsion=False)
CELL = np.array([[4.1, 0.3, 0.2], [0.5, 3.7, -0.4], [-0.3, 0.6, 4.6]])
ENERGY = 0.09240441286461343
"""Of the first release of this file, for the weights and the cell below (float64)."""
FORCES = [
    [0.00407310209779, -0.00355102894065, 0.02128546344226],
    [-0.01415233340653, 0.03987561922785, 0.00907190427884],
    [0.00423125952943, -0.00098847028606, -0.02343629800921],
    [0.00584797177932, -0.03533612000114, -0.00692106971189],
]
SMALL = TeaNetConfig(n_blocks=5, scalar_width=16, bond_width=8, vector_width=4, tied=True)


def cell(n=4):
    random = np.random.default_rng(1)
    return Configuration([1, 8, 14, 17, 6][:n], random.random((n, 3)) @ CELL, CELL)


def found(config, weights, graph, create_graph=False):
    return network_part(ARCHITECTURE, config, weights, BASELINE, graph, True, create_graph)


def random_weights(config, dtype=torch.float64):
    """The same on every machine, whatever the order of the weights."""
    random, shapes = np.random.default_rng(5), weight_shapes(config)
    return {
        name: torch.tensor(random.normal(size=shapes[name]) / (2 * shapes[name][-2:][0] ** 0.5), dtype=dtype)
        for name in sorted(shapes)
    }


def test_the_function_is_that_of_the_first_release():
    config = TeaNetConfig(scalar_width=12, bond_width=6, vector_width=4, learned_elements=False)
    result = found(config, random_weights(config), build_graph([cell()], config.cutoff))
    assert result.energy.item() == pytest.approx(ENERGY, rel=1e-11)
    np.testing.assert_allclose(result.forces.numpy(), FORCES, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_untying_keeps_every_bit(dtype):
    weights = {name: weight.to(dtype) for name, weight in init(SMALL, torch.Generator().manual_seed(2)).items()}
    graph = build_graph([cell(), cell(3)], SMALL.cutoff, dtype=dtype)
    config, free = untied(SMALL, weights)
    assert config == replace(SMALL, tied=False)
    assert {name: tuple(weight.shape) for name, weight in free.items()} == weight_shapes(config)
    for first, second in zip(found(SMALL, weights, graph), found(config, free, graph), strict=True):
        assert torch.equal(first, second)
    free["block2.odd"] += 0.5
    assert not torch.equal(free["block2.odd"], free["block3.odd"])
    assert not torch.equal(found(SMALL, weights, graph).energy, found(config, free, graph).energy)


def test_middle_blocks_are_stored_once():
    shapes = weight_shapes(SMALL)
    assert {name.split(".")[0] for name in shapes if "." in name} == {"block0", "middle", "block4"}
    assert weight_shapes(replace(SMALL, n_blocks=3)).keys() == weight_shapes(replace(SMALL, n_blocks=16)).keys() ^ (
        {name for name in weight_shapes(replace(SMALL, n_blocks=16)) if name.startswith("block15")}
        | {name for name in weight_shapes(replace(SMALL, n_blocks=3)) if name.startswith("block2")}
    )


def test_tied_needs_a_middle():
    with pytest.raises(ArchitectureError, match="at least 3"):
        TeaNetConfig(n_blocks=2, tied=True)


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_published_starts_finite_with_moderate_gradients(seed):
    weights = {name: w.requires_grad_() for name, w in init(PUBLISHED, torch.Generator().manual_seed(seed)).items()}
    result = found(PUBLISHED, weights, build_graph([cell(5)], PUBLISHED.cutoff, dtype=torch.float32), True)
    loss = (result.forces - 1.0).square().mean()
    gradients = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True, allow_unused=True)
    assert 0.01 < float(result.forces.detach().abs().max()) < 2.0
    assert 0.01 < float(torch.cat([gradient.flatten() for gradient in gradients]).norm()) < 20.0


def padded(graph, n_bonds):
    """The graph with a dummy atom, in a structure of its own, that bonds of the length of the cutoff join to itself."""
    n, extra = graph.n_atoms, torch.tensor([[CAMPAIGN.cutoff, 0.0, 0.0]], dtype=graph.vectors.dtype)
    index = torch.full((n_bonds,), n)
    return graph._replace(
        numbers=torch.cat([graph.numbers, torch.zeros(1, dtype=torch.int64)]),
        positions=torch.cat([graph.positions, torch.zeros_like(extra)]),
        cell=torch.cat([graph.cell, torch.zeros_like(graph.cell[:1])]),
        pbc=torch.cat([graph.pbc, torch.tensor([False])]),
        structure=torch.cat([graph.structure, torch.tensor([graph.n_structures])]),
        i=torch.cat([graph.i, index]),
        j=torch.cat([graph.j, index]),
        image=torch.cat([graph.image, torch.zeros_like(extra).expand(n_bonds, 3)]),
        vectors=torch.cat([graph.vectors, extra.expand(n_bonds, 3)]),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padding_adds_nothing(dtype):
    start = {name: w.to(dtype) for name, w in init(CAMPAIGN, torch.Generator().manual_seed(3)).items()}
    start["block1.atom_bias"] += 0.3
    graph, gradients = build_graph([cell()], CAMPAIGN.cutoff, dtype=dtype), []
    for one in (graph, padded(graph, 50)):
        weights = {name: w.clone().requires_grad_() for name, w in start.items()}
        result = found(CAMPAIGN, weights, one, True)
        loss = result.energy.sum() + result.forces.square().sum()
        gradients.append(torch.autograd.grad(loss, list(weights.values())))
    assert result.energy[1] == 0
    assert result.forces[-1].abs().max() < 1e-15
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(second, first, rtol=tolerance, atol=tolerance * float(first.abs().max()))


def test_traced_derivatives_are_those_of_eager():
    config = replace(SMALL, n_blocks=3, tied=False)
    graph = build_graph([cell(3)], config.cutoff)
    weights = {name: w.requires_grad_() for name, w in random_weights(config).items()}

    def energy_and_slope(values, vectors):
        energy = ARCHITECTURE.energy(dict(zip(weights, values, strict=True)), config, graph._replace(vectors=vectors))
        return energy, torch.autograd.grad(energy.sum(), vectors, create_graph=True)[0]

    vectors = graph.vectors.clone().requires_grad_()
    traced = make_fx(energy_and_slope)(list(weights.values()), vectors)
    for node in list(traced.graph.nodes):
        if node.target is torch.ops.aten.detach.default:
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    traced.recompile()
    found_gradients = []
    for function in (energy_and_slope, traced):
        energy, slope = function(list(weights.values()), vectors)
        loss = energy.square().sum() + slope.square().sum()
        found_gradients.append((energy, slope, *torch.autograd.grad(loss, list(weights.values()), allow_unused=True)))
    for first, second in zip(*found_gradients, strict=True):
        torch.testing.assert_close(second, first, rtol=1e-10, atol=1e-12)
