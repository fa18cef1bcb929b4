"""The border to torch_geometric: its `Data` from a sample or a frame and back, and a dataset for its loaders.

torch_geometric lists every bond in both directions: `edge_index` (2, 2 m) holds our half list followed by its mirror,
with `edge_vectors` from the first to the second atom. On the way back the first half is taken, so a `Data` made by
others has to be in that order too. Labels are `energy` (1,), `forces` (n, 3), `stress` (1, 3, 3), with the baseline
taken off as in a sample. torch_geometric is imported only when something of this module is called.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from .extxyz import FrameError
from .frames import LabelledFrame
from .graph import Graph
from .sample import Sample
from .samples import Samples

ATTRIBUTES = (
    "z",
    "pos",
    "cell",
    "pbc",
    "edge_index",
    "edge_image",
    "edge_vectors",
    "energy",
    "forces",
    "stress",
    "has_stress",
)


def to_data(given: Sample | LabelledFrame, cutoff: float | None = None, dtype: torch.dtype = torch.float32) -> Any:
    """A torch_geometric Data of one structure.

    :param given: a sample of one structure, or a frame, which gets bonds up to `cutoff` (Å) and, as energy, forces and
        stress, its labels as they are.
    :param dtype: of a frame's lengths and forces; a sample keeps its own.

    Raises FrameError for a sample of several structures, or a frame without a cutoff.
    """
    from torch_geometric.data import Data

    sample = _of_frame(given, cutoff, dtype) if isinstance(given, LabelledFrame) else given
    graph = sample.graph
    if graph.n_structures != 1:
        raise FrameError(f"a sample of {graph.n_structures} structures: expected one; use Samples.batch([k])")
    return Data(
        z=graph.numbers,
        pos=graph.positions,
        cell=graph.cell,
        pbc=graph.pbc,
        edge_index=torch.cat([torch.stack([graph.i, graph.j]), torch.stack([graph.j, graph.i])], dim=1),
        edge_image=torch.cat([graph.image, -graph.image]),
        edge_vectors=torch.cat([graph.vectors, -graph.vectors]),
        energy=sample.energy,
        forces=sample.forces,
        stress=sample.stress,
        has_stress=sample.has_stress,
        num_nodes=graph.n_atoms,
    )


def _of_frame(frame: LabelledFrame, cutoff: float | None, dtype: torch.dtype) -> Sample:
    if cutoff is None:
        raise FrameError("a frame has no bonds: state the cutoff (Å)")
    samples = Samples.from_frames([frame], cutoff, repulsion=False)
    return _labels_as_they_are(samples).batch([0], dtype)


def _labels_as_they_are(samples: Samples) -> Samples:
    return replace(samples, energy=samples.label)


def from_data(data: Any) -> Sample:
    """The sample that a Data, or a Batch of them from a torch_geometric loader, was made from.

    Raises FrameError, naming it, if an attribute is missing, or if the second half of the edges is not the mirror of
    the first within a structure.
    """
    missing = [name for name in ATTRIBUTES if getattr(data, name, None) is None]
    if missing:
        raise FrameError(f"Data without {', '.join(missing)}: expected what pyg.to_data makes")
    structure = getattr(data, "batch", None)
    structure = torch.zeros_like(data.z) if structure is None else structure
    half = _first_half(data, structure)
    graph = Graph(
        numbers=data.z,
        positions=data.pos,
        cell=data.cell,
        pbc=data.pbc,
        structure=structure,
        i=data.edge_index[0, half],
        j=data.edge_index[1, half],
        image=data.edge_image[half],
        vectors=data.edge_vectors[half],
    )
    real = (data.pos.new_ones(graph.n_atoms), data.pos.new_ones(graph.n_structures))
    return Sample(graph, data.energy, data.forces, data.stress, data.has_stress, *real)


def _first_half(data: Any, structure: torch.Tensor) -> torch.Tensor:
    """(m,) indices of the edges that stand in the first half of their structure's."""
    owner = structure[data.edge_index[0]]
    counts = torch.bincount(owner, minlength=int(data.cell.shape[0]))
    place = torch.arange(len(owner), device=owner.device) - (torch.cumsum(counts, 0) - counts)[owner]
    first = 2 * place < counts[owner]
    half = torch.nonzero(first)[:, 0]
    mirror = torch.nonzero(~first)[:, 0]
    mirrored = (
        not bool((counts % 2).any())
        and torch.equal(data.edge_index[:, half], data.edge_index[:, mirror].flip(0))
        and torch.equal(data.edge_vectors[half], -data.edge_vectors[mirror])
    )
    if not mirrored:
        raise FrameError("Data whose edges are not a half list followed by its mirror: expected what pyg.to_data makes")
    return half


class GraphDataset(torch.utils.data.Dataset[Any]):
    """Samples, in memory or memory-mapped, as a map-style dataset of Data for `torch_geometric.loader.DataLoader`."""

    def __init__(self, samples: Samples, dtype: torch.dtype = torch.float32) -> None:
        self.samples = samples if len(samples.energy) else _labels_as_they_are(samples)
        self.dtype = dtype

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index}: the dataset has {len(self)} frames")
        return to_data(self.samples.batch([index % len(self)], self.dtype))

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))
