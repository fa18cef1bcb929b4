"""Molecular dynamics of many structures at once: Langevin, constant cell, forces of the committee mean.

One flat state (all atoms in one tensor, `structure` says whose) and plain functions `langevin_init` / `langevin_step`,
as in TorchSim. Splitting BAOAB of Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34 (2013):

    B  v += dt/2 F/m      A  x += dt/2 v      O  v = c1 v + sqrt(1 - c1^2) sqrt(kT/m) xi,  c1 = exp(-friction dt)
    A  x += dt/2 v        F = F(x)            B  v += dt/2 F/m

The noise xi has its centre-of-mass part removed, so momentum stays zero and 3n - 3 degrees of freedom carry the
temperature. Every structure draws from a generator of its own: its trajectory does not depend on its neighbours in the
batch. Positions and velocities are float64 whatever the committee computes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from ase.data import atomic_masses
from torch import Tensor

from .committee import force_deviation
from .frames import Configuration
from .graph import Graph, with_positions
from .sanity import RADII
from .units import BOLTZMANN, FEMTOSECOND

NOISE_BLOCK = 32
"""Steps of noise drawn at once: fewer small calls, fewer transfers to a GPU."""


class Evaluator(Protocol):
    """What dynamics needs of a committee."""

    def build_graph(self, configurations: Sequence[Configuration], skin: float = 0.0) -> Graph:
        """Graph with all bonds up to cutoff + skin."""
        ...

    def evaluate(self, graph: Graph, stress: bool = False) -> Any:
        """Something with energy (M, g) eV and forces (M, n, 3) eV/Å."""
        ...


class Walk(NamedTuple):
    """One structure to be moved: where it starts and what its own random numbers and conditions are."""

    configuration: Configuration
    seed: int
    """Seed of its own generator."""
    temperature: float
    """K."""
    timestep: float
    """fs."""


@dataclass(frozen=True, eq=False)
class State:
    """g structures of n atoms in all, in the midst of dynamics; float64 except `graph`."""

    walks: tuple[Walk, ...]
    """(g,) as started."""
    generators: tuple[torch.Generator, ...]
    """(g,) on the CPU."""
    structure: Tensor
    """(n,) int64."""
    masses: Tensor
    """(n, 1) u."""
    temperature: Tensor
    """(g,) K, of the heat bath."""
    timestep: Tensor
    """(g,) in ASE's time unit."""
    positions: Tensor
    """(n, 3) Å, not wrapped into the cell."""
    velocities: Tensor
    """(n, 3) Å per ASE time unit."""
    graph: Graph
    """Neighbour list with skin."""
    listed: Tensor
    """(n, 3) Å, positions at which the list was made."""
    noise: Tensor
    """(k, n, 3) standard normal numbers of the steps to come."""
    energy: Tensor
    """(g,) eV, committee mean."""
    energy_deviation: Tensor
    """(g,) eV."""
    forces: Tensor
    """(n, 3) eV/Å, committee mean."""
    force_deviation: Tensor
    """(n,) eV/Å."""

    @property
    def n_structures(self) -> int:
        """g."""
        return len(self.walks)

    @property
    def counts(self) -> list[int]:
        """(g,) atoms per structure."""
        return [len(walk.configuration) for walk in self.walks]


def langevin_init(committee: Evaluator, walks: Sequence[Walk], skin: float) -> State:
    """State at step 0: Maxwell-Boltzmann velocities without net momentum, forces and list at the starting positions.

    `skin` (Å) is the reach of the neighbour list beyond the cutoff.
    """
    graph = committee.build_graph([walk.configuration for walk in walks], skin)
    like: dict[str, Any] = {"dtype": torch.float64, "device": graph.positions.device}
    numbers = graph.numbers.cpu()
    positions = torch.cat([torch.tensor(walk.configuration.positions) for walk in walks]).to(**like)
    nothing = torch.zeros(0, len(numbers), 3, **like)
    state = State(
        walks=tuple(walks),
        generators=tuple(torch.Generator().manual_seed(walk.seed) for walk in walks),
        structure=graph.structure,
        masses=torch.tensor(atomic_masses)[numbers][:, None].to(**like),
        temperature=torch.tensor([walk.temperature for walk in walks], **like),
        timestep=torch.tensor([walk.timestep for walk in walks], **like) * FEMTOSECOND,
        positions=positions,
        velocities=torch.zeros_like(positions),
        graph=graph,
        listed=positions,
        noise=nothing,
        energy=nothing,
        energy_deviation=nothing,
        forces=nothing,
        force_deviation=nothing,
    )
    state, kick = _thermal_kick(state)
    return _evaluated(committee, replace(state, velocities=kick), skin)


def langevin_step(committee: Evaluator, state: State, friction: float, skin: float) -> State:
    """The state one timestep later; `friction` in 1/fs, `skin` in Å."""
    dt = state.timestep[state.structure][:, None]
    keep = torch.exp(-dt * (friction / FEMTOSECOND))
    velocities = state.velocities + dt / 2 * state.forces / state.masses
    positions = state.positions + dt / 2 * velocities
    state, kick = _thermal_kick(state)
    velocities = keep * velocities + torch.sqrt(1 - keep**2) * kick
    positions = positions + dt / 2 * velocities
    state = _evaluated(committee, replace(state, positions=positions), skin)
    return replace(state, velocities=velocities + dt / 2 * state.forces / state.masses)


def without(committee: Evaluator, state: State, stopped: Sequence[bool], skin: float) -> State:
    """The state without the structures that `stopped` (g,) marks; at least one must remain."""
    stays = ~torch.tensor(stopped, device=state.structure.device)
    atoms = stays[state.structure]
    left = [index for index, gone in enumerate(stopped) if not gone]
    rest = replace(
        state,
        walks=tuple(state.walks[index] for index in left),
        generators=tuple(state.generators[index] for index in left),
        structure=(torch.cumsum(stays, 0) - 1)[state.structure[atoms]],
        noise=state.noise[:, atoms],
        **{name: getattr(state, name)[stays] for name in ("temperature", "timestep", "energy", "energy_deviation")},
        **{
            name: getattr(state, name)[atoms]
            for name in ("masses", "positions", "velocities", "listed", "forces", "force_deviation")
        },
    )
    return _listed(committee, rest, skin)


def temperatures(state: State) -> Tensor:
    """(g,) K, kinetic, over 3n - 3 degrees of freedom; 0 for a single atom."""
    kinetic = (0.5 * state.masses * state.velocities**2).sum(1)
    total = torch.zeros_like(state.temperature).index_add(0, state.structure, kinetic)
    freedom = 3 * torch.bincount(state.structure, minlength=state.n_structures) - 3
    return torch.where(freedom > 0, 2 * total / (freedom.clamp(min=1) * BOLTZMANN), torch.zeros_like(total))


def distance_ratios(state: State) -> Tensor:
    """(g,) smallest pair distance over summed covalent radii (see `sanity`); infinite without a pair in the list."""
    graph = state.graph
    radii = torch.tensor(RADII, dtype=graph.vectors.dtype, device=graph.vectors.device)[graph.numbers]
    ratios = (torch.linalg.norm(graph.vectors, dim=1) / (radii[graph.i] + radii[graph.j])).double()
    return largest(-ratios, graph.structure[graph.i], state.n_structures).neg()


def largest(numbers: Tensor, structure: Tensor, n_structures: int) -> Tensor:
    """(g,) largest of `numbers` (k,) by the structure each belongs to; NaN wins, -infinity where there is none."""
    none = torch.full((n_structures,), -torch.inf, dtype=numbers.dtype, device=numbers.device)
    return none.scatter_reduce(0, structure, numbers, "amax")


def _thermal_kick(state: State) -> tuple[State, Tensor]:
    """Velocities (n, 3) of a Maxwell-Boltzmann draw without net momentum, and the state with that noise used up."""
    if not len(state.noise):
        blocks = [
            torch.randn(NOISE_BLOCK, len(walk.configuration), 3, generator=generator, dtype=torch.float64)
            for walk, generator in zip(state.walks, state.generators, strict=True)
        ]
        state = replace(state, noise=torch.cat(blocks, dim=1).to(state.positions.device))
    spread = torch.sqrt(BOLTZMANN * state.temperature[state.structure][:, None] / state.masses)
    kick = spread * state.noise[0]
    sums = torch.zeros(state.n_structures, 4, dtype=kick.dtype, device=kick.device)
    sums = sums.index_add(0, state.structure, torch.cat([state.masses * kick, state.masses], 1))
    drift = sums[:, :3] / sums[:, 3:]
    return replace(state, noise=state.noise[1:]), kick - drift[state.structure]


def _evaluated(committee: Evaluator, state: State, skin: float) -> State:
    """The state with list, energy, forces and deviations at its positions."""
    if bool((torch.linalg.norm(state.positions - state.listed, dim=1) > skin / 2).any()):
        state = _listed(committee, state, skin)
    graph = with_positions(state.graph, state.positions)
    output = committee.evaluate(graph)
    forces = output.forces.detach().double()
    energy = output.energy.detach().double()
    return replace(
        state,
        graph=graph,
        energy=energy.mean(0),
        energy_deviation=energy.std(0, correction=0),
        forces=forces.mean(0),
        force_deviation=force_deviation(forces),
    )


def _listed(committee: Evaluator, state: State, skin: float) -> State:
    """The state with a fresh neighbour list; a structure whose positions are lost keeps those it was listed with."""
    positions = torch.where(torch.isfinite(state.positions), state.positions, state.listed)
    parts = torch.split(positions.cpu(), state.counts)
    placed = [replace(w.configuration, positions=part.numpy()) for w, part in zip(state.walks, parts, strict=True)]
    graph = committee.build_graph(placed, skin)
    return replace(state, graph=with_positions(graph, state.positions), listed=positions)
