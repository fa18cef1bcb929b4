"""What needs no learning: energies of free atoms, the repulsion of nuclei, and the scale of the network's energy.

energy of a structure = sum of reference energies + ZBL repulsion + scale * network

Reference energies are summed in float64: total energies of pseudopotential codes reach 1e4 eV per cell, where float32
resolves no better than 1e-3 eV.

Repulsion: universal screened potential of Ziegler, Biersack and Littmark (1985),
    V(r) = k Z1 Z2 / r * phi(r / a),   a = 0.46850 Å / (Z1^0.23 + Z2^0.23),   phi(x) = sum_t c_t exp(-d_t x),
times the C2 envelope 1 - 28 u^6 + 48 u^7 - 21 u^8 with u = r / (0.75 (R1 + R2)), R the covalent radii of ASE. It ends
below the shortest bonds of H-Ar (N2 0.775, CO 0.79, acetylene 0.79 of the summed radii), so it changes no molecule, and
is at 0.2 of its full strength at the ratio 0.6 where molecular dynamics stops. Two atoms cannot fuse under it, however
little the network knows.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from torch import Tensor

from .frames import FrameError, LabelledFrame
from .graph import Graph
from .layers import sum_structures
from .units import BOHR, HARTREE, Z_MAX

SWITCH_OFF_RATIO = 0.75
"""Repulsion is zero from this share of the summed covalent radii on."""
SCREENING_LENGTH = 0.46850
"""Å"""
SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
COULOMB = HARTREE * BOHR
"""e^2 / (4 pi eps0) in eV Å."""


@dataclass(frozen=True)
class Baseline:
    """Reference energies, repulsion and energy scale of one model."""

    reference_energies: tuple[tuple[int, float], ...]
    """(atomic number, eV) per element, in ascending order: the elements that the model knows."""
    repulsion: bool = True
    """Whether the ZBL term is part of the model."""
    scale: float = 1.0
    """eV: the network's energy is multiplied by it (set to the root mean square force of the training data)."""

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers with a reference energy."""
        return tuple(number for number, _ in self.reference_energies)

    def reference(self, graph: Graph) -> Tensor:
        """(g,) eV float64: sum of the reference energies of the atoms of each structure."""
        table = _reference_table(self.reference_energies, graph.numbers.device)
        return sum_structures(table[graph.numbers], graph)

    def repulsion_energy(self, graph: Graph) -> Tensor:
        """(g,) eV float64: ZBL repulsion, differentiable in `graph.vectors`."""
        if not self.repulsion:
            return torch.zeros(graph.n_structures, dtype=torch.float64, device=graph.cell.device)
        return repulsion_energy(graph)

    def to_document(self) -> dict[str, Any]:
        """JSON form, for config.json."""
        energies = {chemical_symbols[number]: energy for number, energy in self.reference_energies}
        return {"reference_energies": energies, "repulsion": self.repulsion, "scale": self.scale}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Baseline:
        """From the JSON form; raises FrameError for an unknown element."""
        energies = reference_energies_from_symbols(document["reference_energies"], "config.json")
        return cls(energies, bool(document["repulsion"]), float(document["scale"]))


def reference_energies_from_symbols(energies: Mapping[str, float], where: str) -> tuple[tuple[int, float], ...]:
    """{'H': -13.6, ...} (eV) as (atomic number, eV) pairs.

    Raises FrameError, naming `where` and the key, for what is not an element H-Ar or not a finite number.
    """
    pairs: list[tuple[int, float]] = []
    for symbol, energy in energies.items():
        number = atomic_numbers.get(symbol, 0)
        if not 1 <= number <= Z_MAX:
            raise FrameError(f"{where}: '{symbol}' is not an element from H to Ar")
        if isinstance(energy, bool) or not isinstance(energy, Real) or not np.isfinite(energy):
            raise FrameError(f"{where}: {symbol}: {energy!r} is not an energy; expected a finite number of eV")
        pairs.append((number, float(energy)))
    return tuple(sorted(pairs))


def fit_reference_energies(
    frames: Sequence[LabelledFrame], repulsion: Sequence[float]
) -> tuple[tuple[int, float], ...]:
    """Per-element energies (eV) that explain energies minus repulsion (eV per frame) best in the least-squares sense.

    Where the compositions do not decide (one composition, two elements) the solution nearest to equal energies for all
    atoms is taken. Raises FrameError without frames.
    """
    if not frames:
        raise FrameError("no frames: reference energies cannot be fitted")
    elements = sorted({int(z) for frame in frames for z in frame.configuration.numbers})
    counts = np.array([[np.count_nonzero(f.configuration.numbers == z) for z in elements] for f in frames], dtype=float)
    targets = np.array([frame.energy for frame in frames]) - np.asarray(repulsion)
    sizes = counts.sum(axis=1)
    mean = float(np.mean(targets / sizes))
    deviation, *_ = np.linalg.lstsq(counts / sizes[:, None], targets / sizes - mean, rcond=1e-6)
    return tuple((z, mean + float(d)) for z, d in zip(elements, deviation, strict=True))


def check_elements(numbers: Iterable[int], elements: Iterable[int], what: str) -> None:
    """Raise FrameError naming the elements that the model does not know."""
    known = set(elements)
    unknown = sorted({int(z) for z in numbers} - known)
    if unknown:
        names = ", ".join(chemical_symbols[z] for z in unknown)
        have = ", ".join(chemical_symbols[z] for z in sorted(known))
        raise FrameError(f"{what}: the model does not know {names}; it was trained on {have}")


def repulsion_energy(graph: Graph) -> Tensor:
    """(g,) eV float64: switched ZBL repulsion of all bonds, see the head of the file."""
    dtype, device = graph.vectors.dtype, graph.vectors.device
    charge, radius, inverse_length = _zbl_tables(dtype, device)
    zi, zj = graph.numbers[graph.i], graph.numbers[graph.j]
    outer = SWITCH_OFF_RATIO * (radius[zi] + radius[zj])
    squared = graph.vectors.detach().square().sum(-1)
    near = torch.nonzero(squared < outer * outer)[:, 0]
    zi, zj, outer = zi[near], zj[near], outer[near]
    r = torch.sqrt(graph.vectors[near].square().sum(-1) + 1e-12)
    x = r * (inverse_length[zi] + inverse_length[zj])
    screened = sum(c * torch.exp(-d * x) for c, d in SCREENING)
    u = r / outer
    switch = 1 - u**6 * (28 - 48 * u + 21 * u * u)
    energy = COULOMB * charge[zi] * charge[zj] / r * screened * switch
    total = torch.zeros(graph.n_structures, dtype=torch.float64, device=device)
    return total.index_add(0, graph.structure[graph.i[near]], energy.double())


@functools.cache
def _zbl_tables(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    charge = torch.arange(Z_MAX + 1, dtype=dtype, device=device)
    radius = torch.tensor(covalent_radii[: Z_MAX + 1], dtype=dtype, device=device)
    return charge, radius, charge**0.23 / SCREENING_LENGTH


@functools.cache
def _reference_table(energies: tuple[tuple[int, float], ...], device: torch.device) -> Tensor:
    table = torch.full((Z_MAX + 1,), float("nan"), dtype=torch.float64)
    for number, energy in energies:
        table[number] = energy
    return table.to(device)
