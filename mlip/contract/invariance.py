"""What must change nothing: rigid motions, names and order of atoms, periodic images, what else is in the batch."""

from __future__ import annotations

import numpy as np
import torch

from ..frames import Configuration
from ..potential import Evaluation
from .subject import Subject, apart, cluster, crystal, largest


def rotation(subject: Subject) -> float:
    """Proper rotations by arbitrary angles of a crystal and a cluster."""
    return max(_turned(subject, seed, 1.0) for seed in (3, 4))


def reflection(subject: Subject) -> float:
    """The same with a mirror."""
    return max(_turned(subject, seed, -1.0) for seed in (5, 6))


def _turned(subject: Subject, seed: int, determinant: float) -> float:
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    turn = torch.tensor(matrix * determinant * np.sign(np.linalg.det(matrix)))
    here = subject.graph(crystal(), cluster(6, seed))
    there = here._replace(positions=here.positions @ turn, cell=here.cell @ turn, vectors=here.vectors @ turn)
    first, second = subject.on(here), subject.on(there)
    stress = None if first.stress is None else turn.T @ first.stress @ turn
    return apart(Evaluation(first.energy, first.forces @ turn, stress), second)


def translation(subject: Subject) -> float:
    """All atoms moved together, by a vector that is no lattice vector."""
    return _moved(subject, np.tile([1.3, -7.7, 2.1], (5, 1)))


def wrapping(subject: Subject) -> float:
    """Each atom replaced by another of its periodic images."""
    return _moved(subject, np.random.default_rng(0).integers(-2, 3, (5, 3)) @ crystal().cell)


def _moved(subject: Subject, by: np.ndarray) -> float:
    start = crystal()
    return apart(subject(start), subject(Configuration(start.numbers, start.positions + by, start.cell)))


def permutation(subject: Subject) -> float:
    """Atoms in another order."""
    start, order = crystal(), np.array([3, 0, 4, 1, 2])
    first = subject(start)
    second = subject(Configuration(start.numbers[order], start.positions[order], start.cell))
    return apart(first._replace(forces=first.forces[order]), second)


def bond_direction(subject: Subject) -> float:
    """Every bond of the half list the other way round, and the list in another order."""
    graph = subject.graph(crystal())
    back = torch.arange(graph.n_bonds - 1, -1, -1)
    flipped = graph._replace(i=graph.j[back], j=graph.i[back], image=-graph.image[back], vectors=-graph.vectors[back])
    return apart(subject.on(graph), subject.on(flipped))


def longer_list(subject: Subject) -> float:
    """Bonds longer than the cutoff in the list, as molecular dynamics has them between two updates."""
    structures = (crystal(), cluster(6, 2))
    return apart(subject(*structures), subject.on(subject.graph(*structures, skin=0.8)))


def batch(subject: Subject) -> float:
    """Periodic and free structures together, against each of them alone."""
    structures = [crystal(), cluster(6, 2), crystal(0.9, 3), cluster(1, 1), cluster(4, 7)]
    each = [subject(structure) for structure in structures]
    stress = None if each[0].stress is None else torch.cat([e.stress for e in each if e.stress is not None])
    alone = Evaluation(torch.cat([e.energy for e in each]), torch.cat([e.forces for e in each]), stress)
    return apart(subject(*structures), alone)


def separation(subject: Subject) -> float:
    """Largest derivative of one structure's energy in the geometry of another; infinite if there is none in its own."""
    graph = subject.graph(crystal(), cluster(6, 2))
    leaves = [t.clone().requires_grad_() for t in (graph.vectors, graph.positions)]
    inner = graph._replace(vectors=leaves[0], positions=leaves[1])
    energy = subject.architecture.energy(subject.parameters, subject.config, inner)
    slopes = torch.autograd.grad(energy[0], leaves, allow_unused=True, materialize_grads=True)
    other = graph.structure == 1
    if largest(slopes[0][~other[graph.i]], slopes[1][~other]) == 0:
        return float("inf")
    return largest(slopes[0][other[graph.i]], slopes[1][other])
