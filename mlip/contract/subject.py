"""What is checked, and the structures on which: small, mostly without symmetry, no atoms too close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..baseline import Baseline
from ..frames import Configuration
from ..graph import Graph, build_graph
from ..potential import Architecture, Evaluation, Parameters, evaluate, network_part
from ..units import Z_MAX

BASELINE = Baseline(tuple((z, -100.0 * z) for z in range(1, Z_MAX + 1)), scale=2.0)
NETWORK_ONLY = Baseline(tuple((z, 0.0) for z in range(1, Z_MAX + 1)), repulsion=False)
CELL = np.array([[4.1, 0.3, 0.2], [0.5, 3.7, -0.4], [-0.3, 0.6, 4.6]])
FRACTIONAL = np.array([[0.05, 0.1, 0.08], [0.55, 0.12, 0.47], [0.1, 0.58, 0.5], [0.52, 0.63, 0.03], [0.62, 0.6, 0.72]])
ORDINARY = 100.0
"""eV/Å: a violation beside larger forces counts in proportion to them (docs/contract.md says where they come from)."""
NOT_PERIODIC = (np.zeros((3, 3)), (False, False, False))


@dataclass(frozen=True)
class Subject:
    """An architecture with one config and weights, in float64."""

    architecture: Architecture
    preset: str
    config: Any
    parameters: Parameters

    def graph(self, *configurations: Configuration, skin: float = 0.0) -> Graph:
        """All of them as one graph."""
        return build_graph(configurations, self.config.cutoff, skin)

    def __call__(self, *configurations: Configuration) -> Evaluation:
        """Baseline and network."""
        return self.on(self.graph(*configurations))

    def on(self, graph: Graph) -> Evaluation:
        """Baseline and network."""
        return evaluate(self.architecture, self.config, self.parameters, BASELINE, graph)

    def network(self, graph: Graph, parameters: Parameters | None = None, create_graph: bool = False) -> Evaluation:
        """The network alone."""
        weights = self.parameters if parameters is None else parameters
        return network_part(self.architecture, self.config, weights, NETWORK_ONLY, graph, True, create_graph)


def crystal(scale: float = 1.0, n: int = 5) -> Configuration:
    """H, C, O, Si, Cl (the first n) in a triclinic cell, every length times `scale`."""
    numbers = np.array([1, 14, 8, 6, 17])[:n]
    return Configuration(numbers, np.round(FRACTIONAL[:n] @ CELL, 4) * scale, CELL * scale)


def repeated(start: Configuration, matrix: NDArray[np.int64], shifts: NDArray[np.int64]) -> Configuration:
    """The supercell `matrix @ cell`, with one copy of the atoms per row of `shifts` (in lattice vectors)."""
    moved = start.positions[None] + (shifts @ start.cell)[:, None]
    return Configuration(np.tile(start.numbers, len(shifts)), moved.reshape(-1, 3), matrix @ start.cell)


def cluster(n: int, seed: int, size: float = 3.5, nearest: float = 1.1) -> Configuration:
    """n atoms of any element in a box of `size` Å, no two nearer than `nearest` Å, without a cell."""
    random = np.random.default_rng(seed)
    positions = np.empty((0, 3))
    while len(positions) < n:
        place = np.round(random.random(3) * size, 4)
        if len(positions) == 0 or np.linalg.norm(positions - place, axis=1).min() > nearest:
            positions = np.vstack([positions, place])
    return Configuration(random.integers(1, Z_MAX + 1, n), positions, *NOT_PERIODIC)


def free(numbers: list[int], positions: Any) -> Configuration:
    """Atoms without a cell."""
    return Configuration(np.array(numbers), np.asarray(positions, dtype=float), *NOT_PERIODIC)


def largest(*differences: torch.Tensor | None) -> float:
    """Largest absolute value of several tensors, NaN if any is; None counts as absent."""
    parts = [d.detach().abs().flatten().double() for d in differences if d is not None]
    return float(torch.cat(parts).max())


def difference(first: torch.Tensor | None, second: torch.Tensor | None) -> torch.Tensor | None:
    """first - second, None where one is."""
    return None if first is None or second is None else first - second


def proportion(violation: float, forces: torch.Tensor) -> float:
    """A violation over the largest force in units of ORDINARY, where that is above 1."""
    return violation / max(1.0, largest(forces) / ORDINARY)


def apart(first: Evaluation, second: Evaluation) -> float:
    """Largest difference of energies (eV), forces (eV/Å) and stress (eV/Å^3), in proportion."""
    found = largest(first.energy - second.energy, first.forces - second.forces, difference(first.stress, second.stress))
    return proportion(found, first.forces)
