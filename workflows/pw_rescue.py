"""Rescue: what is tried when the first calculation of a label has failed for reasons of its own.

A label is first asked of a plain PwCalculation, which most of them need no more than. Where that fails, this work
chain takes it over: it inspects the failed calculation as if it had run it itself, and climbs the ladder of
`dft_inputs.rescue`. Each calculation carries the name of its rung as its label. Diagonalisation, wall time and whatever
else PwBaseWorkChain knows are its own handlers'; what nobody handles ends the rescue at once (`on_unhandled_failure` is
'abort'), because what the machine did is tried again by the caller, and the rest would end the same way again.
"""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessHandlerReport, process_handler, while_
from aiida.plugins import CalculationFactory, WorkflowFactory
from aiida_quantumespresso.common.types import RestartType

from ..dft_inputs.rescue import next_rung
from ..dft_inputs.scf import accuracies
from .pw_failures import OUT_OF_MEMORY, OUT_OF_TIME, SCF_STATUSES, stdout_of

PwBaseWorkChain = WorkflowFactory("quantumespresso.pw.base")
PwCalculation = CalculationFactory("quantumespresso.pw")
RESCUE = "aiida.workflows:argonaut.pw_rescue"
"""Process type of the work chain."""
FRUGAL = {"diagonalization": "cg", "mixing_ndim": 4}
"""What keeps the memory of pw.x small."""


class RescuePwWorkChain(PwBaseWorkChain):  # type: ignore[misc, valid-type]
    """PwBaseWorkChain that takes over a failed calculation, with a ladder of strategies for self-consistency."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Take over; while a handler knows what to do, run again."""
        super().define(spec)
        spec.input("failed", valid_type=orm.RemoteData, help="Remote folder of the calculation that failed.")
        spec.outline(
            cls.setup,
            cls.validate_kpoints,
            cls.take_over,
            while_(cls.should_run_process)(cls.prepare_process, cls.run_process, cls.inspect_process),
            cls.results,
        )

    def take_over(self) -> ExitCode | None:
        """Count the failed calculation as the first iteration, and ask the handlers about it."""
        self.ctx.children = [self.inputs.failed.creator]
        self.ctx.iteration = 1
        self.ctx.rungs = []
        self.node.base.extras.set(self._considered_handlers_extra, [[]])
        ended: ExitCode | None = self.inspect_process()
        return ended

    @process_handler(priority=620, exit_codes=[ExitCode(status) for status in sorted(SCF_STATUSES)])
    def climb_the_ladder(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Try the next rung; at the end of the ladder the label is given up."""
        return self._next_rung(calculation) or ProcessHandlerReport(
            True, self.exit_codes.ERROR_KNOWN_UNRECOVERABLE_FAILURE
        )

    @process_handler(priority=630, exit_codes=ExitCode(0))
    def return_to_nominal(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """What converged with a wide smearing is no label yet."""
        return self._next_rung(calculation) if self.ctx.rungs[-1:] == ["wide_smearing"] else None

    @process_handler(priority=610, exit_codes=[ExitCode(status) for status in sorted(OUT_OF_TIME)])
    def allow_more_time(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Twice the wall time, once, for what the queue has ended without a chance to save anything."""
        seconds = self.ctx.inputs.metadata.options.get("max_wallclock_seconds")
        if not seconds or "more_time" in self.ctx.rungs:
            return None
        self.ctx.inputs.metadata.options.max_wallclock_seconds = 2 * seconds
        self.ctx.inputs.parameters["CONTROL"].pop("max_seconds", None)
        return self._begin(calculation, "more_time", f"{2 * seconds} s of wall time")

    @process_handler(priority=610, exit_codes=[ExitCode(status) for status in sorted(OUT_OF_MEMORY)])
    def need_less_memory(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Algorithms that need less; then, where there is a queue, twice the machines."""
        if "less_memory" not in self.ctx.rungs:
            self.ctx.inputs.parameters["ELECTRONS"].update(FRUGAL)
            return self._begin(calculation, "less_memory", "diagonalisation and mixing that need less memory")
        machines = self.ctx.inputs.metadata.options.get("resources", {}).get("num_machines")
        queue = calculation.computer is not None and calculation.computer.scheduler_type != "core.direct"
        if not machines or not queue or "more_machines" in self.ctx.rungs:
            return None
        self.ctx.inputs.metadata.options.resources["num_machines"] = 2 * machines
        return self._begin(calculation, "more_machines", f"{2 * machines} machines")

    @process_handler(exit_codes=ExitCode(0))
    def sanity_check_insufficient_bands(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """As PwBaseWorkChain; where that is all that was wrong, it is called a rung, too."""
        report: ProcessHandlerReport | None = super().sanity_check_insufficient_bands(calculation)
        if report is not None and not self.ctx.rungs:
            self.ctx.inputs.metadata.label = "empty_bands"
        return report

    def report_error_handled(self, calculation: orm.CalcJobNode, action: str) -> None:
        """As PwBaseWorkChain; its own handlers' calculations get a label, too."""
        self.ctx.inputs.metadata.label = "stock_handler"
        super().report_error_handled(calculation, action)

    def _next_rung(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport | None:
        told = calculation.outputs.output_parameters.get_dict() if "output_parameters" in calculation.outputs else {}
        rung = next_rung(
            self.inputs.pw.parameters.get_dict(),
            self.ctx.rungs,
            calculation.is_finished_ok,
            accuracies(stdout_of(calculation)),
            told.get("number_of_bands"),
            has_density=calculation.exit_status in (0, 410),
        )
        if rung is None:
            return None
        self.ctx.inputs.parameters = rung.parameters(self.inputs.pw.parameters.get_dict())
        restart = RestartType.FROM_CHARGE_DENSITY if rung.from_density else RestartType.FROM_SCRATCH
        self.set_restart_type(restart, calculation.outputs.remote_folder if rung.from_density else None)
        changes = {**rung.electrons, **rung.system} or "the nominal parameters"
        return self._begin(calculation, rung.name, f"{changes}{' from its density' if rung.from_density else ''}")

    def _begin(self, calculation: orm.CalcJobNode, rung: str, what: str) -> ProcessHandlerReport:
        self.report_error_handled(calculation, f"{rung}: {what}")
        self.ctx.rungs = [*self.ctx.rungs, rung]
        self.ctx.inputs.metadata.label = rung
        return ProcessHandlerReport(True)


def rung_of(rescue: orm.ProcessNode) -> str:
    """Which rung a rescue ended on: the label of its last calculation."""
    calculations = [node for node in rescue.called if isinstance(node, orm.CalcJobNode)]
    if not calculations:
        return "none"
    return str(max(calculations, key=lambda node: int(node.pk or 0)).label) or "stock_handler"
