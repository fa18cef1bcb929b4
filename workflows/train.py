"""Train: one calculation job per committee member; one that fails does not lose the others.

A job whose wall time is over has left a checkpoint, and the next one goes on from it, for as long as that gets further.
What the memory cannot hold and what diverges is the training's own to deal with (mlip/descent.py, mlip/member.py): it
halves batches and rates. Any other failure is tried again once.
"""

from __future__ import annotations

import re
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, while_
from aiida.plugins import CalculationFactory

from .attempts import AttemptsWorkChain
from .data import CommitteeData, DatasetData
from .endings import told_end
from .functions import merge_committee

TrainCalculation = CalculationFactory("argonaut.train")
MINIMUM_MEMBERS = 2
"""Fewer members have no deviation to speak of."""


OUT_OF_WALL_TIME = 410
"""Exit status of a training that goes on from its checkpoint."""


def progress_of(job: orm.ProcessNode) -> float:
    """How far, in %, a training was when its wall time was over."""
    found = re.search(r"([\d.]+) %", str(job.exit_message))
    return float(found[1]) if found else 0.0


class TrainWorkChain(AttemptsWorkChain):
    """Trains the members of a committee and joins those that survive."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """While members remain, train; join."""
        super().define(spec)
        spec.input("dataset", valid_type=DatasetData)
        spec.input("settings", valid_type=orm.Dict, help="The campaign's settings: jobs in flight, attempts, options.")
        spec.input("code", valid_type=orm.AbstractCode, help="The compute command.")
        spec.input_namespace(
            "members", dynamic=True, valid_type=orm.Dict, help="Settings with the seed of each member."
        )
        spec.input("reference_energies", valid_type=orm.Dict, required=False)
        spec.input("initial", valid_type=CommitteeData, required=False, help="Whose weights training starts from.")
        spec.outline(cls.prepare, while_(cls.undecided)(cls.train), cls.join)
        spec.output("committee", valid_type=CommitteeData)
        spec.exit_code(
            431, "ERROR_TOO_FEW_MEMBERS",
            message="{survivors} of {members} members survived training; a committee needs at least two. {reason}",
        )  # fmt: skip

    def prepare(self) -> None:
        """Every member is at its first attempt."""
        self.begin(sorted(self.inputs.members))

    def train(self) -> None:
        """Keep the allowed number of jobs running; repeat failed members once."""
        self.advance(self.inputs.settings["train"]["max_jobs"], self.submit_member)

    def worth_another(self, name: str, attempt: int, node: orm.ProcessNode) -> str | None:
        """How the job ended: out of wall time as often as that gets further, else once; barred from the cache."""
        if "committee" in node.outputs:
            return None
        earlier = self.earlier_attempts(name)
        if node.exit_status == OUT_OF_WALL_TIME:
            if any(progress_of(node) <= progress_of(one) for one in earlier if one.exit_status == OUT_OF_WALL_TIME):
                return None
        elif any(one.exit_status != OUT_OF_WALL_TIME for one in earlier):
            return None
        node.base.caching.is_valid_cache = False
        return told_end(node)

    def submit_member(self, name: str) -> orm.ProcessNode:
        """Start the training of one member."""
        inputs: dict[str, Any] = {
            "code": self.inputs.code,
            "dataset": self.inputs.dataset,
            "settings": self.inputs.members[name],
            "metadata": {"options": self.inputs.settings["stages"]["train"]["options"]},
        }
        inputs |= {port: self.inputs[port] for port in ("reference_energies", "initial") if port in self.inputs}
        earlier = self.earlier_attempts(name)
        if earlier and earlier[-1].exit_status == OUT_OF_WALL_TIME:
            inputs["unfinished"] = earlier[-1].outputs.remote_folder
        return self.submit_once(self.attempt_label(name), TrainCalculation, inputs)

    def join(self) -> ExitCode | None:
        """Join the survivors, or say why there are too few."""
        ended = self.last_attempts()
        survivors = {name: node.outputs.committee for name, node in ended.items() if "committee" in node.outputs}
        for name in sorted(ended.keys() - survivors.keys()):
            self.report(f"{name} <{ended[name].pk}> is lost: {told_end(ended[name])}")
        if len(survivors) < MINIMUM_MEMBERS:
            reasons = [told_end(ended[name]) for name in ended if name not in survivors]
            return self.exit_codes.ERROR_TOO_FEW_MEMBERS.format(
                survivors=len(survivors), members=len(ended), reason=reasons[0] if reasons else "",
            )  # fmt: skip
        self.out("committee", merge_committee(**survivors))
        self.report(f"{len(survivors)} of {len(ended)} members trained on {self.inputs.dataset.n_frames} frames")
        return None
