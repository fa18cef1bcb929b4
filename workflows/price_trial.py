"""What training and dynamics cost on this machine: a few real steps on made-up labels, a few seconds in all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..mlip.dataset import Dataset
from ..mlip.exploration_settings import ExplorationSettings
from ..mlip.frames import Configuration, LabelledFrame
from ..mlip.settings import settings_from_mapping
from ..mlip.train_settings import TrainSettings
from .plan import member_architecture

FRAMES = 24
"""Made-up labels, at most."""
SECONDS = 1.5
"""About how long each measurement shall take."""
UNBOUNDED = {
    "timestep_fs": 0.1,
    "min_steps": 10**9,
    "stop_deviation": 1e12,
    "max_force": 1e12,
    "max_temperature_K": 1e12,
    "minimum_distance_ratio": 1e-6,
}
"""Keeps a network that has learned nothing moving: only the time of a step matters here."""


@dataclass(frozen=True)
class Trial:
    """Seconds of one step each, with the threads that were asked for."""

    training_step: float
    """s per optimiser step of one member."""
    validation: float
    """s per validated frame and member."""
    trajectory_step: float
    """s per step of one trajectory, with all members."""
    model_bytes: int
    """Weights of one member."""


def trial(
    configurations: Sequence[Configuration], settings: Mapping[str, Any], elements: list[int], threads: int
) -> Trial:
    """Train and move for a moment, with each architecture; means over the members.

    :param configurations: such as the campaign will meet; none of them is changed.
    :param settings: the campaign's settings, with `train` and `explore`.
    :param elements: atomic numbers that the models shall know.
    """
    members = [member_architecture(settings["train"], k) for k in range(settings["train"]["members"])]
    of_each = {name: _trial(configurations, settings, name, elements, threads) for name in dict.fromkeys(members)}
    found = [of_each[name] for name in members]
    means = {each.name: sum(getattr(one, each.name) for one in found) / len(found) for each in fields(Trial)}
    return Trial(**{**means, "model_bytes": round(means["model_bytes"])})


def _trial(
    configurations: Sequence[Configuration], settings: Mapping[str, Any], architecture: str, elements: list[int],
    threads: int,
) -> Trial:  # fmt: skip
    import torch

    from ..mlip.training import train_committee

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        dataset = _made_up(configurations[:FRAMES])
        config = TrainSettings(**settings["train"]["config"])
        energies = dict.fromkeys(elements, 0.0)

        def train(steps: int, records: int) -> Any:
            asked = replace(config, steps=steps, records=records, checkpoint_seconds=1e9)
            return train_committee(dataset, architecture, settings["train"]["preset"], asked, 0, 1, energies, elements)

        train(1, 1)  # the first call pays for what is loaded and planned once
        once, committee = _timed(lambda: train(1, 1))
        several, _ = _timed(lambda: train(4, 1))
        steps = max(3, min(60, int(SECONDS / max((several - once) / 3, 1e-4))))
        long, _ = _timed(lambda: train(1 + steps, 1))
        judged, _ = _timed(lambda: train(1 + steps, 1 + steps))
        frames = max(1, round(config.validation_fraction * len(dataset)))
        step = max(long - once, 1e-6) / steps
        weights = sum(tensor.numel() * tensor.element_size() for tensor in committee.members[0].values())
        members = settings["train"]["members"]
        crowd = replace(committee, members=committee.members * members)
        moved = _moved(crowd, configurations, settings["explore"]["config"])
        return Trial(step, max(judged - long, 0.0) / steps / frames, moved, weights)
    finally:
        torch.set_num_threads(before)


def _moved(committee: Any, starts: Sequence[Configuration], config: Mapping[str, Any]) -> float:
    """Seconds per step of a trajectory."""
    from ..mlip.exploration import explore

    asked = settings_from_mapping(ExplorationSettings, {**config, **UNBOUNDED}, "explore")

    def steps(number: int) -> int:
        done = explore(committee, starts, replace(asked, steps=number), 1e12, 0)
        return sum(trajectory.steps for trajectory in done)

    steps(1)
    few, done_few = _timed(lambda: steps(2))
    number = max(4, min(60, int(SECONDS / max(few / 3, 1e-4))))
    many, done_many = _timed(lambda: steps(2 + number))
    return max(many - few, 1e-6) / max(done_many - done_few, 1)


def _made_up(configurations: Sequence[Configuration]) -> Dataset:
    random = np.random.default_rng(0)
    frames = [
        LabelledFrame(c, 0.0, random.normal(size=(len(c), 3)), np.zeros((3, 3)) if c.periodic else None, "made up")
        for c in configurations
    ]
    return Dataset.from_frames(frames)


def _timed(act: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result; with one thread those of the processor, which do not mind that others use the machine."""
    import torch

    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    begin = clock()
    result = act()
    return clock() - begin, result
