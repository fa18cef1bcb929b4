"""Errors of a committee on labelled frames as a calculation job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data import CommitteeData, ConfigurationsData, DatasetData
from .command import OUTPUT_FOLDER, CommandCalculation, CommandParser, read_json


class EvaluateCalculation(CommandCalculation):
    """Runs `argonaut evaluate`."""

    EXPECTED = ("predictions.extxyz", "metrics.json")

    @classmethod
    def define(cls, spec: Any) -> None:
        """Adds committee and dataset; predictions and errors."""
        super().define(spec)
        spec.input("committee", valid_type=CommitteeData)
        spec.input("dataset", valid_type=DatasetData)
        spec.output("predictions", valid_type=ConfigurationsData, help="The frames with the committee's predictions.")
        spec.output("metrics", valid_type=orm.Dict, help="MAE and RMSE of energy per atom, forces and stress.")

    def nodes(self) -> dict[str, Any]:
        """Model and dataset."""
        return {"model": self.inputs.committee, "dataset": self.inputs.dataset}

    def arguments(self) -> list[str]:
        """The command line."""
        return ["evaluate", "model", "dataset", "-o", OUTPUT_FOLDER]


class EvaluateParser(CommandParser):
    """Reads predictions and errors."""

    def read(self, folder: Path) -> None:
        """Store both."""
        self.out("predictions", ConfigurationsData.from_file(folder / "predictions.extxyz"))
        self.out("metrics", orm.Dict(read_json(folder / "metrics.json")))
