"""LEIGNN: sizes, the published form against loops over atoms, the cap, and what compiled training needs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.committee import Committee
from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.graph import build_graph
from aiida_argonaut.mlip.models.leignn import ARCHITECTURE, LeignnConfig, arrows, direct, energy, init
from aiida_argonaut.mlip.potential import ArchitectureError, baseline_part, evaluate, network_part

SMALL = replace(ARCHITECTURE.preset("published"), n_layers=2, scalar_width=6, vector_width=6, n_basis=5)
CAMPAIGN = replace(ARCHITECTURE.preset("campaign"), n_layers=2, scalar_width=10, vector_width=4)
BASELINE = Baseline(((1, -13.0), (6, -150.0), (8, -430.0)), scale=1.7)


def weights(config, seed=0):
    drawn = init(config, torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(9)
    return {name: (w + 0.1 * torch.randn(w.shape, generator=generator)).double() for name, w in drawn.items()}


def molecule(n=7, seed=0, size=4.0):
    random = np.random.default_rng(seed)
    return Configuration(random.choice([1, 6, 8], n), random.random((n, 3)) * size, np.zeros((3, 3)), (False,) * 3)


def test_number_of_parameters():
    count = {name: sum(w.numel() for w in init(config, torch.Generator()).values())
             for name, config in ARCHITECTURE.presets.items()}  # fmt: skip
    assert count["published"] == 9_374_213
    assert 150_000 < count["campaign"] < 250_000


def mlp(p, name, x):
    hidden = x @ p[f"{name}1"] + p[f"{name}1_bias"]
    hidden = hidden * torch.sigmoid(hidden) / 0.6
    return hidden @ p[f"{name}2"] + p[f"{name}2_bias"]


def by_hand(p, config, structure):
    """(1) to (3) of the module's docstring, one atom and one neighbour at a time."""
    h, n = config.scalar_width, len(structure)
    positions = torch.tensor(structure.positions)
    x = [p["embedding"][z - 1] for z in structure.numbers]
    v = [torch.zeros(3, h, dtype=torch.float64) for _ in range(n)]
    for layer in range(config.n_layers):
        w = {name.split(".")[1]: weight for name, weight in p.items() if name.startswith(f"layer{layer}.")}
        dx, dv = [torch.zeros_like(each) for each in x], [torch.zeros_like(each) for each in v]
        for i in range(n):
            for j in range(n):
                away = positions[j] - positions[i]
                u = float(away.norm()) / config.cutoff
                if i == j or u >= 1:
                    continue
                grid = torch.arange(config.n_basis, dtype=torch.float64) / (config.n_basis - 1)
                rbf = torch.exp(-0.5 * ((u - grid) * (config.n_basis - 1)) ** 2)
                rbf = rbf * (1 - 21 * u**5 + 35 * u**6 - 15 * u**7)
                m = mlp(w, "message", x[j]) * (rbf @ w["radial"] + w["radial_bias"]) / math.sqrt(3)
                dv[i] += (m[:h] * v[j] + m[h : 2 * h] * (away / away.norm())[:, None]) / math.sqrt(h)
                dx[i] += m[2 * h :]
        x, v = [(a + b) / math.sqrt(2) for a, b in zip(x, dx, strict=True)], [a + b for a, b in zip(v, dv, strict=True)]
        total = sum(mlp(w, "sum", a) * (b @ w["sum_vector"])[:, 0] for a, b in zip(x, v, strict=True))
        for i in range(n):
            first, second = (v[i] @ w["mix"]).split(h, dim=1)
            norm = torch.sqrt((second**2).sum(0) + 0.01) - 0.1
            y = mlp(w, "update", torch.cat([x[i], total @ second / math.sqrt(h), norm]))
            own = x[i] @ w["own"] + w["own_bias"]
            x[i] = x[i] + (own * torch.sigmoid(own) / 0.6 + y[:h]) / 2
            v[i] = v[i] + y[h:] * first
    return sum(mlp(p, "energy", a)[0] for a in x), torch.stack([(a @ p["force"])[:, 0] for a in v])


def test_published_form_is_its_equations():
    structure, p = molecule(), weights(SMALL)
    expected = by_hand(p, SMALL, structure)
    found = direct(p, SMALL, build_graph([structure], SMALL.cutoff))
    torch.testing.assert_close(found[0][0], expected[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-9, atol=1e-9)


def test_cap_keeps_the_nearest_and_ties():
    positions = [[0.0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1.5, 0], [0, -1.5, 0], [0, 0, 2.5]]
    structure = Configuration([6] * 6, np.array(positions), np.zeros((3, 3)), (False,) * 3)

    def of_centre(cap):
        found = arrows(replace(SMALL, max_neighbours=cap), build_graph([structure], SMALL.cutoff))
        return sorted(found.other[found.centre == 0].tolist())

    assert of_centre(2) == [1, 2]
    assert of_centre(3) == [1, 2, 3, 4]
    assert of_centre(5) == of_centre(20) == [1, 2, 3, 4, 5]


def test_direct_forces_are_the_network_s_and_the_baseline_s():
    structure, p = molecule(size=1.6), weights(SMALL)
    graph = build_graph([structure], SMALL.cutoff)
    result = evaluate(ARCHITECTURE, SMALL, p, BASELINE, graph)
    ground = baseline_part(BASELINE, graph)
    network = direct(p, SMALL, graph)
    assert ground.forces.abs().max() > 0.01
    torch.testing.assert_close(result.forces, ground.forces + 1.7 * network[1])
    torch.testing.assert_close(result.energy, ground.energy + 1.7 * network[0])
    assert result.stress is None
    assert not result.forces.requires_grad


def test_direct_forces_can_be_trained():
    p = {name: w.requires_grad_() for name, w in weights(SMALL).items()}
    graph = build_graph([molecule()], SMALL.cutoff)
    result = network_part(ARCHITECTURE, SMALL, p, BASELINE, graph, create_graph=True)
    (result.energy.sum() + result.forces.square().sum()).backward()
    assert {name for name, w in p.items() if w.grad is None} == set()
    assert p["force"].grad.abs().max() > 0


def test_committee_of_direct_forces_has_no_stress(tmp_path):
    cell = Configuration([6, 8], np.array([[0.0, 0, 0], [1.4, 1.2, 1.1]]), np.eye(3) * 3.1)
    members = tuple({n: w.float() for n, w in weights(SMALL, seed).items()} for seed in (0, 1))
    committee = Committee(ARCHITECTURE, "published", SMALL, BASELINE, members)
    (prediction,) = committee.predict([cell], stress=True)
    assert prediction.stress is None
    assert prediction.force_deviation.min() > 0
    committee.save(tmp_path)
    (again,) = Committee.load(tmp_path).predict([cell])
    assert np.array_equal(prediction.forces, again.forces)


def test_direct_forces_without_a_function_for_them():
    graph = build_graph([molecule()], SMALL.cutoff)
    with pytest.raises(ArchitectureError, match="the config has direct_forces, the architecture no `direct`"):
        network_part(replace(ARCHITECTURE, direct=None), SMALL, weights(SMALL), BASELINE, graph)


def padded(graph, n_atoms, n_bonds):
    """Dummy atoms in a structure of their own, dummy bonds of the cutoff's length between the last two of them."""
    more, extra = n_atoms - graph.n_atoms, n_bonds - graph.n_bonds
    far = torch.tensor([[CAMPAIGN.cutoff, 0.0, 0.0]], dtype=torch.float64)
    return graph._replace(
        numbers=torch.cat([graph.numbers, torch.ones(more, dtype=torch.int64)]),
        positions=torch.cat([graph.positions, torch.zeros(more, 3, dtype=torch.float64)]),
        cell=torch.cat([graph.cell, graph.cell[:1]]),
        pbc=torch.cat([graph.pbc, graph.pbc[:1]]),
        structure=torch.cat([graph.structure, torch.full((more,), graph.n_structures)]),
        i=torch.cat([graph.i, torch.full((extra,), n_atoms - 1)]),
        j=torch.cat([graph.j, torch.full((extra,), n_atoms - 2)]),
        image=torch.cat([graph.image, torch.zeros(extra, 3, dtype=torch.float64)]),
        vectors=torch.cat([graph.vectors, far.repeat(extra, 1)]),
    )


def test_padding_adds_exactly_nothing():
    graph, p = build_graph([molecule(), molecule(4, 1)], CAMPAIGN.cutoff), weights(CAMPAIGN)
    filled = padded(graph, graph.n_atoms + 5, graph.n_bonds + 20)
    here = network_part(ARCHITECTURE, CAMPAIGN, p, BASELINE, graph)
    there = network_part(ARCHITECTURE, CAMPAIGN, p, BASELINE, filled)
    assert there.energy[2] == 0
    assert there.forces[graph.n_atoms :].abs().max() == 0
    torch.testing.assert_close(there.energy[:2], here.energy, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(there.forces[: graph.n_atoms], here.forces, rtol=1e-12, atol=1e-12)


def test_a_traced_step_serves_other_structures_of_the_same_shape():
    p = weights(CAMPAIGN)
    graphs = [padded(build_graph([molecule(7, seed)], CAMPAIGN.cutoff), 12, 40) for seed in (0, 3)]

    def gradients(p, graph):
        leaves = {name: w.detach().requires_grad_() for name, w in p.items()}
        result = network_part(ARCHITECTURE, CAMPAIGN, leaves, BASELINE, graph, stress=False, create_graph=True)
        loss = result.energy.square().sum() + (result.forces - 1.0).square().sum()
        return torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)

    traced = make_fx(gradients)(p, graphs[0])
    for first, second in zip(traced(p, graphs[1]), gradients(p, graphs[1]), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9)


def test_angles_are_seen():
    def bent(angle):
        positions = [[0, 0, 0], [1.1, 0, 0], [1.1 * math.cos(angle), 1.1 * math.sin(angle), 0]]
        return Configuration([8, 1, 1], np.array(positions), np.zeros((3, 3)), (False,) * 3)

    config = replace(CAMPAIGN, cutoff=1.3)  # the two ends do not see each other
    graph = build_graph([bent(1.8), bent(2.4)], config.cutoff)
    assert graph.n_bonds == 4
    first, second = energy(weights(config), config, graph)
    assert abs(first - second) > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_layers": 0}, "sizes must be positive"),
        ({"n_elements": 17}, "n_elements 18"),
        ({"max_neighbours": 20}, "max_neighbours goes with direct_forces"),
        ({"direct_forces": True}, "max_neighbours goes with direct_forces"),
        ({"direct_forces": True, "max_neighbours": 20}, "vector_width must equal scalar_width"),
    ],
)
def test_config_is_refused(change, message):
    with pytest.raises(ArchitectureError, match=message):
        LeignnConfig(**change)
