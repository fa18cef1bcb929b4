"""Committee molecular dynamics as a calculation job: starts in, frames with deviations and stop reasons out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ExitCode

from ..data import CommitteeData, ConfigurationsData
from .command import OUTPUT_FOLDER, CommandCalculation, CommandParser, read_json


class ExploreCalculation(CommandCalculation):
    """Runs `argonaut explore`; `settings` holds the dynamics config and the seed."""

    EXPECTED = ("frames.extxyz", "trajectories.json")

    @classmethod
    def define(cls, spec: Any) -> None:
        """Adds committee and starts; frames and trajectories."""
        super().define(spec)
        spec.input("committee", valid_type=CommitteeData)
        spec.input("starts", valid_type=ConfigurationsData, help="One trajectory starts from each configuration.")
        spec.output("frames", valid_type=ConfigurationsData, help="Sampled frames with the committee's predictions.")
        spec.output("trajectories", valid_type=orm.Dict, help="How each trajectory went and why it stopped.")
        spec.exit_code(320, "ERROR_NO_FRAMES", message="No frame was kept; trajectories ended {reasons}.")

    def nodes(self) -> dict[str, Any]:
        """Model and starts."""
        return {"model": self.inputs.committee, "starts": self.inputs.starts}

    def documents(self) -> dict[str, Any]:
        """The dynamics config."""
        return {"explore.yaml": self.inputs.settings["config"]}

    def arguments(self) -> list[str]:
        """The command line."""
        return ["explore", "model", "starts/frames.extxyz", "-o", OUTPUT_FOLDER, "--config", "explore.yaml",
                "--seed", str(self.inputs.settings["seed"])]  # fmt: skip


class ExploreParser(CommandParser):
    """Reads frames and trajectories."""

    def read(self, folder: Path) -> ExitCode | None:
        """Store both; without a single frame the trajectories say why."""
        trajectories = read_json(folder / "trajectories.json")
        self.out("trajectories", orm.Dict(trajectories))
        if not trajectories["n_frames"]:
            return self.exit_codes.ERROR_NO_FRAMES.format(reasons=trajectories["reasons"])
        self.out("frames", ConfigurationsData.from_file(folder / "frames.extxyz"))
        return None
