"""Training of a committee: Adam on a force-matching loss, member by member, within a budget of steps and seconds.

How one member is trained: member.py; what is minimised: objective.py; what all members share: plan.py.

A fine-tune (see initial.py) begins with the weights of another model, which are validated before the first step: what
is kept is never worse on the validation frames than what it began with.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from .checkpoint import TrainingState
from .committee import Committee
from .dataset import Dataset
from .frames import hash_document
from .graph import device_of
from .initial import Initial
from .member import Member, Report, tied, untied_config
from .plan import make_plan
from .train_settings import TrainingError, TrainSettings

__all__ = ["Report", "TrainSettings", "TrainingError", "train_committee"]


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
    cache: Path | None = None,
    stop_after: float | None = None,
) -> Committee:
    """Train members with seeds `seed`, `seed + 1` ... on `dataset`, from random weights or from those of `initial`.

    `architecture`, `preset`: None is what `initial` has, else teanet and campaign; `reference_energies`:
    atomic number -> eV of the free atom, else least squares; `elements`: atomic numbers that the models shall know even
    where no frame has them (see `plan.fit_baseline`); `budget`: wall time in s for all members together; `checkpoints`:
    folder for resuming; `cache`: folder in which the bonds of all frames lie, read as they are needed, instead of in
    memory; `stop_after`: s, after which TrainingPaused is raised and `checkpoints` hold what there is. Raises
    TrainingError for data that cannot be trained with.
    """
    began = time.monotonic()
    device = device_of(device)
    settings = settings or TrainSettings()
    plan = make_plan(dataset, architecture, preset, settings, reference_energies, elements, device, initial, cache)
    members, metrics, records = [], [], []
    steps: dict[Any, Any] = {}
    deadline = None if stop_after is None else began + stop_after
    for index in range(n_members):
        share = None if budget is None else budget / n_members
        path = None if checkpoints is None else checkpoints / f"member-{seed + index}.safetensors"
        member = Member(plan, seed + index, device, share, deadline, steps)
        state = _trained(member, path, report, initial, index)
        weights = member.network(state).parameters(state.best)
        members.append({name: part.cpu().clone() for name, part in weights.items()})
        metrics += [{"member": index, **line} for line in state.metrics]
        records.append(_member_card(state, member, initial, index))
    return Committee(
        plan.architecture,
        plan.preset,
        untied_config(plan) if tied(plan.config) else plan.config,
        plan.baseline,
        tuple(members),
        {**plan.card, "members": records},
        tuple(metrics),
    )


def _trained(
    member: Member, path: Path | None, report: Report | None, initial: Initial | None, index: int
) -> TrainingState:
    """Train one member from its seed, from the weights it begins with, or from its checkpoint if there is one."""
    begun = [] if initial is None else [initial.document(index)]
    mark = hash_document([member.plan.fingerprint, member.seed, *begun])
    if path is not None and path.exists():
        state = TrainingState.load(path, mark, member.device)
    else:
        state = member.first_state(None if initial is None else initial.weights(index))
    return member.train(state, path, mark, report)


def _member_card(state: TrainingState, member: Member, initial: Initial | None, index: int) -> dict[str, Any]:
    best = min(state.metrics, key=lambda line: (line["validation_loss"], -line["step"]))
    by_steps, by_time = state.step >= member.plan.settings.steps, member.progress(state) >= 1
    card = {
        "seed": member.seed,
        "steps": state.step,
        "seconds": round(state.seconds, 2),
        "compiled": bool(state.compiled),
        "compile_seconds": round(state.compile_seconds, 2),
        "ended_by": "steps" if by_steps else "budget" if by_time else "patience",
        "rollbacks": state.rollbacks,
        "batch_share": state.batch_share,
        "best": best,
    }
    return card if initial is None else {**card, "initial": initial.document(index)}
