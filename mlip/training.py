"""Training of a committee: Adam on a force-matching loss, member by member, within a budget of steps and seconds.

Progress t runs from 0 to 1 with the steps done or, if that is further, with the share of the time budget used. The
learning rate warms up linearly and then falls as a cosine in t; the weight of the energy is raised in the last third,
when forces are nearly right. What is kept is an exponential moving average of the weights, at its lowest validation
loss, which always counts energies with their final weight: a few dozen frames are soon learned by heart. A run that is
stopped by its budget has gone through the whole schedule and leaves a usable model.

A fine-tune (see initial.py) begins with the weights of another model, which are validated before the first step: what
is kept is never worse on the validation frames than what it began with.

If the loss, on training or validation frames, stops being finite, training goes back to the last good state with half
the learning rate, and gives up only after several such steps back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .checkpoint import TrainingState
from .committee import Committee
from .dataset import Dataset
from .frames import hash_document
from .graph import device_of
from .initial import Initial
from .objective import Sample, Weights, batches, errors, join_samples, loss
from .plan import Plan, make_plan
from .potential import Parameters, network_part
from .train_settings import TrainingError, TrainSettings
from .units import GPA

__all__ = ["TrainSettings", "TrainingError", "train_committee"]

LAST_PHASE = 2 / 3
"""Progress from which the energy weight rises."""
BETAS = (0.9, 0.999)
EPSILON = 1e-8
"""Constants of Adam (Kingma and Ba, 2015)."""

Report = Callable[[int, float, Mapping[str, Any]], None]
"""report(seed of the member, progress 0..1, latest line of the metrics)."""


def train_committee(
    dataset: Dataset,
    architecture: str | None = None,
    preset: str | None = None,
    settings: TrainSettings | None = None,
    seed: int = 0,
    n_members: int = 1,
    reference_energies: Mapping[int, float] | None = None,
    elements: Collection[int] = (),
    budget: float | None = None,
    device: torch.device | str = "cpu",
    checkpoints: Path | None = None,
    report: Report | None = None,
    initial: Initial | None = None,
) -> Committee:
    """Train members with seeds `seed`, `seed + 1` ... on `dataset`, from random weights or from those of `initial`.

    `architecture`, `preset`: None is what `initial` has, else teanet and campaign; `reference_energies`:
    atomic number -> eV of the free atom, else least squares; `elements`: atomic numbers that the models shall know even
    where no frame has them (see `plan.fit_baseline`); `budget`: wall time in s for all members together; `checkpoints`:
    folder for resuming. Raises TrainingError for data that cannot be trained with.
    """
    device = device_of(device)
    settings = settings or TrainSettings()
    plan = make_plan(dataset, architecture, preset, settings, reference_energies, elements, device, initial)
    members, metrics, records = [], [], []
    for member in range(n_members):
        share = None if budget is None else budget / n_members
        path = None if checkpoints is None else checkpoints / f"member-{seed + member}.safetensors"
        begun = None if initial is None else (initial.weights(member), initial.document(member))
        state = _train_member(plan, seed + member, share, device, path, report, begun)
        members.append({name: part.cpu().clone() for name, part in _unflatten(state.best, plan.shapes).items()})
        metrics += [{"member": member, **line} for line in state.metrics]
        record = _member_card(state, seed + member, plan.settings)
        records.append(record if begun is None else {**record, "initial": begun[1]})
    return Committee(
        plan.architecture,
        plan.preset,
        plan.config,
        plan.baseline,
        tuple(members),
        {**plan.card, "members": records},
        tuple(metrics),
    )


def _train_member(
    plan: Plan,
    seed: int,
    budget: float | None,
    device: torch.device | str,
    path: Path | None,
    report: Report | None,
    begun: tuple[Parameters, dict[str, Any]] | None,
) -> TrainingState:
    """Train one member from its seed, from the weights it is `begun` with, or from its checkpoint if there is one."""
    settings = plan.settings
    mark = hash_document([plan.fingerprint, seed] if begun is None else [plan.fingerprint, seed, begun[1]])
    if path is not None and path.exists():
        state = TrainingState.load(path, mark, device)
    else:
        state = _first_state(plan, seed, None if begun is None else begun[0], device)
    good, saved = state.copy(), time.monotonic()
    began = saved - state.seconds
    stream = _samples(plan, seed, state)
    while (progress := _progress(state, settings, budget)) < 1:
        finite = _step(plan, state, next(stream), progress)
        state.seconds = time.monotonic() - began
        progress = _progress(state, settings, budget)
        due = _record_due(state, settings, progress)
        if not finite or (due and not _record(plan, state, progress)):
            state = _rolled_back(state, good, settings)
            stream = _samples(plan, seed, state)
            continue
        if not due:
            continue
        good = state.copy()
        if report is not None:
            report(seed, progress, state.metrics[-1])
        if path is not None and (progress >= 1 or time.monotonic() - saved > settings.checkpoint_seconds):
            state.save(path, mark)
            saved = time.monotonic()
    if not math.isfinite(state.best_loss):
        raise TrainingError(
            f"seed {seed}: no validation loss was finite before the budget ended, so there are no trained weights; "
            "look for wrong labels in the data or allow more time"
        )
    return state


def _first_state(plan: Plan, seed: int, weights: Parameters | None, device: torch.device | str) -> TrainingState:
    """Random weights; or given ones, validated at once, so that they are the best until something better comes."""
    parameters = weights or plan.architecture.init(plan.config, torch.Generator().manual_seed(seed))
    state = TrainingState.start(torch.cat([parameters[name].flatten() for name in plan.shapes]).to(device))
    if weights is not None and not _record(plan, state, 0.0):
        raise TrainingError("the initial model has no finite errors on the validation frames; train without it")
    return state


def _unflatten(flat: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> Parameters:
    parts = flat.split([math.prod(shape) for shape in shapes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def _progress(state: TrainingState, settings: TrainSettings, budget: float | None) -> float:
    by_time = 0.0 if budget is None else state.seconds / budget
    return min(1.0, max(state.step / settings.steps, by_time))


def _samples(plan: Plan, seed: int, state: TrainingState) -> Iterator[Sample]:
    """Batches without end; `state` says where in which epoch, so that a resumed training sees the same ones."""
    settings = plan.settings
    pool = np.arange(len(plan.train))
    if settings.bootstrap:
        pool = np.random.default_rng([seed, 0]).choice(pool, len(pool))
    while True:
        order = np.random.default_rng([seed, 1, state.epoch]).permutation(pool).tolist()
        epoch = batches(plan.train, order, settings.batch_size, settings.batch_bonds)
        while state.batch < len(epoch):
            state.batch += 1
            yield join_samples([plan.train[index] for index in epoch[state.batch - 1]])
        state.epoch, state.batch = state.epoch + 1, 0


def learning_rate(settings: TrainSettings, progress: float) -> float:
    """Linear warm-up, then a cosine down to the final share."""
    if progress < settings.warm_up:
        return settings.learning_rate * max(progress / settings.warm_up, 0.01)
    phase = (progress - settings.warm_up) / (1 - settings.warm_up)
    share = settings.final_rate + (1 - settings.final_rate) * 0.5 * (1 + math.cos(math.pi * phase))
    return settings.learning_rate * share


def loss_weights(settings: TrainSettings, progress: float) -> Weights:
    """The energy's weight rises geometrically over the first half of the last phase, the others stay."""
    rise = min(1.0, max(0.0, (progress - LAST_PHASE) / (0.5 * (1 - LAST_PHASE))))
    energy = settings.energy_weight ** (1 - rise) * settings.final_energy_weight**rise
    return Weights(energy, settings.force_weight, settings.stress_weight, settings.linear_from)


def _step(plan: Plan, state: TrainingState, sample: Sample, progress: float) -> bool:
    """One step of Adam; False, with the state spoilt, if something was not finite."""
    weights = state.weights.detach().requires_grad_()
    parameters = _unflatten(weights, plan.shapes)
    result = network_part(
        plan.architecture, plan.config, parameters, plan.baseline, sample.graph, plan.stress, create_graph=True
    )
    value = loss(result, sample, loss_weights(plan.settings, progress), plan.baseline.scale)
    (gradient,) = torch.autograd.grad(value, weights)
    norm = gradient.norm()
    if not bool(torch.isfinite(norm + value)):
        return False
    gradient = gradient * (plan.settings.gradient_clip / norm).clamp(max=1.0)
    _adam(state, gradient, learning_rate(plan.settings, progress) * state.rate_factor, plan.settings.weight_decay)
    state.train_loss = float(value.detach())
    decay = min(plan.settings.average_decay, state.step / (state.step + 9.0))
    state.average.lerp_(state.weights, 1.0 - decay)
    return True


def _adam(state: TrainingState, gradient: Tensor, rate: float, decay: float) -> None:
    state.step += 1
    state.first_moment.lerp_(gradient, 1.0 - BETAS[0])
    state.second_moment.lerp_(gradient * gradient, 1.0 - BETAS[1])
    first = state.first_moment / (1.0 - BETAS[0] ** state.step)
    second = state.second_moment / (1.0 - BETAS[1] ** state.step)
    state.weights.mul_(1.0 - rate * decay).sub_(rate * first / (second.sqrt() + EPSILON))


def _rolled_back(state: TrainingState, good: TrainingState, settings: TrainSettings) -> TrainingState:
    """The last good state with half the learning rate; raises TrainingError after too many of them."""
    if good.rollbacks >= settings.rollbacks:
        raise TrainingError(
            f"the loss was not finite at step {state.step}, after {good.rollbacks} returns to an earlier state; "
            f"use a smaller learning_rate than {settings.learning_rate} or look for wrong labels in the data"
        )
    good.rollbacks += 1
    good.rate_factor *= 0.5
    good.seconds = state.seconds
    return good.copy()


def _record_due(state: TrainingState, settings: TrainSettings, progress: float) -> bool:
    last = state.metrics[-1]["progress"] if state.metrics else 0.0
    return progress >= 1 or math.floor(progress * settings.records) > math.floor(last * settings.records)


def _record(plan: Plan, state: TrainingState, progress: float) -> bool:
    """Validate the averaged weights, keep them if they are the best so far, note it down; False if not finite."""
    measured = _validate(plan, _unflatten(state.average, plan.shapes))
    if not math.isfinite(measured["loss"]):
        return False
    if measured["loss"] <= state.best_loss:
        state.best_loss = measured["loss"]
        state.best.copy_(state.average)
    line = {
        "step": state.step,
        "epoch": state.epoch,
        "progress": round(progress, 4),
        "seconds": round(state.seconds, 2),
        "learning_rate": learning_rate(plan.settings, progress) * state.rate_factor,
        "train_loss": state.train_loss if state.step else None,
    }
    state.metrics.append({**line, **{f"validation_{name}": value for name, value in measured.items()}})
    return True


def _validate(plan: Plan, parameters: Parameters) -> dict[str, float]:
    """Loss with the final weights, and mean absolute errors, on the validation frames (see Plan.judged)."""
    final = loss_weights(plan.settings, 1.0)
    found, losses, sizes = [], [], []
    for sample in plan.judged:
        result = network_part(plan.architecture, plan.config, parameters, plan.baseline, sample.graph, plan.stress)
        losses.append(float(loss(result, sample, final, plan.baseline.scale)))
        sizes.append(sample.graph.n_structures)
        found.append(errors(result, sample))
    energy, force, stress = (torch.cat(parts).abs() for parts in zip(*found, strict=True))
    summary = {
        "loss": float(np.average(losses, weights=sizes)),
        "energy_mae_mev_per_atom": 1e3 * float(energy.mean()),
        "force_mae_mev_per_angstrom": 1e3 * float(force.mean()),
    }
    return summary if len(stress) == 0 else {**summary, "stress_mae_gpa": float(stress.mean()) / GPA}


def _member_card(state: TrainingState, seed: int, settings: TrainSettings) -> dict[str, Any]:
    best = min(state.metrics, key=lambda line: (line["validation_loss"], -line["step"]))
    return {
        "seed": seed,
        "steps": state.step,
        "seconds": round(state.seconds, 2),
        "ended_by": "steps" if state.step >= settings.steps else "budget",
        "rollbacks": state.rollbacks,
        "best": best,
    }
