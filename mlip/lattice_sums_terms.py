"""Which terms of the lattice sums of `lattice_sums.py` are evaluated, so that what is left out is below a bound.

A lattice has rows L = (a1, a2, a3) in Å, volume V and length g = V^(1/3); s is the length that splits real from
reciprocal space, kappa = 1/s. Terms are kept by *radius*: images with |v + kL| <= s T in real and vectors m with
pi s |m| <= T in reciprocal space, images with alpha |v + kL| <= y for the exponential. No bound below knows the shape
of the cell, so that they hold for every choice of it and for any skew.

**Bound.** Let Theta = sum_k exp(-|kL|^2/s^2) and 0 < t <= 1. Both the Gaussian and the exponential have positive Fourier
transforms, hence a sum over a shifted lattice is at most that over the lattice, and by Poisson's formula
sum_k exp(-t |kL|^2/s^2) <= t^(-3/2) Theta. With exp(-u^2) <= exp(-(1-t) T^2) exp(-t u^2) beyond T and the best
t = 3/(2 T^2) follows

    E := (2 e T^2/3)^(3/2) exp(-T^2) Theta >= sum_{|v+kL| > sT} exp(-|v+kL|^2/s^2)

and, again by Poisson, E V/(pi^(3/2) s^3) bounds the sum of exp(-pi^2 s^2 |m|^2) left out in reciprocal space. Since
erfc(u) <= exp(-u^2)/(sqrt(pi) u) and Gamma(a, x) <= x^(a-1) exp(-x) for a <= 1, real and reciprocal tails add up to

    |error of S_1/2| <= 2 E / (sqrt(pi) s T^2),        |error of S_3| <= s^-6 E (1/T^2 + 1/T^4 + 1/T^6).

For the exponential, likewise with t = 3/y, |error| <= (e y/3)^3 exp(-y) sum_k exp(-alpha |kL|). The two sums over the
lattice are at most products of sums in one dimension over the Gram-Schmidt lengths h_i of any basis (|kL|^2 is a sum
of squares of shifted multiples of h_i): Theta <= prod_i (1 + min(sqrt(pi) s/h_i, 2/(exp(h_i^2/s^2) - 1))), and the
exponential's <= prod_i coth(alpha h_i/(2 sqrt(3))). T and y are the smallest for which the errors are at most
`tolerance` times g^-1, g^-6 (the potentials at distance g) and 8 pi/(alpha^3 V) (the mean over the cell).

`skin` adds to the radii: the bound then holds until an atom has moved by skin / 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

SPLIT = 0.35
"""s / g. Reciprocal terms are matrix products and cheap, so that it lies below the even 1 / sqrt(pi) = 0.56."""
_REDUCTIONS = 40
_COINCIDENT = 1e-4
"""Å; atoms nearer than this are one on top of the other."""


class Lattices(NamedTuple):
    """The lattices of g structures in float64, without gradients, and how far their sums go; Å and 1/Å."""

    basis: Tensor
    """(g, 3, 3) whole numbers: rows of the reduced cell as combinations of the rows of the given one."""
    cell: Tensor
    """(g, 3, 3) reduced cell; the unit matrix where not periodic."""
    dual: Tensor
    """(g, 3, 3) rows b_i with b_i . a_j = delta_ij."""
    periodic: Tensor
    """(g,) bool."""
    split: Tensor
    """(g,) s; one where not periodic."""
    real: Tensor
    """(g,) s T + skin; infinite where not periodic."""
    reciprocal: Tensor
    """(g,) T / (pi s); zero where not periodic."""
    pauli: Tensor
    """(g,) y / alpha + skin; infinite where not periodic."""

    def take(self, index: Tensor) -> Lattices:
        """Those of some of the structures."""
        return Lattices(*(field.index_select(0, index) for field in self))


def lattices(cell: Tensor, pbc: Tensor, alpha: Tensor, tolerance: float, skin: float, split: float) -> Lattices:
    """Reduce the cells (g, 3, 3) Å and find the radii for exponents alpha (g,) 1/Å. Cells must have a volume."""
    given = torch.where(
        pbc[:, None, None], cell.detach().double(), torch.eye(3, dtype=torch.float64, device=cell.device)
    )
    basis = _reduction(given)
    reduced = basis @ given
    heights = _heights(reduced)
    volume = heights.prod(1)
    scale = torch.where(pbc, split * volume ** (1 / 3), 1.0)
    reach = _gaussian_reach(scale, heights, tolerance)
    decay = _exponential_reach(alpha.double(), heights, volume, tolerance)
    endless = torch.full_like(scale, math.inf)
    return Lattices(
        basis,
        reduced,
        torch.linalg.inv(reduced).transpose(1, 2),
        pbc,
        scale,
        torch.where(pbc, scale * reach + skin, endless),
        torch.where(pbc, reach / (math.pi * scale), 0.0),
        torch.where(pbc, decay / alpha.double() + skin, endless),
    )


def _reduction(cell: Tensor) -> Tensor:
    """Whole combinations (g, 3, 3) of the rows that leave no row more than half along another: short wrapped vectors."""
    basis = torch.eye(3, dtype=cell.dtype, device=cell.device).expand_as(cell).clone()
    for _ in range(_REDUCTIONS):
        change = torch.zeros((), dtype=cell.dtype, device=cell.device)
        for i, j in ((1, 0), (2, 0), (2, 1), (0, 1), (0, 2), (1, 2)):
            rows = basis[:, (i, j)] @ cell
            times = torch.round((rows[:, 0] * rows[:, 1]).sum(1) / rows[:, 1].square().sum(1))
            basis[:, i] -= times[:, None] * basis[:, j]
            change = change + times.abs().sum()
        if not bool(change):
            break
    return basis


def _heights(cell: Tensor) -> Tensor:
    """(g, 3) Gram-Schmidt lengths of the rows."""
    first, area = cell[:, 0], torch.linalg.cross(cell[:, 0], cell[:, 1])
    length, size = torch.linalg.vector_norm(first, dim=1), torch.linalg.vector_norm(area, dim=1)
    return torch.stack([length, size / length, (area * cell[:, 2]).sum(1).abs() / size], 1)


def _gaussian_reach(split: Tensor, heights: Tensor, tolerance: float) -> Tensor:
    """(g,) T. T^2 = F(T^2) with an F that grows: from above, every step keeps the bound."""
    q = (heights / split[:, None]).square()
    theta = (1 + torch.minimum((math.pi / q).sqrt(), 2 / torch.expm1(q))).prod(1)
    scale = heights.prod(1) ** (1 / 3) / split
    squared = torch.full_like(split, 1000.0)
    for _ in range(6):
        inverse = 1 / squared
        coulomb = 2 / math.sqrt(math.pi) * scale * inverse
        london = scale**6 * (inverse + inverse**2 + inverse**3)
        size = (2 * math.e / 3 * squared) ** 1.5 * theta / tolerance
        squared = torch.log(size * torch.maximum(coulomb, london)).clamp(min=1.5)
    return squared.sqrt()


def _exponential_reach(alpha: Tensor, heights: Tensor, volume: Tensor, tolerance: float) -> Tensor:
    """(g,) y, found as T is."""
    total = (1 / torch.tanh(alpha[:, None] * heights / (2 * math.sqrt(3)))).prod(1)
    size = torch.log(total * alpha**3 * volume / (8 * math.pi * tolerance))
    y = torch.full_like(alpha, 1000.0)
    for _ in range(10):
        y = (size + 3 * torch.log(math.e / 3 * y)).clamp(min=3.0)
    return y


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
    """(3, u) first atom, second atom and structure of the differences that differ: i < j, and one self per structure."""
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
    device = positions.device
    owner = _spread(counts)
    first = torch.cumsum(counts, 0) - counts
    fraction = _rows(positions.detach().double(), lattice.dual.transpose(1, 2), owner)
    wrap = -torch.floor(fraction) * lattice.periodic[owner, None]
    pairs, entry, slot, distinct = pairs_within(counts)
    pair = pairs[:, distinct]
    difference = (fraction + wrap)[pair[1]] - (fraction + wrap)[pair[0]]
    pair_wrap = -torch.round(difference) * lattice.periodic[pair[2], None]
    points, point_owner, terms, squared = _images(difference + pair_wrap, pair[2], lattice)
    itself = (pair[0] == pair[1])[terms[0]] & (points[terms[1]] == 0).all(1)
    _refuse_coincidence(squared, itself)
    terms, squared = terms[:, ~itself], squared[~itself]
    near, pauli = (squared <= radius.square()[pair[2]][terms[0]] for radius in (lattice.real, lattice.pauli))
    m, weight = _reciprocal(lattice)
    padded = torch.arange(int(counts.max()), device=device).expand(len(counts), -1)
    return Terms(
        torch.arange(len(owner), device=device),
        torch.arange(len(counts), device=device),
        owner,
        lattice.basis.to(dtype),
        lattice.periodic.to(dtype),
        lattice.split.to(dtype),
        wrap.to(dtype),
        pair,
        pair_wrap.to(dtype),
        points.to(dtype),
        point_owner,
        terms,
        near.nonzero()[:, 0],
        pauli.nonzero()[:, 0],
        m.to(dtype),
        weight.to(dtype),
        first[:, None] + torch.where(padded < counts[:, None], padded, 0),
        entry,
        slot,
        2 * pairs[2] + (pairs[0] == pairs[1]),
    )


def pairs_within(counts: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pairs i <= j of structures with counts (g,) atoms, ordered by structure, j, i.

    Returns (3, P) i, j and structure; entry and slot as in Terms; and (P,) bool, true where a pair has its own slot.
    """
    number = counts * (counts + 1) // 2
    structure = _spread(number)
    start = torch.cumsum(number, 0) - number
    within = torch.arange(len(structure), device=counts.device) - start[structure]
    most = int(counts.max())
    high, low = torch.tril_indices(most, most, device=counts.device)[:, within]
    first = (torch.cumsum(counts, 0) - counts)[structure]
    distinct = (low < high) | (high == 0)
    slot = torch.cumsum(distinct, 0) - 1
    slot = torch.where(low == high, slot[start][structure], slot)
    return torch.stack([first + low, first + high, structure]), (structure * most + low) * most + high, slot, distinct


def _images(fraction: Tensor, structure: Tensor, lattice: Lattices) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Lattice vectors (p, 3), their structures, and the (2, t) pairs with vectors within reach, and squared lengths."""
    vector = _rows(fraction, lattice.cell, structure)
    length = torch.linalg.vector_norm(vector, dim=1)
    longest = torch.zeros_like(lattice.split).scatter_reduce(0, structure, length, "amax")
    reach = torch.maximum(lattice.real, lattice.pauli)
    points, owner = lattice_points(lattice.cell, lattice.dual, torch.where(lattice.periodic, reach + longest, 0.0))
    (differences, pair_mask), (shifts, shift_mask) = (
        _pad(vector, structure, len(reach)),
        _pad(_rows(points, lattice.cell, owner), owner, len(reach)),
    )
    squared = differences.square().sum(2)[:, :, None] + shifts.square().sum(2)[:, None]
    squared = torch.baddbmm(squared, differences, shifts.transpose(1, 2), alpha=2.0)
    kept = (squared <= reach.square()[:, None, None]) & pair_mask[:, :, None] & shift_mask[:, None]
    where = kept.nonzero()
    start = [torch.cumsum(mask.sum(1), 0) - mask.sum(1) for mask in (pair_mask, shift_mask)]
    terms = torch.stack([start[0][where[:, 0]] + where[:, 1], start[1][where[:, 0]] + where[:, 2]])
    return points, owner, terms, squared[kept]


def lattice_points(basis: Tensor, dual: Tensor, radius: Tensor, half: bool = False) -> tuple[Tensor, Tensor]:
    """All k (p, 3) with |k @ basis| <= radius for g bases (g, 3, 3), and their structures (p,).

    `half`: one of k and -k, and not zero. |k_i| <= radius |dual_i|, so that a box of these sizes has them all.
    """
    most = torch.floor(radius[:, None] * torch.linalg.vector_norm(dual, dim=2) * (1 + 1e-12)).long()
    size = 2 * most + 1
    total = size.prod(1)
    skipped = (total + 1) // 2 if half else torch.zeros_like(total)
    owner = _spread(total - skipped)
    ends = torch.cumsum(total - skipped, 0)
    index = torch.arange(len(owner), device=basis.device) - (ends - total)[owner]
    last, middle = size[owner, 2], size[owner, 1]
    k = torch.stack([index // (last * middle), index // last % middle, index % last], 1) - most[owner]
    kept = _rows(k.double(), basis, owner).square().sum(1) <= radius.square()[owner]
    return k[kept].double(), owner[kept]


def _reciprocal(lattice: Lattices) -> tuple[Tensor, Tensor]:
    """(g, k, 3) and weights (g, k); padded with a vector that is not zero, for every function to be finite there."""
    m, owner = lattice_points(lattice.dual, lattice.cell, lattice.reciprocal, half=True)
    padded, mask = _pad(m, owner, len(lattice.split))
    return torch.where(mask[:, :, None], padded, 1.0), 2.0 * mask


def _pad(rows: Tensor, owner: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Rows (n, 3), sorted by owner, as (number, most, 3) with zeros, and the mask (number, most)."""
    counts = torch.bincount(owner, minlength=number)
    within = torch.arange(len(owner), device=rows.device) - (torch.cumsum(counts, 0) - counts)[owner]
    padded = rows.new_zeros(number, int(counts.max()), 3)
    padded[owner, within] = rows
    return padded, torch.arange(padded.shape[1], device=rows.device) < counts[:, None]


def _rows(rows: Tensor, matrices: Tensor, owner: Tensor) -> Tensor:
    """rows[a] @ matrices[owner[a]]."""
    return torch.bmm(rows[:, None], matrices.index_select(0, owner))[:, 0]


def _spread(counts: Tensor) -> Tensor:
    """Index of a group, repeated as often as the group has members."""
    return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)


def _refuse_coincidence(squared: Tensor, itself: Tensor) -> None:
    if bool(((squared < _COINCIDENT**2) & ~itself).any()):
        raise ValueError(f"two atoms are nearer than {_COINCIDENT} Å: lattice sums need them apart; remove one of them")
