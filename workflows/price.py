"""What a campaign will cost, before it is launched: jobs, labels, core-hours, wall time and disk, stage by stage.

Every number is an expectation with a range, and says where it comes from: from a model whose constants are shipped,
from a trial here and now, or from what earlier jobs of this profile cost. Nothing is submitted and nothing is stored.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ase.data import atomic_numbers

from ..provenance_db.spending import cores_of
from .config_keys import STAGES
from .plan import member_architecture
from .price_labels import NOTHING, LabelPrice, Range, expected_losses, label_price
from .price_record import ENOUGH_JOBS, calibration, exploration_rates, training_rates
from .price_sample import Sample, sample
from .price_trial import Trial, trial
from .reference_atoms import atoms_due

START_UP = 2.7
"""s before a compute job does anything (imports, and AiiDA's way to it and back); see docs/prices.md."""
TRIAL_RANGE = (0.6, 1.5)
"""What a trial of seconds may be off by, as a factor; see docs/prices.md."""
REPOSITORY = {"node": 2_600, "job": 15_000, "label": 50_000, "frame": 1_100}
"""Bytes of the database per node, and of files per compute job, label and kept frame; see docs/prices.md."""
NODES = {"label": 13, "job": 7, "iteration": 30}
"""Nodes in the record per label, per compute job and per iteration."""
SCRATCH_JOB = 20_000
"""Bytes that a compute job leaves on the computer, without models."""
MEMBER_FILES = 25_000
"""Bytes of a member beside its weights."""


@dataclass(frozen=True)
class Plan:
    """How often a campaign does what, if it runs to its end."""

    iterations: int
    explorations: int
    trainings: int
    labels: tuple[int, ...]
    """Per iteration."""


@dataclass(frozen=True)
class StagePrice:
    """One stage over the whole campaign."""

    stage: str
    jobs: int
    labels: int
    core_hours: Range
    gpu_hours: float
    wall_hours: Range
    repository_bytes: float
    scratch_bytes: float
    source: str
    """Where the numbers come from."""


def price(builder: Any) -> dict[str, Any]:
    """Price of a campaign as one document.

    :param builder: of a CampaignWorkChain, with its settings, codes and nodes; the profile is loaded.
    :returns: `stages` (see StagePrice), `totals`, `expected_lost` labels, `budget` (lines on what the limits allow) and
        `notes`. Ranges are {low, expected, high}; sizes are in bytes.
    """
    settings, given = builder.settings.get_dict(), builder.get("start", {})
    plan = plan_of(settings, given)
    drawn = sample(builder, plan.iterations)
    labels = label_price(builder, settings, drawn)
    tried = _trial(settings, builder.codes, drawn)
    stages = [
        _generate(settings, builder.codes, plan, drawn),
        *_learned(settings, builder.codes, plan, tried),
        label_stage(settings, builder.codes["label"], plan, labels),
    ]
    stages.sort(key=lambda one: STAGES.index(one.stage))
    totals = add_up(stages)
    lost = expected_losses(settings["label"], sum(plan.labels))
    return {
        "stages": [asdict(one) for one in stages],
        "totals": asdict(totals),
        "labels_per_iteration": list(plan.labels),
        "expected_lost": lost,
        "budget": budget_lines(settings.get("budget", {}), stages, totals, lost),
        "notes": [totals.source],
    }


def plan_of(settings: Mapping[str, Any], given: Mapping[str, Any]) -> Plan:
    """Counts of a campaign that is stopped by nothing but its number of iterations; its isolated atoms are labels.

    :param given: what it starts with: `committee`, `dataset`, `other_dataset`, `structures`.
    """
    iterations = settings["stop"]["iterations"] + 1
    explores = "committee" in given or "other_dataset" in given
    besides = given["structures"].n_frames if "structures" in given else 0
    seed_set = settings["select"]["count"] if explores else settings["generate"]["seed_set"]
    labels = (seed_set + besides + len(atoms_due(settings, 0)), *[settings["select"]["count"]] * (iterations - 1))
    first = "other_dataset" in given and "committee" not in given
    return Plan(iterations, iterations if explores else iterations - 1, iterations + first, labels)


def add_up(stages: list[StagePrice]) -> StagePrice:
    """The sum of all stages."""
    return StagePrice(
        "total",
        sum(one.jobs for one in stages),
        sum(one.labels for one in stages),
        sum((one.core_hours for one in stages), NOTHING),
        sum(one.gpu_hours for one in stages),
        sum((one.wall_hours for one in stages), NOTHING),
        sum(one.repository_bytes for one in stages),
        sum(one.scratch_bytes for one in stages),
        "Nothing is counted as taken from the cache, no time is spent waiting in queues, and no label is repeated.",
    )


def budget_lines(
    budget: Mapping[str, Any], stages: list[StagePrice], totals: StagePrice, lost: Mapping[str, Any]
) -> list[str]:
    """What the limits of the campaign file mean for this price; empty without limits."""
    lines = []
    (label,) = (one for one in stages if one.stage == "label")
    number = float(totals.labels)
    asked = {"labels": (number, number, number, "labels")}
    for key, word in (("core_hours", "core-hours"), ("wall_hours", "hours")):
        spent: Range = getattr(totals, key)
        asked[key] = (spent.low, spent.expected, spent.high, word)
    for key, (low, expected, high, word) in asked.items():
        limit = budget.get(key)
        if limit is None:
            continue
        verdict = "the campaign will stop early" if expected > limit else "within the limit"
        if low <= limit < high:
            verdict += f", but that is not certain ({_number(low)}-{_number(high)})"
        who = "the campaign would take"
        if key == "core_hours" and label.core_hours.expected > limit:
            who, expected = "the labels alone would take", label.core_hours.expected
        lines.append(f"{key}: {who} {_number(expected)} of the {_number(limit)} {word}: {verdict}")
    share = budget.get("lost_share")
    if share is not None and (lost["expected_share"] or 0.0) > share:
        lines.append(f"lost_share: {lost['expected_share']:.0%} expected, the limit is {share:.0%}: it will stop early")
    return lines


def gpu_words(options: Mapping[str, Any]) -> bool:
    """Whether the options of a stage ask for a GPU, as far as words can tell."""
    text = str(dict(options)).lower()
    return "gpu" in text or "gres" in text


def _number(value: float) -> str:
    return f"{value:.3g}"


def _trial(settings: Mapping[str, Any], codes: Mapping[str, Any], drawn: Sample) -> Trial:
    options = settings["stages"]["train"]["options"]
    threads = cores_of(options.get("resources"), options.get("environment_variables"), codes["train"].computer)
    elements = [atomic_numbers[symbol] for symbol in settings["train"]["elements"]]
    return trial(drawn.later[: settings["generate"]["starts"]] or drawn.first, settings, elements, threads)


def _stage(
    settings: Mapping[str, Any], codes: Mapping[str, Any], stage: str, jobs: int, seconds: Range, at_once: int,
    disk: tuple[float, float], source: str, labels: int = 0,
) -> StagePrice:  # fmt: skip
    """Price of a stage of `jobs` equal jobs of `seconds` each, of which `at_once` run at a time."""
    options = settings["stages"][stage]["options"]
    cores = cores_of(options.get("resources"), options.get("environment_variables"), codes[stage].computer)
    hours = seconds * (jobs / 3600)
    gpu = hours.expected if gpu_words(options) else 0.0
    return StagePrice(stage, jobs, labels, hours * cores, gpu, hours * (1 / at_once), *disk, source)


def _generate(settings: Mapping[str, Any], codes: Mapping[str, Any], plan: Plan, drawn: Sample) -> StagePrice:
    if drawn.pooled:
        return _stage(settings, codes, "generate", 0, NOTHING, 1, (0.0, 0.0), "drawn from the pool, without a job")
    count = settings["generate"]["seed_set"] + plan.explorations * settings["generate"]["starts"]
    seconds = START_UP + count * drawn.seconds / plan.iterations
    disk = plan.iterations * REPOSITORY["job"] + count * REPOSITORY["frame"], plan.iterations * SCRATCH_JOB
    each = Range(0.5 * seconds, seconds, 2 * seconds)
    source = f"start-up of {START_UP} s per job as measured (docs/prices.md), and packing as timed here and now"
    return _stage(settings, codes, "generate", plan.iterations, each, 1, _with_nodes(disk, plan.iterations), source)


def _learned(settings: Mapping[str, Any], codes: Mapping[str, Any], plan: Plan, tried: Trial) -> list[StagePrice]:
    """Training, exploration, selection and evaluation."""
    members = settings["train"]["members"]
    model = tried.model_bytes + MEMBER_FILES
    start_up = Range(0.5 * START_UP, START_UP, 2 * START_UP)
    step, training = _training_step(settings, codes["train"], plan, tried)
    jobs = plan.trainings * members
    width = _width(settings["train"]["max_jobs"], settings, codes, "train")
    rounds = members / -(-members // width)  # five members, two at a time, take three rounds
    train = _stage(
        settings, codes, "train", jobs, start_up + step * settings["train"]["config"]["steps"], rounds,
        _with_nodes((2 * jobs * model, jobs * (model + SCRATCH_JOB)), jobs), training,
    )  # fmt: skip
    config = settings["explore"]["config"]
    starts = settings["generate"]["starts"] + settings["explore"]["dataset_starts"]
    moved, exploring = _trajectory(settings, codes["explore"], tried)
    frames = plan.explorations * starts * (config["steps"] // config["sample_interval"] + 1)
    explore = _stage(
        settings, codes, "explore", plan.explorations, start_up + moved * starts, 1,
        _with_nodes((frames * REPOSITORY["frame"], plan.explorations * members * model), plan.explorations), exploring,
    )  # fmt: skip
    others = [
        _stage(
            settings, codes, stage, number, start_up, 1, _with_nodes((number * REPOSITORY["job"], scratch), number),
            f"start-up of {START_UP} s per job as measured (docs/prices.md)",
        )
        for stage, number, scratch in (
            ("select", plan.explorations, plan.explorations * SCRATCH_JOB),
            ("evaluate", plan.iterations, plan.iterations * members * model),
        )
    ]  # fmt: skip
    return [train, explore, *others]


def _training_step(settings: Mapping[str, Any], code: Any, plan: Plan, tried: Trial) -> tuple[Range, str]:
    """Seconds per step of a member, with its share of the validations."""
    train, preset = settings["train"], settings["train"]["preset"]
    names = list(dict.fromkeys(member_architecture(train, k) for k in range(train["members"])))
    rates = [training_rates(code, name, preset, START_UP) for name in names]
    known = calibration([rate for each in rates for rate in each], ENOUGH_JOBS) if all(rates) else None
    if known is not None:
        kinds = " and ".join(f"{name}/{preset}" for name in names)
        source = f"{known.number} members of {kinds} that {code.full_label} has trained in this profile"
        return Range(known.low, known.middle, known.high), source
    config = train["config"]
    frames = sum(plan.labels) * config["validation_fraction"]
    step = tried.training_step + tried.validation * frames * min(config["records"] / config["steps"], 1.0)
    low, high = TRIAL_RANGE
    source = f"trial of a few steps here and now ({1000 * step:.0f} ms per step), a factor {low}-{high} allowed"
    return Range(low * step, step, high * step), source


def _trajectory(settings: Mapping[str, Any], code: Any, tried: Trial) -> tuple[Range, str]:
    """Seconds of one trajectory; the low end is one that is stopped as soon as it may be."""
    config = settings["explore"]["config"]
    rates, shares = exploration_rates(code, START_UP)
    known, done = calibration(rates, ENOUGH_JOBS), calibration(shares, ENOUGH_JOBS)
    if known is not None and done is not None:
        step, steps = (
            Range(known.low, known.middle, known.high),
            Range(done.low, done.middle, done.high) * config["steps"],
        )
        source = f"{known.number} explorations with {code.full_label} in this profile"
    else:
        one = tried.trajectory_step
        step = Range(TRIAL_RANGE[0] * one, one, TRIAL_RANGE[1] * one)
        least = min(config["min_steps"], config["steps"])
        steps = Range(least, config["steps"], config["steps"])
        source = f"trial of a few steps here and now ({1000 * one:.1f} ms per step of a trajectory), all steps done"
    return Range(step.low * steps.low, step.expected * steps.expected, step.high * steps.high), source


def label_stage(settings: Mapping[str, Any], code: Any, plan: Plan, labels: LabelPrice) -> StagePrice:
    """Labels of the first iteration and of the later ones, which resemble the starts that they come from."""
    options = settings["stages"]["label"]["options"]
    number, later = sum(plan.labels), sum(plan.labels[1:])
    jobs = labels.jobs(plan.labels)
    core_seconds = labels.first * plan.labels[0] + labels.later * later + labels.shard * jobs
    width = _width(settings["label"]["max_jobs"], settings, {"label": code}, "label")
    seconds = core_seconds * (1 / labels.cores)
    wall = Range(*(value + number * labels.overhead for value in (seconds.low, seconds.expected, seconds.high)))
    gpu = seconds.expected / 3600 if gpu_words(options) else 0.0
    whole = labels.shard_size is not None
    files = jobs * REPOSITORY["job"] + number * REPOSITORY["frame"] if whole else number * REPOSITORY["label"]
    nodes = NODES["job"] * jobs if whole else NODES["label"] * number
    repository = files + REPOSITORY["node"] * (nodes + NODES["iteration"] * plan.iterations)
    return StagePrice(
        "label", jobs, number, core_seconds * (1 / 3600), gpu, wall * (1 / width / 3600), repository,
        number * labels.scratch, labels.source,
    )  # fmt: skip


def _width(asked: int, settings: Mapping[str, Any], codes: Mapping[str, Any], stage: str) -> int:
    """Jobs that really run at a time: without a scheduler no more than this machine has cores for."""
    computer, options = codes[stage].computer, settings["stages"][stage]["options"]
    if computer is None or computer.scheduler_type != "core.direct" or computer.transport_type != "core.local":
        return asked
    cores = cores_of(options.get("resources"), options.get("environment_variables"), computer)
    return max(1, min(asked, (os.cpu_count() or 1) // cores))


def _with_nodes(disk: tuple[float, float], jobs: int) -> tuple[float, float]:
    return disk[0] + jobs * NODES["job"] * REPOSITORY["node"], disk[1]
