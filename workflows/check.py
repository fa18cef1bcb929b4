"""Each stage of a campaign once, on one small structure, with the campaign's own codes, computers and options.

What takes a minute here takes hours to find out in a campaign. The processes run in this process and need no daemon;
they stay in the profile as nodes labelled `check of FILE`. Nothing is taken from AiiDA's cache.
"""

from __future__ import annotations

import asyncio
import copy
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import run_get_node
from aiida.manage import get_manager
from aiida.manage.caching import disable_caching
from aiida.plugins import CalculationFactory

from ..mlip.frames import Configuration
from .calculations.command import LAST_WORDS
from .data import ConfigurationsData
from .endings import told_end
from .functions import draw_from_pool
from .label import LabelWorkChain
from .plan import iteration_plan
from .train import TrainWorkChain

OK, FAILED, NOT_TRIED, WARNING = "ok", "failed", "not tried", "warning"
CANDIDATES = 8
"""Configurations that are generated; the one with the fewest electrons is used."""
MD_STEPS = 10
LOOK_SECONDS = 0.2
"""s between looks at children."""
NOTHING_CHOSEN = 320
"""Exit status of a selection that ran and chose nothing, which ten steps of one structure may well give."""
ADVICE = {
    "codes": "`verdi computer test` and `verdi code test` say more; `argonaut setup` mends codes of this computer",
    "generate": "see `stages: generate:` of the campaign file; by hand: `argonaut generate RECIPE -n 8 -o try.extxyz`",
    "label": "see docs/exit_codes.md for the reason, and `stages: label: code` and `options` of the campaign file",
    "train": "see `stages: train: code` and `options` of the campaign file; the code must be an installed `argonaut`",
    "explore": "see `stages: explore: code` and `options` of the campaign file",
    "select": "see `stages: select: code` and `options` of the campaign file",
    "evaluate": "see `stages: evaluate: code` and `options` of the campaign file",
}


class StageFailed(ValueError):
    """Why a stage did not do its work, in one line."""


@dataclass
class Verdict:
    """What became of one stage."""

    stage: str
    status: str
    """OK, FAILED, NOT_TRIED or WARNING."""
    message: str
    seconds: float = 0.0
    pk: int | None = None
    """The process that was run."""
    advice: str = ""


@dataclass
class Check:
    """The stages of a campaign, tried one after the other."""

    builder: Any
    """Of the campaign; see builder.campaign_builder."""
    name: str
    """Of the campaign file."""
    daemon: Callable[[], bool]
    """Whether a daemon is at work."""
    made: dict[str, Any] = field(default_factory=dict)
    """What earlier stages left."""

    def __post_init__(self) -> None:
        settings: dict[str, Any] = copy.deepcopy(self.builder.settings.get_dict())
        settings["train"]["members"] = 2
        settings["train"]["config"] |= {"steps": 1, "records": 1}
        settings["explore"]["config"] |= {"steps": MD_STEPS, "min_steps": MD_STEPS, "sample_interval": 5}
        settings["select"]["count"] = 1
        settings["label"] |= {"max_attempts": 1, "max_iterations": 1}
        settings["generate"] |= {"seed_set": CANDIDATES}
        self.settings = settings
        self.plan = iteration_plan(settings, self.builder.seed.value, 0)

    def verdicts(self) -> Iterator[Verdict]:
        """Try every stage; each verdict is given as soon as it is there."""
        stages: list[tuple[str, Callable[[], str], tuple[str, ...]]] = [
            ("codes", self.codes, ()),
            ("daemon", self.daemon_runs, ()),
            ("generate", self.generate, ("codes",)),
            ("label", self.label, ("generate",)),
            ("train", self.train, ("label",)),
            ("explore", self.explore, ("train",)),
            ("select", self.select, ("explore",)),
            ("evaluate", self.evaluate, ("train",)),
        ]
        done: dict[str, str] = {}
        fail_fast()
        # a runner without a communicator asks no broker, which only a running daemon has, and finds children by looking
        get_manager().set_runner(get_manager().create_runner(communicator=None, poll_interval=LOOK_SECONDS))
        with disable_caching():
            for stage, act, needs in stages:
                lacking = [need for need in needs if done[need] != OK]
                verdict = (
                    Verdict(stage, NOT_TRIED, f"{lacking[0]} gave nothing to try it with")
                    if lacking
                    else self._tried(stage, act)
                )
                done[stage] = verdict.status
                yield verdict

    def _tried(self, stage: str, act: Callable[[], str]) -> Verdict:
        """The verdict on one stage: whatever is raised is a reason, never a traceback."""
        begin, self.made["pk"] = time.perf_counter(), None
        try:
            status, message = OK, act()
        except Exception as error:  # noqa: BLE001 - a plugin, a transport or a scheduler may raise anything
            status = WARNING if stage == "daemon" else FAILED
            own = isinstance(error, StageFailed)
            message = " ".join((str(error) if own else f"{type(error).__name__}: {error}").split())
        advice = ADVICE.get(stage, "") if status == FAILED else ""
        return Verdict(stage, status, message, round(time.perf_counter() - begin, 1), self.made["pk"], advice)

    def codes(self) -> str:
        """Every computer can be reached, and has the executable of every code."""
        codes = {code.pk: code for code in self.builder.codes.values()}
        for code in codes.values():
            if code.computer is not None and not code.computer.is_configured:
                raise StageFailed(
                    f"computer {code.computer.label} is not configured: `verdi computer configure "
                    f"{code.computer.transport_type} {code.computer.label}`"
                )
            if isinstance(code, orm.InstalledCode):
                code.validate_filepath_executable()
        return ", ".join(f"{code.full_label} can be reached" for code in codes.values())

    def daemon_runs(self) -> str:
        """A daemon is at work; a campaign needs one, this check does not."""
        if not self.daemon():
            profile = get_manager().get_profile()
            name = profile.name if profile is not None else "PROFILE"
            raise StageFailed(f"not running; a campaign needs it: `verdi -p {name} daemon start`")
        return "running"

    def generate(self) -> str:
        """Configurations as the campaign makes them; the one with the fewest electrons goes on."""
        if self.builder.get("pool") is not None:
            drawn: Any
            drawn, drawing = draw_from_pool.run_get_node(self.builder.pool, orm.Dict(self.plan["generate"]))
            self._took(drawing)
            made = drawn.configurations()
        else:
            own = {"files": self.builder.recipe_files} if self.builder.get("recipe_files") else {}
            node = self._run("generate", settings=orm.Dict(self.plan["generate"]), **own)
            made = node.outputs.configurations.configurations()
        chosen = min(made, key=_electrons)
        with tempfile.TemporaryDirectory() as scratch:
            self.made["one"] = ConfigurationsData.from_configurations([chosen], Path(scratch))
        return f"{len(made)} configurations; {chosen.formula} goes on"

    def label(self) -> str:
        """One real label."""
        inputs = {port: self.builder[port] for port in ("pseudos", "table") if self.builder.get(port)}
        node = self._run(
            "label", LabelWorkChain, configurations=self.made["one"], settings=orm.Dict(self.plan["label"]), **inputs
        )
        lost = node.outputs.losses["lost"]
        if lost:
            raise StageFailed(f"the label of {lost[0]['formula']} is lost: {lost[0]['reason']}: {lost[0]['message']}")
        self.made["labels"] = node.outputs.labels
        return f"energy {node.outputs.labels.dataset().frames[0].energy:.3f} eV"

    def train(self) -> str:
        """One step of two members, on the one label."""
        members = {name: orm.Dict(document) for name, document in self.plan["members"].items()}
        node = self._run(
            "train", TrainWorkChain, dataset=self.made["labels"], settings=orm.Dict(self.settings), members=members
        )
        self.made["committee"] = node.outputs.committee
        return f"one step of {node.outputs.committee.n_members} members"

    def explore(self) -> str:
        """Ten steps of molecular dynamics."""
        node = self._run(
            "explore",
            settings=orm.Dict(self.plan["explore"]),
            committee=self.made["committee"],
            starts=self.made["one"],
        )
        self.made["frames"] = node.outputs.frames
        return f"{MD_STEPS} steps asked, {node.outputs.frames.n_frames} frames kept"

    def select(self) -> str:
        """A choice among those frames."""
        node = self._run("select", (NOTHING_CHOSEN,), settings=orm.Dict(self.plan["select"]), pool=self.made["frames"],
                         dataset=self.made["labels"])  # fmt: skip
        return "ran" if node.exit_status == 0 else "ran; nothing to choose among so few frames"

    def evaluate(self) -> str:
        """Predictions for the one label."""
        self._run(
            "evaluate", settings=orm.Dict(self.plan["evaluate"]), committee=self.made["committee"],
            dataset=self.made["labels"],
        )  # fmt: skip
        return "ran"

    def _run(self, stage: str, *how: Any, **inputs: Any) -> orm.ProcessNode:
        """Run the process of a stage here; StageFailed quotes how it ended. `how`: a work chain, accepted statuses."""
        chain = next((one for one in how if isinstance(one, type)), None)
        accepted = next((one for one in how if isinstance(one, tuple)), ())
        metadata: dict[str, Any] = {"label": f"check of {self.name}"}
        if chain is None:
            metadata["options"] = self.settings["stages"][stage]["options"]
        process = chain or CalculationFactory(f"argonaut.{stage}")
        with Watch(metadata["label"]) as stuck:
            try:
                _, node = run_get_node(process, code=self.builder.codes[stage], metadata=metadata, **inputs)
            except RuntimeError:
                if stuck:
                    raise StageFailed(stuck[0]) from None
                raise
        return self._took(node, accepted)

    def _took(self, node: orm.ProcessNode, accepted: tuple[int, ...] = ()) -> orm.ProcessNode:
        self.made["pk"] = node.pk
        if not node.is_finished_ok and node.exit_status not in accepted:
            raise StageFailed(told_end(node))
        return node


class Watch:
    """Ends the event loop when a process is paused, as AiiDA does with one that it could not submit.

    Nobody would resume it: it is marked as killed. Gives a list that then holds the reason.
    """

    def __init__(self, label: str, interval: float = 1.0) -> None:
        self.label, self.interval, self.reasons = label, interval, list[str]()

    def __enter__(self) -> list[str]:
        self.loop = get_manager().get_runner().loop
        newest = orm.QueryBuilder().append(orm.Node, project="id", tag="node").order_by({"node": {"id": "desc"}})
        self.before = newest.first(flat=True) or 0
        self.task = self.loop.create_task(self._watch())
        return self.reasons

    def __exit__(self, *_: object) -> None:
        self.task.cancel()

    async def _watch(self) -> None:
        filters = {"id": {">": self.before}, "label": self.label}
        while not self.reasons:
            await asyncio.sleep(self.interval)
            for root in orm.QueryBuilder().append(orm.ProcessNode, filters=filters).all(flat=True):
                family = [root, *root.called_descendants]
                self.reasons += [
                    f"{node.process_label} <{node.pk}>: {last_log(node)}" for node in family if node.paused
                ]
                if self.reasons:
                    abandon(family)
        self.loop.stop()


def last_log(node: orm.ProcessNode) -> str:
    """The last exception in the log of a process without its traceback, else the status of the process."""
    text = "\n".join(log.message for log in orm.Log.collection.get_logs_for(node))
    raised = re.findall(r"^[\w.]+(?:Error|Exception): (?:.+\n?)+", text, re.MULTILINE)
    return raised[-1][-LAST_WORDS:] if raised else str(node.process_status)


def abandon(family: list[orm.ProcessNode]) -> None:
    """Mark processes that nothing will run any more as killed."""
    for node in family:
        if not node.is_terminated:
            node.set_process_state("killed")
            node.delete_checkpoint()
            node.seal()


def fail_fast() -> None:
    """Two tries, a second apart, for what AiiDA would try for minutes; for this process only, nothing is stored."""
    profile = get_manager().get_profile()
    for option, value in (("transport.task_maximum_attempts", 2), ("transport.task_retry_initial_interval", 1)):
        if profile is not None:
            profile.set_option(option, value)


def _electrons(configuration: Configuration) -> tuple[int, int]:
    return int(sum(configuration.numbers)), len(configuration)
