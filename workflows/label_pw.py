"""Label one shard with pw.x: a calculation per configuration, at most W in flight, and every loss explained.

A label is first asked of a plain PwCalculation: a work chain around each would cost as much again as the calculation
does in AiiDA (docs/dft.md), and most labels need none. One that fails for reasons of its own, and one whose highest
band is occupied, is handed to a `RescuePwWorkChain` as its next attempt.

Exit status 0 alone proves nothing: a label counts only with its complete outputs. What the machine did (a killed
daemon, a lost node, a missing file) is resubmitted and never counted as chemistry; its calculations are barred from
AiiDA's cache first, since a damaged calculation would otherwise be served again as the result of its own repetition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, while_
from aiida.plugins import CalculationFactory

from .attempts import AttemptsWorkChain
from .budget import limit_of
from .data import ConfigurationsData, DatasetData
from .functions import collect_pw, prepare_pw
from .pw_failures import bar_from_cache, chemistry_failure, infrastructure_failure, last_calculation, outputs_of
from .pw_rescue import RescuePwWorkChain
from .pw_results import UNSUBMITTED

PwCalculation = CalculationFactory("quantumespresso.pw")
LEFT = ("output_parameters", "retrieved")
"""Outputs by one of which `collect_pw` is told of a calculation: a link costs a query and a hash, the first least."""


class LabelPwWorkChain(AttemptsWorkChain):
    """Labels a shard of configurations with Quantum ESPRESSO."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Prepare; while labels remain, label; collect."""
        super().define(spec)
        spec.input("configurations", valid_type=ConfigurationsData)
        spec.input("settings", valid_type=orm.Dict, help="Protocol, pw.x parameters, jobs in flight, attempts.")
        spec.input("code", valid_type=orm.AbstractCode, help="pw.x")
        spec.input_namespace("pseudos", dynamic=True, valid_type=orm.Data, help="Pseudopotentials by element.")
        spec.outline(cls.prepare, while_(cls.undecided)(cls.label), cls.collect)
        spec.output("labels", valid_type=DatasetData, required=False, help="Absent if every label was lost.")
        spec.output("losses", valid_type=orm.Dict, help="Every lost label with its reason, and the counts.")
        spec.exit_code(423, "ERROR_LIMIT", message="{reason}; {number} labels were not asked for")

    def prepare(self) -> None:
        """Turn configurations into structures, k points and parameters; the costliest come first, to end together."""
        prepared = prepare_pw(self.inputs.configurations, self.inputs.settings)
        self.ctx.prepared = prepared
        structures = prepared.get("structures", {})
        cost = {name: relative_cost(node, self.kpoints(name)) for name, node in structures.items()}
        self.begin(sorted(cost, key=lambda name: -cost[name]))
        self.ctx.told = []

    def label(self) -> None:
        """Keep W labels in flight; repeat those that the machine spoiled."""
        self.tell(self.advance(self.inputs.settings["max_jobs"], self.submit_label))

    def limit(self) -> str | None:
        """The campaign's limit, if it has come to one."""
        return limit_of(self.node)

    def kpoints(self, name: str) -> orm.KpointsData:
        """The mesh of a label."""
        mesh: orm.KpointsData = self.ctx.prepared["kpoints"][self.ctx.prepared["asked"][name]["kpoints"]]
        return mesh

    def worth_another(self, name: str, attempt: int, node: orm.ProcessNode) -> str | None:
        """What the machine did to the label, whose calculations are then barred from the cache; or what to rescue."""
        spoiled = infrastructure_failure(node)
        if spoiled is None:
            failure = chemistry_failure(node)
            return None if failure is None else f"{failure}; rescue"
        attempts = [*self.earlier_attempts(name), node]
        if sum(infrastructure_failure(each) is not None for each in attempts) >= self.inputs.settings["max_attempts"]:
            return None
        return f"{spoiled}; {bar_from_cache(node)} calculations barred from the cache"

    def failed(self, name: str) -> orm.CalcJobNode | None:
        """The calculation of a label that failed for reasons of its own, so that the next attempt is a rescue."""
        for node in self.earlier_attempts(name):
            if isinstance(node, orm.CalcJobNode) and node.is_terminated and chemistry_failure(node) is not None:
                return node
        return None

    def submit_label(self, name: str) -> orm.ProcessNode:
        """Start the current attempt at one configuration: a calculation, or the rescue of one."""
        prepared, asked = self.ctx.prepared, self.ctx.prepared["asked"][name]
        structure, mesh = prepared["structures"][name], self.kpoints(name)
        pw = {
            "code": self.inputs.code,
            "structure": structure,
            "pseudos": {kind.name: self.inputs.pseudos[kind.symbol] for kind in structure.kinds},
            "parameters": prepared["parameters"][asked["parameters"]],
            "monitors": prepared["monitors"],
            "metadata": {"options": self.inputs.settings["options"]},
        }
        if mesh.get_kpoints_mesh()[0] == [1, 1, 1]:
            pw["settings"] = prepared["gamma_settings"]
        failed = self.failed(name)
        if failed is None:
            return self.submit_once(self.attempt_label(name), PwCalculation, {**pw, "kpoints": mesh})
        inputs = {
            "pw": pw,
            "kpoints": mesh,
            "failed": failed.outputs.remote_folder,
            "max_iterations": prepared["max_iterations"],
        }
        return self.submit_once(self.attempt_label(name), RescuePwWorkChain, inputs)

    def tell(self, ended: dict[str, orm.ProcessNode]) -> None:
        """Report labels that have ended since the last time."""
        new = {label: node for label, node in ended.items() if label not in self.ctx.told}
        self.ctx.told = [*self.ctx.told, *new]
        for label, node in new.items():
            calculation = last_calculation(node)
            if not node.is_finished_ok:
                why = calculation.exit_message if calculation is not None else node.exit_message
                self.report(f"{label} <{node.pk}> {node.process_label} ended {node.exit_status}: {why}")
        if new:
            self.report(f"{len(ended)} of {len(self.ctx.attempts)} labels have ended")

    def collect(self) -> ExitCode | None:
        """Turn the outputs of all labels into a dataset and an account of losses."""
        unstarted = self.unstarted()
        results = {f"{UNSUBMITTED}_{name}": self.ctx.prepared["structures"][name] for name in unstarted}
        for name, node in self.last_attempts().items():
            calculation = last_calculation(node)
            outputs = {} if calculation is None else outputs_of(calculation)
            left = [outputs[port] for port in LEFT if port in outputs]
            if left:
                results[name] = left[0]
        collected = collect_pw(self.inputs.configurations, self.inputs.settings, **results)
        for port, output in collected.items():
            self.out(port, output)
        losses = collected["losses"]
        reasons = ", ".join(f"{loss['reason']}: {loss['formula']}" for loss in losses["lost"])
        self.report(
            f"{losses['submitted']} submitted = {losses['ok']} ok + {len(losses['rescued'])} rescued + "
            f"{len(losses['lost'])} lost" + (f" ({reasons})" if reasons else "")
        )
        if self.inputs.settings.get("clean_scratch", False):
            self.clean()
        if unstarted:
            return self.exit_codes.ERROR_LIMIT.format(reason=self.ctx.limit, number=len(unstarted))
        return None

    def clean(self) -> None:
        """Remove the folders of labels that ended well from the computer that ran them."""
        cleaned = 0
        for node in self.last_attempts().values():
            calculations = [each for each in (node, *node.called) if isinstance(each, orm.CalcJobNode)]
            for calculation in calculations if node.is_finished_ok else []:
                try:
                    calculation.outputs.remote_folder._clean()  # AiiDA has no public name for it
                except OSError as error:
                    self.report(f"the folder of <{calculation.pk}> stays on its computer: {error}")
                else:
                    cleaned += 1
        self.report(f"folders of {cleaned} calculations removed from the computer")


def relative_cost(structure: orm.StructureData, mesh: orm.KpointsData) -> float:
    """What a label costs, in units of its own: plane waves (volume) x bands (atoms) x k points."""
    n_kpoints = int(np.prod(mesh.get_kpoints_mesh()[0]))
    return float(structure.get_cell_volume() * len(structure.sites) * n_kpoints)
