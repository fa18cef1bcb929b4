"""What two or more architectures share: radial basis, cutoff envelope, safe norm, nearest neighbours, sums, weights.

Everything here is smooth enough for forces of a force-trained network: twice differentiable everywhere, also at the
cutoff and at the zero vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .graph import Graph

TIE = 1e-3
"""Å: neighbours that are this much further than the last one under a cap are kept too."""


class Weights:
    """The weights of one block or layer by their short names."""

    def __init__(self, parameters: Mapping[str, Tensor], prefix: str = "") -> None:
        self._parameters, self._prefix = parameters, prefix

    def __call__(self, name: str) -> Tensor:
        """The weight of this name."""
        return self._parameters[self._prefix + name]

    def linear(self, name: str, inputs: Tensor) -> Tensor:
        """A linear map with bias."""
        return inputs @ self(name) + self(f"{name}_bias")


def normal(shape: tuple[int, ...], scale: float, generator: torch.Generator) -> Tensor:
    """Normal random numbers; on the meta device none are drawn, which would import the compiler and take memory."""
    weight = torch.empty(shape)
    return weight if weight.is_meta else weight.normal_(0.0, scale, generator=generator)


def sum_structures(values: Tensor, graph: Graph) -> Tensor:
    """(n,) per atom -> (g,) per structure, summed in float64."""
    total = torch.zeros(graph.n_structures, dtype=torch.float64, device=values.device)
    return total.index_add(0, graph.structure, values.double())


def lengths(vectors: Tensor) -> Tensor:
    """(m, 3) Å -> (m, 1) Å. Two atoms in one place give 1e-6 Å rather than NaN in the derivative."""
    return torch.sqrt(vectors.square().sum(-1, keepdim=True) + 1e-12)


def safe_norm(vectors: Tensor, dim: int, epsilon: float = 0.1) -> Tensor:
    """sqrt(|v|^2 + epsilon^2) - epsilon along `dim`: zero, and with finite derivatives, at the zero vector."""
    return torch.sqrt(vectors.square().sum(dim) + epsilon * epsilon) - epsilon


def polynomial_envelope(u: Tensor) -> Tensor:
    """1 - 21 u^5 + 35 u^6 - 15 u^7: one at u = 0, zero with two derivatives at u = 1, zero beyond (DimeNet, p = 5)."""
    u = u.clamp(max=1.0)
    return 1.0 - u**5 * (21.0 - 35.0 * u + 15.0 * u * u)


def bessel_basis(r: Tensor, cutoff: float, n_basis: int) -> Tensor:
    """(m, 1) Å -> (m, n_basis): sqrt(2 / rc) sin(k pi r / rc) / r times the envelope, k = 1 ... (DimeNet, eq. 7)."""
    frequency = torch.arange(1, n_basis + 1, dtype=r.dtype, device=r.device) * (math.pi / cutoff)
    return torch.sin(r * frequency) * (math.sqrt(2.0 / cutoff) * polynomial_envelope(r / cutoff) / r)


def among_nearest(centre: Tensor, r: Tensor, n_atoms: int, cutoff: float, cap: int) -> Tensor:
    """(k,) bool of directed bonds of length r (k,) Å: within the cutoff and among the nearest `cap` of their centre."""
    order = torch.argsort(r, stable=True)
    order = order[torch.argsort(centre[order], stable=True)]
    counts = torch.bincount(centre, minlength=n_atoms)
    last = torch.cumsum(counts, 0) - counts + cap - 1
    furthest = torch.full((n_atoms,), math.inf, dtype=r.dtype, device=r.device)
    full = counts > cap
    furthest[full] = r[order[last[full]]]
    return (r < cutoff) & (r <= furthest[centre] + TIE)
