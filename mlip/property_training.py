"""Training of a network on one number per structure: formation energy, gap, moduli, any scalar; no potential.

As PotNet (arXiv:2306.10045) was trained: mean squared error of the standardised value, AdamW (Loshchilov and Hutter,
arXiv:1711.05101), one-cycle learning rate (Smith and Topin, arXiv:1708.07120), 500 epochs, batches of 64, and the
weights with the lowest error on validation structures. [R] what the paper's text leaves open: weight decay, the shape
of the cycle. Structures of one formula stay on
one side of the split; the paper's split is by structure (`split: structure`).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .checkpoint import TrainingState
from .frames import hash_document
from .graph import Graph, build_graph, join
from .potential import Architecture, Parameters
from .property_data import PropertyData, PropertyEntry, Target
from .train_settings import TrainingError, TrainingPaused

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Constants of Adam."""
RISING, FIRST, LAST = 0.3, 25.0, 1e4
"""One cycle: share of the steps in which the rate rises, and what divides it at the start and at the end."""
SPLITS = ("formula", "structure")

Report = Callable[[int, float, Mapping[str, Any]], None]
"""report(seed of the member, progress 0..1, latest line of the metrics)."""


@dataclass(frozen=True)
class PropertySettings:
    """How a property is learned."""

    target: Target
    """What is learned."""
    epochs: int = 500
    """Passes through the training structures."""
    batch_size: int = 64
    """Structures per step."""
    learning_rate: float = 1e-3
    """Largest step of AdamW."""
    weight_decay: float = 1e-5
    """Decoupled decay per step, times the learning rate."""
    gradient_clip: float = 10.0
    """Longest gradient; longer ones are shortened to it."""
    validation_fraction: float = 0.1
    """Share of the structures that selects the best weights and is never trained on."""
    split: str = "formula"
    """What is not torn apart by the split: formula or structure."""
    split_seed: int = 0
    """Of the split, the same for all members."""
    records: int = 100
    """Validations per member."""
    checkpoint_seconds: float = 60.0
    """Time between checkpoints, s."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "gradient_clip", "records"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"{name} {getattr(self, name)}: expected a positive number")
        if not 0 < self.validation_fraction < 1 or self.weight_decay < 0:
            raise TrainingError(
                f"validation_fraction {self.validation_fraction}, weight_decay {self.weight_decay}: expected a number "
                "between 0 and 1, and 0 or more"
            )
        if self.split not in SPLITS:
            raise TrainingError(f"split {self.split!r}: expected {' or '.join(SPLITS)}")


@dataclass(frozen=True)
class Scaling:
    """value = mean + deviation * what the network says."""

    mean: float
    deviation: float


def split(entries: Sequence[PropertyEntry], settings: PropertySettings) -> tuple[list[int], list[int]]:
    """Indices of training and validation structures; raises TrainingError where nothing is left to train on."""
    whole = settings.split == "formula"
    kinds = [entry.configuration.formula if whole else str(index) for index, entry in enumerate(entries)]
    sizes, chosen = Counter(kinds), set[str]()
    wanted = max(1, round(settings.validation_fraction * len(entries)))
    for kind in np.random.default_rng(settings.split_seed).permutation(sorted(sizes)):
        if wanted > 0:
            chosen.add(str(kind))
            wanted -= sizes[str(kind)]
    training = [index for index, kind in enumerate(kinds) if kind not in chosen]
    if len(training) < 2:
        raise TrainingError(
            f"{len(entries)} structures of {len(sizes)} formulas: nothing is left to train on; give more, or say "
            "`split: structure`"
        )
    return training, [index for index, kind in enumerate(kinds) if kind in chosen]


class PropertyPlan:
    """What all members share: graphs, standardised values, the split."""

    def __init__(
        self, data: PropertyData, architecture: Architecture, preset: str, settings: PropertySettings,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.architecture, self.preset, self.config = architecture, preset, architecture.preset(preset)
        self.settings, self.device = settings, device
        self.training, self.validation = split(data.entries, settings)
        values = np.array([entry.value for entry in data.entries])
        known = values[self.training]
        self.scaling = Scaling(float(known.mean()), float(known.std()) or 1.0)
        self.values = torch.tensor((values - self.scaling.mean) / self.scaling.deviation, dtype=torch.float32)
        cutoff, single = self.config.cutoff, torch.float32
        self.graphs = [build_graph([entry.configuration], cutoff, dtype=single) for entry in data.entries]
        self.fingerprint = hash_document(
            [architecture.name, preset, asdict(settings), [[e.name, e.value] for e in data.entries]]
        )

    def batch(self, indices: Sequence[int]) -> tuple[Graph, Tensor]:
        """The graph and the standardised values (g,) of some structures."""
        graph = join([self.graphs[index] for index in indices])
        return graph.to(self.device), self.values[list(indices)].to(self.device)


@dataclass
class PropertyMember:
    """One member while it is trained."""

    plan: PropertyPlan
    seed: int
    budget: float | None = None
    """s of wall time."""
    deadline: float | None = None
    """Monotonic time in s at which it pauses with a checkpoint."""

    def __post_init__(self) -> None:
        first = self.plan.architecture.init(self.plan.config, torch.Generator().manual_seed(self.seed))
        self.shapes = {name: tuple(weight.shape) for name, weight in first.items()}
        self.start = torch.cat([weight.flatten() for weight in first.values()]).to(self.plan.device)
        size = self.plan.settings.batch_size
        self.steps_per_epoch = max(1, len(self.plan.training) // size)

    def named(self, flat: Tensor) -> Parameters:
        """Weights by name, as views of the flat vector."""
        parts = flat.split([math.prod(shape) for shape in self.shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def train(self, path: Path | None, report: Report | None) -> TrainingState:
        """From the start, or from the checkpoint at `path`, to the end.

        Raises TrainingPaused at the deadline, and TrainingError if an error is not finite.
        """
        settings, mark = self.plan.settings, hash_document([self.plan.fingerprint, self.seed])
        state = TrainingState.start(self.start.clone())
        if path is not None and path.exists():
            state = TrainingState.load(path, mark, self.plan.device)
        began = saved = time.monotonic()
        began -= state.seconds
        while (progress := self._progress(state)) < 1:
            if path is not None and self.deadline is not None and time.monotonic() > self.deadline:
                state.save(path, mark)
                raise TrainingPaused(self.seed, progress)
            self._step(state, progress)
            state.seconds = time.monotonic() - began
            if self._record_due(state, self._progress(state)):
                self._record(state)
                if report is not None:
                    report(self.seed, self._progress(state), state.metrics[-1])
                if path is not None and time.monotonic() - saved > settings.checkpoint_seconds:
                    state.save(path, mark)
                    saved = time.monotonic()
        return state

    def _progress(self, state: TrainingState) -> float:
        by_steps = state.step / (self.plan.settings.epochs * self.steps_per_epoch)
        return min(1.0, by_steps if self.budget is None else max(by_steps, state.seconds / self.budget))

    def _step(self, state: TrainingState, progress: float) -> None:
        """One step of AdamW; batch normalisations then know the batch."""
        plan, settings = self.plan, self.plan.settings
        epoch, place = divmod(state.step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(plan.training)
        graph, wanted = plan.batch(order[place * settings.batch_size : (place + 1) * settings.batch_size].tolist())
        leaf, running = state.weights.detach().requires_grad_(), dict[str, Tensor]()
        loss = (predicted(plan.architecture, plan.config, self.named(leaf), graph, running) - wanted).square().mean()
        (gradient,) = torch.autograd.grad(loss, leaf)
        state.train_loss = float(loss.detach())
        if not (math.isfinite(state.train_loss) and bool(torch.isfinite(gradient).all())):
            raise TrainingError(
                f"seed {self.seed}: the error is not finite at step {state.step}; use a smaller learning_rate than "
                f"{settings.learning_rate} or look for wrong values in the data"
            )
        gradient *= min(1.0, settings.gradient_clip / max(float(gradient.norm()), 1e-12))
        state.step, state.epoch = state.step + 1, epoch
        state.first_moment.lerp_(gradient, 1 - BETAS[0])
        state.second_moment.lerp_(gradient.square(), 1 - BETAS[1])
        rate = one_cycle(settings.learning_rate, progress)
        first = state.first_moment / (1 - BETAS[0] ** state.step)
        second = state.second_moment / (1 - BETAS[1] ** state.step)
        state.weights.mul_(1 - rate * settings.weight_decay).addcdiv_(first, second.sqrt() + EPSILON, value=-rate)
        for name, value in running.items():
            self.named(state.weights)[name].copy_(value)

    def _record_due(self, state: TrainingState, progress: float) -> bool:
        records, last = self.plan.settings.records, state.metrics[-1]["progress"] if state.metrics else 0.0
        return progress >= 1 or math.floor(progress * records + 1e-6) > math.floor(last * records + 1e-6)

    def _record(self, state: TrainingState) -> None:
        """Validate, keep the best weights, note it down."""
        plan = self.plan
        found, wanted = [], plan.values[plan.validation]
        for start in range(0, len(plan.validation), plan.settings.batch_size):
            graph, _ = plan.batch(plan.validation[start : start + plan.settings.batch_size])
            with torch.no_grad():
                found.append(predicted(plan.architecture, plan.config, self.named(state.weights), graph).cpu())
        error = plan.scaling.deviation * float((torch.cat(found) - wanted).abs().mean())
        if error <= state.best_loss:
            state.best_loss = error
            state.best.copy_(state.weights)
        progress = self._progress(state)
        state.metrics.append(
            {
                "step": state.step,
                "epoch": state.epoch,
                "progress": round(progress, 4),
                "seconds": round(state.seconds, 2),
                "learning_rate": one_cycle(plan.settings.learning_rate, progress),
                "train_loss": state.train_loss,
                "validation_mae": error,
            }
        )


def predicted(
    architecture: Architecture, config: Any, parameters: Parameters, graph: Graph, running: Parameters | None = None
) -> Tensor:
    """(g,) standardised values, float32; `running` as in Architecture.regression."""
    if architecture.regression is not None:
        return architecture.regression(parameters, config, graph, running).float()
    return (architecture.energy(parameters, config, graph) / torch.bincount(graph.structure)).float()


def one_cycle(largest: float, progress: float) -> float:
    """Half a cosine up from largest / FIRST, then half a cosine down to largest / FIRST / LAST."""
    low, end = largest / FIRST, largest / FIRST / LAST
    if progress < RISING:
        return low + (largest - low) * 0.5 * (1 - math.cos(math.pi * progress / RISING))
    return end + (largest - end) * 0.5 * (1 + math.cos(math.pi * (progress - RISING) / (1 - RISING)))
