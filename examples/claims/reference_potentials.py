"""Potentials of physics that the examples take as the truth: Lennard-Jones, Kob-Andersen, Stillinger-Weber.

Lengths of the first two are in units of sigma = 2 Å, energies in epsilon = 0.1 eV, masses of 1 g/mol; their atoms are
called H and He, which have next to no short-range repulsion of their own in a model's baseline. They are cut at
2.5 sigma = 5 Å with energy and force shifted to zero. Sources: W. Kob, H. C. Andersen, Phys. Rev. E 51, 4626 (1995);
F. H. Stillinger, T. A. Weber, Phys. Rev. B 31, 5262 (1985).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ase.calculators.calculator import Calculator, all_changes
from torch import Tensor

from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.graph import Graph, build_graph
from aiida_argonaut.mlip.layers import lengths, sum_structures
from aiida_argonaut.mlip.potential import differentiate

SIGMA, EPSILON, CUTOFF = 2.0, 0.1, 5.0
"""Å, eV, Å of the Lennard-Jones systems."""
MIXTURE = {(1, 1): (1.0, 1.0), (1, 2): (1.5, 0.8), (2, 2): (0.5, 0.88)}
"""Kob and Andersen: epsilon and sigma of AA, AB, BB over those of AA; each pair is cut at 2.5 of its own sigma."""
SILICON = {
    "A": 7.049556277, "B": 0.6022245584, "p": 4, "lambda": 21.0, "gamma": 1.2, "a": 1.8, "sigma": 2.0951,
    "epsilon": 2.1683,
}  # fmt: skip
"""Stillinger and Weber; sigma in Å, epsilon in eV."""


def lennard_jones(graph: Graph) -> Tensor:
    """(g,) eV, one kind of pair or those of MIXTURE by the atomic numbers, energy and force zero at the cutoff."""
    r = lengths(graph.vectors)[:, 0]
    first, second = (graph.numbers.index_select(0, end) for end in (graph.i, graph.j))
    energy = torch.zeros_like(r)
    for (a, b), (epsilon, sigma) in MIXTURE.items():
        chosen = ((first == a) & (second == b)) | ((first == b) & (second == a))
        s, rc = SIGMA * sigma, 2.5 * SIGMA * sigma
        six, at_cutoff = (s / r) ** 6, (s / rc) ** 6
        slope = 4 * (-12 * at_cutoff**2 + 6 * at_cutoff) / rc
        pair = 4 * (six**2 - six) - 4 * (at_cutoff**2 - at_cutoff) - (r - rc) * slope
        energy = energy + torch.where(chosen & (r < rc), EPSILON * epsilon * pair, torch.zeros_like(r))
    per_atom = torch.zeros_like(graph.positions[:, 0]).index_add(0, graph.i, energy)
    return sum_structures(per_atom, graph)


def stillinger_weber(graph: Graph) -> Tensor:
    """(g,) eV.

    v2 = A (B x^-p - 1) exp(1 / (x - a)),  v3 = lambda (cos + 1/3)^2 exp(gamma / (x - a) + gamma / (x' - a)).
    """
    centre, vectors = torch.cat([graph.i, graph.j]), torch.cat([graph.vectors, -graph.vectors])
    x = lengths(vectors)[:, 0] / SILICON["sigma"]
    kept = torch.nonzero(x < SILICON["a"] - 1e-3)[:, 0]
    centre, vectors, x = centre[kept], vectors[kept], x[kept]
    tail = 1.0 / (x - SILICON["a"])
    two = 0.5 * SILICON["A"] * (SILICON["B"] * x ** -SILICON["p"] - 1.0) * torch.exp(tail)
    order = torch.argsort(centre, stable=True)
    counts = torch.bincount(centre, minlength=graph.n_atoms)
    start = torch.cumsum(counts, 0) - counts
    first = torch.repeat_interleave(torch.arange(len(order)), counts[centre[order]])
    rank = torch.arange(len(first)) - torch.repeat_interleave(
        torch.cumsum(counts[centre[order]], 0) - counts[centre[order]], counts[centre[order]]
    )
    second = start[centre[order]][first] + rank
    j, k = order[first[second > first]], order[second[second > first]]
    unit = vectors / lengths(vectors)
    cosine = (unit[j] * unit[k]).sum(1)
    three = SILICON["lambda"] * (cosine + 1 / 3) ** 2 * torch.exp(SILICON["gamma"] * (tail[j] + tail[k]))
    per_atom = torch.zeros_like(graph.positions[:, 0]).index_add(0, centre, two).index_add(0, centre[j], three)
    return SILICON["epsilon"] * sum_structures(per_atom, graph)


class Potential(Calculator):
    """Energy and forces of a function of a graph."""

    implemented_properties = ("energy", "forces")  # type: ignore[assignment]

    def __init__(self, energy_of: Callable[[Graph], Tensor], cutoff: float) -> None:
        super().__init__()
        self.energy_of, self.cutoff = energy_of, cutoff

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """Fill `results`."""
        super().calculate(atoms, properties, system_changes)
        given = Configuration(atoms.numbers, atoms.positions, atoms.cell.array)
        found = differentiate(self.energy_of, build_graph([given], self.cutoff), vectors_only=True, stress=False)
        self.results = {"energy": float(found.energy[0]), "forces": found.forces.numpy()}
