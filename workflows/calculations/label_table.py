"""Labels looked up in a labelled dataset, by content, as a calculation job: one job for a whole shard."""

from __future__ import annotations

from typing import Any

from ..data import DatasetData
from .command import OUTPUT_FOLDER
from .labels import LabelCalculation, LabelParser


class LabelTableCalculation(LabelCalculation):
    """Runs `argonaut label-table`; `settings` holds the protocol of the table (see mlip/table.py: named)."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Adds the table."""
        super().define(spec)
        spec.input("table", valid_type=DatasetData, help="Labelled frames in which configurations are looked up.")
        spec.inputs["metadata"]["options"]["parser_name"].default = "argonaut.label_table"

    def nodes(self) -> dict[str, Any]:
        """The shard and the table."""
        return {**super().nodes(), "table": self.inputs.table}

    def arguments(self) -> list[str]:
        """The command line."""
        return ["label-table", "configurations/frames.extxyz", "table", "-o", OUTPUT_FOLDER]


class LabelTableParser(LabelParser):
    """Reads labels and losses."""
