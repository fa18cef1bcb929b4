"""Lists of the terms of the lattice sums of `lattice_sums.py`, for many structures at once and without gradients.

Differences between atoms are wrapped into the reduced cell first, then joined with every lattice vector that brings
them within the radii of `lattice_reach.py`. Groups of unequal size lie one after the other in flat tensors.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .lattice_reach import Lattices, lattice_points, spread, times

_COINCIDENT = 1e-4
"""Å; atoms nearer than this are one on top of the other."""


class Terms(NamedTuple):
    """What is summed for one chunk of structures, without gradients. Whole numbers stand in the float dtype."""

    atoms: Tensor
    """(n,) the atoms of the chunk, structure by structure."""
    structures: Tensor
    """(g,) the structures of the chunk; everything below counts atoms and structures within it."""
    owner: Tensor
    """(n,) structure of each atom."""
    basis: Tensor
    """(g, 3, 3) as in Lattices."""
    periodic: Tensor
    """(g,) one or zero."""
    split: Tensor
    """(g,) s in Å."""
    wrap: Tensor
    """(n, 3) lattice vector that brings each atom into the reduced cell."""
    pair: Tensor
    """(3, u) i, j, structure of the differences that differ: i < j, and one self per structure."""
    pair_wrap: Tensor
    """(u, 3) lattice vector that makes the difference short."""
    points: Tensor
    """(p, 3) lattice vectors."""
    point_owner: Tensor
    """(p,) structure of each."""
    terms: Tensor
    """(2, t) pair and lattice vector of each term in real space."""
    near: Tensor
    """Those of the terms that Coulomb and London need."""
    pauli: Tensor
    """Those that the exponential needs."""
    m: Tensor
    """(g, k, 3) half of the reciprocal vectors, padded."""
    weight: Tensor
    """(g, k) two; zero where padded or not periodic."""
    padded: Tensor
    """(g, n_max) atoms, padded with the first."""
    entry: Tensor
    """(P,) row and column of each pair in the flattened (g, n_max, n_max)."""
    slot: Tensor
    """(P,) difference of each pair."""
    group: Tensor
    """(P,) 2 * structure + (is self)."""


def enumerate_terms(positions: Tensor, counts: Tensor, lattice: Lattices, dtype: torch.dtype) -> Terms:
    """The terms of one chunk, for positions (n, 3) that lie structure by structure with counts (g,) atoms.

    `atoms` and `structures` are as if the chunk were everything. Raises ValueError if two atoms coincide.
    """
    owner = spread(counts)
    fraction = times(positions.detach().double(), lattice.dual.transpose(1, 2), owner)
    wrap = -torch.floor(fraction) * lattice.periodic[owner, None]
    pairs, entry, slot, distinct = pairs_within(counts)
    pair = pairs[:, distinct]
    difference = (fraction + wrap)[pair[1]] - (fraction + wrap)[pair[0]]
    pair_wrap = -torch.round(difference) * lattice.periodic[pair[2], None]
    points, point_owner, terms, near, pauli = _real(difference + pair_wrap, pair, lattice)
    m, weight = _reciprocal(lattice)
    return Terms(
        atoms=torch.arange(len(owner), device=owner.device),
        structures=torch.arange(len(counts), device=owner.device),
        owner=owner,
        basis=lattice.basis.to(dtype),
        periodic=lattice.periodic.to(dtype),
        split=lattice.split.to(dtype),
        wrap=wrap.to(dtype),
        pair=pair,
        pair_wrap=pair_wrap.to(dtype),
        points=points.to(dtype),
        point_owner=point_owner,
        terms=terms,
        near=near,
        pauli=pauli,
        m=m.to(dtype),
        weight=weight.to(dtype),
        padded=_padded_atoms(counts),
        entry=entry,
        slot=slot,
        group=2 * pairs[2] + (pairs[0] == pairs[1]),
    )


def pairs_within(counts: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pairs i <= j of structures with counts (g,) atoms, ordered by structure, j, i.

    Returns (3, P) i, j and structure; entry and slot as in Terms; and (P,) bool, true where a pair has its own slot.
    """
    number = counts * (counts + 1) // 2
    structure = spread(number)
    start = torch.cumsum(number, 0) - number
    within = torch.arange(len(structure), device=counts.device) - start[structure]
    most = int(counts.max())
    high, low = torch.tril_indices(most, most, device=counts.device)[:, within]
    first = (torch.cumsum(counts, 0) - counts)[structure]
    distinct = (low < high) | (high == 0)
    slot = torch.cumsum(distinct, 0) - 1
    slot = torch.where(low == high, slot[start][structure], slot)
    return torch.stack([first + low, first + high, structure]), (structure * most + low) * most + high, slot, distinct


def _real(fraction: Tensor, pair: Tensor, lattice: Lattices) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """points, point_owner, terms, near and pauli of Terms for wrapped differences (u, 3) in units of the cell."""
    structure = pair[2]
    vector = times(fraction, lattice.cell, structure)
    length = torch.linalg.vector_norm(vector, dim=1)
    longest = torch.zeros_like(lattice.split).scatter_reduce(0, structure, length, "amax")
    reach = torch.maximum(lattice.real, lattice.pauli)
    points, owner = lattice_points(lattice.cell, lattice.dual, torch.where(lattice.periodic, reach + longest, 0.0))
    terms, squared = _within(vector, structure, times(points, lattice.cell, owner), owner, reach)
    itself = (pair[0] == pair[1])[terms[0]] & (points[terms[1]] == 0).all(1)
    if bool(((squared < _COINCIDENT**2) & ~itself).any()):
        raise ValueError(f"two atoms are nearer than {_COINCIDENT} Å: lattice sums need them apart; remove one of them")
    terms, squared = terms[:, ~itself], squared[~itself]
    near, pauli = (squared <= radius.square()[structure][terms[0]] for radius in (lattice.real, lattice.pauli))
    return points, owner, terms, near.nonzero()[:, 0], pauli.nonzero()[:, 0]


def _within(a: Tensor, of_a: Tensor, b: Tensor, of_b: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (2, t) of a and b with |a + b| <= reach of their common structure, and the squared lengths (t,)."""
    (first, first_mask), (second, second_mask) = _pad(a, of_a, len(reach)), _pad(b, of_b, len(reach))
    squared = first.square().sum(2)[:, :, None] + second.square().sum(2)[:, None]
    squared = torch.baddbmm(squared, first, second.transpose(1, 2), alpha=2.0)
    kept = (squared <= reach.square()[:, None, None]) & first_mask[:, :, None] & second_mask[:, None]
    where = kept.nonzero()
    start = [torch.cumsum(mask.sum(1), 0) - mask.sum(1) for mask in (first_mask, second_mask)]
    terms = torch.stack([start[0][where[:, 0]] + where[:, 1], start[1][where[:, 0]] + where[:, 2]])
    return terms, squared[kept]


def _reciprocal(lattice: Lattices) -> tuple[Tensor, Tensor]:
    """(g, k, 3) and weights (g, k); padded with a vector that is not zero, for every function to be finite there."""
    m, owner = lattice_points(lattice.dual, lattice.cell, lattice.reciprocal, half=True)
    padded, mask = _pad(m, owner, len(lattice.split))
    return torch.where(mask[:, :, None], padded, 1.0), 2.0 * mask


def _padded_atoms(counts: Tensor) -> Tensor:
    """(g, n_max) atoms of each structure, padded with the first."""
    within = torch.arange(int(counts.max()), device=counts.device).expand(len(counts), -1)
    first = torch.cumsum(counts, 0) - counts
    return first[:, None] + torch.where(within < counts[:, None], within, 0)


def _pad(rows: Tensor, owner: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Rows (n, 3), sorted by owner, as (number, most, 3) with zeros, and the mask (number, most)."""
    counts = torch.bincount(owner, minlength=number)
    within = torch.arange(len(owner), device=rows.device) - (torch.cumsum(counts, 0) - counts)[owner]
    padded = rows.new_zeros(number, int(counts.max()), 3)
    padded[owner, within] = rows
    return padded, torch.arange(padded.shape[1], device=rows.device) < counts[:, None]
