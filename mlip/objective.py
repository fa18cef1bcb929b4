"""What training minimises: errors of energy per atom, force and virial per atom, in units of the model's scale.

A network learns what the baseline leaves over. That remainder is formed once per frame, in float64, before training
starts; afterwards only differences of a few eV travel in float32. With s the scale of the baseline (eV and Å),

    loss = w_E mean_structures rho((E - E*) / (n s)) + w_F mean_atoms rho(|F - F*| / s)
         + w_S mean_structures rho(|W - W*| / (n s)),                  W = volume * stress, only where a frame has it,

and rho(x) = 2 d^2 (sqrt(1 + (x/d)^2) - 1), a pseudo-Huber function: x^2 for small errors, 2 d |x| for large ones, so
that a frame of two colliding atoms does not silence all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .baseline import Baseline
from .frames import LabelledFrame
from .graph import Graph, build_graph, join, split_by_bonds
from .potential import Evaluation, baseline_part


class Sample(NamedTuple):
    """A graph of g structures with what the network should say about it."""

    graph: Graph
    energy: Tensor
    """(g,) eV float64, label minus baseline."""
    forces: Tensor
    """(n, 3) eV/Å, label minus baseline."""
    stress: Tensor
    """(g, 3, 3) eV/Å^3, label minus baseline; zero where there is no label."""
    has_stress: Tensor
    """(g,) bool."""

    def to(self, device: torch.device | str) -> Sample:
        """The same on another device."""
        return Sample(self.graph.to(device), *(part.to(device) for part in self[1:]))


class Weights(NamedTuple):
    """Weights of the three errors and the size (in units of the scale) from which an error counts linearly."""

    energy: float
    force: float
    stress: float
    linear_from: float


class Errors(NamedTuple):
    """Errors over some structures; sums that add up over batches."""

    energy: Tensor
    """(g,) eV per atom."""
    forces: Tensor
    """(n, 3) eV/Å."""
    stress: Tensor
    """(g', 3, 3) eV/Å^3, of the structures that have a stress label."""


def prepare(
    frames: Sequence[LabelledFrame], baseline: Baseline, cutoff: float, dtype: torch.dtype, device: torch.device | str
) -> list[Sample]:
    """One sample per frame, with the baseline taken off its labels."""
    return [_sample(frame, baseline, cutoff, dtype).to(device) for frame in frames]


def _sample(frame: LabelledFrame, baseline: Baseline, cutoff: float, dtype: torch.dtype) -> Sample:
    graph = build_graph([frame.configuration], cutoff)
    ground = baseline_part(baseline, graph, stress=True)
    known = frame.stress is not None and frame.configuration.periodic
    stress = torch.zeros_like(graph.cell)
    if known and ground.stress is not None:
        stress = torch.tensor(frame.stress)[None] - ground.stress
    return Sample(
        graph.to(dtype=dtype),
        frame.energy - ground.energy,
        (torch.tensor(frame.forces) - ground.forces).to(dtype),
        stress.to(dtype),
        torch.tensor([known]),
    )


def join_samples(samples: Sequence[Sample]) -> Sample:
    """Several samples as one."""
    graph = join([sample.graph for sample in samples])
    return Sample(graph, *(torch.cat(parts) for parts in zip(*(sample[1:] for sample in samples), strict=True)))


def batches(samples: Sequence[Sample], order: Sequence[int], batch_size: int, batch_bonds: int) -> list[list[int]]:
    """`order` cut into batches of at most `batch_size` structures and `batch_bonds` bonds, at least one structure."""
    found = []
    for chunk in split_by_bonds([samples[index].graph.n_bonds for index in order], batch_bonds):
        indices = [order[position] for position in chunk]
        parts = -(-len(indices) // batch_size)
        found += [[int(index) for index in part] for part in np.array_split(indices, parts)]
    return found


def loss(evaluation: Evaluation, sample: Sample, weights: Weights, scale: float) -> Tensor:
    """Scalar loss of the head of this file; `evaluation` is the network's part only."""
    dtype = evaluation.forces.dtype
    graph = sample.graph
    inverse = 1.0 / (scale * torch.bincount(graph.structure, minlength=graph.n_structures).to(dtype))
    energy = (evaluation.energy - sample.energy).to(dtype) * inverse
    force = (evaluation.forces - sample.forces) / scale
    total = weights.energy * _rho(energy.square(), weights.linear_from).mean()
    total = total + weights.force * _rho(force.square().sum(1), weights.linear_from).mean()
    if evaluation.stress is not None:
        factor = graph.volume() * inverse * sample.has_stress
        virial = (evaluation.stress - sample.stress) * factor[:, None, None]
        total = total + weights.stress * _rho(virial.square().sum((1, 2)), weights.linear_from).mean()
    return total


def _rho(squared: Tensor, linear_from: float) -> Tensor:
    return 2.0 * linear_from**2 * (torch.sqrt(1.0 + squared / linear_from**2) - 1.0)


def errors(evaluation: Evaluation, sample: Sample) -> Errors:
    """Differences between the network's part and what it should say."""
    counts = torch.bincount(sample.graph.structure, minlength=sample.graph.n_structures)
    stress = torch.zeros_like(sample.stress) if evaluation.stress is None else evaluation.stress - sample.stress
    return Errors(
        (evaluation.energy - sample.energy) / counts,
        evaluation.forces - sample.forces,
        stress[sample.has_stress],
    )
