"""Steps of Adam for one member: its batches, the memory that they need, and whether they are compiled.

If the memory does not suffice, batches are halved, down to one frame. Whether compiling pays is decided after some
eager steps, from the time that is left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batching import Limits, batch_limits, batches
from .checkpoint import TrainingState
from .schedule import learning_rate, loss_weights
from .step import CompileError, Step, compiled
from .train_settings import TrainingError

if TYPE_CHECKING:
    from .member import Member

BETAS = (0.9, 0.999)
EPSILON = 1e-8
"""Constants of Adam (Kingma and Ba, 2015)."""
EAGER_STEPS = 20
"""After so many eager steps it is known whether compiling pays."""
PAYS_FROM = 300.0
"""s of eager training left, from which on compiling pays: it takes a minute and makes steps twice as fast."""


class Descent:
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
