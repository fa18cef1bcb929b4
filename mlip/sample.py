"""One batch of training data: a graph of some structures, and what the network should say about it.

Batches of one size, for compiled steps, are filled up with dummies that change nothing: see Samples.padded.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .extxyz import FrameError
from .graph import Graph

BEYOND = 1.05
"""Length of a dummy bond over the cutoff: every envelope is zero there."""


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
    real_atoms: Tensor
    """(n,) one, or zero for a dummy atom (see Samples.padded), in the dtype of the forces."""
    real_structures: Tensor
    """(g,) one, or zero for a dummy structure."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Sample:
        """The same on another device."""
        graph = Graph(*(part.to(device, non_blocking=non_blocking) for part in self.graph))
        return Sample(graph, *(part.to(device, non_blocking=non_blocking) for part in self[1:]))


class Sizes(NamedTuple):
    """What batches are padded to."""

    atoms: int
    bonds: int
    structures: int


def filled(part: dict[str, NDArray[Any]], sizes: Sizes, cutoff: float) -> dict[str, NDArray[Any]]:
    """Arrays of a batch filled up with dummies (see Samples.padded); raises FrameError if `sizes` are too small."""
    n, m, g = len(part["numbers"]), len(part["i"]), len(part["pbc"])
    atoms, bonds, structures = sizes.atoms - n, sizes.bonds - m, sizes.structures - g
    if structures < 1 or atoms < structures or bonds < 0:
        raise FrameError(
            f"a batch of {n} atoms, {m} bonds and {g} structures does not fit into {tuple(sizes)} with a dummy "
            "structure of at least one atom; take the sizes from batching.Limits.padded"
        )
    extra = {"numbers": atoms, "positions": atoms, "forces": atoms, "real_atoms": atoms, "image": bonds}
    whole = {name: _with_zeros(array, extra.get(name, structures)) for name, array in part.items()}
    whole["numbers"][n:] = part["numbers"][0]
    whole["structure"] = np.append(part["structure"], g + np.minimum(np.arange(atoms), structures - 1))
    ends = n + np.arange(bonds) % atoms
    whole["i"], whole["j"] = np.append(part["i"], ends), np.append(part["j"], ends)
    whole["vectors"] = np.append(part["vectors"], np.tile([BEYOND * cutoff, 0.0, 0.0], (bonds, 1)), axis=0)
    return whole


def _with_zeros(array: NDArray[Any], count: int) -> NDArray[Any]:
    return np.concatenate([array, np.zeros((count, *array.shape[1:]), array.dtype)])


def sample_of(part: dict[str, NDArray[Any]], dtype: torch.dtype) -> Sample:
    """Arrays of a batch as tensors; the energy stays float64."""
    tensors = {name: torch.from_numpy(array) for name, array in part.items()}
    integers = {name: tensors[name].long() for name in ("numbers", "structure", "i", "j")}
    floats = {name: tensors[name].to(dtype) for name in ("positions", "cell", "image", "vectors")}
    graph = Graph(pbc=tensors["pbc"], **integers, **floats)
    forces, stress = tensors["forces"].to(dtype), tensors["stress"].to(dtype)
    real_atoms, real_structures = tensors["real_atoms"].to(dtype), tensors["real_structures"].to(dtype)
    return Sample(graph, tensors["energy"], forces, stress, tensors["has_stress"], real_atoms, real_structures)
