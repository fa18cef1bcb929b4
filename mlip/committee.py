"""A committee: K networks that differ by seed, or by architecture as well, and what their disagreement says.

The force deviation of an atom is the root mean square length of the difference *vector* between a member's force and
the mean force,

    force_deviation_i = sqrt(mean_k |F_i^k - mean_k F_i|^2),      eV/Å,

so two members that push an atom in opposite directions disagree, although their forces are equally long.

A model folder holds model.safetensors (tensors 'member.<k>/<parameter>'), config.json (what is needed to evaluate it),
card.json (what it is: data, code, seeds, errors) and metrics.jsonl (how training went). Nothing is pickled; folders of
single members become one committee in model_files.py. Members of several architectures share the baseline, and one
graph of the largest cutoff: bonds beyond its own change nothing for a member (contract check `longer-list`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .baseline import Baseline, check_elements
from .frames import Configuration
from .graph import Graph, build_graph, device_of, join, split_by_bonds
from .model_folder import NETWORK, ModelFilesError, model_config, networks_of, read_model_folder
from .potential import Architecture, Parameters, add, baseline_part, direct_forces, get_architecture, network_part
from .predictions import Prediction
from .settings import settings_from_mapping

MAX_BONDS = 20_000
"""Bonds per evaluated batch: large enough to hide the cost of small operations, small enough for the caches."""


class CommitteeError(ValueError):
    """A model folder that cannot be used, or members that do not belong together."""


class NetworkKind(NamedTuple):
    """What the weights of a member are weights of."""

    architecture: Architecture
    preset: str
    config: Any
    """The architecture's config: a frozen dataclass with a cutoff in Å."""

    def to_document(self) -> dict[str, Any]:
        """JSON form, for config.json."""
        values = (self.architecture.name, self.preset, asdict(self.config), float(self.config.cutoff))
        return dict(zip(NETWORK, values, strict=True))


class CommitteeOutput(NamedTuple):
    """What M members say about a graph of g structures and n atoms."""

    energy: Tensor
    """(M, g) eV, float64."""
    forces: Tensor
    """(M, n, 3) eV/Å."""
    stress: Tensor | None
    """(M, g, 3, 3) eV/Å^3, zero for structures without volume; None if not asked for or if the model has none."""

    def force_deviation(self) -> Tensor:
        """(n,) eV/Å, see `force_deviation`."""
        return force_deviation(self.forces)


def force_deviation(forces: Any) -> Any:
    """(M, n, 3) forces of the members -> (n,) sqrt(mean_k |F_k - mean_k F|^2), numpy or torch; zero for one member."""
    difference = forces - forces.mean(0)
    squared = (difference * difference).sum(-1).mean(0)
    return torch.sqrt(squared) if isinstance(squared, Tensor) else np.sqrt(squared)


@dataclass(frozen=True)
class Committee:
    """K members with one baseline, of one architecture and config or of several (`networks`).

    Raises CommitteeError for `networks` that do not belong to the members or of which only some have direct forces.
    """

    architecture: Architecture
    """With preset and config: of all members, of the first one where `mixed`."""
    preset: str
    config: Any
    baseline: Baseline
    members: tuple[Parameters, ...]
    card: dict[str, Any] = field(default_factory=dict)
    """Content of card.json."""
    metrics: tuple[dict[str, Any], ...] = ()
    """Lines of metrics.jsonl."""
    networks: tuple[NetworkKind, ...] = ()
    """(K,) what each member is; needs to be given only where members differ."""

    def __post_init__(self) -> None:
        first = NetworkKind(self.architecture, self.preset, self.config)
        if not self.mixed:
            object.__setattr__(self, "networks", (first,) * len(self.members))
        elif len(self.networks) != len(self.members) or self.networks[0] != first:
            raise CommitteeError(f"{len(self.networks)} networks for {self.n_members} members; expected one for each")
        elif len({direct_forces(network.config) for network in self.networks}) > 1:
            kinds = ", ".join(f"{network.architecture.name}/{network.preset}" for network in self.networks)
            raise CommitteeError(f"members {kinds}: some have direct forces and no stress; expected all of one kind")

    @property
    def mixed(self) -> bool:
        """Whether members differ in architecture, preset or config."""
        return any(network != self.networks[0] for network in self.networks)

    @property
    def n_members(self) -> int:
        """K."""
        return len(self.members)

    @property
    def cutoff(self) -> float:
        """Å, the largest of any member."""
        return max(float(network.config.cutoff) for network in self.networks)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers the committee was trained on, ascending."""
        return self.baseline.elements

    @property
    def dtype(self) -> torch.dtype:
        """Float type of the weights, and of graphs made by `predict`."""
        return next(iter(self.members[0].values())).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(iter(self.members[0].values())).device

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Committee:
        """The same committee on another device or with another float type."""
        moved = [{name: t.to(device=device, dtype=dtype) for name, t in member.items()} for member in self.members]
        return replace(self, members=tuple(moved))

    def build_graph(self, configurations: Sequence[Configuration], skin: float = 0.0) -> Graph:
        """A graph with this committee's cutoff, float type and device; raises FrameError for unknown elements."""
        for configuration in configurations:
            check_elements(configuration.numbers, self.elements, configuration.formula)
        return build_graph(configurations, self.cutoff, skin, self.dtype, self.device)

    def evaluate(self, graph: Graph, stress: bool = False) -> CommitteeOutput:
        """Energies, forces and, if asked for, stresses of every member; the baseline is computed once."""
        ground = baseline_part(self.baseline, graph, stress)
        each = [
            add(ground, network_part(architecture, config, member, self.baseline, graph, stress))
            for (architecture, _, config), member in zip(self.networks, self.members, strict=True)
        ]
        tension = [e.stress for e in each if e.stress is not None]
        return CommitteeOutput(
            torch.stack([e.energy for e in each]),
            torch.stack([e.forces for e in each]),
            torch.stack(tension) if tension else None,
        )

    def predict(
        self, configurations: Sequence[Configuration], stress: bool = True, max_edges: int = MAX_BONDS
    ) -> list[Prediction]:
        """Mean and deviation for any number of configurations, in batches of at most `max_edges` bonds."""
        graphs = [self.build_graph([configuration]) for configuration in configurations]
        predictions: list[Prediction] = []
        for chunk in split_by_bonds([graph.n_bonds for graph in graphs], max_edges):
            graph = join([graphs[index] for index in chunk])
            predictions += _predictions(graph, self.evaluate(graph, stress))
        return predictions

    def save(self, folder: str | Path) -> None:
        """Write the model folder; the weights keep every bit."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"member.{k}/{name}": tensor.detach().cpu().contiguous()
            for k, member in enumerate(self.members)
            for name, tensor in member.items()
        }
        save_file(tensors, target / "model.safetensors")
        (target / "card.json").write_text(json.dumps(self.card, indent=2) + "\n")
        (target / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in self.metrics))
        networks = [network.to_document() for network in self.networks]
        document = model_config(networks, list(self.elements), self.baseline.to_document())
        (target / "config.json").write_text(json.dumps(document, indent=2) + "\n")

    @classmethod
    def load(
        cls, folder: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype | str | None = None
    ) -> Committee:
        """Read a model folder; `dtype` (torch or 'float32' / 'float64') None keeps the first member's.

        Raises CommitteeError for a folder that is not a model, a damaged one, or one of another format, and DeviceError
        for a `device` that `device_of` refuses.
        """
        source = Path(folder)
        place, kind = device_of(device), None if dtype is None else dtype_of(dtype)
        missing = [name for name in ("config.json", "model.safetensors") if not (source / name).is_file()]
        if (source / "property.json").is_file():
            raise CommitteeError(f"{source}: a property regression, without energies and forces")
        if missing:
            raise CommitteeError(f"{source}: not a model folder, {' and '.join(missing)} missing")
        try:
            committee = _stored(source)
        except ModelFilesError as error:
            raise CommitteeError(str(error)) from error
        except KeyError as error:
            raise CommitteeError(f"{source}: config.json lacks the key {error}; copy or train it again") from error
        except (ValueError, TypeError, AttributeError, SafetensorError) as error:
            raise CommitteeError(f"{source}: the model folder cannot be used: {error}") from error
        return committee.to(place, kind or committee.dtype)


def dtype_of(dtype: torch.dtype | str) -> torch.dtype:
    """'float32' or 'float64' as a torch dtype; raises CommitteeError for anything else."""
    found = {"float32": torch.float32, "float64": torch.float64}.get(str(dtype).removeprefix("torch."))
    if found is None:
        raise CommitteeError(f"dtype '{dtype}': expected float32 or float64")
    return found


def _stored(folder: Path) -> Committee:
    """The committee in a folder; KeyError for a missing key, ValueError or TypeError for other damage."""
    documents = read_model_folder(folder)
    n_members = documents.config["n_members"]
    tensors = {name: part.clone() for name, part in load_file(folder / "model.safetensors").items()}
    members = _members(tensors, n_members)  # aligned in memory: products round as they did before saving
    networks: dict[int, NetworkKind] = {}
    for document in networks_of(documents.config):
        kind, like = _kind(document)
        for k in document["members"]:
            networks[k] = kind
            _check_weights(k, members[k], like)
    baseline = Baseline.from_document(documents.config["baseline"])
    of_each = tuple(networks[k] for k in range(n_members))
    return Committee(*of_each[0], baseline, members, documents.card, documents.metrics, of_each)


def _kind(document: dict[str, Any]) -> tuple[NetworkKind, Parameters]:
    """A network of config.json, and weights like its members' on the meta device."""
    architecture = get_architecture(document["architecture"])
    config_type = type(next(iter(architecture.presets.values())))
    for hyperparameter in fields(config_type):
        if hyperparameter.name not in document["config"]:  # a default might not be what the weights were trained with
            raise KeyError(hyperparameter.name)
    config = settings_from_mapping(config_type, document["config"], "config.json: config")
    with torch.device("meta"):  # only shapes are wanted, whatever sizes the file claims
        return NetworkKind(architecture, document["preset"], config), architecture.init(config, torch.Generator())


def _members(tensors: dict[str, Tensor], n_members: int) -> tuple[Parameters, ...]:
    if n_members > len(tensors):
        raise ValueError(f"config.json: n_members is {n_members}, model.safetensors has {len(tensors)} tensors")
    members: dict[str, Parameters] = {f"member.{k}": {} for k in range(n_members)}
    for key, tensor in tensors.items():
        prefix, _, name = key.partition("/")
        if prefix not in members:
            raise ValueError(f"model.safetensors has a tensor '{key}', config.json {n_members} members")
        members[prefix][name] = tensor
    return tuple(members.values())


def _check_weights(k: int, member: Parameters, like: Parameters) -> None:
    expected, found = ({name: tuple(weight.shape) for name, weight in each.items()} for each in (like, member))
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    broken = sorted(name for name, weight in member.items() if not weight.isfinite().all())
    problems = ((wrong, "do not fit the hyperparameters in config.json"), (broken, "hold NaN or infinite numbers"))
    for names, problem in problems:
        if names:
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            raise ValueError(f"weights of member {k} {problem}: {', '.join(names[:8])}{more}")


def _predictions(graph: Graph, output: CommitteeOutput) -> list[Prediction]:
    energy = output.energy.cpu().numpy()
    forces = output.forces.double().cpu().numpy()
    deviation = force_deviation(forces)
    stress = None if output.stress is None else output.stress.double().mean(0).cpu().numpy()
    ends = np.cumsum(np.bincount(graph.structure.cpu().numpy(), minlength=graph.n_structures))
    periodic = graph.pbc.cpu().numpy()
    return [
        Prediction(
            energy=float(energy[:, index].mean()),
            energy_deviation=float(energy[:, index].std()),
            forces=forces[:, start:end].mean(0),
            stress=stress[index] if stress is not None and periodic[index] else None,
            force_deviation=deviation[start:end],
        )
        for index, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True))
    ]
