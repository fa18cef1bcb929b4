"""How far the lattice sums of `lattice_sums.py` go, so that what they leave out is below a bound.

A lattice has rows L = (a1, a2, a3) in Å, volume V and length g = V^(1/3); s is the length that splits real from
reciprocal space, kappa = 1/s. Terms are kept by *radius*: images with |v + kL| <= s T in real and vectors m with
pi s |m| <= T in reciprocal space, images with alpha |v + kL| <= y for the exponential. No bound below knows the shape
of the cell, so that they hold for every choice of it and for any skew.

**Bound.** Let Theta = sum_k exp(-|kL|^2/s^2) and 0 < t <= 1. Gaussian and exponential have positive Fourier transforms,
hence a sum over a shifted lattice is at most that over the lattice, and by Poisson's formula
sum_k exp(-t |kL|^2/s^2) <= t^(-3/2) Theta. With exp(-u^2) <= exp(-(1-t) T^2) exp(-t u^2) beyond T and the best
t = 3/(2 T^2) follows

    E := (2 e T^2/3)^(3/2) exp(-T^2) Theta >= sum_{|v+kL| > sT} exp(-|v+kL|^2/s^2)

and, again by Poisson, E V/(pi^(3/2) s^3) bounds the sum of exp(-pi^2 s^2 |m|^2) left out in reciprocal space. Since
erfc(u) <= exp(-u^2)/(sqrt(pi) u) and Gamma(a, x) <= x^(a-1) exp(-x) for a <= 1, real and reciprocal tails add up to

    |error of S_1/2| <= 2 E / (sqrt(pi) s T^2),        |error of S_3| <= s^-6 E (1/T^2 + 1/T^4 + 1/T^6).

For the exponential, likewise with t = 3/y, |error| <= (e y/3)^3 exp(-y) sum_k exp(-alpha |kL|). The two sums over the
lattice are at most products of sums in one dimension over the Gram-Schmidt lengths h_i of any basis (|kL|^2 is a sum
of squares of shifted multiples of h_i): Theta <= prod_i (1 + min(sqrt(pi) s/h_i, 2/(exp(h_i^2/s^2) - 1))), and the
exponential's <= prod_i coth(alpha h_i/(2 sqrt(3))). T and y are the smallest for which the errors' bounds are at most
`tolerance` times g^-1, g^-6 (the potentials at distance g) and 8 pi/(alpha^3 V) (the mean over the cell).

`skin` adds to the radii: the bound then holds until an atom has moved by skin / 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

SPLIT, FEW = 0.4, 16
"""s / g of up to FEW atoms. Reciprocal terms are matrix products and cheap, so that it lies below the even
1 / sqrt(pi) = 0.56."""
_REDUCTIONS = 40


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


def lattices(cell: Tensor, pbc: Tensor, alpha: Tensor, tolerance: float, skin: float, split: Array | float) -> Lattices:
    """Reduce the cells (g, 3, 3) Å and find the radii for exponents alpha (g,) 1/Å.

    Cells must have a volume; `split` is s / g, one or (g,).
    """
    periodic, exponent = pbc.cpu().numpy(), alpha.detach().double().cpu().numpy()
    given = np.where(periodic[:, None, None], cell.detach().double().cpu().numpy(), np.eye(3))
    basis = _reduction(given)
    reduced = basis @ given
    heights = _heights(reduced)
    s = np.where(periodic, split * heights.prod(1) ** (1 / 3), 1.0)
    reach, decay = _gaussian_reach(s, heights, tolerance), _exponential_reach(exponent, heights, tolerance)
    real = np.where(periodic, s * reach + skin, math.inf)
    reciprocal = np.where(periodic, reach / (math.pi * s), 0.0)
    pauli = np.where(periodic, decay / exponent + skin, math.inf)
    dual = np.linalg.inv(reduced).transpose(0, 2, 1)
    found = (basis, reduced, dual, periodic, s, real, reciprocal, pauli)
    return Lattices(*(torch.from_numpy(np.ascontiguousarray(field)).to(cell.device) for field in found))


def usual_split(counts: Tensor) -> Array:
    """(g,) s / g for counts (g,) atoms: with n^(-1/6) pairs in real space and waves of atoms both grow as n^(3/2)."""
    return SPLIT * np.minimum(1.0, (FEW / counts.cpu().numpy()) ** (1 / 6))


def _reduction(cell: Array) -> Array:
    """Whole combinations (g, 3, 3) of the rows, after which no row reaches more than half along another."""
    basis = np.tile(np.eye(3), (len(cell), 1, 1))
    for _ in range(_REDUCTIONS):
        gram = (basis @ cell) @ (basis @ cell).transpose(0, 2, 1)
        along = np.rint(gram / gram.diagonal(axis1=1, axis2=2)[:, None])
        if not along[:, ~np.eye(3, dtype=bool)].any():
            break
        for i, j in ((1, 0), (2, 0), (2, 1), (0, 1), (0, 2), (1, 2)):
            first, second = (basis[:, i, None] @ cell)[:, 0], (basis[:, j, None] @ cell)[:, 0]
            basis[:, i] -= np.rint((first * second).sum(1) / (second * second).sum(1))[:, None] * basis[:, j]
    return basis


def _heights(cell: Array) -> Array:
    """(g, 3) Gram-Schmidt lengths of the rows."""
    area = np.cross(cell[:, 0], cell[:, 1])
    length, size = np.sqrt((cell[:, 0] ** 2).sum(1)), np.sqrt((area**2).sum(1))
    return np.stack([length, size / length, np.abs((area * cell[:, 2]).sum(1)) / size], 1)


def _gaussian_reach(split: Array, heights: Array, tolerance: float) -> Array:
    """(g,) T. T^2 = F(T^2) with an F that grows: from above, every step keeps the bound."""
    q = (heights / split[:, None]) ** 2
    with np.errstate(over="ignore"):
        theta = (1 + np.minimum(np.sqrt(math.pi / q), 2 / np.expm1(q))).prod(1)
    scale = heights.prod(1) ** (1 / 3) / split
    squared = np.full_like(split, 1000.0)
    for _ in range(6):
        coulomb = 2 / math.sqrt(math.pi) * scale / squared
        london = scale**6 * (1 / squared + 1 / squared**2 + 1 / squared**3)
        size = (2 * math.e / 3 * squared) ** 1.5 * theta / tolerance
        squared = np.maximum(np.log(size * np.maximum(coulomb, london)), 1.5)
    return np.sqrt(squared)


def _exponential_reach(alpha: Array, heights: Array, tolerance: float) -> Array:
    """(g,) y, found as T is."""
    total = (1 / np.tanh(alpha[:, None] * heights / (2 * math.sqrt(3)))).prod(1)
    size = np.log(total * alpha**3 * heights.prod(1) / (8 * math.pi * tolerance))
    y = np.full_like(alpha, 1000.0)
    for _ in range(10):
        y = np.maximum(size + 3 * np.log(math.e / 3 * y), 3.0)
    return y


def lattice_points(basis: Tensor, dual: Tensor, radius: Tensor, half: bool = False) -> tuple[Tensor, Tensor]:
    """All k (p, 3) with |k @ basis| <= radius for g bases (g, 3, 3), and their structures (p,).

    `half`: one of k and -k, and not zero. |k_i| <= radius |dual_i|, so that a box of these sizes has them all.
    """
    most = torch.floor(radius[:, None] * torch.linalg.vector_norm(dual, dim=2) * (1 + 1e-12)).long()
    size = 2 * most + 1
    total = size.prod(1)
    skipped = (total + 1) // 2 if half else torch.zeros_like(total)
    owner = spread(total - skipped)
    ends = torch.cumsum(total - skipped, 0)
    index = torch.arange(len(owner), device=basis.device) - (ends - total)[owner]
    last, middle = size[owner, 2], size[owner, 1]
    k = torch.stack([index // (last * middle), index // last % middle, index % last], 1) - most[owner]
    kept = times(k.double(), basis, owner).square().sum(1) <= radius.square()[owner]
    return k[kept].double(), owner[kept]


def times(vectors: Tensor, matrices: Tensor, owner: Tensor) -> Tensor:
    """vectors[a] @ matrices[owner[a]], (n, 3)."""
    return torch.bmm(vectors[:, None], matrices.index_select(0, owner))[:, 0]


def spread(counts: Tensor) -> Tensor:
    """Index of a group, repeated as often as the group has members."""
    return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
