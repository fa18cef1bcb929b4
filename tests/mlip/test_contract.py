"""What every architecture and preset must hold, in float64: invariances, derivatives, smoothness, extensivity."""

from dataclasses import replace

import ase.build
import numpy as np
import pytest
import torch

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.committee import Committee
from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.graph import Graph, build_graph, with_positions
from aiida_argonaut.mlip.potential import evaluate, get_architecture, network_part

CASES = [("teanet", "campaign")]
BASELINE = Baseline(tuple((z, -100.0 * z) for z in range(1, 19)), scale=2.0)
NO_BASELINE = Baseline(tuple((z, 0.0) for z in range(1, 19)), repulsion=False)
CELL = np.array([[4.1, 0.3, 0.2], [0.5, 3.7, -0.4], [-0.3, 0.6, 4.6]])


class Model:
    """An architecture with random weights; the read-out is large, so that a broken symmetry is visible."""

    def __init__(self, name, preset, baseline=BASELINE, config=None, seed=0):
        self.architecture = get_architecture(name)
        self.config = config or self.architecture.preset(preset)
        weights = self.architecture.init(self.config, torch.Generator().manual_seed(seed))
        self.parameters = {key: weight.double() for key, weight in weights.items()}
        self.baseline = baseline

    def graph(self, *configurations):
        return build_graph(configurations, self.config.cutoff)

    def __call__(self, *configurations):
        return self.on(self.graph(*configurations))

    def on(self, graph):
        return evaluate(self.architecture, self.config, self.parameters, self.baseline, graph)


@pytest.fixture(params=CASES, ids=["-".join(case) for case in CASES])
def case(request):
    return request.param


@pytest.fixture
def model(case):
    return Model(*case)


def triclinic(n=5, seed=1, scale=1.0, elements=(1, 6, 8, 14, 17)):
    random = np.random.default_rng(seed)
    return Configuration(random.choice(elements, n), random.random((n, 3)) @ (CELL * scale), CELL * scale)


def cluster(n=6, seed=2, size=3.5):
    random = np.random.default_rng(seed)
    return Configuration(random.integers(1, 19, n), random.random((n, 3)) * size, np.zeros((3, 3)), (False,) * 3)


def close(first, second, tolerance=1e-8):
    torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("determinant", [1, -1])
def test_rotation_and_reflection(model, determinant):
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    rotation *= determinant * np.sign(np.linalg.det(rotation))
    start = triclinic()
    here = model.graph(start)
    turned = torch.tensor(rotation)
    there = here._replace(positions=here.positions @ turned, cell=here.cell @ turned, vectors=here.vectors @ turned)
    first, second = model.on(here), model.on(there)
    close(first.energy, second.energy)
    close(first.forces @ turned, second.forces)
    close(turned.T @ first.stress @ turned, second.stress)
    assert first.forces.abs().max() > 0.1


def test_translation_and_wrapping(model):
    start = triclinic()
    shift = np.array([1.3, -7.7, 2.1]) + np.random.default_rng(0).integers(-2, 3, (len(start), 3)) @ start.cell
    moved = Configuration(start.numbers, start.positions + shift, start.cell)
    first, second = model(start), model(moved)
    close(first.energy, second.energy, 1e-6)
    close(first.forces, second.forces, 1e-5)


def test_permutation(model):
    start = triclinic()
    order = np.array([3, 0, 4, 1, 2])
    first = model(start)
    second = model(Configuration(start.numbers[order], start.positions[order], start.cell))
    close(first.energy, second.energy)
    close(first.forces[order], second.forces)


def test_bond_direction_does_not_matter(model):
    graph = model.graph(triclinic())
    flipped = graph._replace(i=graph.j, j=graph.i, image=-graph.image, vectors=-graph.vectors)
    first, second = model.on(graph), model.on(flipped)
    close(first.energy, second.energy)
    close(first.forces, second.forces)
    close(first.stress, second.stress)


def test_batch_equals_singles(model):
    configurations = [triclinic(), cluster(), triclinic(3, seed=8, scale=0.8), cluster(1)]
    batch = model(*configurations)
    singles = [model(configuration) for configuration in configurations]
    close(batch.energy, torch.cat([single.energy for single in singles]))
    close(batch.forces, torch.cat([single.forces for single in singles]))
    close(batch.stress, torch.cat([single.stress for single in singles]))


def test_no_gradient_between_structures(model):
    graph = model.graph(triclinic(), cluster())
    vectors = graph.vectors.clone().requires_grad_()
    positions = graph.positions.clone().requires_grad_()
    inner = graph._replace(vectors=vectors, positions=positions)
    energy = model.architecture.energy(model.parameters, model.config, inner)
    (slope,) = torch.autograd.grad(energy[0], vectors)
    other = graph.structure[graph.i] == 1
    assert slope[other].abs().max() == 0
    assert slope[~other].abs().max() > 0


def test_forces_are_finite_differences(model):
    start = triclinic()
    graph = model.graph(start)
    forces = model.on(graph).forces
    step = 1e-5
    for atom, axis in [(0, 0), (2, 1), (4, 2)]:
        energies = []
        for sign in (1, -1):
            positions = graph.positions.clone()
            positions[atom, axis] += sign * step
            energies.append(model.on(with_positions(graph, positions)).energy[0])
        assert abs(-(energies[0] - energies[1]) / (2 * step) - forces[atom, axis]) < 1e-6 * max(1, forces.abs().max())


def test_stress_is_finite_difference(model):
    graph = model.graph(triclinic())
    stress = model.on(graph).stress[0]
    step = 1e-5
    numerical = torch.zeros(3, 3, dtype=torch.float64)
    for a in range(3):
        for b in range(3):
            for sign in (1, -1):
                strain = torch.eye(3, dtype=torch.float64)
                strain[a, b] += 0.5 * sign * step
                strain[b, a] += 0.5 * sign * step
                moved = with_positions(graph, graph.positions @ strain, graph.cell @ strain)
                numerical[a, b] += sign * model.on(moved).energy[0] / (2 * step)
    close(stress, numerical / graph.volume()[0], 1e-6)


def test_energy_and_forces_are_continuous_at_the_cutoff(case):
    model = Model(*case, baseline=NO_BASELINE)
    cutoff = model.config.cutoff
    shape = np.array([[0.0, 0, 0], [1.2, 0.4, 0], [0.5, 1.5, 0.6], [0, 0, 0]])

    def at(distance):
        shape[3] = [-0.6 * distance, 0, -0.8 * distance]
        return model(Configuration([8, 1, 6, 16], shape, np.zeros((3, 3)), (False,) * 3))

    edge, inside, outside = at(cutoff), at(cutoff - 1e-5), at(cutoff + 1e-5)
    for here in (inside, outside):
        assert abs(here.energy - edge.energy) < 1e-9
        assert (here.forces - edge.forces).abs().max() < 1e-6
    assert (at(cutoff - 0.5).energy - outside.energy).abs() > 1e-6
    assert outside.forces[3].abs().max() == 0


def test_supercell_is_extensive(model):
    start = triclinic()
    double = Configuration(
        np.tile(start.numbers, 2),
        np.concatenate([start.positions, start.positions + start.cell[0]]),
        start.cell * np.array([[2], [1], [1]]),
    )
    first, second = model(start), model(double)
    close(2 * first.energy, second.energy)
    close(first.forces.repeat(2, 1), second.forces)
    close(first.stress, second.stress)


def test_cell_smaller_than_the_cutoff_equals_its_repeat(model):
    start = Configuration([6, 8], np.array([[0.1, 0.2, 0.3], [1.3, 0.2, 1.1]]), CELL * 0.6)
    shifts = np.array([[a, b, c] for a in range(3) for b in range(3) for c in range(3)]) @ start.cell
    repeat = Configuration(
        np.tile(start.numbers, 27), (start.positions[None] + shifts[:, None]).reshape(-1, 3), 3 * start.cell
    )
    first, second = model(start), model(repeat)
    close(27 * first.energy, second.energy)
    close(first.forces.repeat(27, 1), second.forces)


def test_far_fragments_add_up(model):
    one, two = cluster(4, seed=4), cluster(5, seed=5)
    both = Configuration(
        np.concatenate([one.numbers, two.numbers]),
        np.concatenate([one.positions, two.positions + 40.0]),
        np.zeros((3, 3)),
        (False,) * 3,
    )
    close(model(both).energy, model(one).energy + model(two).energy)


def test_isolated_atoms_are_the_baseline(model):
    free = [Configuration([z], np.zeros((1, 3)), np.zeros((3, 3)), (False,) * 3) for z in range(1, 19)]
    result = model(*free)
    assert result.energy.tolist() == [-100.0 * z for z in range(1, 19)]
    assert result.forces.abs().max() == 0


def test_all_elements_are_finite_and_differ(model):
    dimers = [
        Configuration([z, 6], np.array([[0.0, 0, 0], [0, 0, 1.9]]), np.zeros((3, 3)), (False,) * 3)
        for z in range(1, 19)
    ]
    network = network_part(model.architecture, model.config, model.parameters, NO_BASELINE, model.graph(*dimers))
    assert torch.isfinite(network.forces).all()
    assert len({round(float(energy), 9) for energy in network.energy}) == 18


def test_save_and_load_keep_every_bit(model, tmp_path):
    weights = {key: weight.float() for key, weight in model.parameters.items()}
    committee = Committee(model.architecture, "campaign", model.config, BASELINE, (weights,), {"seed": 1})
    committee.save(tmp_path / "model")
    again = Committee.load(tmp_path / "model")
    for key, weight in weights.items():
        assert torch.equal(again.members[0][key], weight)
    assert (again.config, again.baseline, again.card) == (model.config, BASELINE, {"seed": 1})
    graph = committee.build_graph([triclinic()])
    assert torch.equal(committee.evaluate(graph).forces, again.evaluate(graph).forces)
    assert Committee.load(tmp_path / "model", dtype="float64").dtype == torch.float64


@pytest.mark.parametrize("kind", ["rocksalt", "fcc", "atom"])
def test_force_loss_gives_finite_parameter_gradients(model, kind):
    atoms = {
        "rocksalt": lambda: ase.build.bulk("NaCl", "rocksalt", a=5.64),
        "fcc": lambda: ase.build.bulk("Al", "fcc", a=4.05),
        "atom": lambda: ase.Atoms("Ar"),
    }[kind]()
    graph: Graph = model.graph(Configuration.from_atoms(atoms))
    parameters = {key: weight.clone().requires_grad_() for key, weight in model.parameters.items()}
    result = network_part(
        model.architecture, model.config, parameters, NO_BASELINE, graph, stress=True, create_graph=True
    )
    loss = result.energy.square().sum() + (result.forces - 1.0).square().sum() + result.stress.square().sum()
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_parameter_gradients_of_a_force_loss_are_finite_differences(model):
    graph = model.graph(triclinic())
    parameters = {key: weight.clone().requires_grad_() for key, weight in model.parameters.items()}
    target = torch.randn(graph.n_atoms, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(weights):
        result = network_part(model.architecture, model.config, weights, NO_BASELINE, graph, False, create_graph=True)
        return ((result.forces - target) ** 2).mean()

    gradients = dict(zip(parameters, torch.autograd.grad(loss(parameters), list(parameters.values())), strict=True))
    step = 1e-5
    for name in list(parameters)[:: max(1, len(parameters) // 12)]:
        direction = torch.randn(parameters[name].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        ends = [loss({**parameters, name: parameters[name] + sign * step * direction}).item() for sign in (1, -1)]
        slope = float((gradients[name] * direction).sum())
        assert abs((ends[0] - ends[1]) / (2 * step) - slope) < 1e-5 * max(1.0, abs(slope)), name


def test_deep_network_starts_finite(case):
    architecture = get_architecture(case[0])
    config = replace(architecture.preset(case[1]), n_blocks=16)
    result = Model(*case, config=config)(triclinic(), cluster())
    assert torch.isfinite(result.forces).all()
    assert result.forces.abs().max() < 1e4
