"""Label: configurations go in, labels and named losses come out, whatever makes the labels."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, if_, while_
from aiida.plugins import CalculationFactory, WorkflowFactory

from .data import ConfigurationsData, DatasetData
from .functions import merge_datasets, merge_losses, split_configurations
from .labellers import LABELLERS
from .window import WindowWorkChain

SHARD = "shard"


class LabelWorkChain(WindowWorkChain):
    """Splits configurations into shards, has each labelled, and merges labels and losses."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Split; while shards remain, label; merge."""
        super().define(spec)
        spec.input("configurations", valid_type=ConfigurationsData)
        spec.input("settings", valid_type=orm.Dict, help="Labeller, protocol, shard size and jobs in flight.")
        spec.input("code", valid_type=orm.AbstractCode, help="pw.x, or the compute command for the `ase` labeller.")
        spec.input_namespace("pseudos", dynamic=True, required=False, valid_type=orm.Data)
        spec.outline(
            if_(cls.is_large)(cls.split),
            while_(cls.shards_remain)(cls.label_shards),
            cls.merge,
        )
        spec.output("labels", valid_type=DatasetData, required=False, help="Absent if every label was lost.")
        spec.output("losses", valid_type=orm.Dict, help="Every lost label with its reason, and the counts.")
        spec.exit_code(421, "ERROR_SHARD_FAILED", message="Shard {shard} gave no account of its labels.")

    @property
    def shards(self) -> dict[str, ConfigurationsData]:
        """The shards by name; a small set is its own only shard."""
        return self.ctx.shards if "shards" in self.ctx else {SHARD: self.inputs.configurations}

    def is_large(self) -> bool:
        """Whether there is more than one shard."""
        return self.inputs.configurations.n_frames > self.inputs.settings["shard_size"]

    def split(self) -> None:
        """Make the shards."""
        self.ctx.shards = split_configurations(self.inputs.configurations, self.inputs.settings)
        self.report(f"{self.inputs.configurations.n_frames} configurations in {len(self.shards)} shards")

    def shards_remain(self) -> bool:
        """Whether a shard has not ended yet."""
        children = self.children()
        return not all(name in children and children[name].is_terminated for name in self.shards)

    def label_shards(self) -> None:
        """Keep as many shards running as the labeller takes at a time."""
        labeller = LABELLERS[self.inputs.settings["labeller"]]
        self.fill_window(self.shards, labeller.shards_at_once(self.inputs.settings["max_jobs"]), self.submit_shard)

    def submit_shard(self, name: str) -> orm.ProcessNode:
        """Start the labeller on one shard."""
        settings = self.inputs.settings
        labeller = LABELLERS[settings["labeller"]]
        factory = WorkflowFactory if labeller.kind == "workflows" else CalculationFactory
        inputs = labeller.inputs(self.inputs, settings["options"])
        inputs |= {"configurations": self.shards[name], "settings": settings}
        return self.submit_once(name, factory(labeller.entry_point), inputs)

    def merge(self) -> ExitCode | None:
        """Put labels and losses of all shards together."""
        children = self.children()
        ended = [children[name] for name in self.shards]
        for name, node in zip(self.shards, ended, strict=True):
            if "losses" not in node.outputs:
                self.report(f"{name} {node.process_label}<{node.pk}> ended {node.exit_status}: {node.exit_message}")
                return self.exit_codes.ERROR_SHARD_FAILED.format(shard=f"{name} <{node.pk}>")
        losses = {name: node.outputs.losses for name, node in zip(self.shards, ended, strict=True)}
        labels = {
            name: node.outputs.labels for name, node in zip(self.shards, ended, strict=True) if "labels" in node.outputs
        }
        account = next(iter(losses.values())) if len(losses) == 1 else merge_losses(**losses)
        self.out("losses", account)
        if labels:
            self.out("labels", next(iter(labels.values())) if len(labels) == 1 else merge_datasets(**labels))
        self.report(f"{account['submitted']} submitted = {account['ok']} ok + {len(account['lost'])} lost")
        return None
