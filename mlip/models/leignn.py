"""LEIGNN: scalars and vectors on atoms, no tensors of higher order; as published, and in a conservative form.

Yang, Wang, Li, Lv, Chen, Shen, "Lightweight equivariant interaction graph neural network for accurate and efficient
interatomic potential and force predictions", arXiv:2311.02869v1 (2023), later E2GNN. Here e_ij is the unit vector from
atom i to its neighbour j, * the product channel by channel, N the average number of neighbours.

 symbol      variable  shape            what
 x           scalar    (n, H)           state of an atom, at first the embedding of its element
 V           vector    (n, 3, Hv)       at first zero; Hv = H in the published form
 W(r)        filters   (m, H + 2 Hv)    per layer, linear in radial functions times the envelope
 V1, V2      first, second (n, 3, Hv)   linear maps of V
 u           vector_sum (g, 3)          the global vector, published form only

Published form (preset `published`), f(x) = SiLU(x) / 0.6, directed messages j -> i:
 (1) m1, m2, m3 = MLP(x_j) * Linear(rbf) / sqrt3;  V_i += sum_j (m1 * V_j + m2 e_ij) / sqrtH;
     x_i <- (x_i + sum_j m3) / sqrt2
 (2) u = sum_i MLP(x_i) Linear(V_i);  y1, y2 = MLP(x, V2.u / sqrtH, |V2|);  x += (f(Linear x) + y1) / 2;  V += y2 * V1
 (3) energy = sum_i MLP(x_i), force_i = Linear(V_i): not the gradient of the energy.

Conservative form (preset `campaign`), f = SiLU, forces and stress by differentiation:
 (4) z_ij = f(A x_j + B x_i + b + K (V_i.e_ij, V_j.e_ij)) * W(r), cut into z1, z2 (Hv each) and z3 (H);
     D_i = sum_j (z1 * V_j + z2 e_ij) / sqrtN;  S_i = sum_j z3 / sqrtN;  V <- V + D
 (5) h0 = C x + c;  h = h0 + G (S, V1.V2, |V2|);  x <- x + Y (f(h) - f(h0));  V <- V + (Y2 f(h)) * V1
 (6) energy = sum_i w.(x_i - x_i at the start) + v.(f(R x_i + r) - f(R x_i at the start + r))
 Whatever is added in (5) and (6) vanishes where there is no neighbour: a free atom is exactly its reference energy.

[P] is published, [R] our reconstruction or choice:
 [P] (1)-(3) with 4 layers, H = 512, 128 Gaussians of r / rc on [0, 1] times the polynomial envelope p = 5,
     SiLU / 0.6, the fixed factors, direct forces, a hard cap of 20 nearest neighbours per atom; 9,374,213 parameters
     (83 elements).
 [R] which of the published maps have a bias (follows from the number of parameters); the factor of V2.u; the cutoff of
     6 Å; the width of the Gaussians (their spacing); safe norms; neighbours that are as near as the twentieth within
     1e-3 Å are kept as well, so that symmetric crystals stay symmetric; initial weights.
 [R] All of (4)-(6): no global vector, no cap, no bias on what must vanish at the cutoff, Bessel functions, gradients.
     New against (1) is the non-linear function of both atoms and of two angles' cosines in every message.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import silu

from ..graph import Graph
from ..layers import (
    Weights,
    among_nearest,
    bessel_basis,
    lengths,
    normal,
    polynomial_envelope,
    safe_norm,
    sum_structures,
)
from ..potential import Architecture, ArchitectureError, Parameters, register

ROOT_2, ROOT_3 = math.sqrt(2.0), math.sqrt(3.0)


@dataclass(frozen=True)
class LeignnConfig:
    """Sizes of a LEIGNN, and which of the two forms it has."""

    n_layers: int = 3
    """Layers."""
    scalar_width: int = 96
    """H, channels of scalars."""
    vector_width: int = 32
    """Hv, channels of vectors; equal to H in the published form."""
    n_basis: int = 8
    """Radial functions: Bessel functions, Gaussians in the published form."""
    cutoff: float = 5.0
    """Å."""
    average_neighbours: float = 30.0
    """N, neighbours of an average atom; unused in the published form."""
    n_elements: int = 18
    """Elements with an embedding, from H on."""
    direct_forces: bool = False
    """The published form, with forces that are not the gradient of the energy."""
    max_neighbours: int = 0
    """Nearest neighbours that send messages to an atom, in the published form; 0 in the conservative form."""

    def __post_init__(self) -> None:
        sizes = (self.n_layers, self.vector_width, self.n_basis, self.cutoff, self.average_neighbours)
        if min(sizes) <= 0 or self.scalar_width < 2 or self.n_elements < 18 or self.max_neighbours < 0:
            raise ArchitectureError(f"{self}: sizes must be positive, scalar_width at least 2, n_elements 18")
        if self.direct_forces != (self.max_neighbours > 0):
            raise ArchitectureError(f"{self}: max_neighbours goes with direct_forces; give both or neither")
        if self.direct_forces and self.vector_width != self.scalar_width:
            raise ArchitectureError(f"{self}: with direct_forces vector_width must equal scalar_width")


def weight_shapes(config: LeignnConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every weight; matrices are (inputs, outputs)."""
    shapes = {"embedding": (config.n_elements, config.scalar_width)}
    return shapes | (_published_shapes(config) if config.direct_forces else _campaign_shapes(config))


def _campaign_shapes(config: LeignnConfig) -> dict[str, tuple[int, ...]]:
    h, hv = config.scalar_width, config.vector_width
    shapes: dict[str, tuple[int, ...]] = {"radial": (config.n_basis, sum(filter_widths(config)))}
    for layer, width in enumerate(filter_widths(config)):
        parts: dict[str, tuple[int, ...]] = {"sender": (h, width), "receiver": (h, width), "message_bias": (width,)}
        if layer > 0:
            parts["angles"] = (2 * hv, width)
        parts |= {"mix": (hv, 2 * hv), "own": (h, h), "own_bias": (h,), "gathered": (h + 2 * hv, h), "scalar": (h, h)}
        if layer < config.n_layers - 1:
            parts["vector"] = (h, hv)
        shapes |= {f"layer{layer}.{name}": shape for name, shape in parts.items()}
    return shapes | {"out": (h,), "read": (h, h // 2), "read_bias": (h // 2,), "out_read": (h // 2,)}


def filter_widths(config: LeignnConfig) -> list[int]:
    """Width of the messages of each layer; the first has no vectors to pass on."""
    h, hv = config.scalar_width, config.vector_width
    return [h + hv if layer == 0 else h + 2 * hv for layer in range(config.n_layers)]


def _published_shapes(config: LeignnConfig) -> dict[str, tuple[int, ...]]:
    h = config.scalar_width
    layer = _mlp_shapes("message", h, 3 * h) | {"radial": (config.n_basis, 3 * h), "radial_bias": (3 * h,)}
    layer |= {"mix": (h, 2 * h), "sum_vector": (h, 1)} | _mlp_shapes("sum", h, 1, h // 2)
    layer |= _mlp_shapes("update", 3 * h, 2 * h, h // 2) | {"own": (h, h), "own_bias": (h,)}
    shapes = {f"layer{n}.{name}": shape for n in range(config.n_layers) for name, shape in layer.items()}
    return shapes | _mlp_shapes("energy", h, 1) | {"force": (h, 1)}


def _mlp_shapes(name: str, inputs: int, outputs: int, hidden: int | None = None) -> dict[str, tuple[int, ...]]:
    hidden = inputs // 2 if hidden is None else hidden
    return {
        f"{name}1": (inputs, hidden),
        f"{name}1_bias": (hidden,),
        f"{name}2": (hidden, outputs),
        f"{name}2_bias": (outputs,),
    }


def init(config: LeignnConfig, generator: torch.Generator) -> Parameters:
    """Normal weights of variance 1 / inputs, biases zero, embeddings of unit variance."""
    parameters = {}
    for name, shape in weight_shapes(config).items():
        scale = 1.0 if name == "embedding" else 1.0 / math.sqrt(shape[0])
        weight = normal(shape, scale, generator)
        parameters[name] = torch.zeros(shape) if name.endswith("_bias") else weight
    return parameters


def energy(parameters: Parameters, config: LeignnConfig, graph: Graph) -> Tensor:
    """(g,) energy of each structure, float64."""
    if config.direct_forces:
        return direct(parameters, config, graph)[0]
    start = parameters["embedding"].index_select(0, graph.numbers - 1)
    r = lengths(graph.vectors)
    widths = filter_widths(config)
    filters = (bessel_basis(r, config.cutoff, config.n_basis) @ parameters["radial"]).split(widths, dim=1)
    unit = (graph.vectors / r)[:, :, None]
    scalar, vector = start, None
    for layer in range(config.n_layers):
        w = _Weights(parameters, f"layer{layer}.")
        gathered, vector = _messages(w, config, graph, filters[layer], unit, scalar, vector)
        scalar, vector = _update(w, scalar, vector, gathered, last=layer == config.n_layers - 1)
    return sum_structures(_read(parameters, scalar, start), graph)


class _Weights(Weights):
    """The weights of one layer by their short names."""

    def mlp(self, name: str, inputs: Tensor) -> Tensor:
        """Two linear maps with f(x) = SiLU(x) / 0.6 between them."""
        hidden = silu(torch.addmm(self(f"{name}1_bias"), inputs, self(f"{name}1"))) / 0.6
        return torch.addmm(self(f"{name}2_bias"), hidden, self(f"{name}2"))


def _messages(
    w: _Weights,
    config: LeignnConfig,
    graph: Graph,
    filters: Tensor,
    unit: Tensor,
    scalar: Tensor,
    vector: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """(4): S (n, H) and the new V (n, 3, Hv)."""
    h, hv, width = config.scalar_width, config.vector_width, filters.shape[1]
    parts = [scalar @ w("sender"), torch.addmm(w("message_bias"), scalar, w("receiver"))]
    if vector is not None:
        parts.append(vector.flatten(1))
    node = torch.cat(parts, 1)
    widths = [width, width] if vector is None else [width, width, 3 * hv]
    send_i, receive_i, *more_i = node.index_select(0, graph.i).split(widths, 1)
    send_j, receive_j, *more_j = node.index_select(0, graph.j).split(widths, 1)
    inner_i, inner_j = send_j + receive_i, send_i + receive_j
    v_i = v_j = None
    if vector is not None:
        v_i, v_j = more_i[0].unflatten(1, (3, hv)), more_j[0].unflatten(1, (3, hv))
        p_i, p_j = (v_i * unit).sum(1), (v_j * unit).sum(1)
        inner_i = inner_i + torch.cat([p_i, p_j], 1) @ w("angles")
        inner_j = inner_j - torch.cat([p_j, p_i], 1) @ w("angles")
    to_i, to_j = (
        _message(silu(inner) * filters, h, hv, direction, other)
        for inner, direction, other in ((inner_i, unit, v_j), (inner_j, -unit, v_i))
    )
    total = scalar.new_zeros((scalar.shape[0], h + 3 * hv)).index_add(0, graph.i, to_i).index_add(0, graph.j, to_j)
    gathered, change = (total * (1.0 / math.sqrt(config.average_neighbours))).split([h, 3 * hv], 1)
    change = change.unflatten(1, (3, hv))
    return gathered, change if vector is None else vector + change


def _message(z: Tensor, h: int, hv: int, direction: Tensor, other: Tensor | None) -> Tensor:
    """z3, then z2 e_ij + z1 * V_j: flat (m, H + 3 Hv)."""
    if other is None:
        scalar, along = z.split([h, hv], 1)
        return torch.cat([scalar, (direction * along[:, None]).flatten(1)], 1)
    scalar, along, share = z.split([h, hv, hv], 1)
    arrow = direction * along[:, None] + other * share[:, None]
    return torch.cat([scalar, arrow.flatten(1)], 1)


def _update(w: _Weights, scalar: Tensor, vector: Tensor, gathered: Tensor, last: bool) -> tuple[Tensor, Tensor]:
    """(5); the vectors of the last layer are of no more use."""
    first, second = (vector @ w("mix")).chunk(2, dim=2)
    known = torch.cat([gathered, (first * second).sum(1), safe_norm(second, 1)], 1)
    alone = torch.addmm(w("own_bias"), scalar, w("own"))
    hidden = silu(alone + known @ w("gathered"))
    scalar = scalar + (hidden - silu(alone)) @ w("scalar")
    if last:
        return scalar, vector
    return scalar, vector + (hidden @ w("vector"))[:, None] * first


def _read(parameters: Parameters, scalar: Tensor, start: Tensor) -> Tensor:
    """(6): (n,) energy of each atom."""
    hidden, at_start = (silu(torch.addmm(parameters["read_bias"], x, parameters["read"])) for x in (scalar, start))
    return (scalar - start) @ parameters["out"] + (hidden - at_start) @ parameters["out_read"]


class Arrows(NamedTuple):
    """Directed messages of the published form, after the cap."""

    centre: Tensor
    """(k,) the atom that receives."""
    other: Tensor
    """(k,) its neighbour."""
    unit: Tensor
    """(k, 3, 1) e_ij."""
    radial: Tensor
    """(k, n_basis) Gaussians times envelope."""


def arrows(config: LeignnConfig, graph: Graph) -> Arrows:
    """Both directions of every bond, of which each atom keeps the nearest `max_neighbours` (and ties, see TIE)."""
    centre, other = torch.cat([graph.i, graph.j]), torch.cat([graph.j, graph.i])
    vectors = torch.cat([graph.vectors, -graph.vectors])
    r = lengths(vectors)
    kept = torch.nonzero(among_nearest(centre, r[:, 0].detach(), graph.n_atoms, config.cutoff, config.max_neighbours))[
        :, 0
    ]
    centre, other, vectors, r = (part.index_select(0, kept) for part in (centre, other, vectors, r))
    u = r / config.cutoff
    grid = torch.linspace(0.0, 1.0, config.n_basis, dtype=r.dtype, device=r.device)
    gaussians = torch.exp(-0.5 * ((u - grid) * (config.n_basis - 1)).square())
    return Arrows(centre, other, (vectors / r)[:, :, None], gaussians * polynomial_envelope(u))


def direct(parameters: Parameters, config: LeignnConfig, graph: Graph) -> tuple[Tensor, Tensor]:
    """Published form, (1) to (3): energy (g,) float64 and forces (n, 3)."""
    found = arrows(config, graph)
    h = config.scalar_width
    scalar = parameters["embedding"].index_select(0, graph.numbers - 1)
    vector = scalar.new_zeros((scalar.shape[0], 3, h))
    for layer in range(config.n_layers):
        w = _Weights(parameters, f"layer{layer}.")
        scalar, vector = _published_messages(w, found, scalar, vector)
        scalar, vector = _published_update(w, graph, scalar, vector)
    heads = _Weights(parameters, "")
    return sum_structures(heads.mlp("energy", scalar)[:, 0], graph), (vector @ parameters["force"])[:, :, 0]


def _published_messages(w: _Weights, found: Arrows, scalar: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
    """(1)"""
    filters = torch.addmm(w("radial_bias"), found.radial, w("radial"))
    m = w.mlp("message", scalar).index_select(0, found.other) * filters / ROOT_3
    m1, m2, m3 = m[:, None].chunk(3, dim=2)
    arrow = (m1 * vector.index_select(0, found.other) + m2 * found.unit) / math.sqrt(scalar.shape[1])
    return scalar.index_add(0, found.centre, m3[:, 0]) / ROOT_2, vector.index_add(0, found.centre, arrow)


def _published_update(w: _Weights, graph: Graph, scalar: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
    """(2)"""
    first, second = (vector @ w("mix")).chunk(2, dim=2)
    own = w.mlp("sum", scalar) * (vector @ w("sum_vector"))[:, :, 0]
    total = own.new_zeros((graph.n_structures, 3)).index_add(0, graph.structure, own)
    along = (second * total.index_select(0, graph.structure)[:, :, None]).sum(1) / math.sqrt(scalar.shape[1])
    y1, y2 = w.mlp("update", torch.cat([scalar, along, safe_norm(second, 1)], 1)).chunk(2, dim=1)
    alone = silu(torch.addmm(w("own_bias"), scalar, w("own"))) / 0.6
    return scalar + 0.5 * (alone + y1), vector + y2[:, None] * first


PUBLISHED = LeignnConfig(4, 512, 512, 128, 6.0, n_elements=83, direct_forces=True, max_neighbours=20)
DIRECT = "[P] forces are predicted, not derived from the energy"
GLOBAL = "[P] every atom of a structure adds to one global vector, which acts on all of them"
EXCEPTIONS = {
    "forces": DIRECT,
    "stress": "[P] with predicted forces there is no stress",
    "cutoff": "[P] the maps of the radial functions have a bias, so that messages do not vanish at the cutoff",
    "crowding": "[P] only the 20 nearest neighbours send messages",
    "supercell": GLOBAL,
    "small-cell": GLOBAL,
    "fragments": GLOBAL,
    "free-atoms": "[P] atoms without neighbours have an energy of the network as well",
}
ARCHITECTURE = register(
    Architecture(
        "leignn",
        {"campaign": LeignnConfig(), "published": PUBLISHED},
        init,
        energy,
        vectors_only=True,
        direct=direct,
        exceptions={"published": EXCEPTIONS},
    )
)
