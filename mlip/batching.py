"""Batches of about equal work: frames in random order, as many as fit into a number of atoms and of bonds.

A batch of a fixed number of frames has ten times the work of another where frames have 2 to 84 atoms. Filled by atoms
and bonds, batches differ little, a compiled step (step.py) pads little, and memory has a bound. A frame that is larger
than the limits sets them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .sample import Sizes
from .samples import Samples

ROOM = 1.1
"""Atoms and bonds of a batch, over those of `batch_size` average frames."""
MULTIPLE = 16
"""Padded sizes are multiples of it."""


class Limits(NamedTuple):
    """The most of each in one batch."""

    structures: int
    atoms: int
    bonds: int

    def padded(self) -> Sizes:
        """Sizes into which every batch fits together with its dummies."""
        structures = self.structures + 1
        return Sizes(_up(self.atoms + structures), _up(self.bonds), structures)


def _up(number: int) -> int:
    return -(-max(number, 1) // MULTIPLE) * MULTIPLE


def batch_limits(
    samples: Samples, indices: Sequence[int] | NDArray[np.int64], batch_size: int, batch_bonds: int, share: float = 1.0
) -> Limits:
    """Limits for batches of `batch_size` frames on average, and at most `batch_bonds` bonds.

    `share`: of both, after the memory did not suffice. Frames of one size make batches of exactly `batch_size`.
    """
    chosen = np.asarray(indices, dtype=np.int64)
    atoms, bonds = samples.atoms[chosen], samples.bonds[chosen]
    size = max(1, math.floor(batch_size * share))
    uneven = bonds.max() / max(bonds.mean(), 1.0)
    structures = min(math.ceil(size * min(max(uneven, 1.0), 2.0)), len(chosen))
    most_bonds = min(ROOM * size * bonds.mean(), max(batch_bonds * share, 1.0))
    return Limits(
        structures,
        max(int(atoms.max()), math.ceil(ROOM * size * atoms.mean())),
        max(int(bonds.max()), math.ceil(most_bonds), 1),
    )


def batches(samples: Samples, order: Sequence[int] | NDArray[np.int64], limits: Limits) -> list[NDArray[np.int64]]:
    """`order` cut into batches within the limits, at least one frame each."""
    chosen = np.asarray(order, dtype=np.int64)
    found: list[NDArray[np.int64]] = []
    start, atoms, bonds = 0, 0, 0
    for position, (n, m) in enumerate(zip(samples.atoms[chosen].tolist(), samples.bonds[chosen].tolist(), strict=True)):
        full = (
            position - start >= limits.structures or atoms + n > limits.atoms or bonds + m > limits.bonds
        ) and position > start
        if full:
            found.append(chosen[start:position])
            start, atoms, bonds = position, 0, 0
        atoms, bonds = atoms + n, bonds + m
    if len(chosen):
        found.append(chosen[start:])
    return found
