"""Campaign: iterations of active learning, until they are done, the committee is good enough, or a limit is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ToContext, if_, while_

from .budget import Limit, limit_reached, too_many_labels
from .data import CommitteeData, ConfigurationsData, DatasetData
from .endings import told_end
from .functions import plan_iteration, reference_energies
from .iteration import IterationWorkChain
from .train import TrainWorkChain
from .window import WindowWorkChain


class CampaignWorkChain(WindowWorkChain):
    """From nothing, or what a user has, to a committee: a seed set, then iterations that add what it is unsure of."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """The outline is the algorithm."""
        super().define(spec)
        spec.input("settings", valid_type=orm.Dict, help="The validated campaign file with all its defaults.")
        spec.input("seed", valid_type=orm.Int, help="Everything random follows from it.")
        spec.input_namespace("codes", dynamic=True, valid_type=orm.AbstractCode, help="Code per stage.")
        spec.input_namespace("pseudos", dynamic=True, required=False, valid_type=orm.Data)
        spec.input("pool", valid_type=ConfigurationsData, required=False, help="Drawn from, instead of generation.")
        spec.input_namespace(
            "recipe_files", dynamic=True, required=False, valid_type=ConfigurationsData, help="What the recipe names."
        )
        spec.input("table", valid_type=DatasetData, required=False, help="Where the `table` labeller looks labels up.")
        spec.input_namespace("start", required=False, help="What a user brought.")
        spec.input("start.dataset", valid_type=DatasetData, required=False, help="Labels of the same protocol.")
        spec.input(
            "start.other_dataset", valid_type=DatasetData, required=False,
            help="Labels of another protocol: for the first committee only.",
        )  # fmt: skip
        spec.input("start.committee", valid_type=CommitteeData, required=False, help="Explored with, and fine-tuned.")
        spec.input(
            "start.structures", valid_type=ConfigurationsData, required=False, help="Labelled whatever they are."
        )
        spec.input_namespace("previous", required=False, help="Where the campaign that this one continues has ended.")
        spec.input("previous.plan", valid_type=orm.Dict, required=False)
        spec.input("previous.dataset", valid_type=DatasetData, required=False)
        spec.input("previous.committee", valid_type=CommitteeData, required=False)
        spec.input("resumption", valid_type=orm.Dict, required=False, help="Which campaign that is, and what changed.")
        spec.input("besides", valid_type=ConfigurationsData, required=False, help="What the machine had lost of it.")
        spec.outline(
            cls.start,
            if_(cls.has_pseudo_atoms)(cls.refer),
            if_(cls.has_other_labels)(cls.prepare_committee, cls.take_committee),
            while_(cls.goes_on)(
                cls.iterate,
                cls.inspect_iteration,
            ),
            cls.finish,
        )
        spec.output("dataset", valid_type=DatasetData, required=False)
        spec.output("committee", valid_type=CommitteeData, required=False)
        spec.output("initial_committee", valid_type=CommitteeData, required=False)
        spec.output("reference_energies", valid_type=orm.Dict, required=False)
        spec.exit_code(401, "ERROR_SEED_ITERATION", message="The seed iteration <{pk}> failed: {reason}")
        spec.exit_code(
            402, "ERROR_ITERATION", message="Iteration {number} <{pk}> failed: {reason}; "
            "dataset and committee of the iteration before it are attached",
        )  # fmt: skip
        spec.exit_code(403, "ERROR_BUDGET", message="{reason}; all that was made is attached")
        spec.exit_code(404, "ERROR_LOST_LABELS", message="{reason}; all that was made is attached")
        spec.exit_code(405, "ERROR_FIRST_COMMITTEE", message="Training <{pk}> on the given labels failed: {reason}")

    @classmethod
    def get_builder_from_config(cls, path: str | Path) -> Any:
        """A builder with all inputs from a campaign file, validated; raises ValueError that names what is wrong."""
        from .builder import campaign_builder

        return campaign_builder(path)

    def start(self) -> None:
        """Begin with nothing, with what a user brought, or where the campaign that this one continues has ended."""
        given, before = self.inputs.get("start", {}), self.inputs.get("previous", {})
        self.ctx.plan = before.get("plan")
        self.ctx.number = 0 if self.ctx.plan is None else self.ctx.plan["iteration"] + 1
        self.ctx.dataset = before.get("dataset", given.get("dataset"))
        self.ctx.initial = given.get("committee")
        self.ctx.committee = before.get("committee", self.ctx.initial)
        self.ctx.besides = self.inputs.get("besides", given.get("structures") if self.ctx.plan is None else None)
        self.ctx.converged, self.ctx.limit, self.ctx.references = False, None, None
        iterations = self.inputs.settings["stop"]["iterations"]
        self.report(f"campaign with seed {self.inputs.seed.value}: a seed set and at most {iterations} iterations")
        if "resumption" in self.inputs:
            changes = self.inputs.resumption["changes"]
            told = "; ".join(f"{key}: {old} -> {new}" for key, (old, new) in changes.items()) or "nothing"
            self.report(
                f"goes on with iteration {self.ctx.number} of campaign {self.inputs.resumption['campaign']}; "
                f"changed: {told}"
            )

    def has_pseudo_atoms(self) -> bool:
        """Whether the reference energies can be read from the pseudopotentials."""
        return self.inputs.settings["label"].get("reference") == "pseudo_atoms"

    def refer(self) -> None:
        """Take the reference energies from the pseudopotentials, for want of isolated atoms in the dataset."""
        self.ctx.reference_energies = reference_energies(**self.inputs.pseudos)

    def has_other_labels(self) -> bool:
        """Whether labels of another protocol shall give the first committee."""
        return "other_dataset" in self.inputs.get("start", {}) and self.ctx.initial is None

    def prepare_committee(self) -> ToContext:
        """Train a committee on labels of another protocol, with reference energies fitted to them."""
        plan = plan_iteration(self.inputs.settings, self.inputs.seed)
        dataset = self.inputs.start.other_dataset
        inputs = {
            "dataset": dataset,
            "settings": self.inputs.settings,
            "code": self.inputs.codes["train"],
            "members": plan["members"],
        }
        self.report(f"a first committee is trained on {dataset.n_frames} labels of another protocol")
        return ToContext(prepared=self.submit_once("first_committee", TrainWorkChain, inputs))

    def take_committee(self) -> ExitCode | None:
        """Explore with it, and fine-tune it."""
        node = self.ctx.prepared
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_FIRST_COMMITTEE.format(pk=node.pk, reason=told_end(node))
        self.ctx.committee = self.ctx.initial = node.outputs.committee
        self.out("initial_committee", node.outputs.committee)
        return None

    def goes_on(self) -> bool:
        """Whether another iteration is due, and the budget allows it: the seed set is number 0."""
        if self.ctx.converged or self.ctx.limit or self.ctx.number > self.inputs.settings["stop"]["iterations"]:
            return False
        besides = 0 if self.ctx.besides is None else self.ctx.besides.n_frames
        settings = self.inputs.settings.get_dict()
        too_many = too_many_labels(self.node, settings, self.ctx.number, self.ctx.committee is not None, besides)
        self.come_to(limit_reached(self.node) or too_many)
        return self.ctx.limit is None

    def come_to(self, limit: Limit | None) -> None:
        """Take note of a limit in plain words and numbers, as a checkpoint holds them."""
        self.ctx.limit = None if limit is None else list(limit)

    def iterate(self) -> ToContext:
        """Start the next iteration from what the last one left."""
        inputs: dict[str, Any] = {
            key: self.inputs[key]
            for key in ("settings", "seed", "codes", "pseudos", "pool", "recipe_files", "table")
            if key in self.inputs
        }
        for key in ("reference_energies", "initial", "besides"):
            if self.ctx.get(key) is not None:
                inputs[key] = self.ctx[key]
        previous = {key: self.ctx[key] for key in ("plan", "dataset", "committee") if self.ctx[key] is not None}
        inputs |= {"previous": previous} if previous else {}
        node = self.submit_once(f"iteration_{self.ctx.number:02d}", IterationWorkChain, inputs)
        self.report(f"iteration {self.ctx.number} <{node.pk}>")
        return ToContext(newest=node)

    def inspect_iteration(self) -> ExitCode | None:
        """Tell how it went; stop with what there is if it failed, or came to a limit."""
        node = self.ctx.newest
        if node.exit_status == IterationWorkChain.exit_codes.ERROR_LIMIT.status:
            self.ctx.dataset = node.outputs.dataset if "dataset" in node.outputs else self.ctx.dataset
            self.come_to(limit_reached(self.node) or Limit("", str(node.exit_message)))
            return None
        if not node.is_finished_ok:
            if self.ctx.committee is None:
                return self.exit_codes.ERROR_SEED_ITERATION.format(pk=node.pk, reason=told_end(node))
            self.attach()
            return self.exit_codes.ERROR_ITERATION.format(number=self.ctx.number, pk=node.pk, reason=told_end(node))
        outputs = node.outputs
        self.ctx.plan, self.ctx.dataset, self.ctx.committee = outputs.plan, outputs.dataset, outputs.committee
        if "reference_energies" in outputs:
            self.ctx.references = outputs.reference_energies
        self.ctx.besides = None
        told = f"dataset {outputs.dataset.n_frames} frames"
        if "losses" in outputs:
            losses = outputs.losses
            labels = losses["ok"] + len(losses.get("rescued", []))
            told = f"{labels} labels, {len(losses['lost'])} lost, {told}"
        errors = outputs.errors.get_dict() if "errors" in outputs else {}
        if "before" in errors:
            rmse = errors["before"]["forces_rmse_meV_per_A"]
            target = self.inputs.settings["stop"]["force_rmse"]
            self.ctx.converged = target is not None and rmse <= 1000 * target
            told += f"; forces on fresh labels before training {rmse:.0f} meV/Å RMSE"
        self.report(f"iteration {self.ctx.number} done: {told}")
        self.ctx.number += 1
        return None

    def attach(self) -> None:
        """Attach the newest dataset and committee there are, and what training counted energies from."""
        for name in ("dataset", "committee"):
            if self.ctx[name] is not None:
                self.out(name, self.ctx[name])
        if self.ctx.references is not None:
            self.out("reference_energies", self.ctx.references)

    def finish(self) -> ExitCode | None:
        """Attach the results, and say why this is the end."""
        self.attach()
        committee, dataset = self.ctx.committee, self.ctx.dataset
        if self.ctx.limit is not None:
            limit = Limit(*self.ctx.limit)
            self.report(f"the campaign stops at a limit: {limit.reason}; `argonaut resume {self.node.pk}` goes on")
            lost = limit.key == "lost_share"
            code = self.exit_codes.ERROR_LOST_LABELS if lost else self.exit_codes.ERROR_BUDGET
            return code.format(reason=limit.reason)
        why = "good enough on fresh labels" if self.ctx.converged else "all iterations done"
        self.report(
            f"{why}: committee <{committee.pk}> of {committee.n_members}, dataset <{dataset.pk}> of {dataset.n_frames}"
        )
        return None
