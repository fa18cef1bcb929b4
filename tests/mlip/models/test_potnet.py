"""PotNet: the energy of complete sums against loops, charges, what is felt from afar, and the published regression."""

import itertools
import math
from dataclasses import replace

import ase.build
import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.contract import check
from aiida_argonaut.mlip.contract.subject import crystal, free
from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.graph import build_graph
from aiida_argonaut.mlip.lattice_sums import lattice_sums
from aiida_argonaut.mlip.layers import bessel_basis, lengths
from aiida_argonaut.mlip.models import potnet
from aiida_argonaut.mlip.models.potnet import ARCHITECTURE, PUBLISHED, PotNetConfig, charges, energy, init, regression
from aiida_argonaut.mlip.models.potnet_elements import FEATURES
from aiida_argonaut.mlip.potential import ArchitectureError, network_part

CAMPAIGN = PotNetConfig(n_layers=2, scalar_width=8)
SMALL_PUBLISHED = replace(PUBLISHED, scalar_width=16, n_layers=2)
BASELINE = Baseline(tuple((z, 0.0) for z in range(1, 19)), repulsion=False, scale=1.7)
K = 14.399645


def weights(config=CAMPAIGN, seed=0, **zero):
    """Random weights in float64; those named are zero."""
    drawn = init(config, torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(9)
    noisy = {name: (w + 0.1 * torch.randn(w.shape, generator=generator)).double() for name, w in drawn.items()}
    return {name: torch.zeros_like(w) if name in zero else w for name, w in noisy.items()}


def complete(config=CAMPAIGN, **zero):
    """Weights with which nothing is left but (8); charges are large enough to matter."""
    p = weights(config, out=0, out_read=0, **zero)
    return {**p, "flow": 5.0 * p["flow"]}


def molecule(n=7, seed=0, size=6.0):
    """Atoms in a box that is larger than the cutoff, none nearer than 1 Å."""
    random, places = np.random.default_rng(seed), [np.zeros(3)]
    while len(places) < n:
        place = random.random(3) * size
        if min(np.linalg.norm(place - other) for other in places) > 1.0:
            places.append(place)
    return free(random.choice([1, 6, 8, 11], n), places)


def joined(first, second, shift):
    return free([*first.numbers, *second.numbers], np.concatenate([first.positions, second.positions + shift]))


def envelope(r, cutoff):
    u = min(r / cutoff, 1.0)
    return 1 - 21 * u**5 + 35 * u**6 - 15 * u**7


def undamped(r, config):
    """short of one bond: what is taken off 1/r^6."""
    return envelope(r, config.cutoff) * (1 / r**6 - 1 / (r**6 + config.damping**6))


def factors(p, config, graph):
    """q, s and p of (8) as lists."""
    s, overlap = (p[name][graph.numbers - 1].square().tolist() for name in ("dispersion", "overlap"))
    return charges(p, config, graph).tolist(), s, overlap


@pytest.mark.parametrize(("preset", "expected"), [("campaign", 213_444), ("published", 1_751_809)])
def test_number_of_weights(preset, expected):
    names = init(ARCHITECTURE.preset(preset), torch.Generator())
    running = ("_mean", "_log_variance")
    assert sum(w.numel() for name, w in names.items() if not name.endswith(running)) == expected
    assert any(name.endswith(running) for name in names) == (preset == "published")


def test_energy_of_a_molecule_is_the_double_sum():
    p, start = complete(), molecule(9)
    graph = build_graph([start], CAMPAIGN.cutoff)
    q, s, overlap = factors(p, CAMPAIGN, graph)
    expected, distances = 0.0, []
    for i, j in itertools.combinations(range(9), 2):
        r = float(np.linalg.norm(start.positions[i] - start.positions[j]))
        distances.append(r)
        expected += K * q[i] * q[j] / r - s[i] * s[j] * (1 / r**6 - undamped(r, CAMPAIGN))
        expected += overlap[i] * overlap[j] * math.exp(-3 * r)
    assert min(distances) < CAMPAIGN.damping < CAMPAIGN.cutoff < max(distances)
    assert min(abs(charge) for charge in q) > 1e-3
    assert float(energy(p, CAMPAIGN, graph)) == pytest.approx(expected, rel=1e-9)


def test_energy_of_a_crystal_is_the_sum_over_pairs_and_images():
    p, start = complete(), crystal(n=3)
    graph = build_graph([start], CAMPAIGN.cutoff)
    q, s, overlap = factors(p, CAMPAIGN, graph)
    sums = lattice_sums(graph.positions, graph.cell, graph.pbc, graph.structure, tolerance=1e-12)
    expected = 0.0
    for i, j, values in zip(sums.i.tolist(), sums.j.tolist(), sums.values.tolist(), strict=True):
        once = 0.5 if i == j else 1.0
        short = 0.0
        for image in itertools.product(range(-4, 5), repeat=3):
            vector = start.positions[j] - start.positions[i] + np.array(image) @ start.cell
            r = float(np.linalg.norm(vector))
            short += undamped(r, CAMPAIGN) if r > 1e-9 else 0.0
        expected += once * (K * q[i] * q[j] * values[0] - s[i] * s[j] * (values[1] - short))
        expected += once * overlap[i] * overlap[j] * values[2]
    assert min(abs(charge) for charge in q) > 1e-3
    assert float(energy(p, CAMPAIGN, graph)) == pytest.approx(expected, rel=1e-9)


def test_charges_are_what_flows_along_bonds():
    """(7) bond by bond; the order of a bond's ends says nothing."""
    p = weights()
    graph = build_graph([molecule(), crystal()], CAMPAIGN.cutoff)
    basis = bessel_basis(lengths(graph.vectors), CAMPAIGN.cutoff, CAMPAIGN.n_basis)
    nodes, _ = potnet._states(p, CAMPAIGN, graph, basis)
    expected = torch.zeros(graph.n_atoms, dtype=torch.float64)
    for bond, (i, j) in enumerate(zip(graph.i.tolist(), graph.j.tolist(), strict=True)):
        for atom, other in ((i, j), (j, i)):
            level = (nodes[atom] - nodes[other]) @ p["flow"]
            expected[atom] += (level * (basis[bond] @ p["flow_radial"])).mean() / math.sqrt(30.0)
    torch.testing.assert_close(charges(p, CAMPAIGN, graph), expected)
    flipped = graph._replace(i=graph.j, j=graph.i, image=-graph.image, vectors=-graph.vectors)
    torch.testing.assert_close(charges(p, CAMPAIGN, flipped), expected)


def test_charges_of_every_structure_and_of_every_far_fragment_add_up_to_zero():
    p, one, two = weights(), molecule(5, 1), molecule(6, 2)
    alone = [charges(p, CAMPAIGN, build_graph([each], CAMPAIGN.cutoff)) for each in (one, two, crystal())]
    both = charges(p, CAMPAIGN, build_graph([joined(one, two, [15.0, 0.0, 0.0]), crystal()], CAMPAIGN.cutoff))
    assert max(float(part.sum().abs()) for part in alone) < 1e-13
    assert min(float(part.abs().max()) for part in alone) > 1e-3
    torch.testing.assert_close(both, torch.cat(alone), rtol=0, atol=1e-13)


def test_charges_of_a_dimer_are_odd():
    p = weights()
    pairs = [free(pair, [[0.0, 0.0, 0.0], [0.0, 0.0, 1.2]]) for pair in ([6, 8], [8, 6], [6, 6])]
    found = charges(p, CAMPAIGN, build_graph(pairs, CAMPAIGN.cutoff)).view(3, 2)
    assert found[0, 0].abs() > 1e-3
    torch.testing.assert_close(found[:2, 0], -found[:2, 1])
    torch.testing.assert_close(found[0], found[1].flip(0))
    assert found[2].abs().max() == 0.0


def test_free_atoms_are_zero():
    alone = [free([z], [[0.0, 0.0, 0.0]]) for z in (1, 11, 18)]
    found = energy(weights(), CAMPAIGN, build_graph([*alone, molecule()], CAMPAIGN.cutoff))
    assert found[:3].abs().max() == 0.0
    assert found[3].abs() > 1e-3


def crossing(distances, cell):
    """A molecule, and an atom at some distances from one of its atoms, the others being further away from it."""
    places = [[0.0, 0.0, 0.0], [1.2, 0.4, 0.0], [0.5, 1.5, 0.6]]
    return [
        Configuration([8, 1, 6, 11], np.array([*places, [-0.6 * r, 0.0, -0.8 * r]]), cell, (bool(cell.any()),) * 3)
        for r in distances
    ]


@pytest.mark.parametrize("cell", [np.zeros((3, 3)), 14.0 * np.eye(3)], ids=["free", "periodic"])
def test_nothing_jumps_at_the_cutoff_though_forces_reach_beyond(cell):
    """What is left of a jump shrinks with the step, and charges have lost all dependence on what leaves."""
    p = weights()
    p, steps = {**p, "flow": 5.0 * p["flow"]}, (1e-4, 1e-5, 1e-6)
    distances = [CAMPAIGN.cutoff + sign * step for step in steps for sign in (-1, 1)]
    graph = build_graph(crossing([*distances, CAMPAIGN.cutoff - 1.0], cell), CAMPAIGN.cutoff)
    found = network_part(ARCHITECTURE, CAMPAIGN, p, BASELINE, graph)
    forces, q = found.forces.view(7, -1), charges(p, CAMPAIGN, graph).view(7, 4)
    assert forces[1].view(4, 3)[3].abs().max() > 1e-5
    for values in (found.energy[:, None], forces):
        jumps = (values[1:6:2] - values[0:6:2]).abs().amax(1)
        torch.testing.assert_close(jumps[:2] / jumps[1:], jumps.new_full((2,), 10.0), rtol=0.03, atol=0.0)
    assert q[1:6:2, 3].abs().max() == 0.0
    assert q[0, 3].abs() < 1e-13 < 1e-4 < q[6, 3].abs()


def apart_by(p, one, two, distance):
    """Energy of two molecules minus that of each alone."""
    both = joined(one, two, [distance, 0.0, 0.0])
    found = energy(p, CAMPAIGN, build_graph([both, one, two], CAMPAIGN.cutoff))
    return float(found[0] - found[1] - found[2])


def test_polar_molecules_interact_as_dipoles():
    p = complete(dispersion=0, overlap=0)
    bonds = (np.array([0.5, 0.3, 0.2]), np.array([0.4, -0.1, 0.3]))
    one, two = (free(z, [-half, half]) for z, half in zip(([6, 8], [11, 17]), bonds, strict=True))
    assert apart_by(p, one, two, 30.0) / apart_by(p, one, two, 60.0) == pytest.approx(8.0, rel=5e-3)
    q = charges(p, CAMPAIGN, build_graph([one, two], CAMPAIGN.cutoff)).numpy().reshape(2, 2)
    first, second = q[0] @ one.positions, q[1] @ two.positions
    expected = K * (first @ second - 3 * first[0] * second[0]) / 60.0**3
    assert apart_by(p, one, two, 60.0) == pytest.approx(expected, rel=5e-3)


def test_dispersion_falls_with_the_sixth_power():
    p, one, two = complete(flow=0, overlap=0), molecule(3, 1, 2.0), molecule(3, 2, 2.0)
    assert apart_by(p, one, two, 40.0) < 0
    middle = two.positions.mean(0) - one.positions.mean(0)
    two = free(two.numbers, two.positions - middle)  # centres along the line, or 1/R^7 shows
    assert apart_by(p, one, two, 40.0) / apart_by(p, one, two, 80.0) == pytest.approx(64.0, rel=0.03)


def test_released_scaling_changes_crystals_only():
    p, structures = weights(SMALL_PUBLISHED), [crystal(), molecule()]
    graph = build_graph(structures, SMALL_PUBLISHED.cutoff)
    plain, released = (energy(p, replace(SMALL_PUBLISHED, released_scaling=switch), graph) for switch in (False, True))
    assert abs(plain[0] - released[0]) > 1e-4
    torch.testing.assert_close(plain[1], released[1], rtol=1e-13, atol=0.0)


def normalised(p, name, x):
    scale = 1 / np.sqrt(np.exp(p[f"{name}_log_variance"]) + 1e-5)
    return (x - p[f"{name}_mean"]) * scale * p[f"{name}_gain"] + p[f"{name}_bias"]


def test_published_form_edge_by_edge():
    """(1) to (3) by a loop over the edges of a crystal with fewer than 16 neighbours."""
    config = replace(SMALL_PUBLISHED, cutoff=2.9)
    tensors, start = weights(config), crystal(n=3)
    p = {name: w.numpy() for name, w in tensors.items()}
    graph = build_graph([start], config.cutoff)

    def linear(name, x):
        return x @ p[name] + p[f"{name}_bias"]

    def mlp(name, x):
        inner = linear(f"{name}1", x)
        return linear(f"{name}2", inner / (1 + np.exp(-inner)))

    edges = []
    for i, j, vector in zip(graph.i.tolist(), graph.j.tolist(), graph.vectors.numpy(), strict=True):
        gaussians = np.exp(-0.5 * ((-0.75 / np.linalg.norm(vector) - np.linspace(-4, 4, 256)) / (8 / 255)) ** 2)
        edges += [(i, j, linear("local", gaussians)), (j, i, linear("local", gaussians))]
    sums = lattice_sums(graph.positions, graph.cell, graph.pbc, graph.structure, tolerance=1e-12)
    for i, j, (coulomb, london, pauli) in zip(sums.i.tolist(), sums.j.tolist(), sums.values.tolist(), strict=True):
        mixed = -0.801 * coulomb - 0.074 * london + 0.145 * pauli
        quadrics = np.sqrt(1 + ((mixed - np.linspace(-4, 4, 64)) / (8 / 63)) ** 2)
        e = normalised(p, "infinite_norm", np.log1p(np.exp(linear("infinite", quadrics))))
        edges += [(i, j, e)] if i == j else [(i, j, e), (j, i, e)]
    assert len(edges) == 2 * graph.n_bonds + 3 * 3 > 20
    x = linear("atom", FEATURES.numpy()[start.numbers - 1])
    for layer in range(config.n_layers):
        total = np.zeros_like(x)
        for i, j, e in edges:
            z = np.concatenate([x[i], x[j], e])
            gate = normalised(p, f"layer{layer}.gate_norm", mlp(f"layer{layer}.gate", z))
            total[i] += mlp(f"layer{layer}.value", z) / (1 + np.exp(-gate))
        x = np.maximum(x + normalised(p, f"layer{layer}.norm", total), 0)
    expected = linear("out", np.log(0.5 + 0.5 * np.exp(linear("pooled", x.mean(0)))))
    assert float(regression(tensors, config, graph)) == pytest.approx(expected[0], rel=1e-9)
    assert float(energy(tensors, config, graph)) == pytest.approx(3 * expected[0], rel=1e-9)


def published_edges(structure, config):
    """Local and infinite edges as lists of (centre, other)."""
    graph = build_graph([structure, molecule(4)], config.cutoff)
    centre, other, edges = potnet._edges(potnet._Normalising(weights(config), None), config, graph)
    assert edges.shape == (len(centre), config.scalar_width)
    pairs = list(zip(centre.tolist(), other.tolist(), strict=True))
    infinite = len(structure) ** 2 + 4**2
    return pairs[:-infinite], pairs[-infinite:]


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (ase.build.bulk("Na", "bcc", a=2.7), 26),
        (ase.build.bulk("Al", "fcc", a=4.05), 12),
        (ase.build.bulk("Si", "diamond", a=4.6), 16),
    ],
    ids=["bcc: 8 + 6 + 12", "fcc: 12, the rest beyond 4 Å", "diamond: 4 + 12, 12 more left out"],
)
def test_published_neighbours_are_the_sixteen_nearest_and_ties(atoms, expected):
    local, _ = published_edges(Configuration.from_atoms(atoms), SMALL_PUBLISHED)
    assert [sum(centre == k for centre, _ in local) for k in range(len(atoms))] == [expected] * len(atoms)


def test_published_neighbours_of_a_crystal_without_symmetry():
    start = crystal(0.95)
    local, infinite = published_edges(start, SMALL_PUBLISHED)
    images = np.array(list(itertools.product(range(-3, 4), repeat=3))) @ start.cell
    for k in range(5):
        around = [
            (float(np.linalg.norm(start.positions[j] - start.positions[k] + image)), j)
            for j in range(5) for image in images
        ]  # fmt: skip
        around = [(r, j) for r, j in sorted(around) if 1e-9 < r < 4.0]
        assert around[16][0] > around[15][0] + 1e-3
        assert sorted(j for _, j in around[:16]) == sorted(other for centre, other in local if centre == k)
    expected = [*itertools.product(range(5), repeat=2), *itertools.product(range(5, 9), repeat=2)]
    assert sorted(infinite) == expected


def test_normalisation_and_running_statistics_are_those_of_batch_norm():
    p, name = weights(SMALL_PUBLISHED), "infinite_norm"
    before = {key: w.clone() for key, w in p.items()}
    inputs = 3 + 2 * torch.randn(20, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    running: dict[str, torch.Tensor] = {}
    found = potnet._Normalising(p, running).normalised(name, inputs)
    mean, variance = p[f"{name}_mean"].clone(), p[f"{name}_log_variance"].exp()
    gain, bias = p[f"{name}_gain"], p[f"{name}_bias"]
    usual = torch.nn.functional.batch_norm(inputs, mean, variance.clone(), gain, bias, training=True, momentum=0.1)
    torch.testing.assert_close(found, usual)
    torch.testing.assert_close(running.pop(f"{name}_mean"), mean)
    expected = 0.9 * variance + 0.1 * inputs.var(0, correction=0)
    torch.testing.assert_close(running.pop(f"{name}_log_variance").exp(), expected)
    assert running == {}
    assert all(torch.equal(p[key], w) for key, w in before.items())


def test_running_statistics_of_a_batch_reproduce_it(monkeypatch):
    p = weights(SMALL_PUBLISHED)
    graph = build_graph([crystal(), crystal(0.9, 3), molecule()], SMALL_PUBLISHED.cutoff)
    monkeypatch.setattr(potnet, "MOMENTUM", 1.0)
    running: dict[str, torch.Tensor] = {}
    batch = regression(p, SMALL_PUBLISHED, graph, running)
    ends = ("_mean", "_log_variance")
    assert set(running) == {name + end for name in potnet.normalisations(SMALL_PUBLISHED) for end in ends}
    assert float((batch - regression(p, SMALL_PUBLISHED, graph)).abs().min()) > 1e-4
    torch.testing.assert_close(regression({**p, **running}, SMALL_PUBLISHED, graph), batch, rtol=1e-10, atol=1e-10)


def test_batch_mates_count_in_training_only():
    p, structures = weights(SMALL_PUBLISHED), [crystal(), molecule()]
    together = build_graph(structures, SMALL_PUBLISHED.cutoff)
    each = [build_graph([structure], SMALL_PUBLISHED.cutoff) for structure in structures]
    for running, same in ((None, True), ({}, False)):
        both = regression(p, SMALL_PUBLISHED, together, running)
        alone = torch.cat([regression(p, SMALL_PUBLISHED, graph, running) for graph in each])
        assert bool(((both - alone).abs() < 1e-12).all()) == same


def test_small_campaign_holds_what_dynamics_and_training_need():
    needed = ["force-loss", "longer-list", "storage", "supercell", "small-cell", "crowding"]
    outcomes = check(ARCHITECTURE, "campaign", CAMPAIGN, only=needed)
    assert [outcome.status for outcome in outcomes] == ["held"] * 6, "\n".join(map(str, outcomes))


@pytest.mark.parametrize("config", [CAMPAIGN, SMALL_PUBLISHED], ids=["campaign", "published"])
@pytest.mark.parametrize("structure", [crystal(), molecule()], ids=["crystal", "molecule"])
def test_a_step_cannot_be_traced(config, structure):
    """Which terms are summed is read off the data: a trace would keep those of the first batch."""
    graph, p = build_graph([structure], config.cutoff), weights(config)

    def gradients(p, graph):
        leaves = {name: w.detach().requires_grad_() for name, w in p.items()}
        found = network_part(ARCHITECTURE, config, leaves, BASELINE, graph, stress=False, create_graph=True)
        return torch.autograd.grad(found.forces.square().sum(), list(leaves.values()), allow_unused=True)

    assert gradients(p, graph)
    with pytest.raises(RuntimeError, match="data-dependent"):
        make_fx(gradients)(p, graph)


@pytest.mark.parametrize(
    ("start", "change", "message"),
    [
        (CAMPAIGN, {"n_layers": 0}, "sizes must be positive"),
        (CAMPAIGN, {"cutoff": 0.0}, "sizes must be positive"),
        (CAMPAIGN, {"damping": -1.0}, "sizes must be positive"),
        (CAMPAIGN, {"scalar_width": 1}, "scalar_width and n_basis at least 2"),
        (CAMPAIGN, {"n_basis": 1}, "n_basis at least 2"),
        (CAMPAIGN, {"published": True}, "published needs max_neighbours of 1"),
        (CAMPAIGN, {"max_neighbours": 16}, "go with published"),
        (CAMPAIGN, {"infinite_basis": 1}, "go with published"),
        (CAMPAIGN, {"released_scaling": True}, "go with published"),
        (PUBLISHED, {"max_neighbours": 0}, "published needs max_neighbours of 1"),
        (PUBLISHED, {"infinite_basis": 1}, "infinite_basis of 2 or more"),
    ],
)
def test_config_is_refused(start, change, message):
    with pytest.raises(ArchitectureError, match=message):
        replace(start, **change)
