"""What molecular dynamics and training need: forces that are derivatives, no jumps, finite gradients everywhere."""

from __future__ import annotations

import math
import tempfile

import ase.build
import torch

from ..committee import Committee
from ..frames import Configuration
from ..graph import with_positions
from ..potential import Parameters
from ..units import GPA
from .subject import BASELINE, Subject, crystal, free, largest, proportion

STEP = 1e-5
"""Å, or strain, of finite differences."""


def forces(subject: Subject) -> float:
    """Forces against central differences of the energy, eV/Å."""
    graph = subject.graph(crystal())
    found = subject.on(graph).forces
    errors = []
    for atom, axis in [(0, 0), (2, 1), (4, 2), (1, 0)]:
        energies = []
        for sign in (1, -1):
            positions = graph.positions.clone()
            positions[atom, axis] += sign * STEP
            energies.append(subject.on(with_positions(graph, positions)).energy[0])
        errors.append(found[atom, axis] + (energies[0] - energies[1]) / (2 * STEP))
    return proportion(largest(torch.stack(errors)), found)


def stress(subject: Subject) -> float:
    """Stress against central differences of the energy in six strains, GPa; infinite where there is none."""
    graph = subject.graph(crystal())
    whole = subject.on(graph)
    found = whole.stress
    if found is None:
        return math.inf
    volume = graph.volume()[0]
    errors = []
    for a, b in [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]:
        energies = []
        for sign in (1, -1):
            strain = torch.eye(3, dtype=torch.float64)
            strain[a, b] += 0.5 * sign * STEP
            strain[b, a] += 0.5 * sign * STEP
            moved = with_positions(graph, graph.positions @ strain, graph.cell @ strain)
            energies.append(subject.on(moved).energy[0])
        errors.append((energies[0] - energies[1]) / (2 * STEP * volume) - found[0, a, b])
    return proportion(largest(torch.stack(errors)) / GPA, whole.forces)


def cutoff(subject: Subject) -> float:
    """An atom crosses the cutoff: jump of energy and forces, and force from beyond; infinite if it is never felt."""
    reach = float(subject.config.cutoff)

    def at(distance: float) -> Configuration:
        away = [-0.6 * distance, 0.0, -0.8 * distance]
        return free([8, 1, 6, 16], [[0.0, 0.0, 0.0], [1.2, 0.4, 0.0], [0.5, 1.5, 0.6], away])

    distances = [reach, reach - 1e-6, reach + 1e-6, reach - 0.5]
    found = subject.network(subject.graph(*(at(distance) for distance in distances)))
    energy, force = found.energy, found.forces.view(len(distances), -1, 3)
    if abs(float(energy[3] - energy[2])) < 1e-9:
        return math.inf
    return largest(energy[1] - energy[0], energy[2] - energy[0], force[1] - force[0], force[2] - force[0], force[2, 3])


def crowding(subject: Subject) -> float:
    """An atom moves through 24 neighbours of another: the largest jump of energy or forces, looked for
    by bisection from the three most bent places.

    The second difference of points some 1e-5 Å apart is what is measured: next to nothing where the function is smooth,
    the jump itself where it is not. A limit on the number of neighbours shows here.
    """
    intervals, points = [(0.0, 1.0)], 49
    largest_bend = math.nan
    for _ in range(6):
        along = [torch.linspace(*ends, points, dtype=torch.float64).tolist() for ends in intervals]
        values = _crowded(subject, [share for each in along for share in each]).unflatten(0, (len(along), points))
        bend = (values[:, :-2] - 2.0 * values[:, 1:-1] + values[:, 2:]).abs().amax(2)
        best = bend.flatten().topk(3).indices.tolist()
        places = [divmod(index, points - 2) for index in best]
        intervals, points = [(along[row][place], along[row][place + 2]) for row, place in places], 9
        largest_bend = proportion(float(bend.max()), values[..., 1:])
    return largest_bend


def _crowded(subject: Subject, shares: list[float]) -> torch.Tensor:
    """Energy and all forces at each share of the way, one row each."""
    if len(shares) > CHUNK:
        return torch.cat([_crowded(subject, shares[k : k + CHUNK]) for k in range(0, len(shares), CHUNK)])
    places = [_crowd(subject.config.cutoff, share) for share in shares]
    graph = subject.graph(*(free(CROWD, each) for each in places))
    exact = torch.tensor(places, dtype=torch.float64).reshape(-1, 3)  # configurations round to 1e-8 Å
    found = subject.network(with_positions(graph, exact))
    return torch.cat([found.energy[:, None], found.forces.reshape(len(shares), -1)], 1)


CROWD = [8, 6, *([1, 6, 8, 14, 16, 17] * 4)]
CHUNK = 16
"""Structures at a time: the published LEIGNN needs 100 MB for some tensors."""


def _crowd(reach: float, share: float) -> list[list[float]]:
    """Positions: 24 atoms in all directions around one, and a further one at 0.5 to 0.8 of the reach."""
    golden = math.pi * (3.0 - math.sqrt(5.0))
    heights = [1.0 - 2.0 * (k + 0.5) / 24 for k in range(24)]
    shell = [
        [math.sqrt(1 - z * z) * math.cos(golden * k), math.sqrt(1 - z * z) * math.sin(golden * k), z]
        for k, z in enumerate(heights)
    ]
    radii = [reach * (0.45 + 0.45 * ((7 * k) % 24) / 24) for k in range(24)]
    places = [[radius * part for part in direction] for radius, direction in zip(radii, shell, strict=True)]
    distance = reach * (0.5 + 0.3 * share)
    mover = [-0.89 * distance, -0.36 * distance, -0.28 * distance]
    return [[0.0, 0.0, 0.0], mover, *places]


def force_loss(subject: Subject) -> float:
    """Gradients of a loss on energy, forces and stress that are not finite: symmetric crystals, an atom."""
    kinds = (ase.build.bulk("NaCl", "rocksalt", a=5.64), ase.build.bulk("Al", "fcc", a=4.05), ase.Atoms("Ar"))
    broken = 0
    for atoms in kinds:
        graph = subject.graph(Configuration.from_atoms(atoms))
        parameters = {name: weight.clone().requires_grad_() for name, weight in subject.parameters.items()}
        found = subject.network(graph, parameters, create_graph=True)
        loss = found.energy.square().sum() + (found.forces - 1.0).square().sum()
        if found.stress is not None:
            loss = loss + found.stress.square().sum()
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
        broken += sum(int((~torch.isfinite(gradient)).sum()) for gradient in gradients)
    return float(broken)


def gradients(subject: Subject) -> float:
    """Gradients of a force loss in the weights against central differences, relative; 12 weights, random directions."""
    graph = subject.graph(crystal())
    parameters = {name: weight.clone().requires_grad_() for name, weight in subject.parameters.items()}
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(graph.n_atoms, 3, dtype=torch.float64, generator=generator)

    def loss(weights: Parameters) -> torch.Tensor:
        found = subject.network(graph, weights, create_graph=True)
        return (found.forces - target).square().mean() + found.energy.square().mean() / 100.0

    found = torch.autograd.grad(loss(parameters), list(parameters.values()), allow_unused=True, materialize_grads=True)
    slopes = dict(zip(parameters, found, strict=True))
    errors = []
    for name in list(parameters)[:: max(1, len(parameters) // 12)]:
        way = torch.randn(parameters[name].shape, dtype=torch.float64, generator=generator)
        way = way / way.norm()
        ends = [loss({**parameters, name: parameters[name].detach() + sign * STEP * way}).detach() for sign in (1, -1)]
        slope = (slopes[name] * way).sum()
        errors.append(((ends[0] - ends[1]) / (2 * STEP) - slope) / slope.abs().clamp(min=1.0))
    return largest(torch.stack(errors))


def storage(subject: Subject) -> float:
    """Weights and forces that differ in any bit after the model was saved and loaded."""
    weights = {name: weight.float() for name, weight in subject.parameters.items()}
    committee = Committee(subject.architecture, subject.preset, subject.config, BASELINE, (weights,), {"seed": 1})
    with tempfile.TemporaryDirectory() as folder:
        committee.save(folder)
        again = Committee.load(folder)
    graph = committee.build_graph([crystal()])
    wrong = [name for name, weight in weights.items() if not torch.equal(again.members[0][name], weight)]
    same = torch.equal(committee.evaluate(graph).forces, again.evaluate(graph).forces)
    return float(len(wrong) + (not same) + (again.config != subject.config) + (again.baseline != BASELINE))
