"""The contract between a network and the rest, and the ONE place where forces and stress are formed.

An architecture gives `energy(parameters, config, graph) -> (g,)` in units of `Baseline.scale`, and nothing else. It may
depend on the bond vectors D and, if it says so (`vectors_only=False`), on positions x and cell h as well. Then

    F_k      = -(sum over bonds ending in k of dE/dD - sum over bonds starting in k of dE/dD + dE/dx_k)
    dE/dstrain = sum_bonds D (x) dE/dD + sum_atoms x (x) dE/dx + sum_rows h (x) dE/dh,   stress = dE/dstrain / volume,

with D, x, h as independent variables: the sign of the stress is ASE's (units.py).

A published preset may predict forces of its own (a config with `direct_forces`): those are then added as they are to
the forces of the baseline, and there is no stress.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .baseline import Baseline
from .graph import Graph

Parameters = dict[str, Tensor]
"""Weights of one member by name."""


class ArchitectureError(ValueError):
    """An architecture or preset that does not exist, or a config it does not accept."""


@dataclass(frozen=True)
class Architecture:
    """A family of networks."""

    name: str
    presets: Mapping[str, Any]
    """Preset name -> config (instances of one frozen dataclass with a `cutoff` in Å)."""
    init: Callable[[Any, torch.Generator], Parameters]
    """init(config, generator) -> float32 parameters on the CPU."""
    energy: Callable[[Parameters, Any, Graph], Tensor]
    """energy(parameters, config, graph) -> (g,), in units of the baseline's scale."""
    vectors_only: bool
    """True if the energy depends on the graph's geometry through `graph.vectors` alone."""
    direct: Callable[[Parameters, Any, Graph], tuple[Tensor, Tensor]] | None = None
    """direct(parameters, config, graph) -> energy (g,), forces (n, 3), for configs with `direct_forces`; same units."""
    regression: Callable[[Parameters, Any, Graph, Parameters | None], Tensor] | None = None
    """regression(parameters, config, graph, running) -> one number per structure (g,), for networks that learn any
    property; `running`, where given, receives weights that a batch changes by being seen. None: energy per atom."""
    untied: Callable[[Any, Parameters], tuple[Any, Parameters]] | None = None
    """untied(config, parameters): weights that blocks share as weights of their own; the energy keeps every bit."""
    exceptions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Preset -> check of the contract suite that it cannot hold (contract.py) -> why."""

    def preset(self, name: str) -> Any:
        """The config of a preset; raises ArchitectureError naming the presets there are."""
        if name not in self.presets:
            raise ArchitectureError(f"{self.name} has no preset '{name}'; it has {', '.join(self.presets)}")
        return self.presets[name]


class Evaluation(NamedTuple):
    """What one potential says about a graph."""

    energy: Tensor
    """(g,) eV, float64."""
    forces: Tensor
    """(n, 3) eV/Å."""
    stress: Tensor | None
    """(g, 3, 3) eV/Å^3, zero for a structure without volume; None if not asked for or if there is none."""


_MODULES = {"a2i": "a2i", "leignn": "leignn", "potnet": "potnet", "teanet": "teanet"}
"""Architecture -> module in `models`, imported when first asked for."""
_REGISTERED: dict[str, Architecture] = {}


def register(architecture: Architecture) -> Architecture:
    """Make an architecture known by its name; raises ArchitectureError if another one has that name."""
    if _REGISTERED.setdefault(architecture.name, architecture) is not architecture:
        raise ArchitectureError(f"an architecture named '{architecture.name}' is registered already")
    return architecture


def architecture_names() -> list[str]:
    """Names that `get_architecture` accepts."""
    return sorted({*_MODULES, *_REGISTERED})


def get_architecture(name: str) -> Architecture:
    """The architecture of this name; raises ArchitectureError naming the nearest one there is."""
    if name not in _REGISTERED and name in _MODULES:
        importlib.import_module(f"{__package__}.models.{_MODULES[name]}")
    if name not in _REGISTERED:
        near = difflib.get_close_matches(name, architecture_names(), n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(architecture_names())}"
        raise ArchitectureError(f"no architecture '{name}'; {hint}")
    return _REGISTERED[name]


def evaluate(
    architecture: Architecture,
    config: Any,
    parameters: Parameters,
    baseline: Baseline,
    graph: Graph,
    stress: bool = True,
    create_graph: bool = False,
) -> Evaluation:
    """Energy, forces and stress of baseline plus network; with `create_graph` they can be differentiated again."""
    network = network_part(architecture, config, parameters, baseline, graph, stress, create_graph)
    return add(baseline_part(baseline, graph, stress), network)


def network_part(
    architecture: Architecture,
    config: Any,
    parameters: Parameters,
    baseline: Baseline,
    graph: Graph,
    stress: bool = True,
    create_graph: bool = False,
) -> Evaluation:
    """What the network adds to the baseline; float64 energy, forces and stress in the dtype of the graph.

    The stress is None for a config with direct forces, even if it is asked for.
    """
    if direct_forces(config):
        return _direct_part(architecture, config, parameters, baseline, graph, create_graph)

    def energy(inner: Graph) -> Tensor:
        return baseline.scale * architecture.energy(parameters, config, inner).double()

    return differentiate(energy, graph, architecture.vectors_only, stress, create_graph)


def direct_forces(config: Any) -> bool:
    """Whether a model of this config predicts forces that are no gradient of its energy, and has no stress."""
    return bool(getattr(config, "direct_forces", False))


def _direct_part(
    architecture: Architecture, config: Any, parameters: Parameters, baseline: Baseline, graph: Graph, keep: bool
) -> Evaluation:
    if architecture.direct is None:
        raise ArchitectureError(f"{architecture.name}: the config has direct_forces, the architecture no `direct`")
    with torch.set_grad_enabled(keep):
        energy, forces = architecture.direct(parameters, config, graph)
        scale = baseline.scale
        return Evaluation(scale * energy.double(), scale * forces.to(graph.positions.dtype), None)


def baseline_part(baseline: Baseline, graph: Graph, stress: bool = True) -> Evaluation:
    """What is there without a network: reference energies and repulsion."""
    repulsion = differentiate(baseline.repulsion_energy, graph, vectors_only=True, stress=stress)
    return repulsion._replace(energy=repulsion.energy + baseline.reference(graph))


def add(first: Evaluation, second: Evaluation) -> Evaluation:
    """The sum of two contributions on one graph."""
    stress = None if first.stress is None or second.stress is None else first.stress + second.stress
    return Evaluation(first.energy + second.energy, first.forces + second.forces, stress)


def differentiate(
    energy_of: Callable[[Graph], Tensor],
    graph: Graph,
    vectors_only: bool,
    stress: bool = True,
    create_graph: bool = False,
) -> Evaluation:
    """Energy (g,) of a function of the graph with its forces and stress, see the head of the file."""
    names = ("vectors",) if vectors_only else ("vectors", "positions", "cell")
    with torch.enable_grad():
        leaves = {name: getattr(graph, name).detach().requires_grad_() for name in names}
        inner = graph._replace(**leaves)
        energy = energy_of(inner)
        slopes = dict.fromkeys(names, None)
        if energy.requires_grad:
            found = torch.autograd.grad(
                energy.sum(), list(leaves.values()), create_graph=create_graph, allow_unused=True
            )
            slopes = dict(zip(names, found, strict=True))
        forces = _forces(inner, slopes)
        tension = _stress(inner, slopes) if stress else None
    if create_graph:
        return Evaluation(energy, forces, tension)
    return Evaluation(energy.detach(), forces.detach(), None if tension is None else tension.detach())


def _forces(graph: Graph, slopes: Mapping[str, Tensor | None]) -> Tensor:
    forces = torch.zeros_like(graph.positions)
    if (slope := slopes["vectors"]) is not None:
        forces = forces.index_add(0, graph.i, slope).index_add(0, graph.j, -slope)
    if (slope := slopes.get("positions")) is not None:
        forces = forces - slope
    return forces


def _stress(graph: Graph, slopes: Mapping[str, Tensor | None]) -> Tensor:
    virial = torch.zeros_like(graph.cell)
    if (slope := slopes["vectors"]) is not None:
        outer = graph.vectors[:, :, None] * slope[:, None, :]
        virial = virial.index_add(0, graph.structure.index_select(0, graph.i), outer)
    if (slope := slopes.get("positions")) is not None:
        virial = virial.index_add(0, graph.structure, graph.positions[:, :, None] * slope[:, None, :])
    if (slope := slopes.get("cell")) is not None:
        virial = virial + graph.cell.mT @ slope
    symmetric = 0.5 * (virial + virial.mT) / graph.volume()[:, None, None]
    return torch.where(graph.pbc[:, None, None], symmetric, torch.zeros_like(symmetric))
