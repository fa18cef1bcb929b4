"""Complete sums of pair potentials over all periodic images, as PotNet's edges need them (arXiv 2306.10045).

For every pair of atoms of a cell, an atom and itself included, with v = x_j - x_i and lattice vectors kL,

    Coulomb  S_1/2 = sum_k 1/|v + kL|,   London  S_3 = sum_k 1/|v + kL|^6,   Pauli  S_e = sum_k exp(-alpha |v + kL|),

without the term at zero distance (the atom itself, i = j). The Coulomb sum has a uniform neutralising background. In
units of s (r = |v + kL|/s, x = pi^2 s^2 |m|^2 over the reciprocal vectors m, V the volume):

    S_p = s^(-2p)/Gamma(p) { sum_{r>0} r^(-2p) Gamma(p, r^2) - [i = j]/p
          + pi^(3/2) s^3/V (sum_{m != 0} cos(2 pi m.v) x^(p-3/2) Gamma(3/2-p, x) - 1/(3/2-p)) },

    p = 1/2:  real sqrt(pi) erfc(r)/r,                       reciprocal exp(-x)/x
    p = 3:    real exp(-r^2) (r^4 + 2 r^2 + 2)/r^6,          reciprocal (4 sqrt(pi)/3) x^(3/2) erfc(sqrt x)
                                                                        + (2/3 - 4x/3) exp(-x).

Pauli needs no splitting. s drops out of the sum, so that it is held constant under differentiation. The reciprocal sum
of all pairs is one product of matrices, since cos(2 pi m.(x_j - x_i)) is made of the cosines and sines of the atoms.
The radii and the bound on what they leave out stand in `lattice_reach.py`. A structure that is not periodic has the
plain terms (kappa = 1/s = 0 in the same expressions), and zero for an atom with itself.

Everything is differentiable in positions and cell, any number of times. `plan` chooses the terms (no gradients) and
`evaluate` sums them; one plan serves as long as atoms and cell have hardly moved.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .lattice_reach import Lattices, lattices, spread, times, usual_split
from .lattice_sums_terms import Terms, enumerate_terms, pairs_within

_CHUNK = 20_000
"""Entries of the largest pair matrices of one chunk (structures * atoms^2): bounds the memory of the enumeration."""


class PairSums(NamedTuple):
    """Sums of every unordered pair, self pairs included: by structure, then j, then i <= j."""

    i: Tensor
    """(P,) int64 first atom."""
    j: Tensor
    """(P,) int64 second atom."""
    structure: Tensor
    """(P,) int64."""
    values: Tensor
    """(P, 3) Coulomb in 1/Å, London in 1/Å^6, Pauli."""


class SumsPlan(NamedTuple):
    """The terms to be summed and the pairs they belong to."""

    i: Tensor
    j: Tensor
    structure: Tensor
    order: Tensor
    """(P,) row of each pair in the sums of all chunks, one after the other."""
    alpha: float
    """1/Å."""
    released_scaling: bool
    chunks: tuple[Terms, ...]


def lattice_sums(
    positions: Tensor,
    cell: Tensor,
    pbc: Tensor,
    structure: Tensor,
    *,
    alpha: float = 3.0,
    tolerance: float = 1e-8,
    released_scaling: bool = False,
) -> PairSums:
    """Sums of all pairs of g structures: positions (n, 3) Å, cell (g, 3, 3) Å by rows, pbc (g,), structure (n,).

    `tolerance` bounds the truncation error of Coulomb in units of 1/g, of London in 1/g^6 (g = V^(1/3)) and of Pauli
    in units of its mean over the cell, 8 pi/(alpha^3 V). What the dtype rounds is not meant: a tolerance that it cannot
    resolve is raised to four of its epsilons. `released_scaling` replaces alpha by alpha / sqrt(g [Å]), as the code
    released with the paper does. Raises ValueError as `plan` does.
    """
    terms = plan(positions, cell, pbc, structure, alpha=alpha, tolerance=tolerance, released_scaling=released_scaling)
    return PairSums(terms.i, terms.j, terms.structure, evaluate(terms, positions, cell))


def plan(
    positions: Tensor,
    cell: Tensor,
    pbc: Tensor,
    structure: Tensor,
    *,
    alpha: float = 3.0,
    tolerance: float = 1e-8,
    released_scaling: bool = False,
    skin: float = 0.0,
    split: float | None = None,
) -> SumsPlan:
    """Choose the terms; arguments as of `lattice_sums`.

    The bound holds until an atom has moved by skin / 2 (Å) in the same cell. `split` is s / g, chosen by the number of
    atoms unless given: the sums do not depend on it. Raises ValueError for settings out of range, a periodic cell
    without volume, a structure without atoms, and two atoms at the same place.
    """
    _check(positions, cell, pbc, structure, alpha, tolerance, skin, split)
    counts = torch.bincount(structure, minlength=len(cell))
    by_structure = torch.argsort(structure, stable=True)
    exponents = _exponents(cell.detach(), pbc, alpha, released_scaling)
    resolved = max(tolerance, 4 * torch.finfo(positions.dtype).eps)
    lattice = lattices(cell, pbc, exponents, resolved, skin, usual_split(counts) if split is None else split)
    pairs = pairs_within(counts)[0]
    first, number = torch.cumsum(counts, 0) - counts, counts * (counts + 1) // 2
    start = torch.cumsum(number, 0) - number
    chunks, rows = [], []
    for chosen in _chunks(counts):
        atoms = by_structure[_ranges(first[chosen], counts[chosen])]
        chunks.append(_chunk(positions, atoms, chosen, counts[chosen], lattice))
        rows.append(_ranges(start[chosen], number[chosen]))
    i, j = by_structure[pairs[:2]]
    return SumsPlan(i, j, pairs[2], torch.argsort(torch.cat(rows)), alpha, released_scaling, tuple(chunks))


def _chunk(positions: Tensor, atoms: Tensor, chosen: Tensor, counts: Tensor, lattice: Lattices) -> Terms:
    terms = enumerate_terms(positions.detach()[atoms], counts, lattice.take(chosen), positions.dtype)
    return terms._replace(atoms=atoms, structures=chosen)


def evaluate(terms: SumsPlan, positions: Tensor, cell: Tensor) -> Tensor:
    """(P, 3) sums of the pairs of a plan, at its positions and cells or near them."""
    sums = [_sums(chunk, terms, positions, cell) for chunk in terms.chunks]
    return torch.cat(sums).index_select(0, terms.order)


def _sums(terms: Terms, settings: SumsPlan, positions: Tensor, cell: Tensor) -> Tensor:
    """(P, 3) of one chunk."""
    unit = torch.eye(3, dtype=cell.dtype, device=cell.device)
    given = torch.where(terms.periodic[:, None, None] > 0, cell.index_select(0, terms.structures), unit)
    box = terms.basis @ given
    x = positions.index_select(0, terms.atoms) + times(terms.wrap, box, terms.owner)
    area = torch.linalg.cross(box.roll(-1, 1), box.roll(-2, 1))
    signed = (box[:, 0] * area[:, 0]).sum(1)
    alpha = _exponents(given, terms.periodic > 0, settings.alpha, settings.released_scaling)
    real = _real(terms, x, box, alpha)
    fourier = _reciprocal(terms, x, area / signed[:, None, None], signed.abs())
    power = fourier + _constants(terms, signed.abs()).index_select(0, terms.group)
    return real.index_select(0, terms.slot) + torch.nn.functional.pad(power, (0, 1))


def _real(terms: Terms, x: Tensor, box: Tensor, alpha: Tensor) -> Tensor:
    """(u, 3) terms in real space, summed for every difference."""
    i, j, structure = terms.pair
    difference = x.index_select(0, j) - x.index_select(0, i) + times(terms.pair_wrap, box, structure)
    pair, point = terms.terms
    vectors = difference.index_select(0, pair) + times(terms.points, box, terms.point_owner).index_select(0, point)
    a, b, c = vectors.unbind(1)
    r = (a * a + b * b + c * c).sqrt()
    near, far = r.index_select(0, terms.near), r.index_select(0, terms.pauli)
    near_pair, pauli_pair = pair.index_select(0, terms.near), pair.index_select(0, terms.pauli)
    kappa = (terms.periodic / terms.split).index_select(0, structure).index_select(0, near_pair)
    exponent = alpha.index_select(0, structure).index_select(0, pauli_pair)
    u, inverse = kappa * near, 1 / near
    squared = u * u
    london = torch.exp(-squared) * (1 + squared * (1 + squared / 2)) * (inverse * inverse) ** 3
    zero = r.new_zeros(len(structure))
    return torch.stack(
        [
            zero.index_add(0, near_pair, torch.erfc(u) * inverse),
            zero.index_add(0, near_pair, london),
            zero.index_add(0, pauli_pair, torch.exp(-exponent * far)),
        ],
        1,
    )


def _reciprocal(terms: Terms, x: Tensor, dual: Tensor, volume: Tensor) -> Tensor:
    """(P, 2) Coulomb and London sums over reciprocal vectors, for every pair."""
    m = terms.m @ dual
    q = (math.pi * terms.split)[:, None] ** 2 * m.square().sum(2)
    decay, root = torch.exp(-q), q.sqrt()
    scale = (math.pi / volume)[:, None] * terms.weight * terms.periodic[:, None]
    coulomb = scale * terms.split[:, None] ** 2 * decay / q
    london = scale * (math.sqrt(math.pi) / 2) / terms.split[:, None] ** 3
    london = london * (4 / 3 * math.sqrt(math.pi) * q * root * torch.erfc(root) + (2 / 3 - 4 / 3 * q) * decay)
    phase = 2 * math.pi * x.index_select(0, terms.padded.reshape(-1)).view(*terms.padded.shape, 3) @ m.transpose(1, 2)
    waves = torch.cat([phase.cos(), phase.sin()], 2).transpose(1, 2)
    weighted = (torch.cat([w, w], 1)[:, :, None] * waves for w in (coulomb, london))
    sums = [torch.bmm(rows.transpose(1, 2), waves).reshape(-1).index_select(0, terms.entry) for rows in weighted]
    return torch.stack(sums, 1)


def _constants(terms: Terms, volume: Tensor) -> Tensor:
    """(2 g, 2) what is the same for all pairs, and for all self pairs, of a structure: Coulomb and London."""
    s, periodic = terms.split, terms.periodic
    background = periodic * math.pi / volume
    coulomb, london = -background * s**2, background * math.sqrt(math.pi) / (3 * s**3)
    others = torch.stack([coulomb, london], 1)
    itself = periodic[:, None] * torch.stack([-2 / (math.sqrt(math.pi) * s), -1 / (6 * s**6)], 1)
    return torch.stack([others, others + itself], 1).reshape(-1, 2)


def _exponents(cell: Tensor, pbc: Tensor, alpha: float, released_scaling: bool) -> Tensor:
    """(g,) 1/Å: alpha, or alpha / sqrt(g) of a periodic structure."""
    plain = cell.new_full((len(cell),), alpha)
    if not released_scaling:
        return plain
    safe = torch.where(pbc[:, None, None], cell, torch.eye(3, dtype=cell.dtype, device=cell.device))
    volume = (safe[:, 0] * torch.linalg.cross(safe[:, 1], safe[:, 2])).sum(1).abs()
    return torch.where(pbc, alpha * volume ** (-1 / 6), plain)


def _chunks(counts: Tensor) -> list[Tensor]:
    """Structures of similar size together, at most _CHUNK entries of pair matrices in a chunk."""
    order = torch.argsort(counts, stable=True)
    chunks: list[list[int]] = []
    smallest = 0
    for index, count in zip(order.tolist(), counts[order].tolist(), strict=True):
        full = chunks and (len(chunks[-1]) + 1) * count**2 > _CHUNK
        if not chunks or full or count > 1.25 * smallest + 4:
            chunks.append([])
            smallest = count
        chunks[-1].append(index)
    return [torch.tensor(chunk, device=counts.device) for chunk in chunks]


def _ranges(first: Tensor, counts: Tensor) -> Tensor:
    """first[a], first[a] + 1, ... first[a] + counts[a] - 1 for every a, one after the other."""
    ends = torch.cumsum(counts, 0)
    group = spread(counts)
    return (first - (ends - counts))[group] + torch.arange(len(group), device=counts.device)


def _check(
    positions: Tensor, cell: Tensor, pbc: Tensor, structure: Tensor, alpha: float, tolerance: float, skin: float,
    split: float | None,
) -> None:  # fmt: skip
    if not (alpha > 0 and 0 < tolerance <= 0.01 and skin >= 0 and (split is None or 0.1 <= split <= 1)):
        raise ValueError(
            f"alpha {alpha} 1/Å, tolerance {tolerance}, skin {skin} Å, split {split}: expected alpha > 0, "
            "0 < tolerance <= 0.01, skin >= 0 and 0.1 <= split <= 1"
        )
    if len(cell) == 0 or bool((torch.bincount(structure, minlength=len(cell)) == 0).any()):
        raise ValueError(f"{len(cell)} structures, one of them or all without atoms: lattice sums need an atom in each")
    lengths = torch.linalg.vector_norm(cell.detach(), dim=2).prod(1)
    flat = torch.linalg.det(cell.detach()).abs() <= 1e-6 * lengths
    if bool((flat & pbc).any()):
        raise ValueError("a periodic cell without volume: expected three independent lattice vectors; check the cell")
    if len(structure) != len(positions):
        raise ValueError(f"{len(positions)} positions and {len(structure)} structure indices: expected as many")
