"""Randomised configurations as a calculation job: recipe and seed in, configurations out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..data import ConfigurationsData
from .command import OUTPUT_FOLDER, CommandCalculation, CommandParser


class GenerateCalculation(CommandCalculation):
    """Runs `argonaut generate`; `settings` holds recipe, count and seed."""

    EXPECTED = ("frames.extxyz",)

    @classmethod
    def define(cls, spec: Any) -> None:
        """Adds the output."""
        super().define(spec)
        spec.output(
            "configurations", valid_type=ConfigurationsData, help="The configurations, in order of their index."
        )

    def documents(self) -> dict[str, Any]:
        """The recipe; JSON is YAML."""
        return {"recipe.yaml": self.inputs.settings["recipe"]}

    def arguments(self) -> list[str]:
        """The command line."""
        settings = self.inputs.settings
        return ["generate", "recipe.yaml", "-n", str(settings["count"]), "--seed", str(settings["seed"]),
                "-o", f"{OUTPUT_FOLDER}/frames.extxyz"]  # fmt: skip


class GenerateParser(CommandParser):
    """Reads the configurations."""

    def read(self, folder: Path) -> None:
        """Store the file as it is."""
        self.out("configurations", ConfigurationsData.from_file(folder / "frames.extxyz"))
