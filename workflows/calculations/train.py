"""Training of one committee member as a calculation job: dataset and seed in, model out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data import CommitteeData, DatasetData
from .command import OUTPUT_FOLDER, CommandCalculation, CommandParser


class TrainCalculation(CommandCalculation):
    """Runs `argonaut train`; `settings` holds architecture, preset, number of members, seed and the training config.

    With `initial` it fine-tunes; then `settings` has `initial_member` (0 if absent), and need not have architecture and
    preset: the command refuses those that contradict the initial model.
    """

    EXPECTED = ("model.safetensors", "config.json", "card.json", "metrics.jsonl")

    @classmethod
    def define(cls, spec: Any) -> None:
        """Adds dataset, reference energies and the trained model."""
        super().define(spec)
        spec.input("dataset", valid_type=DatasetData, help="Training and validation frames, split by lineage.")
        spec.input("reference_energies", valid_type=orm.Dict, required=False, help="Energy of an atom per element, eV.")
        spec.input("initial", valid_type=CommitteeData, required=False, help="The model to start from.")
        spec.output("committee", valid_type=CommitteeData, help="The trained model.")

    def nodes(self) -> dict[str, Any]:
        """The dataset and, for a fine-tune, the model it starts from."""
        nodes = {"dataset": self.inputs.dataset}
        return {**nodes, "initial": self.inputs.initial} if "initial" in self.inputs else nodes

    def documents(self) -> dict[str, Any]:
        """Training config and, where there are any, reference energies."""
        documents = {"train.yaml": self.inputs.settings["config"]}
        if "reference_energies" in self.inputs:
            documents["reference_energies.json"] = self.inputs.reference_energies.get_dict()
        return documents

    def arguments(self) -> list[str]:
        """The command line."""
        settings = self.inputs.settings.get_dict()
        arguments = ["train", "dataset", "-o", OUTPUT_FOLDER, "--config", "train.yaml"]
        for key in ("architecture", "preset", "members", "seed"):
            if settings.get(key) is not None:
                arguments += [f"--{key}", str(settings[key])]
        arguments += ["--elements", ",".join(settings["elements"])]
        if "reference_energies" in self.inputs:
            arguments += ["--reference-energies", "reference_energies.json"]
        if "initial" in self.inputs:
            arguments += ["--initial", "initial", "--initial-member", str(settings.get("initial_member", 0))]
        return arguments


class TrainParser(CommandParser):
    """Reads the model folder."""

    def read(self, folder: Path) -> None:
        """Store the model's files, and nothing else that training may have left there."""
        self.out("committee", CommitteeData.from_folder(folder, TrainCalculation.EXPECTED))
