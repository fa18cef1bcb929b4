"""Configurations and labelled frames: the two things that travel between all stages.

A `Configuration` is a structure nobody has labelled; a `LabelledFrame` is one with energy, forces and stress. They are
two types, so that an unlabelled structure cannot reach training.

Identity is by content. `Configuration` rounds positions and cell to 1e-8 Å, the precision of the extended XYZ file
format, so that writing and reading back changes nothing, and `configuration_id` is a hash of exactly these numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from .extxyz import FrameError, file_name, frame_text, read_atoms, write_atoms
from .units import Z_MAX

DECIMALS = 8
"""Decimals of an Å that a configuration keeps: what extended XYZ files hold."""


@dataclass(frozen=True)
class Origin:
    """Where a configuration comes from."""

    source: str = "unknown"
    """Name of the generator: packing, dynamics, user ..."""
    seed: str = ""
    """What reproduces it from its source, e.g. '7/12': recipe seed / index."""
    parent: str = ""
    """configuration_id of the configuration it was made from, empty for a founder."""


@dataclass(frozen=True, eq=False)
class Configuration:
    """A periodic or isolated arrangement of atoms, without labels."""

    numbers: NDArray[np.int64]
    """(n,) atomic numbers."""
    positions: NDArray[np.float64]
    """(n, 3) Å."""
    cell: NDArray[np.float64]
    """(3, 3) Å, one lattice vector per row; zero where not periodic."""
    pbc: tuple[bool, bool, bool] = (True, True, True)
    """Periodic in all directions or in none; anything else is refused."""
    origin: Origin = field(default_factory=Origin)

    def __post_init__(self) -> None:
        numbers = np.array(self.numbers, dtype=np.int64)
        positions = np.round(np.array(self.positions, dtype=np.float64), DECIMALS) + 0.0
        cell = np.round(np.array(self.cell, dtype=np.float64), DECIMALS) + 0.0
        pbc = tuple(bool(p) for p in self.pbc)
        if numbers.ndim != 1 or len(numbers) == 0 or positions.shape != (len(numbers), 3) or cell.shape != (3, 3):
            raise FrameError(
                f"numbers {numbers.shape}, positions {positions.shape}, cell {cell.shape}: expected (n,), (n, 3) and "
                "(3, 3) with n > 0"
            )
        if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
            raise FrameError("positions or cell hold NaN or infinite numbers")
        if len(set(pbc)) != 1:
            raise FrameError(f"pbc {pbc}: periodic in all three directions or in none is supported")
        if pbc[0] and abs(np.linalg.det(cell)) < 1e-6:
            raise FrameError("the cell of a periodic configuration has no volume")
        for name, array in (("numbers", numbers), ("positions", positions), ("cell", cell)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "pbc", pbc)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def periodic(self) -> bool:
        """True if periodic in all three directions."""
        return self.pbc[0]

    @property
    def volume(self) -> float:
        """Volume of the cell in Å^3 (0 if not periodic)."""
        return float(abs(np.linalg.det(self.cell))) if self.periodic else 0.0

    @property
    def configuration_id(self) -> str:
        """'c' and 31 hex digits over numbers, positions, cell and pbc as stored: order matters, the origin does not.

        The letter in front keeps readers of extended XYZ from taking an id such as 1234e56 for a number.
        """
        digest = hashlib.sha256()
        for part in (self.numbers.astype("<i8"), self.positions.astype("<f8"), self.cell.astype("<f8")):
            digest.update(part.tobytes())
        digest.update(bytes(self.pbc))
        return "c" + digest.hexdigest()[:31]

    @property
    def formula(self) -> str:
        """Chemical formula in Hill order."""
        return str(ase.Atoms(numbers=self.numbers).get_chemical_formula(mode="hill"))

    def to_atoms(self) -> ase.Atoms:
        """The same as ASE atoms, with the origin and the id in `info`."""
        atoms = ase.Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.pbc)
        atoms.info.update(self._notes())
        return atoms

    def to_text(self, figures: Mapping[str, Any] | None = None) -> str:
        """The same as extended XYZ, with `figures` added to `info`."""
        info = {**self._notes(), **(figures or {})}
        return frame_text(self.numbers, self.positions, self.cell, self.pbc, info)

    def _notes(self) -> dict[str, str]:
        origin = {key: getattr(self.origin, key) for key in ("source", "seed", "parent")}
        return {"configuration_id": self.configuration_id, **{key: value for key, value in origin.items() if value}}

    @classmethod
    def from_atoms(cls, atoms: ase.Atoms) -> Configuration:
        """Take structure and origin from ASE atoms; labels are left behind."""
        origin = Origin(
            source=str(atoms.info.get("source", "unknown")),
            seed=str(atoms.info.get("seed", "")),
            parent=str(atoms.info.get("parent", "")),
        )
        return cls(atoms.numbers, atoms.positions, np.asarray(atoms.cell.array), tuple(atoms.pbc), origin)

    def check_elements(self) -> None:
        """Raise FrameError if an element is outside H-Ar."""
        outside = sorted({int(z) for z in self.numbers if not 1 <= z <= Z_MAX})
        if outside:
            raise FrameError(f"{self.formula}: atomic numbers {outside} are outside H-Ar (1-{Z_MAX})")


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """A configuration with what DFT says about it."""

    configuration: Configuration
    energy: float
    """eV per cell; free energy under smearing."""
    forces: NDArray[np.float64]
    """(n, 3) eV/Å."""
    stress: NDArray[np.float64] | None
    """(3, 3) eV/Å^3, tensile positive; None where it is not defined or not trusted."""
    protocol_hash: str
    """Hash of everything that decides what the label means (see dft_inputs.protocol)."""

    def __post_init__(self) -> None:
        forces = np.round(np.array(self.forces, dtype=np.float64), DECIMALS) + 0.0
        if forces.shape != (len(self.configuration), 3):
            raise FrameError(f"forces {forces.shape}: expected ({len(self.configuration)}, 3)")
        stress = None if self.stress is None else np.array(self.stress, dtype=np.float64)
        if stress is not None and stress.shape != (3, 3):
            raise FrameError(f"stress {stress.shape}: expected (3, 3)")
        finite = np.isfinite(self.energy) and np.isfinite(forces).all()
        if not finite or (stress is not None and not np.isfinite(stress).all()):
            raise FrameError("energy, forces or stress hold NaN or infinite numbers")
        object.__setattr__(self, "energy", float(self.energy))
        object.__setattr__(self, "forces", forces)
        object.__setattr__(self, "stress", stress)

    def __len__(self) -> int:
        return len(self.configuration)

    @property
    def label_id(self) -> str:
        """'l' and 31 hex digits: which configuration was labelled, under which protocol."""
        return label_id(self.configuration, self.protocol_hash)

    @property
    def content_hash(self) -> str:
        """sha256 over label_id and the label's numbers (energy to 1e-8 eV, forces to 1e-8 eV/Å, stress to 1e-10)."""
        digest = hashlib.sha256(self.label_id.encode())
        digest.update(np.round(np.array([self.energy]), 8).astype("<f8").tobytes())
        digest.update(self.forces.astype("<f8").tobytes())
        if self.stress is not None:
            digest.update((np.round(self.stress, 10) + 0.0).astype("<f8").tobytes())
        return digest.hexdigest()

    def to_atoms(self) -> ase.Atoms:
        """ASE atoms with a SinglePointCalculator (energy, forces, stress) and the ids in `info`."""
        atoms = self.configuration.to_atoms()
        results: dict[str, Any] = {"energy": self.energy, "free_energy": self.energy, "forces": self.forces}
        if self.stress is not None:
            results["stress"] = self.stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.info["label_id"] = self.label_id
        if self.protocol_hash:  # 'protocol_hash= energy=...' in extended XYZ would swallow the energy
            atoms.info["protocol_hash"] = self.protocol_hash
        return atoms

    @classmethod
    def from_atoms(cls, atoms: ase.Atoms) -> LabelledFrame:
        """Take structure, labels and protocol hash from ASE atoms; raise FrameError where labels are missing."""
        results = atoms.calc.results if atoms.calc is not None else {}
        missing = [key for key in ("energy", "forces") if key not in results]
        if missing:
            raise FrameError(
                f"{atoms.get_chemical_formula()}: no {' and no '.join(missing)}; a labelled frame needs both"
            )
        stress = results.get("stress")
        if stress is not None:
            stress = np.asarray(stress, dtype=np.float64)
            stress = stress.reshape(3, 3) if stress.size == 9 else stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
        return cls(
            Configuration.from_atoms(atoms),
            float(results.get("free_energy", results["energy"])),
            np.asarray(results["forces"]),
            stress,
            str(atoms.info.get("protocol_hash", "")),
        )


def label_id(configuration: Configuration, protocol_hash: str) -> str:
    """'l' and 31 hex digits naming the label of a configuration under a protocol, known before it is computed."""
    return "l" + hashlib.sha256(f"{configuration.configuration_id}:{protocol_hash}".encode()).hexdigest()[:31]


def hash_document(document: Any) -> str:
    """sha256 of a JSON-like document, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_configurations(path: str | Path | TextIO) -> list[Configuration]:
    """Configurations of an extended XYZ file, of H-Ar; labels in the file are left behind."""
    return [_named(path, index, _configuration, atoms) for index, atoms in enumerate(read_atoms(path))]


def write_configurations(path: str | Path, configurations: Sequence[Configuration]) -> None:
    """Write configurations with their origin as extended XYZ."""
    write_atoms(path, (configuration.to_atoms() for configuration in configurations))


def read_frames(path: str | Path | TextIO) -> list[LabelledFrame]:
    """Labelled frames of an extended XYZ file, of H-Ar; FrameError names file and index of a bad one."""
    return [_named(path, index, _labelled_frame, atoms) for index, atoms in enumerate(read_atoms(path))]


def write_frames(path: str | Path, frames: Sequence[LabelledFrame]) -> None:
    """Write labelled frames as extended XYZ: energy eV, forces eV/Å, stress eV/Å^3."""
    write_atoms(path, (frame.to_atoms() for frame in frames))


def _configuration(atoms: ase.Atoms) -> Configuration:
    configuration = Configuration.from_atoms(atoms)
    configuration.check_elements()
    return configuration


def _labelled_frame(atoms: ase.Atoms) -> LabelledFrame:
    frame = LabelledFrame.from_atoms(atoms)
    frame.configuration.check_elements()
    return frame


def _named(path: Any, index: int, convert: Any, atoms: ase.Atoms) -> Any:
    try:
        return convert(atoms)
    except (ValueError, TypeError) as error:  # a FrameError, or numbers that are none
        raise FrameError(f"{file_name(path)}, frame {index}: {error}") from error
