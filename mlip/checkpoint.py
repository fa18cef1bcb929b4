"""What an interrupted training needs to go on as if nothing had happened: tensors and a few numbers, no pickle.

A checkpoint knows the fingerprint of what is trained (data, settings, seed); another training refuses it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


class CheckpointError(ValueError):
    """A checkpoint that belongs to another training, or cannot be read."""


@dataclass
class TrainingState:
    """Everything that changes while one member is trained; weights as one flat vector of p numbers."""

    weights: Tensor
    """(p,)"""
    average: Tensor
    """(p,) exponential moving average of the weights."""
    best: Tensor
    """(p,) the average with the lowest validation loss so far."""
    first_moment: Tensor
    """(p,) of Adam."""
    second_moment: Tensor
    """(p,) of Adam."""
    step: int = 0
    epoch: int = 0
    batch: int = 0
    """Batches done in this epoch."""
    train_loss: float = float("nan")
    """Of the last step."""
    seconds: float = 0.0
    """Wall time spent so far, over all resumptions."""
    best_loss: float = float("inf")
    rate_factor: float = 1.0
    """Halved at every roll-back."""
    rollbacks: int = 0
    batch_share: float = 1.0
    """Of the batch size; halved when the memory does not suffice."""
    tied: bool = False
    """Whether blocks still share weights."""
    compiled: bool | None = None
    """Whether steps are compiled; None: not decided yet."""
    compile_seconds: float = 0.0
    """Part of `seconds`."""
    since_best: int = 0
    """Validations since the best one."""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    """Lines of metrics.jsonl so far."""

    @classmethod
    def start(cls, weights: Tensor) -> TrainingState:
        """A state before the first step."""
        return cls(weights, weights.clone(), weights.clone(), torch.zeros_like(weights), torch.zeros_like(weights))

    def copy(self) -> TrainingState:
        """An independent copy."""
        tensors = {name: getattr(self, name).clone() for name in _TENSORS}
        return TrainingState(**tensors, **{**self._numbers(), "metrics": list(self.metrics)})

    def save(self, path: Path, fingerprint: str) -> None:
        """Write the state whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        tensors = {name: getattr(self, name).detach().cpu() for name in _TENSORS}
        save_file(tensors, partial, {"fingerprint": fingerprint, "numbers": json.dumps(self._numbers())})
        partial.replace(path)

    @classmethod
    def load(cls, path: Path, fingerprint: str, device: torch.device | str) -> TrainingState:
        """Read a state; raises CheckpointError if it belongs to another training, or cannot be read at all."""
        try:
            with safe_open(path, framework="pt", device=str(device)) as handle:
                notes = handle.metadata() or {}
                if notes["fingerprint"] != fingerprint:
                    raise CheckpointError(
                        f"{path}: the checkpoint belongs to a training with other data, settings or seed; "
                        "delete it, or train into another folder"
                    )
                tensors = {name: handle.get_tensor(name).clone() for name in _TENSORS}  # aligned, as at the start
            return cls(**tensors, **json.loads(notes["numbers"]))
        except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise CheckpointError(
                f"{path}: no checkpoint, or a damaged one ({' '.join(str(error).split())}); delete it, and the "
                "training of this member begins anew"
            ) from error

    def _numbers(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _TENSORS}


_TENSORS = ("weights", "average", "best", "first_moment", "second_moment")
