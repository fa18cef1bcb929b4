"""Predicted frames: configurations with what a committee says about them, in extended XYZ in and out.

A prediction is not a label: it stands under names of its own (committee_energy, committee_forces ...), so that no
reader takes it for DFT. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase
import numpy as np
from numpy.typing import NDArray

from .frames import Configuration, FrameError, read_atoms, write_atoms

INFO_KEYS = (
    "trajectory",
    "step",
    "temperature",
    "arm",
    "verdict",
    "recipe",
    "packing_attempts",
    "packing_fraction",
    "distance_ratio",
)
"""Keys of `PredictedFrame.info` that a file carries, beside origin and prediction."""

ENERGY_KEY = "committee_energy"
"""In `info` of every frame that has a prediction."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a committee says about one configuration of n atoms."""

    energy: float
    """eV per cell, mean of the members."""
    energy_deviation: float
    """eV per cell, standard deviation of the members."""
    forces: NDArray[np.float64]
    """(n, 3) eV/Å, mean of the members."""
    stress: NDArray[np.float64] | None
    """(3, 3) eV/Å^3, tensile positive, mean of the members; None if not asked for or not periodic."""
    force_deviation: NDArray[np.float64]
    """(n,) eV/Å: sqrt(mean_k |F_k - mean_k F|^2), the vector deviation of each atom."""

    @property
    def force_deviation_max(self) -> float:
        """Largest force deviation of any atom, eV/Å: one bad atom in a hundred is seen."""
        return float(self.force_deviation.max())


@dataclass(frozen=True, eq=False)
class PredictedFrame:
    """A configuration, its prediction and where in which trajectory it was seen."""

    configuration: Configuration
    prediction: Prediction
    info: dict[str, Any] = field(default_factory=dict)
    """Keys of INFO_KEYS: trajectory (int), step (int), temperature (K), arm, verdict ..."""

    def __post_init__(self) -> None:
        n, prediction = len(self.configuration), self.prediction
        if prediction.forces.shape != (n, 3) or prediction.force_deviation.shape != (n,):
            raise FrameError(
                f"{self.configuration.formula}: predicted forces {prediction.forces.shape} and force_deviation "
                f"{prediction.force_deviation.shape}: expected ({n}, 3) and ({n},)"
            )

    def to_atoms(self) -> ase.Atoms:
        """ASE atoms: energy, deviations and stress in `info`, committee_forces and force_deviation as arrays."""
        atoms, prediction = self.configuration.to_atoms(), self.prediction
        atoms.info.update({key: self.info[key] for key in INFO_KEYS if self.info.get(key) is not None})
        atoms.info[ENERGY_KEY] = float(prediction.energy)
        atoms.info["committee_energy_deviation"] = float(prediction.energy_deviation)
        atoms.info["force_deviation_max"] = prediction.force_deviation_max
        if prediction.stress is not None:
            atoms.info["committee_stress"] = np.asarray(prediction.stress)
        atoms.arrays["committee_forces"] = np.array(prediction.forces, dtype=np.float64)
        atoms.arrays["force_deviation"] = np.array(prediction.force_deviation, dtype=np.float64)
        return atoms

    @classmethod
    def from_atoms(cls, atoms: ase.Atoms) -> PredictedFrame:
        """Take configuration and prediction from ASE atoms; FrameError names what is missing."""
        missing = [key for key in (ENERGY_KEY, "committee_energy_deviation") if key not in atoms.info]
        missing += [key for key in ("committee_forces", "force_deviation") if key not in atoms.arrays]
        if missing:
            raise FrameError(f"no stored prediction ({', '.join(missing)} missing); predict the frames first")
        stress = atoms.info.get("committee_stress")
        prediction = Prediction(
            energy=float(atoms.info[ENERGY_KEY]),
            energy_deviation=float(atoms.info["committee_energy_deviation"]),
            forces=np.asarray(atoms.arrays["committee_forces"], dtype=np.float64),
            stress=None if stress is None else np.asarray(stress, dtype=np.float64).reshape(3, 3),
            force_deviation=np.asarray(atoms.arrays["force_deviation"], dtype=np.float64).reshape(len(atoms)),
        )
        info = {key: atoms.info[key] for key in INFO_KEYS if key in atoms.info}
        return cls(Configuration.from_atoms(atoms), prediction, info)


def read_predicted(path: str | Path) -> list[PredictedFrame]:
    """Predicted frames of an extended XYZ file; FrameError names the file and the index of a bad one."""
    frames = []
    for index, atoms in enumerate(read_atoms(path)):
        try:
            frames.append(PredictedFrame.from_atoms(atoms))
        except (ValueError, TypeError) as error:  # a FrameError, or numbers that are none
            raise FrameError(f"{path}, frame {index}: {error}") from error
    return frames


def write_predicted(path: str | Path, frames: Iterable[PredictedFrame]) -> None:
    """Write predicted frames as extended XYZ, one at a time: `frames` may be a generator longer than memory."""
    write_atoms(path, (frame.to_atoms() for frame in frames))
