"""A2I transformer: attention against loops over pairs, what an atom sees, and what compiled training needs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.contract import check, failed
from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.graph import build_graph
from aiida_argonaut.mlip.layers import Weights
from aiida_argonaut.mlip.models import a2i
from aiida_argonaut.mlip.models.a2i import ARCHITECTURE, A2IConfig, energy, harmonics, init, swapped
from aiida_argonaut.mlip.potential import ArchitectureError, network_part

CAMPAIGN = A2IConfig(n_blocks=3, scalar_width=8, n_heads=2, vector_width=4, max_degree=3)
PUBLISHED = A2IConfig(n_blocks=2, scalar_width=8, n_heads=2, n_rounds=1, cartesian=True)
BASELINE = Baseline(((1, 0.0), (6, 0.0), (8, 0.0)), repulsion=False, scale=1.7)


def weights(config, seed=0):
    drawn = init(config, torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(9)
    return {name: (w + 0.1 * torch.randn(w.shape, generator=generator)).double() for name, w in drawn.items()}


def molecule(n=7, seed=0, size=4.0):
    random = np.random.default_rng(seed)
    return Configuration(random.choice([1, 6, 8], n), random.random((n, 3)) * size, np.zeros((3, 3)), (False,) * 3)


def chain(n, step):
    positions = [[step * k, 0.3 * (k % 2), 0.0] for k in range(n)]
    return Configuration([6] * n, np.array(positions), np.zeros((3, 3)), (False,) * 3)


def test_number_of_weights():
    count = {
        name: sum(w.numel() for w in init(config, torch.Generator()).values())
        for name, config in ARCHITECTURE.presets.items()
    }
    assert count == {"campaign": 178_560, "published": 205_312}


@pytest.mark.parametrize(
    ("degree", "legendre"),
    [(1, lambda x: x), (2, lambda x: 1.5 * x**2 - 0.5), (3, lambda x: 2.5 * x**3 - 1.5 * x)],
)
def test_products_of_harmonics_are_legendre_polynomials(degree, legendre):
    unit = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64), dim=1)
    y = harmonics(unit, degree)
    assert y.shape == (20, 2 * degree + 1)
    torch.testing.assert_close(y @ y.T, legendre(unit @ unit.T))


def test_moments_are_attention_between_pairs_of_neighbours():
    """(1), (7), (9) by loops over centres, queries j and keys k."""
    config, p = CAMPAIGN, weights(CAMPAIGN)
    w = Weights(p, "block1.")
    d, heads, c, width = config.scalar_width, config.n_heads, config.vector_width, config.key_width
    bound = config.logit_bound
    graph = build_graph([molecule(5)], config.cutoff)
    directed = torch.cat([graph.vectors, -graph.vectors])
    r = directed.norm(dim=1, keepdim=True)
    unit, u = directed / r, (r / config.cutoff).clamp(max=1.0)
    bonds = a2i.Bonds(
        torch.cat([graph.i, graph.j]),
        1 - 21 * u**5 + 35 * u**6 - 15 * u**7,
        [harmonics(unit, degree)[:, :, None] for degree in (1, 2, 3)],
        math.sqrt(config.average_neighbours),
    )
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(graph.n_atoms, d, dtype=torch.float64, generator=generator)
    t = torch.randn(2 * graph.n_bonds, d, dtype=torch.float64, generator=generator)
    gathered, moments = a2i._attention(w, config, bonds, x, t, None)
    found = [(y * m[bonds.centre]).sum(1) for y, m in zip(bonds.harmonics, moments, strict=True)]
    key, value, *arrows = (t @ w("key_value")).split([heads * width, d, c, c, c], 1)
    query, alone = (x @ w("query")).split([heads * width, heads], 1)
    for atom in range(graph.n_atoms):
        own = torch.nonzero(bonds.centre == atom)[:, 0].tolist()
        expected = {j: torch.zeros(3, c, dtype=torch.float64) for j in own}
        plain = torch.zeros(d, dtype=torch.float64)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            logits = {k: float(query[atom, part] @ key[k, part]) / math.sqrt(width) for k in own}
            terms = {k: float(bonds.envelope[k]) * math.exp(bound * math.tanh(logits[k] / bound)) for k in own}
            lone = config.average_neighbours * math.exp(bound * math.tanh(float(alone[atom, head]) / bound))
            for k in own:
                share = bonds.root * terms[k] / (lone + sum(terms.values()))
                mine = slice(head * d // heads, (head + 1) * d // heads)
                plain[mine] += share * value[k, mine]
                mine = slice(head * c // heads, (head + 1) * c // heads)
                for j in own:
                    cosine = float(unit[j] @ unit[k])
                    for degree, polynomial in enumerate(
                        (cosine, 1.5 * cosine**2 - 0.5, 2.5 * cosine**3 - 1.5 * cosine)
                    ):
                        expected[j][degree, mine] += share * polynomial * arrows[degree][k, mine]
        torch.testing.assert_close(gathered[atom], plain)
        for j in own:
            torch.testing.assert_close(torch.stack([part[j] for part in found]), expected[j])


def test_large_values_do_not_multiply_from_block_to_block(monkeypatch):
    """Of tokens a hundred times as long; every block would square what the one before has made."""
    config, p = CAMPAIGN, weights(CAMPAIGN)
    graph = build_graph([molecule()], config.cutoff)
    loud = {name: 100 * w if name == "radial" else w for name, w in p.items()}
    assert float(energy(loud, config, graph).abs()) < 100**2 * float(energy(p, config, graph).abs())
    monkeypatch.setattr(a2i, "normed", lambda values, config: values)
    assert float(energy(loud, config, graph).abs()) > 100**4 * float(energy(p, config, graph).abs())


def test_published_attention_is_softmax_and_ignores_what_has_no_weight():
    w = Weights(weights(PUBLISHED), "block0.")
    tokens = torch.randn(3, 5, 8, dtype=torch.float64)
    full = a2i._mixed(w, 2, tokens, torch.ones(3, 5, 1, dtype=torch.float64))
    parts = w.linear("qkv", tokens).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    usual = torch.nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2) @ w("merge")
    torch.testing.assert_close(full, usual)
    envelope = torch.ones(3, 5, 1, dtype=torch.float64)
    envelope[:, 4] = 0.0
    torch.testing.assert_close(
        a2i._mixed(w, 2, tokens, envelope)[:, :4], a2i._mixed(w, 2, tokens[:, :4], envelope[:, :4])
    )


@pytest.mark.parametrize("config", [CAMPAIGN, PUBLISHED], ids=["campaign", "published"])
def test_free_atoms_are_zero(config):
    alone = [Configuration([z], np.zeros((1, 3)), np.zeros((3, 3)), (False,) * 3) for z in (1, 6, 8)]
    found = energy(weights(config), config, build_graph([*alone, molecule()], config.cutoff))
    assert found[:3].abs().max() <= (1e-12 if config.cartesian else 0.0)
    assert found[3].abs() > 1e-4


def test_campaign_is_invariant_and_published_is_not():
    matrix, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    for config, invariant in ((CAMPAIGN, True), (PUBLISHED, False)):
        graph, p = build_graph([molecule()], config.cutoff), weights(config)
        first, second = (
            energy(p, config, graph._replace(vectors=vectors))
            for vectors in (graph.vectors, graph.vectors @ torch.tensor(matrix))
        )
        assert (float(abs(first - second)) < 1e-10) == invariant


@pytest.mark.parametrize(
    ("config", "apart"), [(CAMPAIGN, False), (replace(CAMPAIGN, n_rounds=1), True), (PUBLISHED, True)]
)
def test_one_round_is_one_environment(config, apart):
    """The ends of a chain of four are in one environment of no atom: no energy depends on both."""
    config = replace(config, cutoff=1.6)
    graph = build_graph([chain(4, 1.2)], config.cutoff)
    assert graph.n_bonds == 3
    vectors = graph.vectors.clone().requires_grad_()
    total = energy(weights(config), config, graph._replace(vectors=vectors)).sum()
    (slope,) = torch.autograd.grad(total, vectors, create_graph=True)
    first, last = (int(torch.nonzero((graph.i == k) | (graph.j == k))[0, 0]) for k in (0, 3))
    (coupling,) = torch.autograd.grad(slope[first].sum(), vectors)
    assert (float(coupling[last].abs().max()) < 1e-12) == apart


@pytest.mark.parametrize("preset", ["campaign", "published"])
def test_small_presets_hold_what_training_needs(preset):
    config = CAMPAIGN if preset == "campaign" else PUBLISHED
    assert not failed(check(ARCHITECTURE, preset, config, only=["force-loss", "cutoff", "longer-list", "storage"]))


def padded(graph, n_atoms, n_bonds):
    """Dummy atoms in a structure of their own, dummy bonds beyond the cutoff from the last of them to itself."""
    more, extra = n_atoms - graph.n_atoms, n_bonds - graph.n_bonds
    far = torch.tensor([[1.05 * CAMPAIGN.cutoff, 0.0, 0.0]], dtype=torch.float64)
    return graph._replace(
        numbers=torch.cat([graph.numbers, torch.ones(more, dtype=torch.int64)]),
        positions=torch.cat([graph.positions, torch.zeros(more, 3, dtype=torch.float64)]),
        cell=torch.cat([graph.cell, graph.cell[:1]]),
        pbc=torch.cat([graph.pbc, graph.pbc[:1]]),
        structure=torch.cat([graph.structure, torch.full((more,), graph.n_structures)]),
        i=torch.cat([graph.i, torch.full((extra,), n_atoms - 1)]),
        j=torch.cat([graph.j, torch.full((extra,), n_atoms - 1)]),
        image=torch.cat([graph.image, torch.zeros(extra, 3, dtype=torch.float64)]),
        vectors=torch.cat([graph.vectors, far.repeat(extra, 1)]),
    )


def test_a_traced_step_serves_other_structures_and_padding_adds_nothing():
    config = replace(CAMPAIGN, n_blocks=2, n_rounds=2, max_degree=1)
    p = weights(config)
    plain = [build_graph([molecule(7, seed)], config.cutoff) for seed in (0, 3)]
    graphs = [padded(graph, 12, 40) for graph in plain]

    def gradients(p, graph):
        leaves = {name: w.detach().requires_grad_() for name, w in p.items()}
        result = network_part(ARCHITECTURE, config, leaves, BASELINE, graph, stress=False, create_graph=True)
        loss = result.energy.square().sum() + result.forces.square().sum()
        return torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)

    traced = make_fx(gradients)(p, graphs[0])
    for first, second in zip(traced(p, graphs[1]), gradients(p, plain[1]), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9)


def test_tokens_of_published_tell_places_apart_as_well_as_species():
    """Else nothing is learned in hundreds of steps, which happened with coordinates of a tenth of this weight."""
    config = ARCHITECTURE.preset("published")
    p = init(config, torch.Generator().manual_seed(0))
    turned = torch.tensor([1.5, -1.5, 0.0, 0.0]) / config.cutoff @ p["embed"]
    assert 0.5 < float(turned.norm() / (p["species"][6] - p["species"][8]).norm()) < 2.0


def test_published_cannot_be_traced():
    """Its padding is read off the data: a trace would keep that of the first batch, and be wrong for the others."""
    graph, p = build_graph([molecule()], PUBLISHED.cutoff), weights(PUBLISHED)
    with pytest.raises(RuntimeError, match="data-dependent"):
        make_fx(lambda vectors, centre: energy(p, PUBLISHED, graph._replace(vectors=vectors, i=centre)))(
            graph.vectors, graph.i
        )


def test_swapped_is_the_other_end():
    assert swapped(torch.arange(6)).tolist() == [3, 4, 5, 0, 1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_blocks": 0}, "all sizes must be positive"),
        ({"max_degree": 4}, "max_degree 1 to 3"),
        ({"scalar_width": 60}, "must be multiples of n_heads"),
        ({"vector_width": 12}, "must be multiples of n_heads"),
        ({"n_rounds": 4}, "n_rounds 4 with 3 blocks: expected at most as many"),
    ],
)
def test_config_is_refused(change, message):
    with pytest.raises(ArchitectureError, match=message):
        A2IConfig(**change)
