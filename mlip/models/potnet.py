"""PotNet: complete sums of interatomic potentials over all periodic images; as published, and for dynamics.

Lin, Yan, Luo, Liu, Qian, Ji, "Efficient Approximations of Complete Interatomic Potentials for Crystal Property
Prediction", ICML 2023, arXiv:2306.10045. S_ij are the Coulomb, London and Pauli sums of a pair (lattice_sums.py), e a
feature of a bond, f = SiLU, * the product channel by channel, N the average number of neighbours.

 symbol   variable   shape      what
 x        nodes      (n, H)     state of an atom
 e        edges      (k, H)     feature of a bond or pair, published form
 b(r)     basis      (m, K)     Bessel functions times envelope c(r), conservative form
 q        charges    (n,)       charges; q sqrt(scale) is in elementary charges

Published form (preset `published`), a regression on crystals: one number per structure.
 (1) x_i = Linear(features of the element); local edges, both directions of the 16 nearest neighbours within 4 Å:
     e = Linear(Gaussians of -0.75 / r); infinite edges, every pair of atoms and every atom with itself:
     e = BN(softplus(Linear(multiquadrics of c.S_ij))), c = (-0.801, -0.074, 0.145)
 (2) z = (x_i, x_j, e);  x_i <- f(x_i + BN(sum_j sigmoid(BN(MLP z)) * MLP'(z))) over both kinds of edges, f = ReLU
 (3) y = Linear(ssp(Linear(mean_i x_i))), ssp(x) = softplus(x) - log 2;  as a potential: energy = n y

Conservative form (preset `campaign`): (2) on a smooth list of bonds, and the sums as an additive energy.
 (4) g_ij, v_ij = A x_i + B x_j + E b(r) + a;  S_i = sum_j sigmoid(g_ij) * f(v_ij) * F b(r) / sqrtN
 (5) h0 = C x + d;  x <- x + Y (f(h0 + G S) - f(h0))
 (6) local energy = sum_i w.(x - x at the start) + v.(f(R x + r) - f(R x at the start + r))
 (7) q_i = sum_j mean((T x_i - T x_j) * Q b(r)) / sqrtN: charge flows along bonds, so that every molecule and every cell
     is neutral. Mean and sqrtN keep charges small at first and at large steps of training: forces go as their square
 (8) E = sum_pairs k q_i q_j S1_ij - s_i s_j (S2_ij - short_ij) + p_i p_j S3_ij, half of it for i = j; s and p are
     squares, one per element; short_ij = sum over bonds c(r) (1/r^6 - 1/(r^6 + d^6)) damps the dispersion
 Everything vanishes for a free atom. (8) is linear in the sums of pairs: only so is it extensive, because the sums of a
 pair in a repeated cell are parts of those in the small one.

[P] is published, [R] our reconstruction or choice:
 [P] (1) to (3): widths 256, 3 convolutions, 256 Gaussians and 64 multiquadrics on [-4, 4], the constants of the
     sums, 1,751,809 parameters. `released_scaling` is what the released code does with alpha.
 [R] in them: which maps have a bias and where the widths are 256 (follows from the number of parameters), f = SiLU in
     the MLPs, widths of Gaussians and multiquadrics (their spacing), the features of the elements (potnet_elements.py),
     neighbours as near as the sixteenth kept as well, one MLP for both kinds of edges, initial weights.
 [R] all of (4) to (8). Charges that flow along bonds instead of charges made neutral as a whole: with the latter a
     molecule would give charge to another one at any distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import relu, silu, softplus

from ..graph import Graph
from ..lattice_sums import PairSums, lattice_sums
from ..layers import Weights, among_nearest, bessel_basis, lengths, normal, polynomial_envelope, sum_structures
from ..potential import Architecture, ArchitectureError, Parameters, register
from ..units import Z_MAX
from .potnet_elements import FEATURES

COULOMB = 14.399645
"""k, eV Å per squared elementary charge."""
COEFFICIENTS = (-0.801, -0.074, 0.145)
"""[P] of the Coulomb, London and Pauli sums in an infinite edge."""
TOLERANCE = 1e-12
"""Of the sums; in float32 what it resolves."""
GRID = 4.0
"""[P] the radial functions of the published form lie on [-GRID, GRID]."""
MOMENTUM = 0.1
"""Share of a batch in the running statistics of a batch normalisation."""
EPSILON = 1e-5
"""Added to the variances of batch normalisations."""
SMALLEST = 1e-12
"""Running variance, of which the logarithm is kept."""


@dataclass(frozen=True)
class PotNetConfig:
    """Sizes of a PotNet, and which of the two forms it has."""

    n_layers: int = 3
    """Convolutions."""
    scalar_width: int = 96
    """H, channels."""
    n_basis: int = 8
    """Radial functions of bonds: Bessel functions, Gaussians in the published form."""
    cutoff: float = 5.0
    """Å."""
    average_neighbours: float = 30.0
    """N, neighbours of an average atom; conservative form."""
    damping: float = 3.0
    """d, Å: below it the dispersion is damped; conservative form."""
    published: bool = False
    """The published form."""
    max_neighbours: int = 0
    """Nearest neighbours with local edges, in the published form; 0 in the conservative form."""
    infinite_basis: int = 0
    """Multiquadrics of the infinite edges, in the published form; 0 in the conservative form."""
    released_scaling: bool = False
    """Pauli sums as in the released code, alpha over sqrt(V^(1/3)): 67 times those of alpha in the tests' cell."""

    def __post_init__(self) -> None:
        sizes = (self.n_layers, self.cutoff, self.average_neighbours, self.damping)
        if min(sizes) <= 0 or self.scalar_width < 2 or self.n_basis < 2:
            raise ArchitectureError(f"{self}: sizes must be positive, scalar_width and n_basis at least 2")
        if self.published and not (self.max_neighbours > 0 and self.infinite_basis > 1):
            raise ArchitectureError(f"{self}: published needs max_neighbours of 1 and infinite_basis of 2 or more")
        if not self.published and (self.max_neighbours, self.infinite_basis, self.released_scaling) != (0, 0, False):
            raise ArchitectureError(f"{self}: max_neighbours, infinite_basis and released_scaling go with published")


def weight_shapes(config: PotNetConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every weight; matrices are (inputs, outputs)."""
    return _published_shapes(config) if config.published else _campaign_shapes(config)


def _campaign_shapes(config: PotNetConfig) -> dict[str, tuple[int, ...]]:
    h, k = config.scalar_width, config.n_basis
    layer = _linear("ends", h, 4 * h) | {"radial": (k, 2 * h), "filter": (k, h)} | _linear("own", h, h)
    layer |= {"gathered": (h, h), "scalar": (h, h)}
    shapes = {"embedding": (Z_MAX, h)} | {
        f"layer{n}.{name}": s for n in range(config.n_layers) for name, s in layer.items()
    }
    shapes |= {"out": (h,), "out_read": (h // 2,)} | _linear("read", h, h // 2)
    return shapes | {"flow": (h, h // 2), "flow_radial": (k, h // 2), "dispersion": (Z_MAX,), "overlap": (Z_MAX,)}


def _published_shapes(config: PotNetConfig) -> dict[str, tuple[int, ...]]:
    h = config.scalar_width
    norm: dict[str, tuple[int, ...]] = dict.fromkeys(("_gain", "_bias"), (h,))
    shapes = _linear("atom", FEATURES.shape[1], h) | _linear("local", config.n_basis, h)
    shapes |= _linear("infinite", config.infinite_basis, h) | {f"infinite_norm{end}": s for end, s in norm.items()}
    for n in range(config.n_layers):
        for part in ("gate", "value"):
            shapes |= _linear(f"layer{n}.{part}1", 3 * h, h) | _linear(f"layer{n}.{part}2", h, h)
        shapes |= {f"layer{n}.{name}{end}": s for name in ("gate_norm", "norm") for end, s in norm.items()}
    return shapes | _linear("pooled", h, h) | _linear("out", h, 1)


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {name: (inputs, outputs), f"{name}_bias": (outputs,)}


def normalisations(config: PotNetConfig) -> list[str]:
    """Names of the batch normalisations of the published form."""
    return [name.removesuffix("_gain") for name in weight_shapes(config) if name.endswith("_gain")]


DAMPED = {"infinite": 0.05, "scalar": 0.5, "out": 0.3, "out_read": 0.3, "overlap": 0.1}
"""Factors of initial weights: an untrained model of the conservative form is near its baseline, and the multiquadrics
of the published form, which reach 60, do not saturate."""


def init(config: PotNetConfig, generator: torch.Generator) -> Parameters:
    """Normal weights of variance 1 / inputs; biases zero; C6 coefficients of 1 (eV Å^6 over the scale) per pair."""
    parameters = {}
    for name, shape in weight_shapes(config).items():
        scale = 1.0 if name in ("embedding", "overlap") else 1.0 / math.sqrt(shape[0])
        scale *= DAMPED.get(name.rpartition(".")[2], 1.0)
        weight = normal(shape, scale, generator)
        if name.endswith("_gain") or name == "dispersion":
            weight = torch.ones(shape)
        parameters[name] = torch.zeros(shape) if name.endswith("_bias") else weight
    if config.published:
        for name in normalisations(config):
            parameters |= {f"{name}_{end}": torch.zeros(config.scalar_width) for end in ("mean", "log_variance")}
    return parameters


def energy(parameters: Parameters, config: PotNetConfig, graph: Graph) -> Tensor:
    """(g,) energy of each structure, float64."""
    if config.published:
        ones = torch.ones_like(graph.positions[:, 0])
        return sum_structures(ones, graph) * regression(parameters, config, graph).double()
    basis = bessel_basis(lengths(graph.vectors), config.cutoff, config.n_basis)
    nodes, start = _states(parameters, config, graph, basis)
    return sum_structures(_read(parameters, nodes, start), graph) + _complete(parameters, config, graph, nodes, basis)


def charges(parameters: Parameters, config: PotNetConfig, graph: Graph) -> Tensor:
    """(n,) charges of the conservative form; times the square root of the baseline's scale, elementary charges."""
    basis = bessel_basis(lengths(graph.vectors), config.cutoff, config.n_basis)
    nodes, _ = _states(parameters, config, graph, basis)
    return _flow(parameters, config, graph, nodes, basis)


def _states(parameters: Parameters, config: PotNetConfig, graph: Graph, basis: Tensor) -> tuple[Tensor, Tensor]:
    """(4), (5): x at the end and at the start, (n, H)."""
    start = parameters["embedding"].index_select(0, graph.numbers - 1)
    nodes, root = start, math.sqrt(config.average_neighbours)
    for layer in range(config.n_layers):
        w = Weights(parameters, f"layer{layer}.")
        ends = w.linear("ends", nodes)
        radial, filters = basis @ w("radial"), basis @ w("filter")
        (own_i, sent_i), (own_j, sent_j) = (ends.index_select(0, k).chunk(2, 1) for k in (graph.i, graph.j))
        to_i, to_j = (_gated(inner + radial) * filters for inner in (own_i + sent_j, own_j + sent_i))
        gathered = torch.zeros_like(nodes).index_add(0, graph.i, to_i).index_add(0, graph.j, to_j) / root
        alone = w.linear("own", nodes)
        nodes = nodes + (silu(alone + gathered @ w("gathered")) - silu(alone)) @ w("scalar")
    return nodes, start


def _gated(inner: Tensor) -> Tensor:
    gate, value = inner.chunk(2, 1)
    return torch.sigmoid(gate) * silu(value)


def _read(parameters: Parameters, nodes: Tensor, start: Tensor) -> Tensor:
    """(6): (n,)."""
    w = Weights(parameters)
    hidden = silu(w.linear("read", nodes)) - silu(w.linear("read", start))
    return (nodes - start) @ w("out") + hidden @ w("out_read")


def _flow(parameters: Parameters, config: PotNetConfig, graph: Graph, nodes: Tensor, basis: Tensor) -> Tensor:
    """(7): (n,)."""
    level = nodes @ parameters["flow"]
    difference = level.index_select(0, graph.i) - level.index_select(0, graph.j)
    along = (difference * (basis @ parameters["flow_radial"])).mean(1) / math.sqrt(config.average_neighbours)
    return torch.zeros_like(level[:, 0]).index_add(0, graph.i, along).index_add(0, graph.j, -along)


def _complete(parameters: Parameters, config: PotNetConfig, graph: Graph, nodes: Tensor, basis: Tensor) -> Tensor:
    """(8): (g,), float64."""
    sums = _sums(config, graph)
    q = _flow(parameters, config, graph, nodes, basis)
    s, p = (parameters[name].square().index_select(0, graph.numbers - 1) for name in ("dispersion", "overlap"))
    factors = torch.stack([math.sqrt(COULOMB) * q, s, p], 1)
    signs = torch.tensor([1.0, -1.0, 1.0], dtype=q.dtype, device=q.device)
    pairs = (factors.index_select(0, sums.i) * factors.index_select(0, sums.j) * sums.values) @ signs
    pairs = torch.where(sums.i == sums.j, 0.5 * pairs, pairs)
    r = lengths(graph.vectors)[:, 0]
    sixth, damped = r**6, r**6 + config.damping**6
    short = polynomial_envelope(r / config.cutoff) * (config.damping**6 / (sixth * damped))
    short = short * s.index_select(0, graph.i) * s.index_select(0, graph.j)
    of_bonds = graph.structure.index_select(0, graph.i)
    total = torch.zeros(graph.n_structures, dtype=torch.float64, device=q.device)
    return total.index_add(0, sums.structure, pairs.double()).index_add(0, of_bonds, short.double())


def _sums(config: PotNetConfig, graph: Graph) -> PairSums:
    return lattice_sums(
        graph.positions, graph.cell, graph.pbc, graph.structure,
        tolerance=TOLERANCE, released_scaling=config.released_scaling,
    )  # fmt: skip


def regression(parameters: Parameters, config: PotNetConfig, graph: Graph, running: Parameters | None = None) -> Tensor:
    """(g,) one number per structure: (1) to (3), or the energy per atom of the conservative form.

    With `running` batch normalisations use the statistics of this batch, and put there what the running statistics
    among the parameters are after it; without, they use the running statistics.
    """
    if not config.published:
        return energy(parameters, config, graph) / torch.bincount(graph.structure)
    w = _Normalising(parameters, running)
    features = FEATURES.to(graph.positions).index_select(0, graph.numbers - 1)
    centre, other, edges = _edges(w, config, graph)
    nodes = w.linear("atom", features)
    for layer in range(config.n_layers):
        z = torch.cat([nodes.index_select(0, centre), nodes.index_select(0, other), edges], 1)
        gate = torch.sigmoid(w.normalised(f"layer{layer}.gate_norm", w.mlp(f"layer{layer}.gate", z)))
        message = gate * w.mlp(f"layer{layer}.value", z)
        gathered = torch.zeros_like(nodes).index_add(0, centre, message)
        nodes = relu(nodes + w.normalised(f"layer{layer}.norm", gathered))
    total = nodes.new_zeros((graph.n_structures, nodes.shape[1])).index_add(0, graph.structure, nodes)
    pooled = total / torch.bincount(graph.structure, minlength=graph.n_structures)[:, None]
    return w.linear("out", softplus(w.linear("pooled", pooled)) - math.log(2.0))[:, 0]


def _edges(w: _Normalising, config: PotNetConfig, graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """Centre (k,), other atom (k,) and e (k, H) of all edges, the local ones first."""
    centre, other = torch.cat([graph.i, graph.j]), torch.cat([graph.j, graph.i])
    r = lengths(graph.vectors)[:, 0].repeat(2)
    near = among_nearest(centre, r.detach(), graph.n_atoms, config.cutoff, config.max_neighbours)
    kept = torch.nonzero(near)[:, 0]
    centre, other, r = (part.index_select(0, kept) for part in (centre, other, r))
    offset, spacing = _offsets(-0.75 / r, config.n_basis)
    local = w.linear("local", torch.exp(-0.5 * (offset / spacing).square()))
    sums = _sums(config, graph)
    mixed = sums.values @ sums.values.new_tensor(COEFFICIENTS)
    offset, spacing = _offsets(mixed, config.infinite_basis)
    infinite = w.normalised(
        "infinite_norm", softplus(w.linear("infinite", torch.sqrt(1 + (offset / spacing).square())))
    )
    apart = torch.nonzero(sums.i != sums.j)[:, 0]
    back = infinite.index_select(0, apart)
    return (
        torch.cat([centre, sums.i, sums.j.index_select(0, apart)]),
        torch.cat([other, sums.j, sums.i.index_select(0, apart)]),
        torch.cat([local, infinite, back]),
    )


def _offsets(values: Tensor, number: int) -> tuple[Tensor, float]:
    """(k, number) distances from the points of the grid, and their spacing."""
    grid = torch.linspace(-GRID, GRID, number, dtype=values.dtype, device=values.device)
    return values[:, None] - grid, 2 * GRID / (number - 1)


class _Normalising(Weights):
    """The weights with batch normalisations."""

    def __init__(self, parameters: Parameters, running: Parameters | None) -> None:
        super().__init__(parameters)
        self._running = running

    def mlp(self, name: str, inputs: Tensor) -> Tensor:
        """Two linear maps with SiLU between them."""
        return self.linear(f"{name}2", silu(self.linear(f"{name}1", inputs)))

    def normalised(self, name: str, inputs: Tensor) -> Tensor:
        """(k, H) with mean zero and variance one in every channel, times a gain plus a bias."""
        mean, variance = self(f"{name}_mean"), self(f"{name}_log_variance").exp()
        if self._running is not None:
            before, (variance, mean) = (mean, variance), torch.var_mean(inputs, 0, correction=0)
            moved = [torch.lerp(old, new, MOMENTUM).detach() for old, new in zip(before, (mean, variance), strict=True)]
            self._running[f"{name}_mean"] = moved[0]
            self._running[f"{name}_log_variance"] = moved[1].clamp(min=SMALLEST).log()
        return (inputs - mean) * torch.rsqrt(variance + EPSILON) * self(f"{name}_gain") + self(f"{name}_bias")


PUBLISHED = PotNetConfig(3, 256, 256, 4.0, published=True, max_neighbours=16, infinite_basis=64)
PAIRS = "[P] sums over all images enter through a nonlinear network, pair by pair, and atoms are pooled by their mean"
EXCEPTIONS = {
    "cutoff": "[P] local edges have no envelope: they end at 4 Å",
    "crowding": "[P] only the 16 nearest neighbours have local edges",
    "supercell": PAIRS,
    "small-cell": PAIRS,
    "fragments": PAIRS,
    "free-atoms": "[P] an atom without neighbours has an energy of the network as well",
}
FAR = "charges and dispersion reach to any distance; fragments are neutral, and interact as dipoles: O(1/R^3)"
BEYOND = "there are forces beyond the cutoff, of charges and dispersion; nothing jumps at it"
ARCHITECTURE = register(
    Architecture(
        "potnet",
        {"campaign": PotNetConfig(), "published": PUBLISHED},
        init,
        energy,
        vectors_only=False,
        regression=regression,
        exceptions={"campaign": {"cutoff": BEYOND, "fragments": FAR}, "published": EXCEPTIONS},
    )
)
