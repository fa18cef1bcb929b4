"""Label: configurations go in, labels and named losses come out, whatever makes the labels."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, while_
from aiida.plugins import CalculationFactory, WorkflowFactory

from ..provenance_db.queries import NOT_SUBMITTED
from .attempts import AttemptsWorkChain
from .budget import limit_of
from .data import ConfigurationsData, DatasetData
from .endings import told_end
from .functions import lose_shard, merge_datasets, merge_losses, shelve_shard, split_configurations
from .label_pw import LabelPwWorkChain
from .labellers import LABELLERS

SHARD = "shard"


class LabelWorkChain(AttemptsWorkChain):
    """Splits configurations into shards, has each labelled, and merges labels and losses."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Split; while shards remain, label; merge."""
        super().define(spec)
        spec.input("configurations", valid_type=ConfigurationsData)
        spec.input("settings", valid_type=orm.Dict, help="Labeller, protocol, shard size and jobs in flight.")
        spec.input("code", valid_type=orm.AbstractCode, help="pw.x, or the compute command for the `ase` labeller.")
        spec.input_namespace("pseudos", dynamic=True, required=False, valid_type=orm.Data)
        spec.input("table", valid_type=DatasetData, required=False, help="Where the `table` labeller looks labels up.")
        spec.outline(cls.split, while_(cls.undecided)(cls.label_shards), cls.merge)
        spec.output("labels", valid_type=DatasetData, required=False, help="Absent if every label was lost.")
        spec.output("losses", valid_type=orm.Dict, help="Every lost label with its reason, and the counts.")
        spec.exit_code(
            421, "ERROR_NO_SHARD", message="No shard gave an account of its labels; the last one, {shard}: {reason}"
        )
        spec.exit_code(422, "ERROR_LIMIT", message="{reason}; {number} labels were not asked for")

    @property
    def shards(self) -> dict[str, ConfigurationsData]:
        """The shards by name; a small set is its own only shard."""
        return self.ctx.shards if "shards" in self.ctx else {SHARD: self.inputs.configurations}

    def split(self) -> None:
        """Make the shards, if one is not enough."""
        n_frames = self.inputs.configurations.n_frames
        if n_frames > self.inputs.settings["shard_size"]:
            self.ctx.shards = split_configurations(self.inputs.configurations, self.inputs.settings)
            self.report(f"{n_frames} configurations in {len(self.shards)} shards")
        self.begin(self.shards)

    def label_shards(self) -> None:
        """Keep as many shards running as the labeller takes at a time."""
        labeller = LABELLERS[self.inputs.settings["labeller"]]
        self.advance(labeller.shards_at_once(self.inputs.settings["max_jobs"]), self.submit_shard)

    def limit(self) -> str | None:
        """The campaign's limit, if it has come to one."""
        return limit_of(self.node)

    def worth_another(self, name: str, attempt: int, node: orm.ProcessNode) -> str | None:
        """How the labeller failed as a whole; lost labels of a shard that gave its account are results."""
        if "losses" in node.outputs or attempt >= self.inputs.settings["max_attempts"]:
            return None
        node.base.caching.is_valid_cache = False
        return told_end(node)

    def submit_shard(self, name: str) -> orm.ProcessNode:
        """Start the labeller on one shard."""
        settings = self.inputs.settings
        labeller = LABELLERS[settings["labeller"]]
        factory = WorkflowFactory if labeller.kind == "workflows" else CalculationFactory
        inputs = labeller.inputs(self.inputs, settings["options"])
        inputs |= {"configurations": self.shards[name], "settings": settings}
        return self.submit_once(self.attempt_label(name), factory(labeller.entry_point), inputs)

    def merge(self) -> ExitCode | None:
        """Put labels and losses of all shards together."""
        ended, unstarted = self.last_attempts(), self.unstarted()
        lost = {name: node for name, node in ended.items() if "losses" not in node.outputs}
        for name, node in lost.items():
            self.report(f"{name} <{node.pk}> is lost with all its labels: {told_end(node)}")
        if lost and len(lost) == len(ended):
            name, node = list(lost.items())[-1]
            return self.exit_codes.ERROR_NO_SHARD.format(shard=f"{name} <{node.pk}>", reason=told_end(node))
        losses = {
            name: lose_shard(self.shards[name]) if name in lost else node.outputs.losses for name, node in ended.items()
        }
        losses |= {name: shelve_shard(self.shards[name]) for name in unstarted}
        labels = {name: node.outputs.labels for name, node in ended.items() if "labels" in node.outputs}
        account = next(iter(losses.values())) if len(losses) == 1 else merge_losses(**losses)
        self.out("losses", account)
        if labels:
            self.out("labels", next(iter(labels.values())) if len(labels) == 1 else merge_datasets(**labels))
        never = sum(loss["reason"] == NOT_SUBMITTED for loss in account["lost"])
        self.report(
            f"{account['submitted']} submitted = {account['ok']} ok + {len(account.get('rescued', []))} rescued + "
            f"{len(account['lost'])} lost"
        )
        if never:
            return self.exit_codes.ERROR_LIMIT.format(reason=self.told_limit(ended), number=never)
        return None

    def told_limit(self, ended: dict[str, orm.ProcessNode]) -> str:
        """Which limit it was: this work chain's own, or what a shard says that met it first."""
        stopped = LabelPwWorkChain.exit_codes.ERROR_LIMIT.status
        told = [str(node.exit_message).rsplit("; ", 1)[0] for node in ended.values() if node.exit_status == stopped]
        return str(self.ctx.limit) if self.ctx.limit is not None else told[0]
