"""Exploration: committee dynamics from many starts; every trajectory ends with exactly one stated reason.

    completed               all steps done
    uncertain               an atom's force deviation exceeded the stop deviation: the frame is kept, it is what we seek
    unphysical_distance     a pair came closer than the distance rule allows
    unphysical_force        a mean force exceeded max_force
    unphysical_temperature  the kinetic temperature exceeded max_temperature_K
    nonfinite               positions, forces or deviations are NaN or infinite

A frame that is itself unphysical is never kept; the last one before it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from . import dynamics
from .dynamics import Evaluator, State, Walk
from .exploration_settings import ExplorationSettings
from .frames import Configuration, Origin
from .predictions import PredictedFrame, Prediction

REASONS = (
    "completed",
    "uncertain",
    "unphysical_distance",
    "unphysical_force",
    "unphysical_temperature",
    "nonfinite",
)
"""How a trajectory can end."""


Report = Callable[[float], None]


class ExplorationError(ValueError):
    """Starts or settings that cannot be explored."""


@dataclass
class Trajectory:
    """What became of one start."""

    index: int
    """Position among the starts."""
    walk: Walk
    reason: str = ""
    """One of REASONS."""
    steps: int = 0
    """Steps done when it ended."""
    frames: list[PredictedFrame] = field(default_factory=list)
    """Kept frames, in the order of time."""
    force_deviation_max: float = 0.0
    """eV/Å, largest of any atom and step."""
    force_max: float = 0.0
    """eV/Å, largest mean force of any atom and step."""
    distance_ratio_min: float = math.inf
    """Smallest over all steps."""
    temperature_sum: float = 0.0
    """K, sum of the kinetic temperatures of all steps."""

    def to_document(self) -> dict[str, Any]:
        """JSON-like summary; numbers that are not finite become null."""
        origin = self.walk.configuration.origin
        figures = {
            "force_deviation_max": self.force_deviation_max,
            "force_max": self.force_max,
            "distance_ratio_min": self.distance_ratio_min,
            "temperature_mean_K": self.temperature_sum / (self.steps + 1),
        }
        return {
            "trajectory": self.index,
            "start": self.walk.configuration.configuration_id,
            "source": origin.source,
            "formula": self.walk.configuration.formula,
            "seed": self.walk.seed,
            "temperature_K": round(self.walk.temperature, 3),
            "timestep_fs": self.walk.timestep,
            "steps": self.steps,
            "time_fs": round(self.steps * self.walk.timestep, 6),
            "reason": self.reason,
            "frames": [int(frame.info["step"]) for frame in self.frames],
            **{key: round(value, 6) if math.isfinite(value) else None for key, value in figures.items()},
        }


def explore(
    committee: Evaluator,
    starts: Sequence[Configuration],
    settings: ExplorationSettings,
    stop: float,
    seed: int,
    report: Report = lambda done: None,
) -> Iterator[Trajectory]:
    """Move every start with the committee's mean forces; yields trajectories batch by batch, each with its reason.

    `stop` is the stop deviation in eV/Å (see `stop_deviation`). A trajectory depends on its start, the settings and the
    seed alone; a start given twice gets two different ones. `report` is told after every step how many trajectories are
    done, the fractions of running ones included.
    """
    walks = plan(starts, settings, seed)
    for batch in _batches([len(start) for start in starts], settings.batch_atoms):
        trajectories = [Trajectory(index, walks[index]) for index in batch]
        _explore_batch(committee, trajectories, settings, stop, report)
        yield from trajectories


def plan(starts: Sequence[Configuration], settings: ExplorationSettings, seed: int) -> list[Walk]:
    """Seed, temperature and timestep of each trajectory, from seed, content of its start and how often that came."""
    if not starts:
        raise ExplorationError("no starts: exploration needs at least one configuration")
    if seed < 0:
        raise ExplorationError(f"seed {seed}: expected 0 or more")
    seen: dict[str, int] = {}
    walks = []
    for start in starts:
        name = start.configuration_id
        repeat = seen[name] = seen.get(name, -1) + 1
        sequence = np.random.SeedSequence([seed, int(name[1:], 16), repeat])
        temperature = float(np.random.default_rng(sequence.spawn(1)[0]).uniform(*settings.temperature_range))
        own = int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
        walks.append(Walk(start, own, temperature, settings.timestep_of(start)))
    return walks


def stop_deviation(committee: Evaluator, starts: Sequence[Configuration], settings: ExplorationSettings) -> float:
    """eV/Å: the given stop deviation, or for auto the factor times the median over starts of their largest deviation.

    Raises ExplorationError if auto is asked for and no start has a finite deviation.
    """
    if settings.stop_deviation != "auto":
        return float(settings.stop_deviation)
    largest: list[float] = []
    for batch in _batches([len(start) for start in starts], settings.batch_atoms):
        graph = committee.build_graph([starts[index] for index in batch])
        deviation = dynamics.force_deviation(committee.evaluate(graph).forces.detach().double())
        largest += dynamics.largest(deviation, graph.structure, len(batch)).tolist()
    finite = [value for value in largest if math.isfinite(value)]
    if not finite:
        raise ExplorationError("the committee's deviation is not finite on any start; was its training successful?")
    return settings.stop_deviation_factor * float(np.median(finite))


def _batches(sizes: Sequence[int], batch_atoms: int) -> list[list[int]]:
    """Consecutive indices with at most `batch_atoms` atoms together, at least one each."""
    batches: list[list[int]] = []
    room = 0
    for index, size in enumerate(sizes):
        if size > room or not batches:
            batches.append([])
            room = batch_atoms
        batches[-1].append(index)
        room -= size
    return batches


def _explore_batch(
    committee: Evaluator, batch: Sequence[Trajectory], settings: ExplorationSettings, stop: float, report: Report
) -> None:
    """Move the trajectories of one batch together until each has its reason."""
    running = list(batch)
    state = dynamics.langevin_init(committee, [trajectory.walk for trajectory in running], settings.skin)
    before = state
    for step in range(settings.steps + 1):
        if step > 0:
            before = state
            state = dynamics.langevin_step(committee, state, settings.friction_per_fs, settings.skin)
        _observe(running, state, before, step, settings, stop)
        stopped = [bool(trajectory.reason) for trajectory in running]
        running = [trajectory for trajectory in running if not trajectory.reason]
        report(batch[0].index + len(batch) - len(running) * (1 - step / max(settings.steps, 1)))
        if not running:
            break
        if any(stopped):
            state = dynamics.without(committee, state, stopped, settings.skin)


def _observe(
    running: list[Trajectory], state: State, before: State, step: int, settings: ExplorationSettings, stop: float
) -> None:
    """Note the figures of this step in every running trajectory; keep frames; set the reason where one has ended."""
    columns = [column.tolist() for column in _figures(state)]
    for index, trajectory in enumerate(running):
        figures = tuple(column[index] for column in columns)
        deviation, force, ratio, temperature = figures
        trajectory.steps = step
        trajectory.reason = _reason(figures, step, settings, stop)
        trajectory.force_deviation_max = max(trajectory.force_deviation_max, deviation)
        trajectory.force_max = max(trajectory.force_max, force)
        trajectory.distance_ratio_min = min(trajectory.distance_ratio_min, ratio)
        trajectory.temperature_sum += temperature
        if trajectory.reason in ("", "completed", "uncertain"):
            if trajectory.reason or step % settings.sample_interval == 0:
                trajectory.frames.append(_frame(trajectory, state, index, step, temperature))
        elif step > 0 and trajectory.frames[-1].info["step"] < step - 1:
            earlier = float(dynamics.temperatures(before)[index])
            trajectory.frames.append(_frame(trajectory, before, index, step - 1, earlier))


def _figures(state: State) -> tuple[torch.Tensor, ...]:
    """(g,) each: largest force deviation and largest mean force (eV/Å), distance ratio, temperature (K)."""
    forces = torch.linalg.norm(state.forces, dim=1)
    return (
        dynamics.largest(state.force_deviation, state.structure, state.n_structures),
        dynamics.largest(forces, state.structure, state.n_structures),
        dynamics.distance_ratios(state),
        dynamics.temperatures(state),
    )


def _reason(figures: tuple[float, ...], step: int, settings: ExplorationSettings, stop: float) -> str:
    """One of REASONS, or '' to go on; `figures` as in `_figures`."""
    deviation, force, ratio, temperature = figures
    if not (math.isfinite(deviation) and math.isfinite(force) and math.isfinite(temperature)) or math.isnan(ratio):
        return "nonfinite"
    if ratio < settings.minimum_distance_ratio:
        return "unphysical_distance"
    if force > settings.max_force:
        return "unphysical_force"
    if temperature > settings.max_temperature_K:
        return "unphysical_temperature"
    if deviation > stop and step >= settings.min_steps:
        return "uncertain"
    return "completed" if step == settings.steps else ""


def _frame(trajectory: Trajectory, state: State, index: int, step: int, temperature: float) -> PredictedFrame:
    start = trajectory.walk.configuration
    atoms = slice(sum(state.counts[:index]), sum(state.counts[: index + 1]))
    placed = start
    if step > 0:
        origin = Origin("dynamics", f"{trajectory.walk.seed}/{step}", start.configuration_id)
        placed = Configuration(start.numbers, state.positions[atoms].cpu().numpy(), start.cell, start.pbc, origin)
    prediction = Prediction(
        energy=float(state.energy[index]),
        energy_deviation=float(state.energy_deviation[index]),
        forces=state.forces[atoms].cpu().numpy(),
        stress=None,
        force_deviation=state.force_deviation[atoms].cpu().numpy(),
    )
    info = {"trajectory": trajectory.index, "step": step, "temperature": round(temperature, 3)}
    return PredictedFrame(placed, prediction, info)
