"""How learning rate and weights of the loss change while a member is trained; progress runs from 0 to 1."""

from __future__ import annotations

import math

from .objective import Weights
from .train_settings import TrainSettings

LAST_PHASE = 2 / 3
"""Progress from which the energy weight rises."""


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
