"""What training minimises: errors of energy per atom, force and virial per atom, in units of the model's scale.

A network learns what the baseline leaves over. That remainder is formed once per frame, in float64, before training
starts; afterwards only differences of a few eV travel in float32. With s the scale of the baseline (eV and Å),

    loss = w_E mean_structures rho((E - E*) / (n s)) + w_F mean_atoms rho(|F - F*| / s)
         + w_S mean_structures rho(|W - W*| / (n s)),                  W = volume * stress, only where a frame has it,

and rho(x) = 2 d^2 (sqrt(1 + (x/d)^2) - 1), a pseudo-Huber function: x^2 for small errors, 2 d |x| for large ones, so
that a frame of two colliding atoms does not silence all others.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .graph import Graph
from .potential import Evaluation
from .sample import Sample


class Weights(NamedTuple):
    """Weights of the three errors and the size (in units of the scale) from which an error counts linearly."""

    energy: float | Tensor
    force: float | Tensor
    stress: float | Tensor
    linear_from: float


class Errors(NamedTuple):
    """Errors over some structures; sums that add up over batches."""

    energy: Tensor
    """(g,) eV per atom."""
    forces: Tensor
    """(n, 3) eV/Å."""
    stress: Tensor
    """(g', 3, 3) eV/Å^3, of the structures that have a stress label."""


def loss(evaluation: Evaluation, sample: Sample, weights: Weights, scale: float) -> Tensor:
    """Scalar loss of the head of this file; `evaluation` is the network's part only. Dummies do not count."""
    dtype = evaluation.forces.dtype
    graph, atoms, structures = sample.graph, sample.real_atoms, sample.real_structures
    inverse = 1.0 / (scale * counts(graph).to(dtype))
    energy = (evaluation.energy - sample.energy).to(dtype) * inverse
    force = (evaluation.forces - sample.forces) / scale
    n_structures = structures.sum()
    total = weights.energy * (_rho(energy.square(), weights.linear_from) * structures).sum() / n_structures
    total = total + weights.force * (_rho(force.square().sum(1), weights.linear_from) * atoms).sum() / atoms.sum()
    if evaluation.stress is not None:
        factor = graph.volume() * inverse * sample.has_stress
        virial = (evaluation.stress - sample.stress) * factor[:, None, None]
        each = _rho(virial.square().sum((1, 2)), weights.linear_from) * structures
        total = total + weights.stress * each.sum() / n_structures
    return total


def counts(graph: Graph) -> Tensor:
    """(g,) atoms of each structure."""
    return torch.zeros_like(graph.cell[:, 0, 0]).index_add(0, graph.structure, torch.ones_like(graph.positions[:, 0]))


def _rho(squared: Tensor, linear_from: float) -> Tensor:
    return 2.0 * linear_from**2 * (torch.sqrt(1.0 + squared / linear_from**2) - 1.0)


def errors(evaluation: Evaluation, sample: Sample) -> Errors:
    """Differences between the network's part and what it should say."""
    known = sample.has_stress if evaluation.stress is not None else torch.zeros_like(sample.has_stress)
    stress = sample.stress if evaluation.stress is None else evaluation.stress - sample.stress
    return Errors(
        (evaluation.energy - sample.energy) / counts(sample.graph),
        evaluation.forces - sample.forces,
        stress[known],
    )
