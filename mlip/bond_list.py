"""A list of bonds that serves until an atom has moved by half the skin (Verlet's list, Phys. Rev. 159, 98 (1967)).

The list holds all bonds up to cutoff + skin. Two atoms that have each moved by less than skin / 2 have come nearer to
each other by less than the skin, so no bond within the cutoff is missing. At every step the bond vectors are formed
anew and bonds beyond the cutoff are left out: what the network sees is what a fresh list would hold, bond by bond, also
where a network counts its neighbours. Other atoms, another cell or an atom that was put back into the cell by a lattice
vector, and so has moved far, make a fresh list.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .committee import Committee
from .frames import Configuration, FrameError
from .graph import Graph, with_positions


@dataclass(frozen=True, eq=False)
class Structures:
    """g structures of n atoms in all, where they are now."""

    numbers: NDArray[np.int64]
    """(n,) atomic numbers, structure after structure."""
    positions: Tensor
    """(n, 3) Å, float64."""
    cells: Tensor
    """(g, 3, 3) Å, one lattice vector per row, float64; zero where not periodic."""
    periodic: NDArray[np.bool_]
    """(g,)"""
    counts: NDArray[np.int64]
    """(g,) atoms of each structure."""

    def same_kind(self, other: Structures) -> bool:
        """Whether a list of the other serves these as long as no atom has moved too far."""
        alike = (("numbers", np.array_equal), ("counts", np.array_equal), ("periodic", np.array_equal))
        same = all(equal(getattr(self, name), getattr(other, name)) for name, equal in alike)
        return same and self.positions.device == other.positions.device and torch.equal(self.cells, other.cells)

    def configurations(self) -> list[Configuration]:
        """The same, one by one; raises FrameError for what is no configuration."""
        parts = torch.split(self.positions.detach().cpu(), self.counts.tolist())
        ends = np.cumsum(self.counts)
        return [
            Configuration(self.numbers[end - count : end], part.numpy(), cell.numpy(), (bool(flag),) * 3)
            for end, count, part, cell, flag in zip(
                ends, self.counts, parts, self.cells.detach().cpu(), self.periodic, strict=True
            )
        ]


class BondList:
    """Graphs of one committee for structures that move, see the head of the file."""

    def __init__(self, committee: Committee, skin: float) -> None:
        if not 0.0 <= skin <= 10.0:
            raise FrameError(f"skin {skin} Å: expected 0 (a fresh list for every step) to 10")
        self.committee, self.skin = committee, skin
        self.builds = 0
        """How many lists were made so far."""
        self._listed: Structures | None = None
        self._graph: Graph | None = None

    def graph(self, structures: Structures) -> Graph:
        """All bonds up to the cutoff; raises FrameError for unknown elements and for what is no configuration."""
        graph = self._graph if self._serves(structures) else None
        if graph is None:
            graph = self._made(structures)
        moved = with_positions(graph, structures.positions, structures.cells)
        near = moved.vectors.square().sum(1) <= self.committee.cutoff**2
        return moved._replace(**{name: getattr(moved, name)[near] for name in ("i", "j", "image", "vectors")})

    def _serves(self, structures: Structures) -> bool:
        listed = self._listed
        if listed is None or not structures.same_kind(listed):
            return False
        moved = (structures.positions - listed.positions).square().sum(1).max()
        return bool(moved <= (self.skin / 2) ** 2)  # NaN makes a fresh list, which refuses it

    def _made(self, structures: Structures) -> Graph:
        self._listed = None
        graph = self.committee.build_graph(structures.configurations(), self.skin)
        self._graph, self.builds = graph, self.builds + 1
        self._listed = Structures(
            structures.numbers.copy(),
            structures.positions.detach().clone(),
            structures.cells.detach().clone(),
            structures.periodic.copy(),
            structures.counts.copy(),
        )
        return graph
