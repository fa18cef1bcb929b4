"""Labelled frames to train on, from files by anybody: what is wrong with a frame is said, by file and index.

Looked for one by one: missing or non-finite labels, shapes, periodicity in one or two directions, elements outside
H-Ar, atoms in one place. Looked for among all: one configuration with two labels, and labels in other units or with
another zero of energy. For the latter, energies per atom are fitted by energies e_z of the elements,

    min sum_frames |E / n - sum_z (n_z / n) e_z|,

least absolute deviations (by iteratively reweighted least squares), which a minority of wrong frames hardly moves. A
frame is suspected if it is off by more than 50 eV/atom, or by far more than others and by a factor between two units.
What cannot be found: units or a zero of energy that are wrong in most frames, and a stress with the wrong sign.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
from numpy.typing import NDArray
from vesin import NeighborList

from .dataset import Dataset, DatasetError, is_dataset, merge
from .extxyz import FrameError, beyond_sense, iterate_atoms
from .foreign import frame_of
from .frames import LabelledFrame

DATABASES = (".db", ".json")
"""Suffixes of ASE databases, SQLite and JSON."""
ONE_PLACE = 0.2
"""Å: two atoms closer than this are one atom that was written twice."""
SAME_ENERGY, SAME_FORCE = 1e-5, 1e-4
"""eV/atom and eV/Å: labels that differ by no more are the same label, printed with fewer digits."""
FARTHEST = 50.0
"""eV/atom: farther from what its composition suggests is no energy of the same zero."""
CLEARLY = 10.0
"""Robust standard deviations from which a deviation is looked at for a factor between units."""
LEAST = 0.5
"""eV/atom, the smallest such deviation."""
FEWEST = 8
"""Frames below which none is compared with the others."""
ENERGY_FACTORS = {1 / 27.2114: "hartree", 1 / 13.6057: "Ry", 23.0605: "kcal/mol", 96.4853: "kJ/mol"}
"""Number in the file over number in eV -> unit."""
FORCE_FACTORS = {23.0605: "kcal/mol/Å", 96.4853: "kJ/mol/Å", 51.4221: "eV/Å converted from hartree/bohr twice"}
"""The same for forces that are too large; small ones are those of relaxed structures."""
SHOWN = 5
"""Bad frames that an error lists."""


@dataclass(frozen=True, order=True)
class Skipped:
    """A frame that is not trained on."""

    path: str
    index: int
    """Of the frame in its file, from 0."""
    why: str
    bad: bool = True
    """False for an exact duplicate, which is no fault."""

    def __str__(self) -> str:
        return f"{self.path}, frame {self.index}: {self.why}"


@dataclass(frozen=True, eq=False)
class Found:
    """A frame and where it stands."""

    path: str
    index: int
    frame: LabelledFrame


def load_training_frames(
    paths: Sequence[str | Path], skip_bad: bool = False, check_units: bool = True
) -> tuple[Dataset, list[Skipped]]:
    """One dataset of all frames of extended XYZ files, ASE databases, dataset folders and sharded folders.

    :param skip_bad: leave bad frames out rather than refuse.
    :param check_units: look for other units and zeros of energy.

    Also returned is what was left out and why, exact duplicates among it. Raises FrameError or DatasetError in one line
    for a file that is empty or cannot be read, for bad frames (the first five and their number), for files of different
    protocols, and if nothing is left.
    """
    found: list[Found] = []
    skipped: list[Skipped] = []
    protocols: dict[str, dict[str, Any]] = {}
    for path in map(str, paths):
        protocols[path] = _read(path, found, skipped)
    for check in (contradictions, *((strange_energies, strange_forces) if check_units else ())):
        found = _without(found, check([each.frame for each in found]), skipped)
    bad = sorted(each for each in skipped if each.bad)
    if bad and not skip_bad:
        raise FrameError(_refusal(bad, len(found) + len(bad)))
    found = _without(found, repetitions(found), skipped, bad=False)
    if not found:
        raise FrameError(f"{', '.join(map(str, paths)) or 'no paths'}: no frame is left to train on")
    return _joined(found, protocols), sorted(skipped)


def _refusal(bad: Sequence[Skipped], total: int) -> str:
    """All that is to be said of bad frames, in one line; a file is named before its first frame."""
    shown = [
        f"frame {each.index}: {each.why}" if before and before.path == each.path else str(each)
        for before, each in zip([None, *bad], bad[:SHOWN], strict=False)
    ]
    more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return f"{len(bad)} of {total} frames are bad; mend them or have them skipped: {'; '.join(shown)}{more}"


def _joined(found: Sequence[Found], protocols: Mapping[str, dict[str, Any]]) -> Dataset:
    parts = []
    for path in dict.fromkeys(each.path for each in found):
        try:
            parts.append(Dataset.from_frames((each.frame for each in found if each.path == path), protocols[path]))
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from error
    return merge(parts)


def _read(path: str, found: list[Found], skipped: list[Skipped]) -> dict[str, Any]:
    """Add the frames of a path and its bad frames to the lists; the protocol's document, if it has one."""
    if is_dataset(path):
        dataset = Dataset.load(path)
        found += [Found(path, index, frame) for index, frame in enumerate(dataset.frames)]
        return dataset.protocol
    rows = _database(path) if path.endswith(DATABASES) else iterate_atoms(path, sensible=False)
    for index, atoms in enumerate(rows):
        try:
            found.append(Found(path, index, _checked(atoms)))
        except (FrameError, TypeError, ValueError, IndexError) as error:
            skipped.append(Skipped(path, index, " ".join(str(error).split())))
    return {}


def _database(path: str) -> Iterator[ase.Atoms]:
    from ase.db import connect

    if not Path(path).is_file():
        raise FrameError(f"{path}: no such file")
    try:
        rows = list(connect(path).select()) if Path(path).stat().st_size else []
        read = [(row.toatoms(), row.key_value_pairs) for row in rows]
    except Exception as error:  # ase and sqlite raise many kinds, none of which names the file
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        raise FrameError(f"{path}: not readable as an ASE database: {problem}") from error
    if not read:
        raise FrameError(f"{path}: holds no frames")
    for atoms, pairs in read:
        atoms.info.update(pairs)
        yield atoms


def _checked(atoms: ase.Atoms) -> LabelledFrame:
    """The frame, if nothing is wrong with it that can be seen from itself alone."""
    if problem := beyond_sense(atoms):
        raise FrameError(problem)
    frame = frame_of(atoms)
    configuration = frame.configuration
    configuration.check_elements()
    finder = NeighborList(cutoff=ONE_PLACE, full_list=False, n_threads=1)
    positions, cell = np.array(configuration.positions), np.array(configuration.cell)
    i, j, distances = finder.compute(positions, cell, configuration.periodic, "ijd")
    if len(i):
        nearest = int(np.argmin(distances))
        raise FrameError(f"atoms {i[nearest]} and {j[nearest]} are {distances[nearest]:.3f} Å apart")
    return frame


def _without(found: list[Found], why: Mapping[int, str], skipped: list[Skipped], bad: bool = True) -> list[Found]:
    """The frames that nothing is said of; the others go to `skipped`."""
    skipped += [Skipped(found[index].path, found[index].index, reason, bad) for index, reason in why.items()]
    return [each for index, each in enumerate(found) if index not in why]


def _alike(frames: Sequence[LabelledFrame]) -> list[list[int]]:
    """Indices of frames of one configuration, where there are several."""
    groups: dict[str, list[int]] = {}
    for index, frame in enumerate(frames):
        groups.setdefault(frame.configuration.configuration_id, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def contradictions(frames: Sequence[LabelledFrame]) -> dict[int, str]:
    """Index -> reason for frames of one configuration whose labels differ; which is right cannot be known."""
    why: dict[int, str] = {}
    for group in _alike(frames):
        first = frames[group[0]]
        if all(_same(first, frames[index]) for index in group[1:]):
            continue
        energies = ", ".join(f"{frames[index].energy:.6f}" for index in group[:3])
        for index in group:
            why[index] = (
                f"{first.configuration.formula}: the same configuration stands there {len(group)} times with different "
                f"labels (energies {energies} eV); keep the right one"
            )
    return why


def repetitions(found: Sequence[Found]) -> dict[int, str]:
    """Index -> reason for frames that stand there already, with the same label."""
    return {
        index: f"the same as {found[group[0]].path}, frame {found[group[0]].index}, which is kept"
        for group in _alike([each.frame for each in found])
        for index in group[1:]
    }


def _same(one: LabelledFrame, other: LabelledFrame) -> bool:
    energy = abs(one.energy - other.energy) <= SAME_ENERGY * len(one)
    return energy and bool(np.abs(one.forces - other.forces).max() <= SAME_FORCE)


def strange_energies(frames: Sequence[LabelledFrame]) -> dict[int, str]:
    """Index -> suspicion for frames whose energy is far from what their composition suggests."""
    if len(frames) < FEWEST:
        return {}
    given = np.array([frame.energy / len(frame) for frame in frames])
    expected = _by_composition(frames, given)
    off = np.abs(given - expected)
    clearly = max(CLEARLY * 1.4826 * float(np.median(off)), LEAST)
    why: dict[int, str] = {}
    for index in np.flatnonzero(off > min(clearly, FARTHEST)).tolist():
        factor = _factor(given[index] / expected[index] if expected[index] else 0.0, ENERGY_FACTORS, 0.05)
        unit = ENERGY_FACTORS.get(factor, "") if off[index] > clearly else ""
        if unit or off[index] > FARTHEST:
            guess = f"is it in {unit}?" if unit else "is it of another code, method or zero?"
            why[index] = (
                f"energy {given[index]:.4g} eV/atom where the other frames suggest {expected[index]:.4g}: {guess}"
            )
    return why


def _by_composition(frames: Sequence[LabelledFrame], given: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) eV/atom: the least absolute deviations fit of the head of this file."""
    elements = sorted({int(z) for frame in frames for z in frame.configuration.numbers})
    counts = [[np.count_nonzero(frame.configuration.numbers == z) for z in elements] for frame in frames]
    shares = np.array(counts, dtype=float) / np.array([len(frame) for frame in frames])[:, None]
    middle = float(np.median(given))
    weights = np.ones(len(frames))
    for _ in range(50):
        root = np.sqrt(weights)
        found, *_ = np.linalg.lstsq(shares * root[:, None], (given - middle) * root, rcond=1e-9)
        weights = 1.0 / np.maximum(np.abs(given - middle - shares @ found), 1e-3)
    return middle + shares @ found


def _factor(ratio: float, factors: Mapping[float, str], tolerance: float) -> float:
    """The factor that `ratio` is within a relative `tolerance`; 0 if none."""
    return next((factor for factor in factors if abs(ratio / factor - 1) < tolerance), 0.0)


def strange_forces(frames: Sequence[LabelledFrame]) -> dict[int, str]:
    """Index -> suspicion for frames whose forces are far larger than those of others, by a factor between units."""
    sizes = np.array([float(np.sqrt(np.mean(frame.forces**2))) for frame in frames])
    some = sizes[sizes > 1e-6]
    if len(some) < FEWEST:
        return {}
    middle = float(np.median(some))
    spread = 1.4826 * float(np.median(np.abs(np.log(some / middle))))
    why: dict[int, str] = {}
    for index in np.flatnonzero(sizes > middle * np.exp(max(6 * spread, 2.5))).tolist():
        if factor := _factor(sizes[index] / middle, FORCE_FACTORS, 0.4):
            why[index] = (
                f"forces of {sizes[index]:.3g} eV/Å (root mean square) where the other frames have {middle:.3g}: "
                f"are they in {FORCE_FACTORS[factor]}?"
            )
    return why
