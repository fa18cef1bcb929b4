"""What labelling jobs share: a shard of configurations in, `labels` (absent if all were lost) and `losses` out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from aiida import orm

from ...mlip.dataset import Dataset
from ...mlip.frames import read_frames
from ..data import ConfigurationsData, DatasetData
from .command import CommandCalculation, CommandParser, read_json


class LabelCalculation(CommandCalculation):
    """A command that labels a whole shard; `settings` holds the protocol of its labels."""

    EXPECTED = ("losses.json",)

    @classmethod
    def define(cls, spec: Any) -> None:
        """Adds configurations; labels and losses."""
        super().define(spec)
        spec.input("configurations", valid_type=ConfigurationsData)
        spec.output("labels", valid_type=DatasetData, required=False, help="Absent if every label was lost.")
        spec.output("losses", valid_type=orm.Dict, help="Every lost label with its reason, and the counts.")

    def nodes(self) -> dict[str, Any]:
        """The shard."""
        return {"configurations": self.inputs.configurations}


class LabelParser(CommandParser):
    """Reads labels and losses."""

    def read(self, folder: Path) -> None:
        """Store the labels as a dataset under the protocol that the job's settings state."""
        losses = read_json(folder / "losses.json")
        if losses["ok"]:
            frames = read_frames(folder / "labels.extxyz")
            dataset = Dataset.from_frames(frames, self.node.inputs.settings["protocol"])
            with tempfile.TemporaryDirectory() as scratch:
                self.out("labels", DatasetData.from_dataset(dataset, Path(scratch)))
        self.out("losses", orm.Dict(losses))
