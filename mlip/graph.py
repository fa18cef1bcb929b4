"""The graph that every network reads: atoms, bonds up to a cutoff, and which structure each belongs to.

The list is a *half* list: every undirected bond stands in it once, whichever way round, and a bond between an atom and
its own periodic image stands in it once as well (image and -image are one bond). Cells smaller than the cutoff are no
special case: the same two atoms are then joined by many bonds, one per image.

Neighbours are found by vesin (BSD-3) in float64; only the bond vectors are then cast to the dtype of the model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from vesin import NeighborList

from .frames import Configuration, FrameError


class DeviceError(ValueError):
    """A device that does not exist, in general or on this machine."""


def device_of(device: torch.device | str) -> torch.device:
    """'auto' (CUDA where there is any, else the CPU), 'cpu', 'cuda' or 'cuda:N' as a device.

    Raises DeviceError for any other text, and for a CUDA device that this machine lacks.
    """
    if isinstance(device, torch.device):
        return device
    count = torch.cuda.device_count()
    text = device if device != "auto" else "cuda" if count else "cpu"
    match = re.fullmatch(r"cpu|cuda(?::(\d+))?", text)
    if match is None:
        raise DeviceError(f"device '{device}': expected auto, cpu, cuda or cuda:N")
    if text != "cpu" and int(match[1] or 0) >= count:
        raise DeviceError(f"device '{device}': this machine has {count} CUDA devices; use cpu or auto")
    return torch.device(text)


class Graph(NamedTuple):
    """g structures with n atoms and m bonds in all, as flat tensors; lengths in Å."""

    numbers: Tensor
    """(n,) int64 atomic numbers."""
    positions: Tensor
    """(n, 3)."""
    cell: Tensor
    """(g, 3, 3), one lattice vector per row; zero where not periodic."""
    pbc: Tensor
    """(g,) bool: periodic in all directions or in none."""
    structure: Tensor
    """(n,) int64: the structure each atom belongs to."""
    i: Tensor
    """(m,) int64: first atom of each bond."""
    j: Tensor
    """(m,) int64: second atom of each bond."""
    image: Tensor
    """(m, 3) whole numbers in the float dtype: the cell that j is taken from."""
    vectors: Tensor
    """(m, 3) = positions[j] - positions[i] + image @ cell[structure[i]]."""

    @property
    def n_structures(self) -> int:
        """g."""
        return int(self.cell.shape[0])

    @property
    def n_atoms(self) -> int:
        """n."""
        return int(self.numbers.shape[0])

    @property
    def n_bonds(self) -> int:
        """m."""
        return int(self.i.shape[0])

    def volume(self) -> Tensor:
        """(g,) Å^3, one where a structure is not periodic."""
        return torch.where(self.pbc, torch.linalg.det(self.cell).abs(), torch.ones_like(self.cell[:, 0, 0]))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Graph:
        """The same graph on another device or with another float dtype."""
        return Graph(*(t.to(device=device, dtype=dtype if t.is_floating_point() else None) for t in self))


def build_graph(
    configurations: Sequence[Configuration],
    cutoff: float,
    skin: float = 0.0,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Graph:
    """Join configurations to one graph with every bond up to `cutoff + skin` (Å).

    Bonds longer than the cutoff of a model are harmless (its envelopes vanish there) and let the same list serve until
    an atom has moved by skin / 2; see `with_positions`. Raises FrameError without configurations or with cutoff <= 0.
    """
    if not configurations:
        raise FrameError("no configurations: a graph needs at least one")
    if not cutoff + skin > 0:
        raise FrameError(f"cutoff {cutoff} Å + skin {skin} Å: expected a positive length")
    finder = NeighborList(cutoff=cutoff + skin, full_list=False, n_threads=1)
    return join([_single(configuration, finder, dtype) for configuration in configurations]).to(device)


def _single(configuration: Configuration, finder: NeighborList, dtype: torch.dtype) -> Graph:
    positions, cell = np.array(configuration.positions), np.array(configuration.cell)
    i, j, image, vectors = finder.compute(positions, cell, configuration.periodic, "ijSD")
    return Graph(
        numbers=torch.tensor(configuration.numbers),
        positions=torch.tensor(positions, dtype=dtype),
        cell=torch.tensor(cell, dtype=dtype)[None],
        pbc=torch.tensor([configuration.periodic]),
        structure=torch.zeros(len(configuration), dtype=torch.int64),
        i=torch.from_numpy(i.astype(np.int64)),
        j=torch.from_numpy(j.astype(np.int64)),
        image=torch.tensor(image, dtype=dtype),
        vectors=torch.tensor(vectors, dtype=dtype),
    )


def join(graphs: Sequence[Graph]) -> Graph:
    """Several graphs as one, structures and atoms in the order given."""
    if len(graphs) == 1:
        return graphs[0]
    joined = {name: torch.cat([getattr(graph, name) for graph in graphs]) for name in Graph._fields}
    atoms = torch.tensor([graph.n_atoms for graph in graphs])
    structures = torch.tensor([graph.n_structures for graph in graphs])
    bonds = torch.tensor([graph.n_bonds for graph in graphs])
    offset = torch.repeat_interleave(torch.cumsum(atoms, 0) - atoms, bonds).to(joined["i"].device)
    first = torch.repeat_interleave(torch.cumsum(structures, 0) - structures, atoms).to(joined["i"].device)
    joined["i"], joined["j"] = joined["i"] + offset, joined["j"] + offset
    joined["structure"] = joined["structure"] + first
    return Graph(**joined)


def with_positions(graph: Graph, positions: Tensor, cell: Tensor | None = None) -> Graph:
    """The same bonds and images at new positions (n, 3) Å and, if given, new cells (g, 3, 3) Å.

    Bond vectors are formed in the dtype of `positions` and then cast to that of the graph: give float64 positions to
    keep a long trajectory exact under a float32 model. Differentiable in both.
    """
    box = graph.cell if cell is None else cell
    work = positions.dtype
    vectors = positions.index_select(0, graph.j) - positions.index_select(0, graph.i)
    if bool(graph.pbc.any()):
        bond_cell = box.to(work).index_select(0, graph.structure.index_select(0, graph.i))
        vectors = vectors + torch.bmm(graph.image.to(work)[:, None], bond_cell)[:, 0]
    dtype = graph.vectors.dtype
    return graph._replace(positions=positions.to(dtype), cell=box.to(dtype), vectors=vectors.to(dtype))


def split_by_bonds(bonds: Sequence[int], max_bonds: int) -> list[list[int]]:
    """Consecutive index lists whose bond counts add up to at most `max_bonds`, at least one structure each."""
    chunks: list[list[int]] = []
    total = 0
    for index, count in enumerate(bonds):
        if not chunks or total + count > max_bonds:
            chunks.append([])
            total = 0
        chunks[-1].append(index)
        total += count
    return chunks
