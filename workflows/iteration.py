"""One iteration of active learning: generate, explore, select, label, grow the dataset, train, and say how good it was.

The first iteration has no committee yet: what it generates is labelled as it is, the seed set.
"""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ToContext, if_
from aiida.plugins import CalculationFactory

from .data import CommitteeData, ConfigurationsData, DatasetData
from .functions import choose_exploration_starts, compare_fresh, merge_datasets, plan_iteration
from .label import LabelWorkChain
from .train import TrainWorkChain
from .window import WindowWorkChain

GenerateCalculation = CalculationFactory("argonaut.generate")
ExploreCalculation = CalculationFactory("argonaut.explore")
SelectCalculation = CalculationFactory("argonaut.select")
EvaluateCalculation = CalculationFactory("argonaut.evaluate")


class IterationWorkChain(WindowWorkChain):
    """Grows a dataset by one batch of labels and trains a committee on it."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """The outline is the algorithm."""
        super().define(spec)
        spec.input("settings", valid_type=orm.Dict, help="The campaign's settings.")
        spec.input("seed", valid_type=orm.Int, help="The campaign's seed.")
        spec.input_namespace("codes", dynamic=True, valid_type=orm.AbstractCode, help="Code per stage.")
        spec.input_namespace("pseudos", dynamic=True, required=False, valid_type=orm.Data)
        spec.input("reference_energies", valid_type=orm.Dict, required=False)
        spec.input_namespace("previous", required=False, help="What the iteration before left.")
        spec.input("previous.plan", valid_type=orm.Dict, required=False)
        spec.input("previous.dataset", valid_type=DatasetData, required=False)
        spec.input("previous.committee", valid_type=CommitteeData, required=False)
        spec.outline(
            cls.plan,
            cls.generate,
            if_(cls.has_committee)(
                cls.explore,
                cls.select,
            ),
            cls.label,
            cls.grow,
            if_(cls.has_fresh_labels)(
                cls.train,
                cls.evaluate,
            ),
            cls.finish,
        )
        spec.output("plan", valid_type=orm.Dict, help="The number of this iteration.")
        spec.output("dataset", valid_type=DatasetData)
        spec.output("committee", valid_type=CommitteeData)
        spec.output(
            "candidates", valid_type=ConfigurationsData, help="What was labelled, with predictions made before."
        )
        spec.output("losses", valid_type=orm.Dict)
        spec.output("labels", valid_type=DatasetData, required=False, help="The fresh labels; absent if all were lost.")
        spec.output("errors", valid_type=orm.Dict, required=False, help="On fresh labels, before and after training.")
        spec.output("trajectories", valid_type=orm.Dict, required=False)
        spec.output("selection", valid_type=orm.Dict, required=False)
        spec.exit_code(411, "ERROR_GENERATE", message="Generation <{pk}> failed: {reason}")
        spec.exit_code(412, "ERROR_EXPLORE", message="Exploration <{pk}> failed: {reason}")
        spec.exit_code(413, "ERROR_SELECT", message="Selection <{pk}> failed: {reason}")
        spec.exit_code(414, "ERROR_LABEL", message="Labelling <{pk}> failed: {reason}")
        spec.exit_code(
            415, "ERROR_NO_LABELS", message="Every label of the seed set was lost; see the losses of <{pk}>."
        )
        spec.exit_code(416, "ERROR_TRAIN", message="Training <{pk}> failed: {reason}")
        spec.exit_code(417, "ERROR_EVALUATE", message="Evaluation <{pk}> failed: {reason}")

    def plan(self) -> None:
        """Derive seeds and settings of every stage."""
        previous = self.inputs.get("previous", {})
        arguments = {"previous": previous["plan"]} if "plan" in previous else {}
        self.ctx.plan = plan_iteration(self.inputs.settings, self.inputs.seed, **arguments)
        self.report(f"iteration {self.ctx.plan['plan']['iteration']}: seeds and settings of every stage are fixed")

    def options(self, stage: str) -> dict[str, Any]:
        """Metadata with the scheduler options of a stage."""
        return {"options": self.inputs.settings["stages"][stage]["options"]}

    def generate(self) -> ToContext:
        """Random configurations: the seed set, or new starts for exploration."""
        inputs = {
            "code": self.inputs.codes["generate"],
            "settings": self.ctx.plan["generate"],
            "metadata": self.options("generate"),
        }
        return ToContext(generated=self.submit_once("generate", GenerateCalculation, inputs))

    def has_committee(self) -> bool:
        """Whether there is a committee to explore with; also takes note of what generation made."""
        return "committee" in self.inputs.get("previous", {}) and self.ctx.generated.is_finished_ok

    def explore(self) -> ToContext:
        """Molecular dynamics with the committee of the iteration before."""
        previous, generated = self.inputs.previous, self.ctx.generated
        starts = choose_exploration_starts(previous.dataset, generated.outputs.configurations, self.ctx.plan["explore"])
        inputs = {
            "code": self.inputs.codes["explore"],
            "settings": self.ctx.plan["explore"],
            "committee": previous.committee,
            "starts": starts,
            "metadata": self.options("explore"),
        }
        self.report(f"exploring from {starts.n_frames} starts with {previous.committee.n_members} members")
        return ToContext(explored=self.submit_once("explore", ExploreCalculation, inputs))

    def select(self) -> ToContext | ExitCode:
        """Choose what to label."""
        explored = self.ctx.explored
        if not explored.is_finished_ok:
            return self.exit_codes.ERROR_EXPLORE.format(pk=explored.pk, reason=explored.exit_message)
        reasons = explored.outputs.trajectories.get_dict().get("reasons", {})
        told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
        self.report(f"explored {explored.outputs.frames.n_frames} frames; trajectories: {told}")
        inputs = {
            "code": self.inputs.codes["select"],
            "settings": self.ctx.plan["select"],
            "pool": explored.outputs.frames,
            "dataset": self.inputs.previous.dataset,
            "metadata": self.options("select"),
        }
        return ToContext(selected=self.submit_once("select", SelectCalculation, inputs))

    def label(self) -> ToContext | ExitCode:
        """Label the candidates, whose predictions are stored by now."""
        if not self.ctx.generated.is_finished_ok:
            return self.exit_codes.ERROR_GENERATE.format(
                pk=self.ctx.generated.pk, reason=self.ctx.generated.exit_message
            )
        candidates = self.ctx.generated.outputs.configurations
        unpacked = self.ctx.generated.outputs.losses["lost"]
        if unpacked:
            self.report(f"{len(unpacked)} configurations could not be generated: {unpacked[0]['message']}")
        if "selected" in self.ctx:
            selected = self.ctx.selected
            if not selected.is_finished_ok:
                return self.exit_codes.ERROR_SELECT.format(pk=selected.pk, reason=selected.exit_message)
            candidates = selected.outputs.candidates
            counts = selected.outputs.selection.get_dict().get("counts", {})
            self.report("verdicts: " + ", ".join(f"{verdict} {count}" for verdict, count in sorted(counts.items())))
        self.out("candidates", candidates)
        inputs = {"configurations": candidates, "settings": self.ctx.plan["label"], "code": self.inputs.codes["label"]}
        if "pseudos" in self.inputs:
            inputs["pseudos"] = self.inputs.pseudos
        self.report(f"labelling {candidates.n_frames} configurations")
        return ToContext(labelled=self.submit_once("label", LabelWorkChain, inputs))

    def grow(self) -> ExitCode | None:
        """Join the fresh labels to the dataset."""
        labelled, previous = self.ctx.labelled, self.inputs.get("previous", {})
        if not labelled.is_finished_ok:
            return self.exit_codes.ERROR_LABEL.format(pk=labelled.pk, reason=labelled.exit_message)
        losses = labelled.outputs.losses
        self.out("losses", losses)
        if "labels" not in labelled.outputs:
            if "dataset" not in previous:
                return self.exit_codes.ERROR_NO_LABELS.format(pk=labelled.pk)
            self.report(f"all {losses['submitted']} labels were lost; dataset and committee stay as they were")
            self.ctx.dataset = previous["dataset"]
            return None
        fresh = labelled.outputs.labels
        self.out("labels", fresh)
        self.ctx.dataset = merge_datasets(known=previous["dataset"], fresh=fresh) if "dataset" in previous else fresh
        self.report(f"dataset: {self.ctx.dataset.n_frames} frames, {fresh.n_frames} of them fresh")
        return None

    def has_fresh_labels(self) -> bool:
        """Whether there is anything new to learn from."""
        return "labels" in self.ctx.labelled.outputs

    def train(self) -> ToContext:
        """Train a committee on the grown dataset."""
        inputs = {
            "dataset": self.ctx.dataset,
            "settings": self.inputs.settings,
            "code": self.inputs.codes["train"],
            "members": self.ctx.plan["members"],
        }
        if "reference_energies" in self.inputs:
            inputs["reference_energies"] = self.inputs.reference_energies
        return ToContext(trained=self.submit_once("train", TrainWorkChain, inputs))

    def evaluate(self) -> ToContext | ExitCode:
        """Predict the fresh labels again, now that the committee was trained on them."""
        trained = self.ctx.trained
        if not trained.is_finished_ok:
            return self.exit_codes.ERROR_TRAIN.format(pk=trained.pk, reason=trained.exit_message)
        inputs = {
            "code": self.inputs.codes["evaluate"],
            "settings": self.ctx.plan["evaluate"],
            "committee": trained.outputs.committee,
            "dataset": self.ctx.labelled.outputs.labels,
            "metadata": self.options("evaluate"),
        }
        return ToContext(evaluated=self.submit_once("evaluate", EvaluateCalculation, inputs))

    def finish(self) -> ExitCode | None:
        """Attach the results and tell the errors."""
        self.out("plan", self.ctx.plan["plan"])
        self.out("dataset", self.ctx.dataset)
        if "selected" in self.ctx:
            self.out("trajectories", self.ctx.explored.outputs.trajectories)
            self.out("selection", self.ctx.selected.outputs.selection)
        if "trained" not in self.ctx:
            self.out("committee", self.inputs.previous.committee)
            return None
        self.out("committee", self.ctx.trained.outputs.committee)
        evaluated = self.ctx.evaluated
        if not evaluated.is_finished_ok:
            return self.exit_codes.ERROR_EVALUATE.format(pk=evaluated.pk, reason=evaluated.exit_message)
        candidates = {"candidates": self.ctx.selected.outputs.candidates} if "selected" in self.ctx else {}
        errors = compare_fresh(self.ctx.labelled.outputs.labels, evaluated.outputs.predictions, **candidates)
        self.out("errors", errors)
        self.report(told_errors(errors.get_dict()))
        return None


def told_errors(errors: dict[str, Any]) -> str:
    """One line: force and energy errors on fresh labels before and after training."""
    parts = [
        f"{when} training {errors[when]['forces_rmse_meV_per_A']:.0f} meV/Å and "
        f"{errors[when]['energy_rmse_meV_per_atom']:.0f} meV/atom"
        for when in ("before", "after")
        if when in errors
    ]
    return f"RMSE on {errors['n_frames']} fresh labels: " + ", ".join(parts)
