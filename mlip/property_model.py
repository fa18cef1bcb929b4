"""A trained property regression: its folder, its predictions and their errors.

The folder holds property.json, model.safetensors, card.json and metrics.jsonl, as a potential's does, but no
config.json: nothing that wants energies and forces takes it for a potential. Read with the same suspicion
(model_folder.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .frames import Configuration
from .graph import build_graph, device_of
from .model_folder import ModelFilesError, check_sizes, check_weights, read_document
from .potential import Architecture, Parameters, get_architecture
from .property_data import PropertyEntry, Target
from .property_training import PropertyMember, PropertyPlan, Report, Scaling, predicted
from .settings import settings_from_mapping

FORMAT = 1
"""Version of property.json."""
NAME = "property.json"
"""The document by which the folder is known."""
TOGETHER = 32
"""Structures in one batch of predictions."""


@dataclass(frozen=True)
class PropertyModel:
    """Networks of one shape that differ by seed."""

    architecture: Architecture
    preset: str
    config: Any
    target: Target
    scaling: Scaling
    members: tuple[Parameters, ...]
    card: dict[str, Any] = field(default_factory=dict)
    metrics: tuple[dict[str, Any], ...] = ()

    def predict(
        self, configurations: Sequence[Configuration], device: torch.device | str = "cpu"
    ) -> NDArray[np.float64]:
        """(members, structures) values as learned: per atom if the target is extensive, logarithms if it says so."""
        place, found = device_of(device), []
        members = [{name: weight.to(place) for name, weight in member.items()} for member in self.members]
        for start in range(0, len(configurations), TOGETHER):
            graph = build_graph(configurations[start : start + TOGETHER], self.config.cutoff, dtype=torch.float32)
            graph = graph.to(place)
            with torch.no_grad():
                rows = [predicted(self.architecture, self.config, member, graph) for member in members]
            found.append(torch.stack(rows).double().cpu().numpy())
        joined: NDArray[np.float64] = self.scaling.mean + self.scaling.deviation * np.concatenate(found, axis=1)
        return joined

    def save(self, folder: Path) -> None:
        """Write the model folder."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"member.{k}/{name}": weight.detach().cpu().contiguous()
            for k, member in enumerate(self.members)
            for name, weight in member.items()
        }
        save_file(tensors, folder / "model.safetensors")
        (folder / "card.json").write_text(json.dumps(self.card, indent=2) + "\n")
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in self.metrics))
        document = {
            "format": FORMAT,
            "architecture": self.architecture.name,
            "preset": self.preset,
            "config": asdict(self.config),
            "target": asdict(self.target),
            "scaling": asdict(self.scaling),
            "n_members": len(self.members),
        }
        (folder / NAME).write_text(json.dumps(document, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> PropertyModel:
        """Read a model folder; raises ModelFilesError for one that cannot be used."""
        try:
            document = read_document(folder / NAME)
            if document.get("format") != FORMAT:
                raise ModelFilesError(f"{NAME} has format {document.get('format')!r}, this version reads {FORMAT}")
            check_weights(folder / "model.safetensors")
            return cls(**_parts(document, load_file(folder / "model.safetensors")))
        except KeyError as error:
            raise ModelFilesError(f"{folder}: {NAME} lacks the key {error}") from error
        except (ValueError, TypeError, AttributeError, SafetensorError) as error:
            raise ModelFilesError(f"{folder}: the model folder cannot be used: {error}") from error


def is_property_model(folder: Path) -> bool:
    """Whether a folder holds a property regression, as far as its files' names say."""
    return (folder / NAME).is_file()


def _parts(document: dict[str, Any], tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    architecture = get_architecture(document["architecture"])
    kind = type(next(iter(architecture.presets.values())))
    for hyperparameter in fields(kind):
        if hyperparameter.name not in document["config"]:
            raise KeyError(hyperparameter.name)
    check_sizes(NAME, {**document, "cutoff": document["config"]["cutoff"]})
    config = settings_from_mapping(kind, document["config"], f"{NAME}: config")
    with torch.device("meta"):  # only shapes are wanted, whatever sizes the file claims
        shapes = {name: w.shape for name, w in architecture.init(config, torch.Generator().manual_seed(0)).items()}
    if type(document["n_members"]) is not int or not 0 < document["n_members"] <= len(tensors):
        raise ValueError(f"n_members is {document['n_members']!r}, there are {len(tensors)} tensors")
    wanted = {f"member.{k}/{name}" for k in range(document["n_members"]) for name in shapes}
    if wanted != set(tensors):
        raise ValueError(f"the weights are not those of {document['n_members']} members of {architecture.name}")
    for name, weight in tensors.items():
        if weight.shape != shapes[name.partition("/")[2]] or not bool(weight.isfinite().all()):
            raise ValueError(f"the weight '{name}' has shape {tuple(weight.shape)}, or holds NaN or infinite numbers")
    members = [{name: tensors[f"member.{k}/{name}"].clone() for name in shapes} for k in range(document["n_members"])]
    return {
        "architecture": architecture,
        "preset": document["preset"],
        "config": config,
        "target": settings_from_mapping(Target, document["target"], f"{NAME}: target"),
        "scaling": settings_from_mapping(Scaling, document["scaling"], f"{NAME}: scaling"),
        "members": tuple(members),
    }


def train_property(
    plan: PropertyPlan,
    seed: int,
    n_members: int,
    card: dict[str, Any],
    budget: float | None = None,
    checkpoints: Path | None = None,
    report: Report | None = None,
    deadline: float | None = None,
) -> PropertyModel:
    """Members with seeds `seed`, `seed + 1` ...; `budget`: s for all together; `deadline`: monotonic time in s.

    `card`: what is to be known of the data. Raises TrainingPaused and TrainingError as PropertyMember.train does.
    """
    members, metrics, records = [], [], []
    for index in range(n_members):
        member = PropertyMember(plan, seed + index, None if budget is None else budget / n_members, deadline)
        path = None if checkpoints is None else checkpoints / f"member-{seed + index}.safetensors"
        state = member.train(path, report)
        members.append({name: weight.cpu().clone() for name, weight in member.named(state.best).items()})
        metrics += [{"member": index, **line} for line in state.metrics]
        best = min(state.metrics, key=lambda line: line["validation_mae"])
        records.append({"seed": member.seed, "steps": state.step, "seconds": round(state.seconds, 2), "best": best})
    counts = {"n_training": len(plan.training), "n_validation": len(plan.validation)}
    return PropertyModel(
        plan.architecture, plan.preset, plan.config, plan.settings.target, plan.scaling, tuple(members),
        {**card, **counts, "settings": asdict(plan.settings), "members": records}, tuple(metrics),
    )  # fmt: skip


def property_metrics(found: NDArray[np.float64], entries: Sequence[PropertyEntry]) -> dict[str, Any]:
    """Errors of the mean over members (members, structures): MAE, RMSE, and the MAE of always saying the mean."""
    values = np.array([entry.value for entry in entries])
    error = found.mean(0) - values
    worst = np.argsort(-np.abs(error), kind="stable")[:5]
    return {
        "n_structures": len(entries),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.square(error).mean())),
        "mean_absolute_deviation": float(np.abs(values - values.mean()).mean()),
        "deviation": float(found.std(0).mean()) if len(found) > 1 else None,
        "worst": [
            {"name": entries[k].name, "formula": entries[k].configuration.formula, "value": float(values[k]),
             "error": float(error[k])}
            for k in worst
        ],
    }  # fmt: skip
