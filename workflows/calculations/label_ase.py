"""Labels from any ASE calculator as a calculation job: one job for a whole shard of configurations."""

from __future__ import annotations

from typing import Any

from .command import OUTPUT_FOLDER
from .labels import LabelCalculation, LabelParser


class LabelAseCalculation(LabelCalculation):
    """Runs `argonaut label-ase`; `settings` holds the calculator's import path and parameters, and the protocol."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Names the parser."""
        super().define(spec)
        spec.inputs["metadata"]["options"]["parser_name"].default = "argonaut.label_ase"

    def documents(self) -> dict[str, Any]:
        """The calculator's parameters."""
        return {"parameters.json": self.inputs.settings["parameters"]}

    def arguments(self) -> list[str]:
        """The command line."""
        settings = self.inputs.settings
        return ["label-ase", "configurations/frames.extxyz", "-o", OUTPUT_FOLDER, "--parameters", "parameters.json",
                "--calculator", settings["calculator"]]  # fmt: skip


class LabelAseParser(LabelParser):
    """Reads labels and losses."""
