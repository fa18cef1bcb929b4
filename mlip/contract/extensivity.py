"""What must add up: repeats of a cell, fragments out of reach of each other, free atoms; and all elements."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from ..potential import Evaluation
from ..units import Z_MAX
from .subject import BASELINE, Subject, apart, cluster, crystal, free, largest, repeated

FAR = 40.0
"""Å between two fragments, beyond the reach of any number of layers here."""


def supercell(subject: Subject) -> float:
    """The cell doubled along one vector, and in a skew supercell of twice the volume."""
    skew = np.array([[1, 1, 0], [0, 1, -1], [0, 0, 2]])
    along = (np.diag([2, 1, 1]), np.array([[0, 0, 0], [1, 0, 0]]))
    return max(_repeat(subject, 1.0, 5, *each) for each in (along, (skew, np.array([[0, 0, 0], [0, 0, 1]]))))


def small_cell(subject: Subject) -> float:
    """A cell smaller than the cutoff, with many images of the same neighbour and of the atom itself, against 3x3x3."""
    shifts = np.array(list(itertools.product(range(3), repeat=3)))
    return _repeat(subject, 0.75, 2, np.diag([3, 3, 3]), shifts)


def _repeat(subject: Subject, scale: float, n: int, matrix: np.ndarray, shifts: np.ndarray) -> float:
    start = crystal(scale, n)
    first, second = subject(start), subject(repeated(start, matrix, shifts))
    times = len(shifts)
    return apart(Evaluation(times * first.energy, first.forces.repeat(times, 1), first.stress), second)


def fragments(subject: Subject) -> float:
    """Two clusters far from each other, against each of them alone."""
    one, two = cluster(4, 4), cluster(5, 5)
    both = free([*one.numbers, *two.numbers], np.concatenate([one.positions, two.positions + FAR]))
    first, second = subject(one), subject(two)
    alone = Evaluation(first.energy + second.energy, torch.cat([first.forces, second.forces]), None)
    return apart(alone, subject(both))


def free_atoms(subject: Subject) -> float:
    """One atom of every element, alone: its reference energy, no force."""
    found = subject(*(free([z], [[0.0, 0.0, 0.0]]) for z in range(1, Z_MAX + 1)))
    reference = torch.tensor([energy for _, energy in BASELINE.reference_energies], dtype=torch.float64)
    return largest(found.energy - reference, found.forces)


def elements(subject: Subject) -> float:
    """Elements whose bond to carbon gives no finite numbers, or the same energy as that of another element."""
    dimers = [free([z, 6], [[0.0, 0.0, 0.0], [0.0, 0.0, 1.9]]) for z in range(1, Z_MAX + 1)]
    found = subject.network(subject.graph(*dimers))
    broken = (~torch.isfinite(found.forces)).sum() + (~torch.isfinite(found.energy)).sum()
    distinct = len({round(float(energy), 9) for energy in found.energy})
    return float(broken) + Z_MAX - distinct
