"""Randomised configurations as a calculation job: recipe and seed in, configurations out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from ..data import ConfigurationsData
from .command import OUTPUT_FOLDER, CommandCalculation, CommandParser, read_json


class GenerateCalculation(CommandCalculation):
    """Runs `argonaut generate`; `settings` holds recipe, count, start, seed, workers, `files` what the recipe names."""

    CACHE_VERSION = 3  # 1 had no account of losses, 2 another packing
    EXPECTED = ("frames.extxyz", "frames.losses.json")

    @classmethod
    def define(cls, spec: Any) -> None:
        """Adds the outputs."""
        super().define(spec)
        spec.input_namespace(
            "files", dynamic=True, required=False, valid_type=ConfigurationsData,
            help="Structures of the user: the node user_N is the recipe's user_N/frames.extxyz.",
        )  # fmt: skip
        spec.output(
            "configurations", valid_type=ConfigurationsData, help="The configurations, in order of their index."
        )
        spec.output(
            "losses", valid_type=orm.Dict, help="How many were asked for and made; index and reason of each lost one."
        )

    def documents(self) -> dict[str, Any]:
        """The recipe; JSON is YAML."""
        return {"recipe.yaml": self.inputs.settings["recipe"]}

    def nodes(self) -> dict[str, Any]:
        """The user's structures."""
        return dict(self.inputs.files) if "files" in self.inputs else {}

    def arguments(self) -> list[str]:
        """The command line."""
        settings = self.inputs.settings
        return ["generate", "recipe.yaml", "-n", str(settings["count"]), "--seed", str(settings["seed"]),
                "--start", str(settings["start"]), "--workers", str(settings["workers"]),
                "-o", f"{OUTPUT_FOLDER}/frames.extxyz"]  # fmt: skip


class GenerateParser(CommandParser):
    """Reads the configurations and the account of losses."""

    def read(self, folder: Path) -> None:
        """Store both; the account first, for it explains a file without a single frame."""
        self.out("losses", orm.Dict(read_json(folder / "frames.losses.json")))
        self.out("configurations", ConfigurationsData.from_file(folder / "frames.extxyz"))
