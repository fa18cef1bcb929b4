"""TeaNet: a tensor embedded atom network, convolution that carries scalars, vectors and rank-2 tensors.

Takamoto, Izumi, Li, "TeaNet: universal neural network interatomic potential inspired by iterative electronic
relaxations", Comput. Mater. Sci. 207, 111280 (2022), arXiv:1912.01398v2. Numbers (7)-(11) below are its equations, in
our words. Bonds are undirected, r the unit vector from i to j; every expression is even under i <-> j, r -> -r.

 symbol          variable     shape          what
 a_s             scalar       (n, Cs)        state of an atom
 a_v             vector       (3, n, Cv)     components first here and below: they are multiplied with long rows
 a_t             tensor       (9, n, Cv)     3 x second index + first index
 b_s, b_v        bond_scalar  (m, Cb)        state of a bond
                 bond_vector  (3, m, Cv)
 sigma, nu, tau  node         (13, n, nm)    one scalar, three vector, nine tensor rows: projected atom state
 X_i, X_j        x_i, x_j     (3, m, nm)
 g(|r|)          gates        (m, nm) each

 (7)  s_i = f(W0 a_s + W0v |a_v|), e = f(W0e b_s + W0ev |b_v|); sigma = W1 s, nu = W1v a_v, tau = W1t a_t
 (8)  X_i = nu_i + tau_i.r, X_j = nu_j - tau_j.r; p_i = X_i.r, p_j = -X_j.r, q = X_i.X_j, h = X.b_v
 (9)  m = f(W2 (sigma_i + sigma_j, e, p_i + p_j, h_i + h_j, q)) + psi(W2d (sigma_i - sigma_j, p_i - p_j, h_i - h_j)),
      psi(x) = x^2 / 2 = f(x) + f(-x)
 (10) coefficients c = W3 m; messages to atom i (upper sign) and j: scalar c_ns; vector +-c_nv r + W b_v;
      tensor c_nt r(x)r +- (W b_v)(x)r; to the bond: vector W((X_i + X_j) c_x) + r (c_ev W odd), scalar c_es
 (11) a <- a + (1 + G s_i) * sum of messages / sqrt(average neighbours), a_t also + I (x) (G_I s_i); b <- b + message
 E = sum_atoms w.(a_s - a_s at the start) + sum_bonds w_b.b_s / sqrt(average neighbours)

W3 is to_atom, to_bond and coefficients. c_ns is linear in m, so m is summed over bonds first and multiplied once per
atom; of what the last block adds to b_s only w_b.c_es is formed.

[P] is published, [R] our reconstruction or choice, as the text with widths, loss and schedule is not known to us:
 [P] scalars, vectors and rank-2 tensors on atoms, scalars and vectors on bonds, angles through tensor-vector
     contraction; residual blocks; nine-channel element code (electrons fill channels two by two, 0.5 each); the
     activation f with f' = softplus; undirected bonds; 16 layers, trained with recurrent initialisation: the preset
     `published` is tied, and `untied` frees it.
 [R] which blocks share weights (all but the first and the last, which have other inputs and outputs); bond scalars that
     start from 8 Bessel functions times a C2 envelope; learned gates on sigma, p and q; no bias on what must vanish at
     the cutoff; all widths, the cutoff, initial scales, safe norms; the learned vector per element (`campaign` only);
     and the read-out as a difference, which makes a free atom exactly its reference energy. Where the first block has
     no vectors or tensors to read and the last none to write, the weights do not exist.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..dilogarithm import activation
from ..graph import Graph
from ..layers import Weights, bessel_basis, lengths, normal, safe_norm, sum_structures
from ..potential import Architecture, ArchitectureError, Parameters, register
from ..units import Z_MAX


@dataclass(frozen=True)
class TeaNetConfig:
    """Sizes of a TeaNet."""

    n_blocks: int = 3
    """Interaction blocks."""
    scalar_width: int = 64
    """Cs, channels of atom scalars; at least the 9 of the element code."""
    bond_width: int = 32
    """Cb, channels of bond scalars."""
    vector_width: int = 16
    """Cv = nm, channels of vectors and tensors and of the projected state."""
    n_basis: int = 8
    """Radial basis functions."""
    cutoff: float = 5.0
    """Å."""
    average_neighbours: float = 30.0
    """Neighbours of an average atom: sums over bonds are divided by its square root."""
    tied: bool = False
    """Whether all blocks but the first and the last share one set of weights (recurrent initialisation)."""
    learned_elements: bool = True
    """Whether a learned vector per element, zero at first, is added to the element code."""

    def __post_init__(self) -> None:
        sizes = (self.n_blocks, self.bond_width, self.vector_width, self.n_basis, self.cutoff, self.average_neighbours)
        if min(sizes) <= 0 or self.scalar_width < 9:
            raise ArchitectureError(f"{self}: all sizes must be positive and scalar_width at least 9")
        if self.tied and self.n_blocks < 3:
            raise ArchitectureError(f"tied with {self.n_blocks} blocks: expected at least 3, of which the middle share")


class Bonds(NamedTuple):
    """What all blocks share."""

    i: Tensor
    j: Tensor
    unit: Tensor
    """(3, m, 1) r."""
    scale: float
    """1 / sqrt(average neighbours)."""


class State(NamedTuple):
    """What travels from block to block; None stands for zero."""

    scalar: Tensor
    bond_scalar: Tensor
    vector: Tensor | None = None
    tensor: Tensor | None = None
    bond_vector: Tensor | None = None


def block_name(config: TeaNetConfig, block: int) -> str:
    """What the names of the weights of a block begin with."""
    middle = config.tied and 0 < block < config.n_blocks - 1
    return "middle" if middle else f"block{block}"


def weight_shapes(config: TeaNetConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every weight; the last two are (inputs, outputs)."""
    cs, cb = config.scalar_width, config.bond_width
    shapes: dict[str, tuple[int, ...]] = {"radial": (config.n_basis, cb), "out": (cs,), "out_bond": (cb,)}
    if config.learned_elements:
        shapes["elements"] = (Z_MAX + 1, cs)
    for block in range(config.n_blocks):
        name = block_name(config, block)
        shapes |= {f"{name}.{part}": shape for part, shape in _block_shapes(config, block).items()}
    return shapes


def _block_shapes(config: TeaNetConfig, block: int) -> dict[str, tuple[int, ...]]:
    cs, cb, nm = config.scalar_width, config.bond_width, config.vector_width
    first, last = block == 0, block == config.n_blocks - 1
    shapes: dict[str, tuple[int, ...]] = {
        "gates": (1 if first else 3, config.n_basis, nm),
        "atom": (cs if first else cs + nm, cs),
        "atom_bias": (cs,),
        "bond": (cb if first else cb + nm, cb),
        "sigma": (cs, nm),
        "even": (nm + cb if first else 4 * nm + cb, cs),
        "odd": (nm if first else 3 * nm, cs),
        "to_atom": (cs, cs),
        "to_bond": (cs, cb),
        "gain": (cs, cs if last else cs + 3 * nm),
    }
    if not first:
        shapes |= {"nu": (nm, nm), "tau": (nm, nm)}
    if not last:
        shapes |= {"coefficients": (cs, (3 if first else 4) * nm), "odd_to_bond": (nm if first else 3 * nm, nm)}
    if not first and not last:
        shapes |= {"bond_to_atom": (nm, 2 * nm), "x_to_bond": (nm, nm)}
    return shapes


_DAMPED = (".to_atom", ".to_bond", ".coefficients", ".bond_to_atom")
"""What writes messages."""


def init(config: TeaNetConfig, generator: torch.Generator) -> Parameters:
    """Normal weights of variance 1 / inputs; what writes messages is smaller by min(0.5, 1 / blocks).

    Without that factor activations, quadratic for large arguments, diverge from six blocks on; with it 16 are fine.
    In blocks that share weights `gain`, which adds the same to a tensor in every block, is smaller by 1 / blocks too.
    """
    damping = min(0.5, 1.0 / config.n_blocks)
    parameters = {}
    for name, shape in weight_shapes(config).items():
        scale = 1.0 / math.sqrt(shape[0] if len(shape) == 1 else shape[-2])
        if name.endswith(_DAMPED):
            scale *= damping
        if name == "middle.gain":
            scale /= config.n_blocks
        weight = normal(shape, scale, generator)
        parameters[name] = torch.zeros(shape) if name == "elements" or name.endswith("_bias") else weight
    return parameters


def untied(config: TeaNetConfig, parameters: Parameters) -> tuple[TeaNetConfig, Parameters]:
    """The same function with weights of its own for every block, to go on training from: the energy keeps every bit."""
    free = replace(config, tied=False)
    found = {}
    for name in weight_shapes(free):
        block, dot, part = name.partition(".")
        source = f"{block_name(config, int(block.removeprefix('block')))}.{part}" if dot else name
        found[name] = parameters[source].clone()
    return free, found


def element_code() -> Tensor:
    """(19, 9): electrons of each element fill nine channels, two in each, 0.5 per electron."""
    z = torch.arange(Z_MAX + 1, dtype=torch.float64)[:, None]
    return 0.5 * (z - 2.0 * torch.arange(9)).clamp(0.0, 2.0)


def energy(parameters: Parameters, config: TeaNetConfig, graph: Graph) -> Tensor:
    """(g,) energy of each structure, float64, zero for atoms without neighbours."""
    scale = 1.0 / math.sqrt(config.average_neighbours)
    start = _start(parameters, config, graph)
    r = lengths(graph.vectors)
    bonds = Bonds(graph.i, graph.j, (graph.vectors / r).mT.contiguous()[:, :, None], scale)
    basis = bessel_basis(r, config.cutoff, config.n_basis)
    weights = [Weights(parameters, f"{block_name(config, block)}.") for block in range(config.n_blocks)]
    state = State(start, basis @ parameters["radial"])
    for w, gates in zip(weights, _gates(weights, basis), strict=True):
        state, m = _block(w, bonds, gates, state, last=w is weights[-1])
    out, out_bond = parameters["out"], parameters["out_bond"] * scale
    per_bond = state.bond_scalar @ out_bond + m @ (weights[-1]("to_bond") @ out_bond)
    return sum_structures(((state.scalar - start) @ out).index_add(0, graph.i, per_bond), graph)


def _start(parameters: Parameters, config: TeaNetConfig, graph: Graph) -> Tensor:
    code = element_code().to(device=graph.numbers.device, dtype=parameters["out"].dtype)
    code = torch.nn.functional.pad(code, (0, config.scalar_width - code.shape[1]))
    if config.learned_elements:
        code = code + parameters["elements"]
    return code.index_select(0, graph.numbers)


def _gates(weights: list[Weights], basis: Tensor) -> tuple[Tensor, ...]:
    """Per block (3, m, nm), or (1, m, nm) in block 0: gates on sigma, p, q."""
    parts = [w("gates") for w in weights]
    joined = torch.cat(parts)
    return torch.bmm(basis.expand(len(joined), -1, -1), joined).split([len(part) for part in parts])


def _block(w: Weights, bonds: Bonds, gates: Tensor, state: State, last: bool) -> tuple[State, Tensor]:
    """One local interaction block, equations (7) to (11): the new state and m.

    What the last block adds to the bond scalars is left to the read-out, which needs one number of it.
    """
    s, e = _mix(w, state)
    x_i, x_j, even, odd = _invariants(w, bonds, gates, state, s, e)
    squared = odd @ w("odd")
    m = torch.addcmul(activation(even @ w("even")), squared, squared, value=0.5)
    gain = s @ w("gain")
    sum_m = m.new_zeros(s.shape).index_add(0, bonds.i, m).index_add(0, bonds.j, m)
    sum_s = sum_m @ (w("to_atom") * bonds.scale)
    if last:
        return state._replace(scalar=torch.addcmul(state.scalar + sum_s, gain, sum_s)), m
    to_i, to_j, bond_vector = _messages(w, bonds, state, m, odd, x_i + x_j)
    sum_vt = m.new_zeros((12, s.shape[0], to_i.shape[2])).index_add(1, bonds.i, to_i).index_add(1, bonds.j, to_j)
    scalar, vector, tensor = _updated(state, gain, sum_s, sum_vt * bonds.scale)
    return State(scalar, state.bond_scalar + m @ w("to_bond"), vector, tensor, bond_vector), m


def _mix(w: Weights, state: State) -> tuple[Tensor, Tensor]:
    """(7): s (n, Cs) and e (m, Cb)."""
    atom, bond = state.scalar, state.bond_scalar
    if state.vector is not None:
        atom = torch.cat([atom, safe_norm(state.vector, 0)], 1)
    if state.bond_vector is not None:
        bond = torch.cat([bond, safe_norm(state.bond_vector, 0)], 1)
    return activation(torch.addmm(w("atom_bias"), atom, w("atom"))), activation(bond @ w("bond"))


def _invariants(
    w: Weights, bonds: Bonds, gates: Tensor, state: State, s: Tensor, e: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(7), (8): X_i, X_j (sigma in block 0) and the even and odd inputs of (9)."""
    sigma = s @ w("sigma")
    if state.vector is None or state.tensor is None or state.bond_vector is None:
        sigma_i, sigma_j, gate = sigma.index_select(0, bonds.i), sigma.index_select(0, bonds.j), gates.squeeze(0)
        return sigma, sigma, torch.cat([gate * (sigma_i + sigma_j), e], 1), gate * (sigma_i - sigma_j)
    node = torch.cat([sigma[None], state.vector @ w("nu"), state.tensor @ w("tau")])
    sigma_i, x_i = _projected(node.index_select(1, bonds.i), bonds, 1.0)
    sigma_j, x_j = _projected(node.index_select(1, bonds.j), bonds, -1.0)
    p_i, p_j = (x_i * bonds.unit).sum(0), (x_j * bonds.unit).sum(0)
    h_i, h_j = (x_i * state.bond_vector).sum(0), (x_j * state.bond_vector).sum(0)
    g_sigma, g_p, g_q = gates.unbind()
    q = (x_i * x_j).sum(0) * g_q
    even = torch.cat([g_sigma * (sigma_i + sigma_j), e, g_p * (p_i - p_j), h_i + h_j, q], 1)
    return x_i, x_j, even, torch.cat([g_sigma * (sigma_i - sigma_j), g_p * (p_i + p_j), h_i - h_j], 1)


def _projected(node: Tensor, bonds: Bonds, sign: float) -> tuple[Tensor, Tensor]:
    """(8) at one end: (13, m, nm) -> sigma (m, nm), X (3, m, nm)."""
    sigma, x, *tau = node.split([1, 3, 3, 3, 3])
    for part, r in zip(tau, bonds.unit.unbind(), strict=True):
        x = torch.addcmul(x, part, r, value=sign)
    return sigma.squeeze(0), x


def _messages(
    w: Weights, bonds: Bonds, state: State, m: Tensor, odd: Tensor, x: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(10): vector and tensor messages to i and to j, (12, m, nm) each, and the new bond vectors (3, m, nm)."""
    r, nm = bonds.unit, w("sigma").shape[1]
    coefficients = (m @ w("coefficients")).unflatten(1, (-1, nm)).transpose(0, 1).contiguous()
    c_nv, c_nt, c_ev, *c_x = coefficients.unbind()
    bond_vector = r * (c_ev * (odd @ w("odd_to_bond")))
    vector_i, tensor_i = r * c_nv, r * c_nt
    vector_j, tensor_j = -vector_i, tensor_i
    if state.bond_vector is not None:
        across_v, across_t = (state.bond_vector @ part for part in w("bond_to_atom").split(nm, dim=1))
        vector_i, vector_j = across_v + vector_i, across_v - vector_i
        tensor_i, tensor_j = tensor_i + across_t, tensor_i - across_t
        bond_vector = state.bond_vector + bond_vector + (x * c_x[0]) @ w("x_to_bond")
    return _outer(vector_i, tensor_i, r), _outer(vector_j, tensor_j, r), bond_vector


def _outer(vector: Tensor, first_index: Tensor, r: Tensor) -> Tensor:
    """Vectors (3, m, nm), and tensors as r (x) their first index, in one (12, m, nm)."""
    return torch.cat([vector, (r[:, None] * first_index).flatten(0, 1)])


def _updated(state: State, gain: Tensor, sum_s: Tensor, sum_vt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(11) for the atoms: scalar, vector, tensor."""
    nm = sum_vt.shape[2]
    grow_s, grow_v, grow_t, identity = gain.split([sum_s.shape[1], nm, nm, nm], dim=1)
    sum_v, sum_t = sum_vt.split([3, 9])
    eye = torch.eye(3, dtype=gain.dtype, device=gain.device).flatten()[:, None, None]
    vector, tensor = (1.0 + grow_v) * sum_v, (1.0 + grow_t) * sum_t + eye * identity
    if state.vector is not None and state.tensor is not None:
        vector, tensor = state.vector + vector, state.tensor + tensor
    return state.scalar + (1.0 + grow_s) * sum_s, vector, tensor


CAMPAIGN = TeaNetConfig()
"""For campaigns: small, fast, short-ranged."""
PUBLISHED = TeaNetConfig(n_blocks=16, cutoff=6.0, average_neighbours=50.0, tied=True, learned_elements=False)
"""As near to the paper as its known facts allow; the widths are the lower ends of what we think likely."""
ARCHITECTURE = register(
    Architecture(
        "teanet", {"campaign": CAMPAIGN, "published": PUBLISHED}, init, energy, vectors_only=True, untied=untied
    )
)
