"""TeaNet: a tensor embedded atom network, convolution that carries scalars, vectors and rank-2 tensors.

Takamoto, Izumi, Li, "TeaNet: universal neural network interatomic potential inspired by iterative electronic
relaxations", Comput. Mater. Sci. 207, 111280 (2022), arXiv:1912.01398v2. Numbers (7)-(11) below are its equations, in
our words. Bonds are undirected, r the unit vector from i to j; every expression is even under i <-> j, r -> -r.

 symbol          variable     shape          what
 a_s             scalar       (n, Cs)        state of an atom
 a_v             vector       (n, 3, Cv)
 a_t             tensor       (n, 3, 3, Cv)  stored [second index, first index, channel]
 b_s, b_v        bond_scalar  (m, Cb)        state of a bond
                 bond_vector  (m, 3, Cv)
 sigma, nu, tau  node         (n, 13, nm)    one scalar, three vector, nine tensor rows: projected atom state
 X_i, X_j        x_i, x_j     (m, 3, nm)
 g(|r|)          gates        (m, nm) each

 (7)  s_i = f(W0 a_s + W0v |a_v|), e = f(W0e b_s + W0ev |b_v|); sigma = W1 s, nu = W1v a_v, tau = W1t a_t
 (8)  X_i = nu_i + tau_i.r, X_j = nu_j - tau_j.r; p_i = X_i.r, p_j = -X_j.r, q = X_i.X_j, h = X.b_v
 (9)  m = f(W2 (sigma_i + sigma_j, e, p_i + p_j, h_i + h_j, q)) + psi(W2d (sigma_i - sigma_j, p_i - p_j, h_i - h_j)),
      psi(x) = x^2 / 2 = f(x) + f(-x)
 (10) coefficients c = W3 m; messages to atom i (upper sign) and j: scalar c_ns; vector +-c_nv r + W b_v;
      tensor c_nt r(x)r +- (W b_v)(x)r; to the bond: vector W((X_i + X_j) c_x) + r (c_ev W odd), scalar c_es
 (11) a <- a + (1 + G s_i) * sum of messages / sqrt(average neighbours), a_t also + I (x) (G_I s_i); b <- b + message
 E = sum_atoms w.(a_s - a_s at the start) + sum_bonds w_b.b_s / sqrt(average neighbours)

[P] is published, [R] our reconstruction or choice, as the text with widths, loss and schedule is not known to us:
 [P] scalars, vectors and rank-2 tensors on atoms, scalars and vectors on bonds, angles through tensor-vector
     contraction; residual blocks; nine-channel element code (electrons fill channels two by two, 0.5 each); the
     activation f with f' = softplus; undirected bonds; 16 layers trained with recurrent initialisation (not here yet).
 [R] bond scalars that start from 8 Bessel functions times a C2 envelope; learned gates on sigma, p and q; no bias on
     what must vanish at the cutoff; all widths, the cutoff, initial scales, safe norms, and the read-out as a
     difference, which makes a free atom exactly its reference energy. Where the first block has no vectors or tensors
     to read and the last none to write, the weights do not exist.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..dilogarithm import activation
from ..graph import Graph
from ..layers import bessel_basis, lengths, safe_norm, sum_structures
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

    def __post_init__(self) -> None:
        sizes = (self.n_blocks, self.bond_width, self.vector_width, self.n_basis, self.cutoff, self.average_neighbours)
        if min(sizes) <= 0 or self.scalar_width < 9:
            raise ArchitectureError(f"{self}: all sizes must be positive and scalar_width at least 9")


class Bonds(NamedTuple):
    """What all blocks share."""

    i: Tensor
    j: Tensor
    unit: Tensor
    """(m, 3, 1) r."""
    gates: tuple[Tensor, ...]
    """Per block (m, 3, nm), or (m, 1, nm) in block 0: gates on sigma, p, q."""


class State(NamedTuple):
    """What travels from block to block; None stands for zero."""

    scalar: Tensor
    bond_scalar: Tensor
    vector: Tensor | None = None
    tensor: Tensor | None = None
    bond_vector: Tensor | None = None


def weight_shapes(config: TeaNetConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every weight; matrices are (inputs, outputs)."""
    cs, cb, nm = config.scalar_width, config.bond_width, config.vector_width
    gates = nm * (3 * config.n_blocks - 2)
    shapes: dict[str, tuple[int, ...]] = {"radial": (config.n_basis, cb + gates), "out": (cs,), "out_bond": (cb,)}
    for block in range(config.n_blocks):
        first, last = block == 0, block == config.n_blocks - 1
        parts: dict[str, tuple[int, ...]] = {
            "atom": (cs if first else cs + nm, cs),
            "atom_bias": (cs,),
            "bond": (cb if first else cb + nm, cb),
            "sigma": (cs, nm),
            "even": (nm + cb if first else 4 * nm + cb, cs),
            "odd": (nm if first else 3 * nm, cs),
            "coefficients": (cs, sum(coefficient_widths(config, block))),
            "gain": (cs, cs if last else cs + 3 * nm),
        }
        if not first:
            parts |= {"nu": (nm, nm), "tau": (nm, nm)}
        if not last:
            parts["odd_to_bond"] = (nm if first else 3 * nm, nm)
        if not first and not last:
            parts |= {"bond_to_atom": (nm, 2 * nm), "x_to_bond": (nm, nm)}
        shapes |= {f"block{block}.{name}": shape for name, shape in parts.items()}
    return shapes


def coefficient_widths(config: TeaNetConfig, block: int) -> list[int]:
    """Widths of c_ns, c_es, then c_nv, c_nt, c_ev, then c_x, as far as the block has them."""
    nm = config.vector_width
    widths = [config.scalar_width, config.bond_width]
    if block < config.n_blocks - 1:
        widths += [nm, nm, nm]
        if block > 0:
            widths.append(nm)
    return widths


def init(config: TeaNetConfig, generator: torch.Generator) -> Parameters:
    """Normal weights of variance 1 / inputs; what writes messages is smaller by min(0.5, 1 / blocks).

    Without that factor activations, quadratic for large arguments, diverge from six blocks on; with it 16 are fine.
    """
    damping = min(0.5, 1.0 / config.n_blocks)
    parameters = {}
    for name, shape in weight_shapes(config).items():
        scale = 1.0 / math.sqrt(shape[0])
        if name.endswith((".coefficients", ".bond_to_atom")):
            scale *= damping
        weight = torch.randn(shape, generator=generator) * scale
        parameters[name] = torch.zeros(shape) if name.endswith("_bias") else weight
    return parameters


def element_code() -> Tensor:
    """(19, 9): electrons of each element fill nine channels, two in each, 0.5 per electron."""
    z = torch.arange(Z_MAX + 1, dtype=torch.float64)[:, None]
    return 0.5 * (z - 2.0 * torch.arange(9)).clamp(0.0, 2.0)


def energy(parameters: Parameters, config: TeaNetConfig, graph: Graph) -> Tensor:
    """(g,) energy of each structure, float64, zero for atoms without neighbours."""
    scale = 1.0 / math.sqrt(config.average_neighbours)
    start = _start(config, graph, parameters["out"].dtype)
    r = lengths(graph.vectors)
    radial = bessel_basis(r, config.cutoff, config.n_basis) @ parameters["radial"]
    nm = config.vector_width
    bond_scalar, *gates = radial.split([config.bond_width, nm] + [3 * nm] * (config.n_blocks - 1), dim=1)
    shaped = tuple(gate.unflatten(1, (-1, nm)) for gate in gates)
    bonds = Bonds(graph.i, graph.j, (graph.vectors / r)[:, :, None], shaped)
    state = State(start, bond_scalar)
    for block in range(config.n_blocks):
        state = _block(parameters, config, block, bonds, state, scale)
    per_atom = (state.scalar - start) @ parameters["out"]
    per_bond = state.bond_scalar @ (parameters["out_bond"] * scale)
    return sum_structures(per_atom.index_add(0, graph.i, per_bond), graph)


def _start(config: TeaNetConfig, graph: Graph, dtype: torch.dtype) -> Tensor:
    code = element_code().to(device=graph.numbers.device, dtype=dtype).index_select(0, graph.numbers)
    return torch.nn.functional.pad(code, (0, config.scalar_width - code.shape[1]))


def _block(parameters: Parameters, config: TeaNetConfig, block: int, bonds: Bonds, state: State, scale: float) -> State:
    """One local interaction block, equations (7) to (11)."""
    w = _Weights(parameters, block)
    s, e = _mix(w, state)
    x_i, x_j, even, odd = _invariants(w, bonds, bonds.gates[block], state, s, e)
    squared = odd @ w("odd")
    m = activation(even @ w("even")) + 0.5 * squared * squared
    c_ns, c_es, *rest = (m @ w("coefficients")).split(coefficient_widths(config, block), dim=1)
    gain = s @ w("gain")
    bond_scalar = state.bond_scalar + c_es
    if not rest:
        total = _collect(bonds, c_ns, c_ns, s.shape[0], scale)
        return State(state.scalar + (1.0 + gain) * total, bond_scalar)
    r, nm = bonds.unit, config.vector_width
    c_nv, c_nt, c_ev, *c_x = rest
    bond_vector = r * (c_ev * (odd @ w("odd_to_bond")))[:, None]
    vector_i, tensor_i = r * c_nv[:, None], r * c_nt[:, None]
    vector_j, tensor_j = -vector_i, -tensor_i
    if state.bond_vector is not None:
        across_v, across_t = (state.bond_vector @ w("bond_to_atom")).split(nm, dim=2)
        vector_i, vector_j = across_v + vector_i, across_v - vector_i
        tensor_i, tensor_j = across_t + tensor_i, across_t - tensor_i
        bond_vector = bond_vector + ((x_i + x_j) * c_x[0][:, None]) @ w("x_to_bond") + state.bond_vector
    to_i, to_j = _message(c_ns, vector_i, tensor_i, r), _message(c_ns, vector_j, tensor_j, -r)
    total = _collect(bonds, to_i, to_j, s.shape[0], scale)
    return _updated(config, state, gain, total)._replace(bond_scalar=bond_scalar, bond_vector=bond_vector)


class _Weights:
    """The weights of one block by their short names."""

    def __init__(self, parameters: Parameters, block: int) -> None:
        self._parameters, self._prefix = parameters, f"block{block}."

    def __call__(self, name: str) -> Tensor:
        return self._parameters[self._prefix + name]


def _mix(w: _Weights, state: State) -> tuple[Tensor, Tensor]:
    """(7): s (n, Cs) and e (m, Cb)."""
    atom, bond = state.scalar, state.bond_scalar
    if state.vector is not None:
        atom = torch.cat([atom, safe_norm(state.vector, 1)], 1)
    if state.bond_vector is not None:
        bond = torch.cat([bond, safe_norm(state.bond_vector, 1)], 1)
    return activation(torch.addmm(w("atom_bias"), atom, w("atom"))), activation(bond @ w("bond"))


def _invariants(
    w: _Weights, bonds: Bonds, gates: Tensor, state: State, s: Tensor, e: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(7), (8): X_i, X_j (empty in block 0) and the even and odd inputs of (9)."""
    sigma = s @ w("sigma")
    if state.vector is None or state.tensor is None or state.bond_vector is None:
        sigma_i, sigma_j = sigma.index_select(0, bonds.i), sigma.index_select(0, bonds.j)
        gate = gates[:, 0]
        return sigma, sigma, torch.cat([gate * (sigma_i + sigma_j), e], 1), gate * (sigma_i - sigma_j)
    tau = (state.tensor @ w("tau")).flatten(1, 2)
    node = torch.cat([sigma[:, None], state.vector @ w("nu"), tau], 1)
    node_i, node_j = node.index_select(0, bonds.i), node.index_select(0, bonds.j)
    r = bonds.unit
    sigma_i, x_i = _project(node_i, r)
    sigma_j, x_j = _project(node_j, -r)
    difference, total = x_i - x_j, x_i + x_j
    g_sigma, g_p, g_q = gates.unbind(1)
    p_even, p_odd = (difference * r).sum(1) * g_p, (total * r).sum(1) * g_p
    h_even, h_odd = (total * state.bond_vector).sum(1), (difference * state.bond_vector).sum(1)
    q = (x_i * x_j).sum(1) * g_q
    even = torch.cat([g_sigma * (sigma_i + sigma_j), e, p_even, h_even, q], 1)
    return x_i, x_j, even, torch.cat([g_sigma * (sigma_i - sigma_j), p_odd, h_odd], 1)


def _project(node: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """(8) at one end: (m, 13, nm), (m, 3, 1) -> sigma (m, nm), X (m, 3, nm)."""
    sigma, nu, tau_x, tau_y, tau_z = node.split([1, 3, 3, 3, 3], dim=1)
    x, y, z = r.split(1, dim=1)
    return sigma[:, 0], nu + tau_x * x + tau_y * y + tau_z * z


def _message(c_ns: Tensor, vector: Tensor, first_index: Tensor, r: Tensor) -> Tensor:
    """(10): scalar, vector and tensor message to one end of each bond, flat (m, Cs + 12 nm)."""
    tensor = r[:, :, None] * first_index[:, None]
    return torch.cat([c_ns, vector.flatten(1), tensor.flatten(1)], 1)


def _collect(bonds: Bonds, to_i: Tensor, to_j: Tensor, n_atoms: int, scale: float) -> Tensor:
    """Sum of the messages to each atom, (n, width)."""
    total = to_i.new_zeros((n_atoms, to_i.shape[1])).index_add(0, bonds.i, to_i)
    return total.index_add(0, bonds.j, to_j) * scale


def _updated(config: TeaNetConfig, state: State, gain: Tensor, total: Tensor) -> State:
    """(11) for the atoms."""
    cs, nm = config.scalar_width, config.vector_width
    grow_s, grow_v, grow_t, identity = gain.split([cs, nm, nm, nm], dim=1)
    sum_s, sum_v, sum_t = total.split([cs, 3 * nm, 9 * nm], dim=1)
    vector = (1.0 + grow_v)[:, None] * sum_v.unflatten(1, (3, nm))
    eye = torch.eye(3, dtype=total.dtype, device=total.device)[:, :, None]
    tensor = (1.0 + grow_t)[:, None, None] * sum_t.unflatten(1, (3, 3, nm)) + eye * identity[:, None, None]
    if state.vector is not None:
        vector = state.vector + vector
    if state.tensor is not None:
        tensor = state.tensor + tensor
    return state._replace(scalar=state.scalar + (1.0 + grow_s) * sum_s, vector=vector, tensor=tensor)


ARCHITECTURE = register(Architecture("teanet", {"campaign": TeaNetConfig()}, init, energy, vectors_only=True))
