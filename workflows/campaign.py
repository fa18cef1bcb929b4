"""Campaign: iterations of active learning, until they are done or the committee is good enough on fresh labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ToContext, if_, while_

from .data import CommitteeData, DatasetData
from .functions import reference_energies
from .iteration import IterationWorkChain
from .window import WindowWorkChain


class CampaignWorkChain(WindowWorkChain):
    """From nothing to a committee: a seed set, then iterations that add what the committee is unsure of."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """The outline is the algorithm."""
        super().define(spec)
        spec.input("settings", valid_type=orm.Dict, help="The validated campaign file with all its defaults.")
        spec.input("seed", valid_type=orm.Int, help="Everything random follows from it.")
        spec.input_namespace("codes", dynamic=True, valid_type=orm.AbstractCode, help="Code per stage.")
        spec.input_namespace("pseudos", dynamic=True, required=False, valid_type=orm.Data)
        spec.outline(
            cls.start,
            if_(cls.has_pseudo_atoms)(cls.refer),
            while_(cls.goes_on)(
                cls.iterate,
                cls.inspect_iteration,
            ),
            cls.finish,
        )
        spec.output("dataset", valid_type=DatasetData, required=False)
        spec.output("committee", valid_type=CommitteeData, required=False)
        spec.output("reference_energies", valid_type=orm.Dict, required=False)
        spec.exit_code(401, "ERROR_SEED_ITERATION", message="The seed iteration <{pk}> failed: {reason}")
        spec.exit_code(
            402, "ERROR_ITERATION", message="Iteration {number} <{pk}> failed: {reason}; "
            "dataset and committee of the iteration before it are attached.",
        )  # fmt: skip

    @classmethod
    def get_builder_from_config(cls, path: str | Path) -> Any:
        """A builder with all inputs from a campaign file, validated; raises ValueError that names what is wrong."""
        from .config import campaign_builder

        return campaign_builder(path)

    def start(self) -> None:
        """Count from zero."""
        self.ctx.number = 0
        self.ctx.converged = False
        iterations = self.inputs.settings["stop"]["iterations"]
        self.report(f"campaign with seed {self.inputs.seed.value}: a seed set and at most {iterations} iterations")

    def has_pseudo_atoms(self) -> bool:
        """Whether the reference energies can be read from the pseudopotentials."""
        return self.inputs.settings["label"].get("reference") == "pseudo_atoms"

    def refer(self) -> None:
        """Take the reference energies from the pseudopotentials."""
        self.ctx.reference_energies = reference_energies(**self.inputs.pseudos)
        self.out("reference_energies", self.ctx.reference_energies)

    def goes_on(self) -> bool:
        """Whether another iteration is due: the seed set is number 0."""
        return self.ctx.number <= self.inputs.settings["stop"]["iterations"] and not self.ctx.converged

    def iterate(self) -> ToContext:
        """Start the next iteration from what the last one left."""
        inputs: dict[str, Any] = {
            key: self.inputs[key] for key in ("settings", "seed", "codes", "pseudos") if key in self.inputs
        }
        if "reference_energies" in self.ctx:
            inputs["reference_energies"] = self.ctx.reference_energies
        if "iteration" in self.ctx:
            last = self.ctx.iteration.outputs
            inputs["previous"] = {"plan": last.plan, "dataset": last.dataset, "committee": last.committee}
        node = self.submit_once(f"iteration_{self.ctx.number:02d}", IterationWorkChain, inputs)
        self.report(f"iteration {self.ctx.number} <{node.pk}>")
        return ToContext(newest=node)

    def inspect_iteration(self) -> ExitCode | None:
        """Tell how it went; stop with what there is if it failed."""
        node = self.ctx.newest
        if not node.is_finished_ok:
            reason = str(node.exit_message or node.process_state.value)
            if "iteration" not in self.ctx:
                return self.exit_codes.ERROR_SEED_ITERATION.format(pk=node.pk, reason=reason)
            self.attach()
            return self.exit_codes.ERROR_ITERATION.format(number=self.ctx.number, pk=node.pk, reason=reason)
        self.ctx.iteration = node
        self.ctx.number += 1
        losses = node.outputs.losses
        told = f"{losses['ok']} labels, {len(losses['lost'])} lost, dataset {node.outputs.dataset.n_frames} frames"
        errors = node.outputs.errors.get_dict() if "errors" in node.outputs else {}
        if "before" in errors:
            rmse = errors["before"]["forces_rmse_meV_per_A"]
            target = self.inputs.settings["stop"]["force_rmse"]
            self.ctx.converged = target is not None and rmse <= 1000 * target
            told += f"; forces on fresh labels before training {rmse:.0f} meV/Å RMSE"
        self.report(f"iteration {self.ctx.number - 1} done: {told}")
        return None

    def attach(self) -> None:
        """Attach dataset and committee of the last good iteration."""
        self.out("dataset", self.ctx.iteration.outputs.dataset)
        self.out("committee", self.ctx.iteration.outputs.committee)

    def finish(self) -> None:
        """Attach the results."""
        self.attach()
        why = "good enough on fresh labels" if self.ctx.converged else "all iterations done"
        committee, dataset = self.ctx.iteration.outputs.committee, self.ctx.iteration.outputs.dataset
        self.report(
            f"{why}: committee <{committee.pk}> of {committee.n_members}, dataset <{dataset.pk}> of {dataset.n_frames}"
        )
