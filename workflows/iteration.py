"""One iteration of active learning: generate, explore, select, label, grow the dataset, train, and say how good it was.

Without a committee yet there is nothing to explore with: what is generated is labelled as it is, the seed set.
"""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ToContext, if_, while_
from aiida.plugins import CalculationFactory

from ..provenance_db.called import newest_attempts
from .attempts import AttemptsWorkChain
from .data import CommitteeData, ConfigurationsData, DatasetData
from .functions import (
    choose_exploration_starts,
    compare_fresh,
    draw_from_pool,
    join_configurations,
    merge_datasets,
    plan_iteration,
    reference_energies,
)
from .label import LabelWorkChain
from .pw_failures import bar_calculations, spoiled
from .reference_atoms import SAME_PROTOCOL, atom_energies, without_atoms
from .train import TrainWorkChain

JOBS = {stage: CalculationFactory(f"argonaut.{stage}") for stage in ("generate", "explore", "select", "evaluate")}
"""The stages that are one job each."""


class IterationWorkChain(AttemptsWorkChain):
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
        spec.input_namespace("previous", required=False, help="What the iteration before left, or a user brought.")
        spec.input("previous.plan", valid_type=orm.Dict, required=False)
        spec.input("previous.dataset", valid_type=DatasetData, required=False)
        spec.input("previous.committee", valid_type=CommitteeData, required=False)
        spec.input("initial", valid_type=CommitteeData, required=False, help="Whose weights training starts from.")
        spec.input(
            "besides", valid_type=ConfigurationsData, required=False, help="To be labelled besides, without selection."
        )
        spec.input("pool", valid_type=ConfigurationsData, required=False, help="Drawn from, instead of generation.")
        spec.input_namespace(
            "recipe_files", dynamic=True, required=False, valid_type=ConfigurationsData, help="What the recipe names."
        )
        spec.input("table", valid_type=DatasetData, required=False, help="Where the `table` labeller looks labels up.")
        spec.outline(
            cls.plan,
            if_(cls.asks_for_configurations)(cls.generate, while_(cls.undecided)(cls.work)),
            if_(cls.has_committee)(
                cls.explore, while_(cls.undecided)(cls.work),
                cls.select, while_(cls.undecided)(cls.work),
            ),
            cls.label,
            cls.grow,
            if_(cls.has_to_learn)(cls.train),
            if_(cls.has_labels_to_judge_by)(cls.evaluate, while_(cls.undecided)(cls.work)),
            cls.finish,
        )  # fmt: skip
        spec.output("plan", valid_type=orm.Dict, help="The number of this iteration.")
        spec.output("dataset", valid_type=DatasetData)
        spec.output("committee", valid_type=CommitteeData)
        spec.output(
            "candidates", valid_type=ConfigurationsData, required=False,
            help="What was labelled, with predictions made before.",
        )  # fmt: skip
        spec.output("losses", valid_type=orm.Dict, required=False)
        spec.output("labels", valid_type=DatasetData, required=False, help="The fresh labels; absent if all were lost.")
        spec.output("errors", valid_type=orm.Dict, required=False, help="On fresh labels, before and after training.")
        spec.output(
            "reference_energies", valid_type=orm.Dict, required=False, help="eV by element, that training was given."
        )
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
        spec.exit_code(418, "ERROR_LIMIT", message="{reason}; the labels made so far are attached")

    def plan(self) -> None:
        """Derive seeds and settings of every stage."""
        previous = self.inputs.get("previous", {})
        arguments = {"previous": previous["plan"]} if "plan" in previous else {}
        arguments |= {"committee": previous["committee"]} if "committee" in previous else {}
        arguments |= {"initial": self.inputs.initial} if "initial" in self.inputs else {}
        arguments |= {} if "plan" in previous else self.known()
        self.ctx.plan = plan_iteration(self.inputs.settings, self.inputs.seed, **arguments)
        self.report(f"iteration {self.ctx.plan['plan']['iteration']}: seeds and settings of every stage are fixed")

    def known(self) -> dict[str, DatasetData]:
        """The dataset so far as a keyword argument, if there is one."""
        previous = self.inputs.get("previous", {})
        return {"dataset": previous["dataset"]} if "dataset" in previous else {}

    def prepare_job(self, stage: str, **inputs: Any) -> None:
        """Begin a stage that is one job."""
        code, options = self.inputs.codes[stage], self.inputs.settings["stages"][stage]["options"]
        self.ctx.job = {"code": code, "settings": self.ctx.plan[stage], "metadata": {"options": options}, **inputs}
        self.begin([stage])

    def work(self) -> None:
        """Run the job of the stage that has begun; if the machine spoiled it, run it once more."""
        self.advance(1, lambda stage: self.submit_once(self.attempt_label(stage), JOBS[stage], self.ctx.job))

    def worth_another(self, name: str, attempt: int, node: orm.ProcessNode) -> str | None:
        """What the machine did to a job, the first time; the failure is barred from the cache."""
        reason = spoiled(node)
        if reason is None or attempt > 1:
            return None
        bar_calculations([node])  # type: ignore[list-item]
        return reason

    def last_job(self, stage: str) -> Any:
        """The last attempt at the job of a stage; None if there was no such stage."""
        return newest_attempts(self.node, stage).get(stage)

    def asks_for_configurations(self) -> bool:
        """Whether there is a seed set to make, or starts for exploration."""
        return bool(self.ctx.plan["generate"]["count"])

    def generate(self) -> ExitCode | None:
        """New configurations, random or drawn from the pool: the seed set, or new starts for exploration."""
        if "pool" not in self.inputs:
            files = {"files": self.inputs.recipe_files} if "recipe_files" in self.inputs else {}
            self.prepare_job("generate", **files)
            return None
        self.begin([])
        drawn, node = draw_from_pool.run_get_node(self.inputs.pool, self.ctx.plan["generate"], **self.known())
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_GENERATE.format(pk=node.pk, reason=node.exit_message)
        self.ctx.configurations = drawn
        return None

    def has_committee(self) -> bool:
        """Whether there is a committee to explore with."""
        return "committee" in self.inputs.get("previous", {})

    def take_generated(self) -> ExitCode | None:
        """What generation has made, if it was a job; says if some of it was lost."""
        node = self.last_job("generate")
        if node is None:
            return None
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_GENERATE.format(pk=node.pk, reason=node.exit_message)
        self.ctx.configurations = node.outputs.configurations
        lost = node.outputs.losses["lost"]
        if lost:
            self.report(f"{len(lost)} configurations could not be generated: {lost[0]['message']}")
        return None

    def explore(self) -> ExitCode | None:
        """Molecular dynamics with the committee of the iteration before."""
        if (problem := self.take_generated()) is not None:
            return problem
        committee = self.inputs.previous.committee
        starts = choose_exploration_starts(self.ctx.configurations, self.ctx.plan["explore"], **self.known())
        self.report(f"exploring from {starts.n_frames} starts with {committee.n_members} members")
        self.prepare_job("explore", committee=committee, starts=starts)
        return None

    def select(self) -> ExitCode | None:
        """Choose what to label."""
        explored = self.last_job("explore")
        if not explored.is_finished_ok:
            return self.exit_codes.ERROR_EXPLORE.format(pk=explored.pk, reason=explored.exit_message)
        reasons = explored.outputs.trajectories.get_dict().get("reasons", {})
        told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
        self.report(f"explored {explored.outputs.frames.n_frames} frames; trajectories: {told}")
        self.prepare_job("select", pool=explored.outputs.frames, **self.known())
        return None

    def label(self) -> ToContext | ExitCode | None:
        """Label the candidates, whose predictions are stored by now, and what shall be labelled besides."""
        selected = self.last_job("select")
        if selected is not None:
            if not selected.is_finished_ok:
                return self.exit_codes.ERROR_SELECT.format(pk=selected.pk, reason=selected.exit_message)
            self.ctx.configurations = selected.outputs.candidates
            counts = selected.outputs.selection.get_dict().get("counts", {})
            self.report("verdicts: " + ", ".join(f"{verdict} {count}" for verdict, count in sorted(counts.items())))
        elif (problem := self.take_generated()) is not None:
            return problem
        candidates = self.ctx.get("configurations")
        if "besides" in self.inputs:
            besides = self.inputs.besides
            self.report(f"{besides.n_frames} configurations are labelled besides, without selection")
            candidates = besides if candidates is None else join_configurations(candidates, besides)
        if "reference_atoms" in self.ctx.plan:
            atoms = self.ctx.plan["reference_atoms"]
            self.report(f"the isolated atoms of {atoms.n_frames} elements are labelled besides")
            candidates = atoms if candidates is None else join_configurations(candidates, atoms)
        if candidates is None:
            return None
        self.out("candidates", candidates)
        inputs = {"configurations": candidates, "settings": self.ctx.plan["label"], "code": self.inputs.codes["label"]}
        inputs |= {port: self.inputs[port] for port in ("pseudos", "table") if port in self.inputs}
        self.report(f"labelling {candidates.n_frames} configurations")
        return ToContext(labelled=self.submit_once("label", LabelWorkChain, inputs))

    def grow(self) -> ExitCode | None:
        """Join the fresh labels to the dataset; at a limit of the campaign that is the end."""
        known = self.known().get("dataset")
        self.ctx.dataset = known
        if "labelled" not in self.ctx:
            return None
        labelled = self.ctx.labelled
        stopped = labelled.exit_status == LabelWorkChain.exit_codes.ERROR_LIMIT.status
        if not (labelled.is_finished_ok or stopped):
            return self.exit_codes.ERROR_LABEL.format(pk=labelled.pk, reason=labelled.exit_message)
        losses = labelled.outputs.losses
        self.out("losses", losses)
        if self.has_fresh_labels():
            fresh = labelled.outputs.labels
            self.out("labels", fresh)
            self.ctx.dataset = fresh if known is None else merge_datasets(known=known, fresh=fresh)
            self.report(f"dataset: {self.ctx.dataset.n_frames} frames, {fresh.n_frames} of them fresh")
        elif known is not None and not stopped:
            self.report(f"all {losses['submitted']} labels were lost; the dataset stays as it was")
        if stopped:
            if self.ctx.dataset is not None:
                self.out("dataset", self.ctx.dataset)
            return self.exit_codes.ERROR_LIMIT.format(reason=labelled.exit_message)
        if self.ctx.dataset is None or not without_atoms(self.ctx.dataset.dataset().frames):
            return self.exit_codes.ERROR_NO_LABELS.format(pk=labelled.pk)
        return None

    def has_fresh_labels(self) -> bool:
        """Whether there is anything new."""
        return "labelled" in self.ctx and "labels" in self.ctx.labelled.outputs

    def has_labels_to_judge_by(self) -> bool:
        """Whether there is anything new but isolated atoms."""
        return self.has_fresh_labels() and bool(without_atoms(self.ctx.labelled.outputs.labels.dataset().frames))

    def has_to_learn(self) -> bool:
        """Whether there are fresh labels, or a dataset that no committee has seen."""
        return self.has_fresh_labels() or not self.has_committee()

    def train(self) -> ToContext:
        """Train a committee on the grown dataset."""
        inputs = {
            "dataset": self.ctx.dataset,
            "settings": self.inputs.settings,
            "code": self.inputs.codes["train"],
            "members": self.ctx.plan["members"],
        }
        inputs |= {"initial": self.inputs.initial} if "initial" in self.inputs else {}
        energies = self.references()
        if energies is not None:
            inputs["reference_energies"] = energies
            self.out("reference_energies", energies)
        return ToContext(trained=self.submit_once("train", TrainWorkChain, inputs))

    def references(self) -> orm.Dict | None:
        """What training counts energies from: the isolated atoms in the dataset, if it has one of every element.

        Else what the campaign has read from its pseudopotentials; None where that is nothing, and energies are fitted.
        """
        elements = self.inputs.settings["train"]["elements"]
        found = atom_energies(self.ctx.dataset.dataset().frames)
        lacking = [symbol for symbol in elements if symbol not in found]
        if not lacking:
            self.report(f"reference energies: {SAME_PROTOCOL}")
            energies: orm.Dict = reference_energies(dataset=self.ctx.dataset)
            return energies
        given = self.inputs.get("reference_energies")
        if found or self.inputs.settings["label"].get("reference_atoms", False):
            rest = "fitted to the labels" if given is None else "those in the headers of the pseudopotentials"
            self.report(f"there is no isolated atom of {', '.join(lacking)}: reference energies are {rest}")
        return given

    def evaluate(self) -> ExitCode | None:
        """Predict the fresh labels again, now that the committee was trained on them."""
        trained = self.ctx.trained
        if not trained.is_finished_ok:
            return self.exit_codes.ERROR_TRAIN.format(pk=trained.pk, reason=trained.exit_message)
        labels = self.ctx.labelled.outputs.labels
        self.prepare_job("evaluate", committee=trained.outputs.committee, dataset=labels)
        return None

    def finish(self) -> ExitCode | None:
        """Attach the results and tell the errors."""
        self.out("plan", self.ctx.plan["plan"])
        self.out("dataset", self.ctx.dataset)
        explored, selected, evaluated = (self.last_job(stage) for stage in ("explore", "select", "evaluate"))
        if selected is not None:
            self.out("trajectories", explored.outputs.trajectories)
            self.out("selection", selected.outputs.selection)
        if "trained" not in self.ctx:
            self.out("committee", self.inputs.previous.committee)
            return None
        trained = self.ctx.trained
        if not trained.is_finished_ok:
            return self.exit_codes.ERROR_TRAIN.format(pk=trained.pk, reason=trained.exit_message)
        self.out("committee", trained.outputs.committee)
        if evaluated is None:
            return None
        if not evaluated.is_finished_ok:
            return self.exit_codes.ERROR_EVALUATE.format(pk=evaluated.pk, reason=evaluated.exit_message)
        candidates = {"candidates": selected.outputs.candidates} if selected is not None else {}
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
