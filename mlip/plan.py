"""What is settled before the first training step: split, baseline, scale, sizes, and the samples themselves.

All of it follows from the data and the settings alone, not from a member's seed, so that members trained one by one, on
different machines, still make one committee.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray

from .. import __version__
from .baseline import Baseline, fit_reference_energies
from .dataset import Dataset
from .frames import LabelledFrame, hash_document
from .graph import build_graph
from .graph_cache import cached
from .initial import Initial, carried, shifted_energies
from .potential import Architecture, baseline_part, get_architecture
from .samples import Samples
from .train_settings import TrainingError, TrainSettings
from .units import Z_MAX

ARCHITECTURE, PRESET = "teanet", "campaign"
"""What is trained where nothing else is asked for."""
SMALLEST_SCALE = 0.05
"""eV/Å: scale of a dataset whose forces all vanish."""
REPULSION_REACH = 2.5
"""Å: longer than the repulsion of any pair of H-Ar (0.75 of the summed covalent radii, 2.49 Å for two Na)."""


@dataclass(frozen=True)
class Plan:
    """What all members of a committee share."""

    architecture: Architecture
    preset: str
    config: Any
    baseline: Baseline
    settings: TrainSettings
    samples: Samples
    """All frames with their bonds, the baseline taken off."""
    train: NDArray[np.int64]
    """(t,) which of them are trained on."""
    validation: NDArray[np.int64]
    """(v,) which of them judge; without any, those that are trained on."""
    fingerprint: str
    """Hash of data, architecture, config, baseline and settings."""
    card: dict[str, Any]
    stress: bool
    """Whether any frame has a stress."""


def make_plan(
    dataset: Dataset,
    architecture: str | None,
    preset: str | None,
    settings: TrainSettings,
    reference_energies: Mapping[int, float] | None,
    elements: Collection[int],
    device: torch.device | str,
    initial: Initial | None = None,
    cache: Path | None = None,
) -> Plan:
    """Fit what is fitted without a network and prepare the samples, which stay on disk where there is a `cache` folder.

    `architecture` and `preset` None: those of `initial`, else the defaults. Raises TrainingError for unusable data and
    for an architecture or preset that contradicts `initial`.
    """
    if len(dataset) == 0:
        raise TrainingError("the dataset has no frames")
    if initial is None:
        chosen, preset = get_architecture(architecture or ARCHITECTURE), preset or PRESET
        config = _fitted_config(chosen.preset(preset), dataset.frames)
    else:
        _check_kind(initial, architecture, preset)
        start = initial.committee
        chosen, preset, config = start.architecture, start.preset, start.config
    isolated, told = isolated_energies(dataset.frames, config.cutoff, elements, initial)
    if reference_energies is None:
        reference_energies = isolated
    elif isolated is None or any(reference_energies.get(z) != energy for z, energy in isolated.items()):
        told = "given"
    baseline = fit_baseline(dataset.frames, reference_energies, elements, initial)
    parts = dataset.split(settings.validation_fraction, settings.split_seed)
    frames = [frame for part in parts for frame in part.frames]
    if cache is None:
        samples = Samples.prepare(frames, baseline, config.cutoff)
    else:
        samples = cached(frames, config.cutoff, cache, baseline)
    train, validation = np.split(np.arange(len(samples)), [len(parts[0])])
    free = (samples.atoms == 1) & (samples.bonds == 0)  # right by their reference energies: they would flatter
    train, validation = np.concatenate([train, validation[free[validation]]]), validation[~free[validation]]
    card = _card(dataset, len(train), len(validation), chosen.name, preset, settings, told)
    return Plan(
        architecture=chosen,
        preset=preset,
        config=config,
        baseline=baseline,
        settings=settings,
        samples=samples,
        train=train,
        validation=validation if len(validation) else train,
        fingerprint=hash_document({"card": card, "config": asdict(config), "baseline": baseline.to_document()}),
        card=card,
        stress=any(frame.stress is not None for frame in dataset.frames),
    )


def _check_kind(initial: Initial, architecture: str | None, preset: str | None) -> None:
    start = initial.committee
    for what, asked, has in (("architecture", architecture, start.architecture.name), ("preset", preset, start.preset)):
        if asked not in (None, has):
            raise TrainingError(
                f"{what} {asked!r}: the initial model has {has!r}, and its weights fit nothing else; leave the {what} "
                "out or train without an initial model"
            )


def fit_baseline(
    frames: Sequence[LabelledFrame],
    reference_energies: Mapping[int, float] | None,
    elements: Collection[int] = (),
    initial: Initial | None = None,
) -> Baseline:
    """Reference energies (given in eV per atomic number, else least squares) and scale for these frames.

    Of `elements` those that are in no frame get the mean of the fitted energies: a model that shall meet them in
    exploration has to have some number, and the first labels with them will correct it. With `initial`, its scale and
    its elements stay, and its energies are shifted (see initial.py) where none are given.

    The scale is the mean over frames (of more than one atom) of the root mean square force that the repulsion leaves
    over, so one frame of colliding atoms does not set it. Raises TrainingError if a given table lacks one of `elements`
    or of the frames.
    """
    old = None if initial is None else initial.committee.baseline
    blank = Baseline(tuple((z, 0.0) for z in range(1, Z_MAX + 1)), repulsion=old is None or old.repulsion)
    ground = [baseline_part(blank, build_graph([frame.configuration], REPULSION_REACH), False) for frame in frames]
    energies = _energies(frames, reference_energies, elements, initial, [float(part.energy[0]) for part in ground])
    if old is not None:
        return Baseline(energies, old.repulsion, old.scale)
    rest = [f.forces - part.forces.numpy() for f, part in zip(frames, ground, strict=True) if len(f) > 1]
    scale = float(np.mean([np.sqrt(np.mean(force**2)) for force in rest])) if rest else 0.0
    return Baseline(energies, scale=max(scale, SMALLEST_SCALE))


def _energies(
    frames: Sequence[LabelledFrame],
    given: Mapping[int, float] | None,
    elements: Collection[int],
    initial: Initial | None,
    repulsion: Sequence[float],
) -> tuple[tuple[int, float], ...]:
    if given is not None:
        occurring = {int(z) for frame in frames for z in frame.configuration.numbers}
        _check_given(given, occurring, "the frames")
        _check_given(given, elements, "the elements the model shall know")
        found = {int(z): float(energy) for z, energy in given.items()}
        if initial is not None:
            found = carried(dict(initial.committee.baseline.reference_energies), found)
        return tuple(sorted(found.items()))
    if initial is None:
        found = dict(fit_reference_energies(frames, repulsion))
    else:
        found = shifted_energies(initial.committee, frames, repulsion)
    mean = float(np.mean(list(found.values())))
    return tuple(sorted({**dict.fromkeys(elements, mean), **found}.items()))


def _check_given(reference_energies: Mapping[int, float], elements: Collection[int], whose: str) -> None:
    lacking = sorted(set(elements) - set(reference_energies))
    if lacking:
        names, have = (", ".join(chemical_symbols[z] for z in some) for some in (lacking, sorted(reference_energies)))
        raise TrainingError(
            f"the given reference energies lack {names}, of {whose}; they have {have}: add what is missing, "
            "or give none to have them fitted"
        )


def isolated_energies(
    frames: Sequence[LabelledFrame],
    cutoff: float,
    wanted: Collection[int] = (),
    initial: Initial | None = None,
) -> tuple[dict[int, float] | None, str]:
    """Atomic number -> eV of the isolated atoms among the frames, and in words where reference energies come from.

    None unless every element of the frames, and all that are `wanted`, have such an atom: energies are then fitted.
    Compositions may decide fewer energies than there are elements (one, for frames of one molecule), which is said.
    """
    atoms = [frame for frame in frames if len(frame) == 1]
    found = {
        int(frame.configuration.numbers[0]): frame.energy
        for frame in atoms
        if build_graph([frame.configuration], cutoff).n_bonds == 0
    }
    elements = sorted({int(z) for frame in frames for z in frame.configuration.numbers})
    if {*elements, *wanted} <= set(found):
        return found, "isolated atoms among the frames"
    if initial is not None:
        return None, f"those of the initial model, shifted by least squares on all {len(frames)} frames"
    counts = np.array([[np.count_nonzero(f.configuration.numbers == z) for z in elements] for f in frames])
    rank = int(np.linalg.matrix_rank(np.unique(counts / counts.sum(1, keepdims=True), axis=0)))
    decided = "" if rank == len(elements) else f", whose compositions decide {rank} of {len(elements)} energies"
    return None, f"least squares on all {len(frames)} frames{decided}"


def _fitted_config(config: Any, frames: Sequence[LabelledFrame]) -> Any:
    """The preset's config with the average number of neighbours of these frames, if it has such a field."""
    if "average_neighbours" not in {field.name for field in fields(config)}:
        return config
    graphs = [build_graph([frame.configuration], config.cutoff) for frame in frames if len(frame) > 1]
    if not graphs:
        return config
    average = 2.0 * sum(graph.n_bonds for graph in graphs) / sum(graph.n_atoms for graph in graphs)
    return replace(config, average_neighbours=max(round(average, 3), 1.0))


def _card(
    dataset: Dataset,
    n_train: int,
    n_validation: int,
    architecture: str,
    preset: str,
    settings: TrainSettings,
    energies: str,
) -> dict[str, Any]:
    return {
        "created_by": f"aiida-argonaut {__version__}",
        "torch": torch.__version__,
        "architecture": architecture,
        "preset": preset,
        "dataset": {
            "content_hash": dataset.content_hash,
            "protocol_hash": dataset.protocol_hash,
            "n_frames": len(dataset),
            "n_train": n_train,
            "n_validation": n_validation,
        },
        "reference_energies": energies,
        "settings": asdict(settings),
    }
