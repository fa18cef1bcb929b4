"""The training of one member: steps, schedule, validation, checkpoints, and ways back from what goes wrong.

Progress t runs from 0 to 1 with the steps done or, if that is further, with the share of the time budget used
(schedule.py). What is kept is an exponential moving average of the weights, at its lowest validation loss, which always
counts energies with their final weight: a few dozen frames are soon learned by heart. A run that is stopped by its
budget has gone through the whole schedule and leaves a usable model.

- If the loss, on training or validation frames, stops being finite, training goes back to the last good state with half
  the learning rate, and gives up only after several such steps back.
- If the memory does not suffice, batches are halved, down to one frame.
- Weights that blocks share (TeaNet's recurrent initialisation) become their own at `untie_at`; the energy does not
  change by it, and moments of Adam go along.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batching import Limits, batch_limits, batches
from .checkpoint import TrainingState
from .objective import errors, loss
from .plan import Plan
from .potential import Parameters, network_part
from .schedule import learning_rate, loss_weights
from .step import CompileError, Network, Step, compiled
from .train_settings import TrainingError, TrainingPaused
from .units import GPA

BETAS = (0.9, 0.999)
EPSILON = 1e-8
"""Constants of Adam (Kingma and Ba, 2015)."""
EAGER_STEPS = 20
"""After so many eager steps it is known whether compiling pays."""
PAYS_FROM = 300.0
"""s of eager training left, from which on compiling pays: it takes a minute and makes steps 2 to 3 times faster."""

ROUNDING = 1e-6
"""0.58 * 50 is less than 29."""

Report = Callable[[int, float, Mapping[str, Any]], None]
"""report(seed of the member, progress 0..1, latest line of the metrics)."""


@dataclass
class Member:
    """One member while it is trained."""

    plan: Plan
    seed: int
    device: torch.device
    budget: float | None = None
    """s of wall time."""
    deadline: float | None = None
    """Monotonic time in s at which it pauses with a checkpoint."""
    steps: dict[Any, tuple[Step, float]] = field(default_factory=dict)
    """Compiled steps by sizes and weights, shared by the members of a committee."""

    def first_state(self, weights: Parameters | None) -> TrainingState:
        """Random weights; or given ones, validated at once, so that they are the best until something better comes."""
        plan = self.plan
        parameters = weights or plan.architecture.init(plan.config, torch.Generator().manual_seed(self.seed))
        flat = torch.cat([parameters[name].flatten() for name in weight_shapes(plan, plan.config)])
        state = TrainingState.start(flat.to(self.device))
        state.tied = tied(plan.config)
        if weights is not None and not self.record(state, 0.0):
            raise TrainingError("the initial model has no finite errors on the validation frames; train without it")
        return state

    def train(self, state: TrainingState, path: Path | None, mark: str, report: Report | None) -> TrainingState:
        """Go on from `state` to the end; checkpoints at `path`.

        Raises TrainingError if nothing finite comes of it, and TrainingPaused at the deadline.
        """
        settings = self.plan.settings
        good, saved = state.copy(), time.monotonic()
        began = saved - state.seconds
        run = _Run(self, state)
        while (progress := self.progress(state)) < 1 and not self._stalled(state):
            if state.tied and progress >= settings.untie_at:
                self._untie(state)
                good, run = state.copy(), _Run(self, state)
            if path is not None and self.deadline is not None and time.monotonic() > self.deadline:
                state.save(path, mark)
                raise TrainingPaused(self.seed, progress)
            finite = run.step(progress)
            state.seconds = time.monotonic() - began
            progress = self.progress(state)
            due = self._record_due(state, progress)
            if not finite or (due and not self.record(state, progress)):
                state = self._rolled_back(state, good)
                run = _Run(self, state)
                continue
            if not due:
                continue
            good = state.copy()
            if report is not None:
                report(self.seed, progress, state.metrics[-1])
            if path is not None and (progress >= 1 or time.monotonic() - saved > settings.checkpoint_seconds):
                state.save(path, mark)
                saved = time.monotonic()
        if state.tied:
            self._untie(state)
        if not math.isfinite(state.best_loss):
            raise TrainingError(
                f"seed {self.seed}: no validation loss was finite before the budget ended, so there are no trained "
                "weights; look for wrong labels in the data or allow more time"
            )
        return state

    def network(self, state: TrainingState) -> Network:
        """What the weights of this state mean."""
        plan = self.plan
        config = plan.config if state.tied or not tied(plan.config) else untied_config(plan)
        return Network(
            plan.architecture,
            config,
            weight_shapes(plan, config),
            plan.baseline,
            plan.stress,
            plan.settings.linear_from,
        )

    def progress(self, state: TrainingState) -> float:
        """0 to 1, by steps or by time; compiling takes of the budget, but does not move the schedule on."""
        by_steps = state.step / self.plan.settings.steps
        if self.budget is None:
            return min(1.0, by_steps)
        left = self.budget - state.compile_seconds
        by_time = (state.seconds - state.compile_seconds) / left if left > 0 else 1.0
        return min(1.0, max(by_steps, by_time))

    def record(self, state: TrainingState, progress: float) -> bool:
        """Validate the averaged weights, keep them if they are the best so far, note it down; False if not finite."""
        settings = self.plan.settings
        measured = validate(self, self.network(state), state.average)
        if not math.isfinite(measured["loss"]):
            return False
        state.since_best += 1
        if measured["loss"] <= state.best_loss:
            state.best_loss, state.since_best = measured["loss"], 0
            state.best.copy_(state.average)
        line = {
            "step": state.step,
            "epoch": state.epoch,
            "progress": round(progress, 4),
            "seconds": round(state.seconds, 2),
            "learning_rate": learning_rate(settings, progress) * state.rate_factor,
            "energy_weight": float(loss_weights(settings, progress).energy),
            "train_loss": state.train_loss if state.step else None,
            "rollbacks": state.rollbacks,
        }
        state.metrics.append({**line, **{f"validation_{name}": value for name, value in measured.items()}})
        return True

    def _record_due(self, state: TrainingState, progress: float) -> bool:
        records = self.plan.settings.records
        last = state.metrics[-1]["progress"] if state.metrics else 0.0
        return progress >= 1 or math.floor(progress * records + ROUNDING) > math.floor(last * records + ROUNDING)

    def _stalled(self, state: TrainingState) -> bool:
        return 0 < self.plan.settings.patience <= state.since_best

    def _rolled_back(self, state: TrainingState, good: TrainingState) -> TrainingState:
        """The last good state with half the learning rate; raises TrainingError after too many of them."""
        settings = self.plan.settings
        if good.rollbacks >= settings.rollbacks:
            raise TrainingError(
                f"the loss was not finite at step {state.step}, after {good.rollbacks} returns to an earlier state; "
                f"use a smaller learning_rate than {settings.learning_rate} or look for wrong labels in the data"
            )
        good.rollbacks += 1
        good.rate_factor *= 0.5
        good.seconds, good.batch_share = state.seconds, state.batch_share
        good.compiled, good.compile_seconds = state.compiled, state.compile_seconds
        return good.copy()

    def _untie(self, state: TrainingState) -> None:
        """Shared weights become each block's own, in everything that is kept per weight."""
        untie, shared = self.plan.architecture.untied, self.network(state)
        assert untie is not None  # tied() has asked
        for name in ("weights", "average", "best", "first_moment", "second_moment"):
            _, own = untie(shared.config, shared.parameters(getattr(state, name)))
            shapes = weight_shapes(self.plan, untied_config(self.plan))
            setattr(state, name, torch.cat([own[key].flatten() for key in shapes]))
        state.tied = False


class _Run:
    """Steps of one member with weights of one shape: batches, memory, compiling."""

    def __init__(self, member: Member, state: TrainingState) -> None:
        self.member, self.state = member, state
        self.network = member.network(state)
        self.eager_seconds: list[float] = []
        self._begin()

    def step(self, progress: float) -> bool:
        """One step of Adam; False, with the state spoilt, if something was not finite."""
        indices = next(self.stream)
        began = time.monotonic()
        try:
            found = self._gradient(indices, progress)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if len(indices) == 1:
                raise TrainingError(
                    f"one frame of {self.member.plan.samples.atoms[indices[0]]} atoms does not fit into the memory; "
                    "leave out what is so large, or take a smaller network or another device"
                ) from error
            self._halve()
            return True
        if self.state.compiled is None:
            self.eager_seconds.append(time.monotonic() - began)
        return found is not None and self._descend(*found, progress)

    def _gradient(self, indices: NDArray[np.int64], progress: float) -> tuple[Tensor, Tensor] | None:
        state, member = self.state, self.member
        weights = loss_weights(member.plan.settings, progress)
        self._decide(indices, progress)
        if self.compiled is not None:
            padded = member.plan.samples.padded(indices, self.limits.padded(), device=member.device)
            value, gradient = self.compiled(state.weights, padded, weights)
        else:
            batch = member.plan.samples.batch(indices, device=member.device)
            value, gradient = self.network.eager(state.weights, batch, weights)
        norm = gradient.norm()
        if not bool(torch.isfinite(norm + value)):
            return None
        state.train_loss = float(value)
        return gradient, norm

    def _descend(self, gradient: Tensor, norm: Tensor, progress: float) -> bool:
        settings, state = self.member.plan.settings, self.state
        gradient = gradient * (settings.gradient_clip / norm).clamp(max=1.0)
        adam(state, gradient, learning_rate(settings, progress) * state.rate_factor, settings.weight_decay)
        decay = min(settings.average_decay, state.step / (state.step + 9.0))
        state.average.lerp_(state.weights, 1.0 - decay)
        return True

    def _begin(self) -> None:
        plan, state = self.member.plan, self.state
        settings = plan.settings
        pool = plan.train
        if settings.bootstrap:
            pool = np.random.default_rng([self.member.seed, 0]).choice(pool, len(pool))
        self.limits = batch_limits(plan.samples, pool, settings.batch_size, settings.batch_bonds, state.batch_share)
        self.stream = self._batches(pool, self.limits)
        self.compiled: Step | None = None
        if state.compiled:
            self._compile()

    def _batches(self, pool: NDArray[np.int64], limits: Limits) -> Iterator[NDArray[np.int64]]:
        """Batches without end; the state says where in which epoch, so that a resumed training sees the same ones."""
        state = self.state
        while True:
            order = np.random.default_rng([self.member.seed, 1, state.epoch]).permutation(pool)
            epoch = batches(self.member.plan.samples, order, limits)
            while state.batch < len(epoch):
                state.batch += 1
                yield epoch[state.batch - 1]
            state.epoch, state.batch = state.epoch + 1, 0

    def _halve(self) -> None:
        """Smaller batches from the next epoch's order on, which begins anew."""
        self.state.batch_share *= 0.5
        self.state.batch = 0
        if self.member.device.type == "cuda":
            torch.cuda.empty_cache()
        self._begin()

    def _decide(self, indices: NDArray[np.int64], progress: float) -> None:
        """Whether to compile, once it is known how long eager steps take."""
        state, settings = self.state, self.member.plan.settings
        if state.compiled is not None:
            return
        if settings.compile == "no" or (settings.compile == "auto" and self.member.device.type != "cpu"):
            state.compiled = False
        elif settings.compile == "yes" or len(self.eager_seconds) >= EAGER_STEPS:
            state.compiled = settings.compile == "yes" or self._seconds_left(progress) > PAYS_FROM
            if state.compiled:
                self._compile()

    def _seconds_left(self, progress: float) -> float:
        member, state = self.member, self.state
        by_steps = float(np.median(self.eager_seconds)) * (member.plan.settings.steps - state.step)
        return by_steps if member.budget is None else min(by_steps, member.budget * (1.0 - progress))

    def _compile(self) -> None:
        member, state = self.member, self.state
        sizes = self.limits.padded()
        key = (sizes, self.network.config)
        try:
            if key not in member.steps:
                sample = member.plan.samples.padded(member.plan.train[:1], sizes, device=member.device)
                member.steps[key] = compiled(self.network, state.weights, sample)
                state.compile_seconds += member.steps[key][1]
            self.compiled = member.steps[key][0]
        except CompileError as error:
            if member.plan.settings.compile == "yes":
                raise TrainingError(f"compile: yes, but {error}; take `auto` or `no`") from error
            state.compiled = False


def validate(member: Member, network: Network, flat: Tensor) -> dict[str, float]:
    """Loss with the final weights, and mean absolute errors, on the validation frames."""
    plan, parameters = member.plan, network.parameters(flat)
    final = loss_weights(plan.settings, 1.0)
    found, losses, sizes = [], [], []
    limits = batch_limits(plan.samples, plan.validation, len(plan.validation), plan.settings.batch_bonds)
    for indices in batches(plan.samples, plan.validation, limits):
        sample = plan.samples.batch(indices, device=member.device)
        result = network_part(
            network.architecture, network.config, parameters, plan.baseline, sample.graph, plan.stress
        )
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


def adam(state: TrainingState, gradient: Tensor, rate: float, decay: float) -> None:
    """One step of AdamW (Loshchilov and Hutter, 2019), in place."""
    state.step += 1
    state.first_moment.lerp_(gradient, 1.0 - BETAS[0])
    state.second_moment.lerp_(gradient * gradient, 1.0 - BETAS[1])
    first = state.first_moment / (1.0 - BETAS[0] ** state.step)
    second = state.second_moment / (1.0 - BETAS[1] ** state.step)
    state.weights.mul_(1.0 - rate * decay).sub_(rate * first / (second.sqrt() + EPSILON))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out, on a GPU or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "not enough memory" in str(error) or "can't allocate memory" in str(error)


def tied(config: Any) -> bool:
    """Whether blocks of this config share weights."""
    return bool(getattr(config, "tied", False))


def untied_config(plan: Plan) -> Any:
    """The config in which every block has weights of its own."""
    untie = plan.architecture.untied
    assert untie is not None  # tied() has asked
    return untie(plan.config, plan.architecture.init(plan.config, torch.Generator().manual_seed(0)))[0]


def weight_shapes(plan: Plan, config: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights, in the order of the flat weight vector."""
    weights = plan.architecture.init(config, torch.Generator().manual_seed(0))
    return {name: tuple(weight.shape) for name, weight in weights.items()}
