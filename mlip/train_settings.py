"""How a network is trained: every number a person may change, with its unit and a default that works."""

from __future__ import annotations

from dataclasses import dataclass

COMPILE = ("auto", "yes", "no")


class TrainingError(ValueError):
    """Data or settings that cannot be trained with, or a training that would not converge to finite numbers."""


class TrainingPaused(Exception):
    """The time is over before the training is: it has left a checkpoint, and goes on from it."""

    def __init__(self, seed: int, progress: float) -> None:
        super().__init__(f"the member with seed {seed} is at {100 * progress:.1f} %")
        self.seed, self.progress = seed, progress


@dataclass(frozen=True)
class TrainSettings:
    """How members are trained; the defaults serve from a few dozen random frames to a few thousand."""

    steps: int = 1000
    """Optimiser steps per member."""
    batch_size: int = 8
    """Structures per step, on average (see batching.py)."""
    batch_bonds: int = 4000
    """Bonds per step, at most (one structure may have more)."""
    learning_rate: float = 5e-3
    """Adam's largest step."""
    warm_up: float = 0.05
    """Share of the training in which the learning rate rises from zero."""
    final_rate: float = 0.01
    """Share of the learning rate that is left at the end."""
    weight_decay: float = 0.0
    """Decoupled decay per step, times the learning rate (AdamW)."""
    gradient_clip: float = 10.0
    """Longest gradient; longer ones are shortened to it."""
    average_decay: float = 0.99
    """Of the moving average of the weights, per step."""
    energy_weight: float = 1.0
    """Weight of the energy error in the first two thirds."""
    final_energy_weight: float = 100.0
    """Weight of the energy error at the end."""
    force_weight: float = 1.0
    """Weight of the force error."""
    stress_weight: float = 1.0
    """Weight of the virial error; frames without stress do not count."""
    linear_from: float = 0.1
    """Errors above this many times the scale (root mean square force) count linearly, smaller ones quadratically."""
    validation_fraction: float = 0.1
    """Share of the frames that selects the best weights and is never trained on."""
    split_seed: int = 0
    """Of the split into training and validation: the same for all members, so that it can judge the committee."""
    patience: int = 0
    """Validations without a lower loss after which a member ends early; 0: never."""
    untie_at: float = 0.5
    """Progress at which weights that blocks share become their own (presets that begin with shared ones)."""
    compile: str = "auto"
    """Compile the training step: yes, no, or auto, where it is on a CPU and pays."""
    bootstrap: bool = False
    """Train each member on its own resampling of the training frames."""
    records: int = 50
    """Validations, and lines of metrics.jsonl, per member; fewer with a budget of which they would take a tenth."""
    checkpoint_seconds: float = 60.0
    """Time between checkpoints, s."""
    rollbacks: int = 4
    """Returns to the last good state before training gives up."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "batch_bonds", "learning_rate", "linear_from", "records", "gradient_clip"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"{name} {getattr(self, name)}: expected a positive number")
        if self.patience < 0:
            raise TrainingError(f"patience {self.patience}: expected 0 or more")
        if self.compile not in COMPILE:
            raise TrainingError(f"compile {self.compile!r}: expected {', '.join(COMPILE)}")
        for name in ("warm_up", "final_rate", "average_decay", "validation_fraction", "untie_at"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} {getattr(self, name)}: expected a number from 0 to below 1")
