"""Training of one committee member as a calculation job: dataset and seed in, model out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import ExitCode

from ..data import CommitteeData, DatasetData
from .command import OUTPUT_FOLDER, CommandCalculation, CommandParser, read_json

OF_WALL_TIME = 0.9
"""Share of the queue's wall time after which training pauses with a checkpoint."""
PAUSED = "paused.json"
"""What a training that is not done leaves in its output folder (mlip/cli/train.py)."""


class TrainCalculation(CommandCalculation):
    """Runs `argonaut train`; `settings` holds architecture, preset, number of members, seed and the training config.

    With `initial` it fine-tunes; then `settings` has `initial_member` (0 if absent), and need not have architecture and
    preset: the command refuses those that contradict the initial model.
    """

    CACHE_VERSION = 4  # A2I transformers: 1 had no norms, 2 sharper attention, 3 a published form that hardly learned
    EXPECTED = ("model.safetensors", "config.json", "card.json", "metrics.jsonl")

    @classmethod
    def define(cls, spec: Any) -> None:
        """Adds dataset, reference energies and the trained model."""
        super().define(spec)
        spec.input("dataset", valid_type=DatasetData, help="Training and validation frames, split by lineage.")
        spec.input("reference_energies", valid_type=orm.Dict, required=False, help="Energy of an atom per element, eV.")
        spec.input(
            "unfinished", valid_type=orm.RemoteData, required=False,
            help="Folder of a job that the wall time has stopped: training goes on from its checkpoint.",
        )  # fmt: skip
        spec.input("initial", valid_type=CommitteeData, required=False, help="The model to start from.")
        spec.output("committee", valid_type=CommitteeData, help="The trained model.")
        spec.exit_code(
            410, "ERROR_OUT_OF_WALLTIME", invalidates_cache=True,
            message="The wall time is over at {percent:.1f} % of a member, which goes on from its checkpoint",
        )  # fmt: skip

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
        arguments = ["train", "dataset", "-o", OUTPUT_FOLDER, "--config", "train.yaml", "--no-picture"]
        for key in ("architecture", "preset", "members", "seed"):
            if settings.get(key) is not None:
                arguments += [f"--{key}", str(settings[key])]
        arguments += ["--elements", ",".join(settings["elements"])]
        if "reference_energies" in self.inputs:
            arguments += ["--reference-energies", "reference_energies.json"]
        if "initial" in self.inputs:
            arguments += ["--initial", "initial", "--initial-member", str(settings.get("initial_member", 0))]
        seconds = self.inputs.metadata.options.get("max_wallclock_seconds")
        if seconds:
            arguments += ["--stop-after", f"{OF_WALL_TIME * seconds:.0f}s"]
        return arguments

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Also brings the checkpoint along."""
        job = super().prepare_for_submission(folder)
        if "unfinished" in self.inputs:
            left = self.inputs.unfinished
            source = str(Path(left.get_remote_path()) / OUTPUT_FOLDER / "checkpoints")
            folder.get_subfolder(OUTPUT_FOLDER, create=True)
            job.remote_copy_list = [(left.computer.uuid, source, f"{OUTPUT_FOLDER}/checkpoints")]
        return job


class TrainParser(CommandParser):
    """Reads the model folder."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """A training that is not done is no failure of the command."""
        with self.retrieved.base.repository.as_path() as root:
            paused = Path(root) / OUTPUT_FOLDER / PAUSED
            try:
                progress = float(read_json(paused)["progress"]) if paused.is_file() else None
            except (ValueError, KeyError, TypeError) as error:
                return self.exit_codes.ERROR_OUTPUT_UNREADABLE.format(message=f"{PAUSED}: {error}")
        if progress is not None:
            return self.exit_codes.ERROR_OUT_OF_WALLTIME.format(percent=100 * progress)
        return super().parse(**kwargs)

    def read(self, folder: Path) -> None:
        """Store the model's files, and nothing else that training may have left there."""
        self.out("committee", CommitteeData.from_folder(folder, TrainCalculation.EXPECTED))
