"""The training of one member: schedule, validation, checkpoints, and ways back from what goes wrong.

Progress t runs from 0 to 1 with the steps done or, if that is further, with the share of the time budget used
(schedule.py). What is kept is an exponential moving average of the weights, at its lowest validation loss, which always
counts energies with their final weight: a few dozen frames are soon learned by heart. A run that is stopped by its
budget has gone through the whole schedule and leaves a usable model. The steps themselves: descent.py.

- If the loss, on training or validation frames, stops being finite, training goes back to the last good state with half
  the learning rate, and gives up only after several such steps back.
- Weights that blocks share (TeaNet's recurrent initialisation) become their own at `untie_at`; the energy does not
  change by it, and moments of Adam go along.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .batching import batch_limits, batches
from .checkpoint import TrainingState
from .descent import Descent
from .objective import errors, loss
from .plan import Plan
from .potential import Parameters, network_part
from .schedule import learning_rate, loss_weights
from .step import Network, Step
from .train_settings import TrainingError, TrainingPaused
from .units import GPA

ROUNDING = 1e-6
"""0.58 * 50 is less than 29."""
VALIDATION_SHARE = 0.1
"""Of the time between two validations, at most, where the training has a budget of time."""

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
    next_validation: float = 0.0
    """Monotonic time in s before which a training by time is not validated again."""

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
        run = Descent(self, state)
        while (progress := self.progress(state)) < 1 and not self._stalled(state):
            if state.tied and progress >= settings.untie_at:
                self._untie(state)
                good, run = state.copy(), Descent(self, state)
            if path is not None and self.deadline is not None and time.monotonic() > self.deadline:
                state.save(path, mark)
                raise TrainingPaused(self.seed, progress)
            finite = run.step(progress)
            state.seconds = time.monotonic() - began
            progress = self.progress(state)
            due = self._record_due(state, progress)
            if not finite or (due and not self.record(state, progress)):
                state = self._rolled_back(state, good)
                run = Descent(self, state)
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
        settings, began = self.plan.settings, time.monotonic()
        measured = validate(self, self.network(state), state.average)
        ended = time.monotonic()
        self.next_validation = ended + (ended - began) / VALIDATION_SHARE
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
        if self.budget is not None and progress < 1 and time.monotonic() < self.next_validation:
            return False
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
