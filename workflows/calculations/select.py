"""Selection of what to label next as a calculation job: explored frames in, candidates with predictions out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ExitCode

from ..data import ConfigurationsData, DatasetData
from .command import OUTPUT_FOLDER, CommandCalculation, CommandParser, read_json


class SelectCalculation(CommandCalculation):
    """Runs `argonaut select`; `settings` holds the selection config, the number of candidates and the seed."""

    EXPECTED = ("candidates.extxyz", "selection.json")

    @classmethod
    def define(cls, spec: Any) -> None:
        """Adds pool and dataset; candidates and the account of every verdict."""
        super().define(spec)
        spec.input("pool", valid_type=ConfigurationsData, help="Explored frames with the committee's predictions.")
        spec.input(
            "dataset", valid_type=DatasetData, required=False, help="What is labelled already: nothing is chosen twice."
        )
        spec.output("candidates", valid_type=ConfigurationsData, help="Frames to label, with predictions made before.")
        spec.output("selection", valid_type=orm.Dict, help="Counts per verdict, thresholds, members of each arm.")
        spec.exit_code(320, "ERROR_NO_FRAMES", message="No frame was selected; verdicts on the pool: {counts}.")

    def nodes(self) -> dict[str, Any]:
        """Pool and dataset."""
        return {name: self.inputs[name] for name in ("pool", "dataset") if name in self.inputs}

    def documents(self) -> dict[str, Any]:
        """The selection config."""
        return {"select.yaml": self.inputs.settings["config"]}

    def arguments(self) -> list[str]:
        """The command line."""
        settings = self.inputs.settings
        known = ["--dataset", "dataset"] if "dataset" in self.inputs else []
        return [
            "select", "pool/frames.extxyz", *known, "-n", str(settings["count"]), "-o", OUTPUT_FOLDER,
            "--config", "select.yaml", "--seed", str(settings["seed"]),
        ]  # fmt: skip


class SelectParser(CommandParser):
    """Reads candidates and the account."""

    def read(self, folder: Path) -> ExitCode | None:
        """Store both; without a single candidate the verdicts say why."""
        selection = read_json(folder / "selection.json")
        self.out("selection", orm.Dict(selection))
        if not selection["reached"]:
            return self.exit_codes.ERROR_NO_FRAMES.format(counts=selection["counts"])
        self.out("candidates", ConfigurationsData.from_file(folder / "candidates.extxyz"))
        return None
