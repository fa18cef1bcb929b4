"""Label one shard with pw.x: a PwBaseWorkChain per configuration, at most W in flight, and every loss explained.

Exit status 0 alone proves nothing: a label counts only with its complete outputs. What the machine did (a killed
daemon, a lost node, a missing file) is resubmitted and never counted as chemistry; its calculations are barred from
AiiDA's cache first, since a damaged calculation would otherwise be served again as the result of its own repetition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import while_
from aiida.plugins import CalculationFactory, WorkflowFactory

from .data import ConfigurationsData, DatasetData
from .functions import collect_pw, prepare_pw
from .pw_failures import bar_from_cache, infrastructure_failure, last_calculation
from .window import WindowWorkChain

PwBaseWorkChain = WorkflowFactory("quantumespresso.pw.base")
PwCalculation = CalculationFactory("quantumespresso.pw")


class LabelPwWorkChain(WindowWorkChain):
    """Labels a shard of configurations with Quantum ESPRESSO."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Prepare; while labels remain, label; collect."""
        super().define(spec)
        spec.input("configurations", valid_type=ConfigurationsData)
        spec.input("settings", valid_type=orm.Dict, help="Protocol, pw.x parameters, jobs in flight, attempts.")
        spec.input("code", valid_type=orm.AbstractCode, help="pw.x")
        spec.input_namespace("pseudos", dynamic=True, valid_type=orm.Data, help="Pseudopotentials by element.")
        spec.outline(cls.prepare, while_(cls.labels_remain)(cls.label), cls.collect)
        spec.output("labels", valid_type=DatasetData, required=False, help="Absent if every label was lost.")
        spec.output("losses", valid_type=orm.Dict, help="Every lost label with its reason, and the counts.")

    def prepare(self) -> None:
        """Turn configurations into structures, k points and parameters; the costliest come first, to end together."""
        prepared = prepare_pw(self.inputs.configurations, self.inputs.settings)
        self.ctx.prepared = prepared
        cost = {name: relative_cost(node, prepared["kpoints"][name]) for name, node in prepared["structures"].items()}
        self.ctx.attempts = dict.fromkeys(sorted(cost, key=lambda name: -cost[name]), 1)
        self.ctx.told = []
        self.ctx.decided = False

    def labels_remain(self) -> bool:
        """Whether a label is not decided yet."""
        return not self.ctx.decided

    def attempt_label(self, name: str) -> str:
        """Call link label of the current attempt at a configuration."""
        attempt = self.ctx.attempts[name]
        return name if attempt == 1 else f"{name}_attempt_{attempt}"

    def label(self) -> None:
        """Keep W labels in flight; repeat those that the machine spoiled."""
        self.try_again()
        names = {self.attempt_label(name): name for name in self.ctx.attempts}
        width = self.inputs.settings["max_jobs"]
        ended = self.fill_window(names, width, lambda label: self.submit_label(names[label]))
        self.tell(ended)
        self.ctx.decided = len(ended) == len(names) and not self.try_again()

    def try_again(self) -> bool:
        """Give labels that failed for no fault of their own another attempt; whether there was one."""
        children, again = self.children(), False
        for name, attempt in self.ctx.attempts.items():
            node = children.get(self.attempt_label(name))
            if node is None or not node.is_terminated or attempt >= self.inputs.settings["max_attempts"]:
                continue
            reason = infrastructure_failure(node)
            if reason:
                barred = bar_from_cache(node)
                self.report(f"{name} <{node.pk}>: {reason}; barred {barred} calculations from the cache, trying again")
                self.ctx.attempts[name] = attempt + 1
                again = True
        return again

    def submit_label(self, name: str) -> orm.ProcessNode:
        """Start PwBaseWorkChain for one configuration."""
        prepared, settings = self.ctx.prepared, self.inputs.settings
        structure = prepared["structures"][name]
        pw = {
            "code": self.inputs.code,
            "structure": structure,
            "pseudos": {kind.name: self.inputs.pseudos[kind.symbol] for kind in structure.kinds},
            "parameters": prepared["parameters"][name],
            "metadata": {"options": settings["options"]},
        }
        mesh = prepared["kpoints"][name]
        if mesh.get_kpoints_mesh()[0] == [1, 1, 1]:
            pw["settings"] = prepared["gamma_settings"]
        inputs = {"pw": pw, "kpoints": mesh, "max_iterations": prepared["max_iterations"]}
        return self.submit_once(self.attempt_label(name), PwBaseWorkChain, inputs)

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

    def collect(self) -> None:
        """Turn the outputs of all labels into a dataset and an account of losses."""
        children = self.children()
        results = {}
        for name in self.ctx.attempts:
            calculation = last_calculation(children[self.attempt_label(name)])
            for port in ("output_parameters", "output_trajectory", "retrieved"):
                if calculation is not None and port in calculation.outputs:
                    results[f"{port}_{name}"] = calculation.outputs[port]
        collected = collect_pw(self.inputs.configurations, self.inputs.settings, **results)
        for port, node in collected.items():
            self.out(port, node)
        losses = collected["losses"]
        reasons = ", ".join(f"{loss['reason']}: {loss['formula']}" for loss in losses["lost"])
        self.report(
            f"{losses['ok']} of {losses['submitted']} labels are good" + (f"; lost: {reasons}" if reasons else "")
        )


def relative_cost(structure: orm.StructureData, mesh: orm.KpointsData) -> float:
    """What a label costs, in units of its own: plane waves (volume) x bands (atoms) x k points."""
    n_kpoints = int(np.prod(mesh.get_kpoints_mesh()[0]))
    return float(structure.get_cell_volume() * len(structure.sites) * n_kpoints)
