"""Training data as flat arrays: N labelled frames with their bonds, joined to batches by index arithmetic.

Everything of all frames lies in a few long arrays, with pointers to where each frame begins, as in the compressed rows
of a sparse matrix. A batch is a handful of gathers, however many frames it has, and the arrays may lie on disk (see
graph_cache.py). Labels are kept in float64 with the repulsion taken off; the reference energies come off when a
baseline is given, so that the arrays do not depend on them. Bond vectors are formed in float64,

    D = x_j - x_i + image @ cell,

and only then cast to the dtype of the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from ase.data import covalent_radii
from numpy.typing import ArrayLike, NDArray
from vesin import NeighborList

from .baseline import SWITCH_OFF_RATIO, Baseline
from .extxyz import FrameError
from .frames import LabelledFrame
from .graph import build_graph
from .potential import baseline_part
from .sample import Sample, Sizes, filled, sample_of
from .units import Z_MAX

BLANK = Baseline(tuple((z, 0.0) for z in range(1, Z_MAX + 1)))
"""Repulsion alone."""
_CHUNK = 1 << 20
"""Atoms whose reference energies are summed at a time."""


@dataclass(frozen=True, eq=False)
class Samples:
    """N labelled frames with A atoms and M bonds in all; lengths in Å. Made by `prepare` or graph_cache."""

    numbers: NDArray[Any]
    """(A,) atomic numbers."""
    positions: NDArray[np.float64]
    """(A, 3)."""
    forces: NDArray[np.float64]
    """(A, 3) eV/Å, label minus repulsion."""
    i: NDArray[Any]
    """(M,) first atom of each bond, counted within its frame."""
    j: NDArray[Any]
    """(M,) second atom."""
    image: NDArray[Any]
    """(M, 3) cell that j is taken from, in the smallest integers that hold it."""
    first_atom: NDArray[np.int64]
    """(N + 1,) where the atoms of each frame begin."""
    first_bond: NDArray[np.int64]
    """(N + 1,) where its bonds begin."""
    cell: NDArray[np.float64]
    """(N, 3, 3), one lattice vector per row; of no account where not periodic."""
    pbc: NDArray[np.bool_]
    """(N,)."""
    label: NDArray[np.float64]
    """(N,) eV, energy as labelled."""
    repulsion: NDArray[np.float64]
    """(N,) eV."""
    stress: NDArray[np.float64]
    """(N, 3, 3) eV/Å^3, label minus repulsion; zero where there is no label."""
    has_stress: NDArray[np.bool_]
    """(N,)."""
    cutoff: float = 0.0
    """Å: longest bond."""
    has_repulsion: bool = True
    """Whether the repulsion was taken off."""
    energy: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """(N,) eV, label minus baseline; set by `with_baseline`."""

    @classmethod
    def prepare(cls, frames: Iterable[LabelledFrame], baseline: Baseline, cutoff: float) -> Samples:
        """Samples of `frames` in memory with bonds up to `cutoff` (Å) and `baseline` taken off their labels."""
        return cls.from_frames(frames, cutoff, baseline.repulsion).with_baseline(baseline)

    @classmethod
    def from_frames(cls, frames: Iterable[LabelledFrame], cutoff: float, repulsion: bool = True) -> Samples:
        """The same before reference energies are known: labels minus repulsion, `energy` empty.

        Raises FrameError without frames or with a cutoff that is not positive.
        """
        if not cutoff > 0:
            raise FrameError(f"cutoff {cutoff} Å: expected a positive length")
        finder = NeighborList(cutoff=cutoff, full_list=False, n_threads=1)
        singles = [_single(frame, finder, cutoff, repulsion) for frame in frames]
        if not singles:
            raise FrameError("no frames: samples need at least one")
        return cls.joined(singles, cutoff, repulsion)

    @classmethod
    def joined(cls, parts: Sequence[dict[str, NDArray[Any]]], cutoff: float, repulsion: bool) -> Samples:
        """Join arrays by field name (as `arrays` gives them), frames in the order given."""
        whole = {name: np.concatenate([part[name] for part in parts]) for name in PER_BOND + PER_ATOM + PER_FRAME}
        for pointer, counts in (("first_atom", "n_atoms"), ("first_bond", "n_bonds")):
            whole[pointer] = pointers(np.concatenate([part[counts] for part in parts]))
        return cls(**whole, cutoff=cutoff, has_repulsion=repulsion)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that `joined` needs."""
        named = {name: getattr(self, name) for name in PER_BOND + PER_ATOM + PER_FRAME}
        return {**named, "n_atoms": self.atoms, "n_bonds": self.bonds}

    def with_baseline(self, baseline: Baseline) -> Samples:
        """The same arrays with `energy` set; raises FrameError if `baseline` and these arrays differ in repulsion."""
        if baseline.repulsion != self.has_repulsion:
            raise FrameError(f"samples with repulsion taken off: {self.has_repulsion}; baseline: {baseline.repulsion}")
        return replace(self, energy=self.label - (self.repulsion + self._references(baseline)))

    def _references(self, baseline: Baseline) -> NDArray[np.float64]:
        """(N,) eV: sum of the reference energies, as Baseline.reference sums them."""
        table = np.full(Z_MAX + 1, np.nan)
        for number, energy in baseline.reference_energies:
            table[number] = energy
        total = np.empty(len(self))
        start = 0
        while start < len(self):
            stop = int(np.searchsorted(self.first_atom, self.first_atom[start] + _CHUNK, side="right")) - 1
            stop = min(max(stop, start + 1), len(self))
            energies = table[self.numbers[self.first_atom[start] : self.first_atom[stop]]]
            owner = np.repeat(np.arange(stop - start), self.atoms[start:stop])
            total[start:stop] = np.bincount(owner, weights=energies, minlength=stop - start)
            start = stop
        return total

    def __len__(self) -> int:
        return len(self.label)

    @property
    def atoms(self) -> NDArray[np.int64]:
        """(N,) atoms of each frame."""
        return np.diff(self.first_atom)

    @property
    def bonds(self) -> NDArray[np.int64]:
        """(N,) bonds of each frame."""
        return np.diff(self.first_bond)

    def batch(
        self, indices: ArrayLike, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> Sample:
        """The frames `indices` as one sample, in the order given; the energy stays float64."""
        return sample_of(self._gathered(indices), dtype).to(device)

    def padded(
        self, indices: ArrayLike, sizes: Sizes, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> Sample:
        """The same filled up to `sizes`, for compiled steps: dummies are the last structures, atoms and bonds.

        Dummy structures are not periodic, without stress, and have zero labels. Each has at least one atom, the last
        all that are left. Dummy bonds join a dummy atom to itself with the vector (1.05 cutoff, 0, 0). Raises
        FrameError if the frames and at least one dummy structure with an atom do not fit into `sizes`.
        """
        return sample_of(filled(self._gathered(indices), sizes, self.cutoff), dtype).to(device)

    def _gathered(self, indices: ArrayLike) -> dict[str, NDArray[Any]]:
        """Arrays of the chosen frames, atoms counted through the batch, with bond vectors in float64."""
        chosen = np.atleast_1d(np.asarray(indices, dtype=np.int64))
        n_atoms = self.first_atom[chosen + 1] - self.first_atom[chosen]
        n_bonds = self.first_bond[chosen + 1] - self.first_bond[chosen]
        atoms, bonds = _ranges(self.first_atom[chosen], n_atoms), _ranges(self.first_bond[chosen], n_bonds)
        owner = np.repeat(np.arange(len(chosen)), n_bonds)
        offset = (np.cumsum(n_atoms) - n_atoms).take(owner)
        part = {name: getattr(self, name)[chosen] for name in ("cell", "pbc", "energy", "stress", "has_stress")}
        part |= {name: getattr(self, name).take(atoms, axis=0) for name in PER_ATOM}
        part["i"], part["j"] = self.i.take(bonds) + offset, self.j.take(bonds) + offset
        part["image"] = self.image.take(bonds, axis=0)
        part["structure"] = np.repeat(np.arange(len(chosen)), n_atoms)
        cells = part["cell"].take(owner, axis=0)
        part["vectors"] = bond_vectors(part["positions"], cells, part["i"], part["j"], part["image"])
        part["real_atoms"], part["real_structures"] = np.ones(len(atoms)), np.ones(len(chosen))
        return part


PER_BOND = ("i", "j", "image")
PER_ATOM = ("numbers", "positions", "forces")
PER_FRAME = ("cell", "pbc", "label", "repulsion", "stress", "has_stress")
ARRAYS = tuple(part.name for part in fields(Samples) if part.name not in ("cutoff", "has_repulsion", "energy"))
"""Names of the arrays that make Samples."""


def bond_vectors(
    positions: NDArray[np.float64],
    cells: NDArray[np.float64],
    i: NDArray[Any],
    j: NDArray[Any],
    image: NDArray[Any],
) -> NDArray[np.float64]:
    """(m, 3) Å of bonds with one cell (3, 3) per bond (m, 3, 3), in the order of operations of vesin."""
    vectors = positions.take(j, axis=0) - positions.take(i, axis=0)
    if image.any():
        shift = image[:, 0, None] * cells[:, 0]
        shift += image[:, 1, None] * cells[:, 1]
        shift += image[:, 2, None] * cells[:, 2]
        vectors += shift
    return vectors


def pointers(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) counts as (N + 1,) beginnings, the last one being the end."""
    first = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=first[1:])
    return first


def _ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1, ..., start + count - 1 for each of them, one after the other."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - counts), counts)


def _single(frame: LabelledFrame, finder: NeighborList, cutoff: float, repulsion: bool) -> dict[str, NDArray[Any]]:
    """Arrays of one frame; the repulsion is computed where two atoms are near enough to have any."""
    given = frame.configuration
    positions, cell = np.array(given.positions), np.array(given.cell)
    i, j, image = finder.compute(positions, cell, given.periodic, "ijS")
    i, j, image = i.astype(np.int32), j.astype(np.int32), image.astype(np.int32)
    energy, forces, known = 0.0, frame.forces, frame.stress is not None and given.periodic
    stress = np.array(frame.stress) if known else np.zeros((3, 3))
    cells = np.broadcast_to(cell, (len(i), 3, 3))
    if repulsion and _touches(given.numbers, i, j, bond_vectors(positions, cells, i, j, image)):
        ground = baseline_part(BLANK, build_graph([given], cutoff), stress=known)
        energy, forces = float(ground.energy[0]), forces - ground.forces.numpy()
        if known and ground.stress is not None:
            stress = stress - ground.stress[0].numpy()
    return {
        "numbers": given.numbers.astype(np.int8),
        "positions": positions,
        "forces": forces,
        "i": i,
        "j": j,
        "image": narrowed(image),
        "n_atoms": np.array([len(positions)]),
        "n_bonds": np.array([len(i)]),
        "cell": cell[None],
        "pbc": np.array([given.periodic]),
        "label": np.array([frame.energy]),
        "repulsion": np.array([energy]),
        "stress": stress[None],
        "has_stress": np.array([known]),
    }


def _touches(numbers: NDArray[np.int64], i: NDArray[Any], j: NDArray[Any], vectors: NDArray[np.float64]) -> bool:
    """Whether any bond is short enough for the repulsion, to rounding and on the safe side."""
    radius = covalent_radii[numbers]
    reach = SWITCH_OFF_RATIO * (radius[i] + radius[j]) + 1e-6
    return bool((np.einsum("mk,mk->m", vectors, vectors) < reach * reach).any())


def narrowed(whole: NDArray[np.int32]) -> NDArray[Any]:
    """The same in int8 or int16 if they hold it."""
    largest = int(np.abs(whole).max(initial=0))
    return whole.astype(np.int8 if largest < 128 else np.int16 if largest < 32768 else np.int32)
