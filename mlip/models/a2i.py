"""A2I transformer: attention among the neighbours of an atom; as published (reconstructed), and in an invariant form.

Yu, Ha, Seo, Lee, "A2I Transformer: permutation-equivariant attention network for pairwise and many-body interactions
with minimal featurization", arXiv:2110.14374 (2021). Only its idea is known to us: end to end from coordinates with
minimal featurisation, self-attention as the main workhorse, equivariant to the order of atoms, energies of atoms
summed.

A centre i has one token of its own and one per neighbour (every periodic image). c(r) is a smooth envelope, zero from
the cutoff rc on, and in every attention the weight of token k is

 (1) w_k = c_k exp(l_k) / (c_0 exp(l_0) + sum_k' c_k' exp(l_k')),   c_0 = 1 for the centre's token,

log c *added* to the logits l: what crosses the cutoff has no weight left, and no other weight jumps.

Cartesian form (preset `published`): a transformer on the tokens of one centre, full softmax attention among them.
 (2) t_k = W ((dx, dy, dz), r) / rc + B_species(k), the centre's B_species(i) and a mark; W begins at a variance of 9
 (3) t <- t + O attention(LN t), weights (1) for every token as query;  t <- t + FFN(LN t), width 4 d, GELU
 (4) e_i = MLP(LN t_0) - the same of a lone centre
 Numbers of neighbours differ from centre to centre: tokens are padded to the largest number at hand. That size depends
 on the data, so this form is not compiled and trains operation by operation. It is not invariant to rotations.

Invariant form (preset `campaign`): tokens of distances, species and angles, attention at linear cost in the neighbours.
 symbol      variable   shape              what
 x           centre     (n, d)             token of a centre, at first the embedding of its element
 t           tokens     (2 m, d)           tokens of its neighbours: both directions of every bond, i -> j and then back
 b(r)        radial     (2 m, n_basis)     Bessel functions times envelope
 Y_l         harmonics  (2 m, 2 l + 1)     of the bond's direction u, Y_l(u).Y_l(u') = P_l(u.u') (Legendre)
 M_l         moments    (n, 2 l + 1, C)    at first zero
 v'          normed     any                v / sqrt(1 + mean over channels of v^2): what enters a matrix in (6) to (9)
 (5) t = f(A_species(i) + B_species(j)) * F b(r),  f = SiLU, * channel by channel
 per block, with heads that share the channels among them:
 (6) l_k = (Q x'_i).(K t'_k) / sqrt(width), l_0 = log N + L x'_i, but for log N bounded by B tanh(./B); w_k by (1)
 (7) o_i = sqrtN sum_k w_k V t'_k;   M_l <- M_l + sqrtN sum_k w_k Y_l(u_k) V_l t'_k
 (8) h0 = C x' + c;  h = h0 + G (o, (M_l A_l).(M_l B_l))';   x <- x + S (f(h) - f(h0))
 (9) p_j = (Y_l(u_j).M_l)_l;   t_j <- t_j + O (f(T (t_j, p_j)' + X x'_i + R s_j + Z x'_j + d) * F b(r))
 s_j is (t_j, p_j)' of the same bond seen from its other end: tokens then carry what the neighbour has seen.
 (10) energy = sum_i v.(x - x at the start) + MLP(x) - MLP(x at the start) + sum_k c_k z.t_k / sqrtN
Without the normalisation every block squares what the one before has made, (M_l A_l).(M_l B_l), and a few steps of
training can raise an energy by orders of magnitude; with it a block adds no more than its weights allow.
Why (7) and (9) are self-attention among neighbours: the contraction gives p_j = sqrtN sum_k w_k P_l(cos theta_jk) V_l
t'_k per block: what the query j receives from every key k with the score w_k P_l(cos theta_jk) of species, distance and
angle. It is the kernel trick of linear attention (a score that is a product of features of j and of k), exact for
polynomials of cos theta. The sum over k is made once per centre instead of once per pair of neighbours: the cost grows
with the bonds, and all shapes are those of the graph, which compiled training needs.

[P] is published, [R] our reconstruction or choice:
 [P] the idea as told above, on periodic cells, many-body interactions and binary mixtures.
 [R] everything else: all widths, (1) to (10), forces as derivatives, one local environment per atom in `published`;
     in `campaign` the exchange (9) between the two ends of a bond, in the last `n_rounds` - 1 token updates. With
     n_rounds = 1 an atom's energy depends on its own neighbours only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, silu

from ..graph import Graph
from ..layers import Weights, bessel_basis, lengths, normal, polynomial_envelope, sum_structures
from ..potential import Architecture, ArchitectureError, Parameters, register
from ..units import Z_MAX


@dataclass(frozen=True)
class A2IConfig:
    """Sizes of an A2I transformer, and which of the two forms it has."""

    n_blocks: int = 3
    """Transformer blocks."""
    scalar_width: int = 64
    """d, channels of a token."""
    n_heads: int = 8
    """Attention heads, which share the channels among them."""
    key_width: int = 4
    """Channels of queries and keys per head; in the Cartesian form d / n_heads."""
    vector_width: int = 16
    """C, channels of the moments; invariant form."""
    max_degree: int = 2
    """Largest l of the moments, 1 to 3; invariant form."""
    n_rounds: int = 3
    """Environments an atom is reached through, at most n_blocks; 1 is the own one only. Invariant form."""
    n_basis: int = 8
    """Radial functions; invariant form."""
    cutoff: float = 5.0
    """Å."""
    average_neighbours: float = 30.0
    """N, neighbours of an average atom; invariant form."""
    norm_floor: float = 1.0
    """The one in v / sqrt(1 + mean of v^2): smaller values stay about as they are. Invariant form."""
    logit_bound: float = 1.0
    """B, largest logit of the invariant form: without one, attention as sharp as a step follows every neighbour that
    comes and goes, and what was learned from few structures is wild in others."""
    cartesian: bool = False
    """The published form, whose energy changes when the structure is turned."""

    def __post_init__(self) -> None:
        sizes = (self.n_blocks, self.scalar_width, self.n_heads, self.key_width, self.vector_width, self.n_basis)
        positive = (*sizes, self.n_rounds, self.cutoff, self.average_neighbours, self.norm_floor, self.logit_bound)
        if min(positive) <= 0 or not 1 <= self.max_degree <= 3:
            raise ArchitectureError(f"{self}: all sizes must be positive and max_degree 1 to 3")
        if self.scalar_width % self.n_heads or (not self.cartesian and self.vector_width % self.n_heads):
            raise ArchitectureError(f"{self}: scalar_width and vector_width must be multiples of n_heads")
        if not self.cartesian and self.n_rounds > self.n_blocks:
            raise ArchitectureError(f"n_rounds {self.n_rounds} with {self.n_blocks} blocks: expected at most as many")

    def exchanges(self, block: int) -> bool:
        """Whether the tokens of a block see the other end of their bond."""
        return block > self.n_blocks - self.n_rounds


def weight_shapes(config: A2IConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every weight; matrices are (inputs, outputs)."""
    return _cartesian_shapes(config) if config.cartesian else _invariant_shapes(config)


def _cartesian_shapes(config: A2IConfig) -> dict[str, tuple[int, ...]]:
    d = config.scalar_width
    shapes: dict[str, tuple[int, ...]] = {"species": (Z_MAX + 1, d), "embed": (4, d), "mark": (d,)}
    block: dict[str, tuple[int, ...]] = {
        "attend_gain": (d,),
        "attend_bias": (d,),
        "qkv": (d, 3 * d),
        "qkv_bias": (3 * d,),
        "merge": (d, d),
    }
    block |= {"feed_gain": (d,), "feed_bias": (d,), "up": (d, 4 * d), "up_bias": (4 * d,), "down": (4 * d, d)}
    for n in range(config.n_blocks):
        shapes |= {f"block{n}.{name}": shape for name, shape in block.items()}
    return shapes | {"read_gain": (d,), "read_norm_bias": (d,), "read": (d, d), "read_bias": (d,), "out": (d,)}


def _invariant_shapes(config: A2IConfig) -> dict[str, tuple[int, ...]]:
    d, heads, c, degrees = config.scalar_width, config.n_heads, config.vector_width, config.max_degree
    shapes: dict[str, tuple[int, ...]] = {
        "species": (Z_MAX + 1, 3 * d),
        "radial": (config.n_basis, config.n_blocks * d),
    }
    for n in range(config.n_blocks):
        width = heads * config.key_width
        parts: dict[str, tuple[int, ...]] = {"query": (d, width + heads), "key_value": (d, width + d + degrees * c)}
        parts |= {"mix": (degrees, c, 2 * c), "own": (d, 2 * d), "own_bias": (2 * d,)}
        parts |= {"gathered": (d + degrees * c, 2 * d), "centre": (2 * d, d)}
        if n < config.n_blocks - 1:
            ends = 2 if config.exchanges(n + 1) else 1
            parts |= {"token": (d + degrees * c, ends * d), "token_centre": (d, ends * d), "token_bias": (ends * d,)}
            parts["token_out"] = (d, d)
        shapes |= {f"block{n}.{name}": shape for name, shape in parts.items()}
    return shapes | {"out": (d,), "out_token": (d,), "read": (d, d // 2), "read_bias": (d // 2,), "out_read": (d // 2,)}


FACTORS = {
    "embed": 6.0, "merge": 0.5, "down": 0.5, "query": 0.5, "token_out": 0.5,
    "out": 0.3, "out_token": 0.3, "out_read": 0.3,
}  # fmt: skip
"""Of initial weights: what is added or read out is small, so that an untrained model is near its baseline; coordinates
are large, since a network whose tokens are all but equal at first learns nothing of them in hundreds of steps."""


def init(config: A2IConfig, generator: torch.Generator) -> Parameters:
    """Normal weights of variance 1 / inputs, times FACTORS."""
    parameters = {}
    for name, shape in weight_shapes(config).items():
        scale = 1.0 if name in ("species", "mark") else 1.0 / math.sqrt(shape[0] if len(shape) < 3 else shape[1])
        scale *= FACTORS.get(name.rpartition(".")[2], 1.0)
        weight = normal(shape, scale, generator)
        if name.endswith("_gain"):
            weight = torch.ones(shape)
        parameters[name] = torch.zeros(shape) if name.endswith("_bias") else weight
    return parameters


def energy(parameters: Parameters, config: A2IConfig, graph: Graph) -> Tensor:
    """(g,) energy of each structure, float64, zero for atoms without neighbours."""
    form = _cartesian if config.cartesian else _invariant
    return sum_structures(form(parameters, config, graph), graph)


class Bonds(NamedTuple):
    """Both directions of every bond, those of the list first: what all blocks of the invariant form share."""

    centre: Tensor
    """(2 m,) the atom the token belongs to."""
    envelope: Tensor
    """(2 m, 1) c(r)."""
    harmonics: list[Tensor]
    """(2 m, 2 l + 1, 1) for l = 1 ..."""
    root: float
    """sqrtN."""


def swapped(values: Tensor) -> Tensor:
    """(2 m, ...) the same bonds from their other ends."""
    return values.roll(values.shape[0] // 2, 0)


def normed(values: Tensor, config: A2IConfig) -> Tensor:
    """(k, channels) v / sqrt(floor + mean over channels of v^2)."""
    return values * torch.rsqrt(config.norm_floor + values.square().mean(1, keepdim=True))


def harmonics(unit: Tensor, degree: int) -> Tensor:
    """(m, 3) -> (m, 2 l + 1): real spherical harmonics with Y_l(u).Y_l(u') = P_l(u.u'), l = `degree` from 1 to 3."""
    x, y, z = unit.unbind(1)
    if degree == 1:
        return unit
    if degree == 2:
        third = math.sqrt(3.0)
        parts = [third * x * y, third * y * z, third * x * z, 0.5 * third * (x * x - y * y), 1.5 * z * z - 0.5]
        return torch.stack(parts, 1)
    one, two, three = math.sqrt(6.0) / 4.0, math.sqrt(15.0), math.sqrt(10.0) / 4.0
    flat, tall = x * x - y * y, 5.0 * z * z - 1.0
    parts = [one * x * tall, one * y * tall, 0.5 * z * (5.0 * z * z - 3.0), 0.5 * two * z * flat, two * x * y * z]
    return torch.stack([*parts, three * x * (flat - 2.0 * y * y), three * y * (flat + 2.0 * x * x)], 1)


def _invariant(parameters: Parameters, config: A2IConfig, graph: Graph) -> Tensor:
    """(5) to (10): (n,) energies of the atoms."""
    r = lengths(graph.vectors)
    found = [harmonics(graph.vectors / r, degree)[:, :, None] for degree in range(1, config.max_degree + 1)]
    bonds = Bonds(
        torch.cat([graph.i, graph.j]),
        polynomial_envelope(r / config.cutoff).repeat(2, 1),
        [torch.cat([y, y if degree % 2 == 0 else -y]) for degree, y in enumerate(found, 1)],
        math.sqrt(config.average_neighbours),
    )
    filters = (bessel_basis(r, config.cutoff, config.n_basis) @ parameters["radial"]).chunk(config.n_blocks, 1)
    start, own, other = parameters["species"].index_select(0, graph.numbers).chunk(3, 1)
    ends = own.index_select(0, bonds.centre) + swapped(other.index_select(0, bonds.centre))
    centre, tokens = start, silu(ends) * filters[0].repeat(2, 1)
    seen = normed(centre, config)
    moments: list[Tensor] | None = None
    for block in range(config.n_blocks):
        w = Weights(parameters, f"block{block}.")
        gathered, moments = _attention(w, config, bonds, seen, normed(tokens, config), moments)
        centre = centre + _centre_update(w, config, seen, gathered, moments)
        seen = normed(centre, config)
        if block < config.n_blocks - 1:
            exchange, radial = config.exchanges(block + 1), filters[block + 1].repeat(2, 1)
            tokens = tokens + _token_update(w, config, bonds, seen, tokens, moments, radial, exchange)
    per_token = (bonds.envelope * tokens) @ parameters["out_token"] / bonds.root
    return _read(parameters, centre, start).index_add(0, bonds.centre, per_token)


def _attention(
    w: Weights, config: A2IConfig, bonds: Bonds, centre: Tensor, tokens: Tensor, moments: list[Tensor] | None
) -> tuple[Tensor, list[Tensor]]:
    """(1), (6), (7) of normed x and t: o (n, d) and the new moments (n, 2 l + 1, C), sums made before divided."""
    heads, width, n = config.n_heads, config.n_heads * config.key_width, centre.shape[0]
    query, alone = (centre @ w("query")).split([width, heads], 1)
    key, *values = (tokens @ w("key_value")).split(
        [width, config.scalar_width] + [config.vector_width] * len(bonds.harmonics), 1
    )
    score = (query.index_select(0, bonds.centre) * key).unflatten(1, (heads, -1)).sum(2) / math.sqrt(config.key_width)
    weight = bonds.envelope * torch.exp(_bounded(score, config))
    scalar, *arrows = ((value.unflatten(1, (heads, -1)) * weight[:, :, None]).flatten(1) for value in values)
    arrows = [(y * value[:, None]).flatten(1) for y, value in zip(bonds.harmonics, arrows, strict=True)]
    joined = torch.cat([weight, scalar, *arrows], 1)
    total = joined.new_zeros((n, joined.shape[1])).index_add(0, bonds.centre, joined)
    whole, *sums = total.split([heads, scalar.shape[1]] + [each.shape[1] for each in arrows], 1)
    share = bonds.root / (bonds.root**2 * torch.exp(_bounded(alone, config)) + whole)
    gathered = (sums[0].unflatten(1, (heads, -1)) * share[:, :, None]).flatten(1)
    share = share.repeat_interleave(config.vector_width // heads, 1)[:, None]
    fresh = [part.unflatten(1, (-1, config.vector_width)) * share for part in sums[1:]]
    return gathered, fresh if moments is None else [old + new for old, new in zip(moments, fresh, strict=True)]


def _bounded(logits: Tensor, config: A2IConfig) -> Tensor:
    return config.logit_bound * torch.tanh(logits / config.logit_bound)


def _centre_update(w: Weights, config: A2IConfig, centre: Tensor, gathered: Tensor, moments: list[Tensor]) -> Tensor:
    """(8) from normed x: what is added to x, (n, d)."""
    pairs = [(moment @ mix).chunk(2, 2) for moment, mix in zip(moments, w("mix").unbind(), strict=True)]
    known = normed(torch.cat([gathered] + [(first * second).sum(1) for first, second in pairs], 1), config)
    alone = w.linear("own", centre)
    return (silu(alone + known @ w("gathered")) - silu(alone)) @ w("centre")


def _token_update(
    w: Weights,
    config: A2IConfig,
    bonds: Bonds,
    centre: Tensor,
    tokens: Tensor,
    moments: list[Tensor],
    radial: Tensor,
    exchange: bool,
) -> Tensor:
    """(9) from normed x: what is added to t, (2 m, d)."""
    angles = [
        (y * moment.index_select(0, bonds.centre)).sum(1) for y, moment in zip(bonds.harmonics, moments, strict=True)
    ]
    inner = normed(torch.cat([tokens, *angles], 1), config) @ w("token")
    inner = inner + (centre @ w("token_centre") + w("token_bias")).index_select(0, bonds.centre)
    if exchange:
        here, there = inner.chunk(2, 1)
        inner = here + swapped(there)
    return (silu(inner) * radial) @ w("token_out")


def _read(parameters: Parameters, centre: Tensor, start: Tensor) -> Tensor:
    """(10) without tokens: (n,)."""
    w = Weights(parameters)
    hidden = silu(w.linear("read", centre)) - silu(w.linear("read", start))
    return (centre - start) @ w("out") + hidden @ w("out_read")


def _cartesian(parameters: Parameters, config: A2IConfig, graph: Graph) -> Tensor:
    """(2) to (4): (n,) energies of the atoms."""
    w = Weights(parameters)
    species, d = parameters["species"], config.scalar_width
    centre, other = torch.cat([graph.i, graph.j]), torch.cat([graph.j, graph.i])
    vectors = torch.cat([graph.vectors, -graph.vectors])
    r = lengths(vectors)
    kinds = species.index_select(0, graph.numbers.index_select(0, other))
    neighbours = torch.cat([vectors, r], 1) / config.cutoff @ w("embed") + kinds
    alone = species + w("mark")
    slot, size = _slots(centre, graph.n_atoms)
    joined = torch.cat([neighbours, polynomial_envelope(r / config.cutoff)], 1)
    padded = joined.new_zeros((graph.n_atoms * size, d + 1)).index_add(0, slot, joined)
    padded = padded.unflatten(0, (graph.n_atoms, size))
    own = torch.nn.functional.pad(alone, (0, 1), value=1.0).index_select(0, graph.numbers)
    tokens, envelope = torch.cat([own[:, None], padded], 1).split([d, 1], 2)
    read = _transformer(parameters, config, tokens, envelope)
    lone = _transformer(parameters, config, alone[:, None], torch.ones_like(alone[:, :1, None]))
    return read - lone.index_select(0, graph.numbers)


def _slots(centre: Tensor, n_atoms: int) -> tuple[Tensor, int]:
    """(k,) place of each token in tables of equal size, one per centre, and that size."""
    counts = torch.bincount(centre, minlength=n_atoms)
    size = max(int(counts.max()), 1)
    order = torch.argsort(centre, stable=True)
    first = (torch.cumsum(counts, 0) - counts).index_select(0, centre.index_select(0, order))
    place = torch.empty_like(centre)
    place[order] = torch.arange(len(centre), device=centre.device) - first
    return centre * size + place, size


def _transformer(parameters: Parameters, config: A2IConfig, tokens: Tensor, envelope: Tensor) -> Tensor:
    """(3), (4) of tokens (n, k, d) with c (n, k, 1), the centre's first: (n,)."""
    for block in range(config.n_blocks):
        w = Weights(parameters, f"block{block}.")
        tokens = tokens + _mixed(w, config.n_heads, _normed(w, "attend", tokens), envelope)
        tokens = tokens + gelu(w.linear("up", _normed(w, "feed", tokens))) @ w("down")
    w = Weights(parameters)
    last = layer_norm(tokens[:, 0], tokens.shape[2:], w("read_gain"), w("read_norm_bias"))
    return gelu(w.linear("read", last)) @ w("out")


def _normed(w: Weights, name: str, tokens: Tensor) -> Tensor:
    return layer_norm(tokens, tokens.shape[2:], w(f"{name}_gain"), w(f"{name}_bias"))


def _mixed(w: Weights, heads: int, tokens: Tensor, envelope: Tensor) -> Tensor:
    """Attention (1) of every token of (n, k, d) to all of its centre."""
    query, key, value = w.linear("qkv", tokens).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind()
    score = query @ key.mT / math.sqrt(query.shape[3])
    weight = torch.exp(score - score.detach().amax(3, keepdim=True)) * envelope[:, None, None, :, 0]
    return ((weight / weight.sum(3, keepdim=True)) @ value).transpose(1, 2).flatten(2) @ w("merge")


CAMPAIGN = A2IConfig()
"""For campaigns: invariant, conservative, smooth."""
PUBLISHED = A2IConfig(n_blocks=4, cartesian=True, key_width=8, n_rounds=1)
"""A reconstruction from the idea: the paper's widths are not known to us."""
NOT_INVARIANT = "[R] tokens are Cartesian coordinates: the energy depends on how the structure is turned"
ARCHITECTURE = register(
    Architecture(
        "a2i",
        {"campaign": CAMPAIGN, "published": PUBLISHED},
        init,
        energy,
        vectors_only=True,
        exceptions={"published": {"rotation": NOT_INVARIANT, "reflection": NOT_INVARIANT}},
    )
)
