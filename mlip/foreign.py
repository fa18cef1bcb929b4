"""Labelled frames written by others: extended XYZ from ASE, VASP, QUIP or MACE, read with questions asked.

Energy is the free energy where a file has both, the one whose derivatives are the forces. A virial without a stress
becomes one: stress = -virial / volume, as QUIP and MACE have it. A frame is refused, by its index, rather than guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols

from .frames import FrameError, LabelledFrame, read_atoms
from .units import Z_MAX

OWN_KEYS = ("configuration_id", "label_id", "protocol_hash", "source", "seed", "parent")
STRUCTURE_KEYS = ("numbers", "positions")
OTHER_NAMES = {
    "energy": ("REF_energy", "ref_energy", "dft_energy", "DFT_energy", "Energy", "total_energy", "TotEnergy"),
    "forces": ("REF_forces", "ref_forces", "dft_forces", "DFT_forces", "Forces", "force", "dft_force"),
    "stress": ("REF_stress", "ref_stress", "dft_stress", "DFT_stress"),
    "virial": ("virials", "REF_virial", "REF_virials", "ref_virial", "dft_virial", "DFT_virial"),
}
"""Names under which labels in eV and Å go about: of MACE, QUIP and GAP, and of public data sets."""


def read_labelled(path: str | Path, source: str = "user") -> list[LabelledFrame]:
    """Labelled frames of an extended XYZ file by anybody; energy eV, forces eV/Å, stress eV/Å^3 or virial eV.

    :param source: name of the origin of frames that state none.

    Raises FrameError, naming file and frame, for missing labels (with the keys that are there instead), for elements
    outside H-Ar and for a configuration that occurs twice with different labels.
    """
    frames = []
    for index, atoms in enumerate(read_atoms(path)):
        try:
            frames.append(labelled(atoms, source))
        except (FrameError, TypeError, ValueError) as error:
            raise FrameError(f"{path}, frame {index}: {' '.join(str(error).split())}") from error
    check_labelled(frames, str(path))
    return frames


def check_labelled(frames: Sequence[LabelledFrame], name: str) -> None:
    """Raise FrameError, naming `name` and the frame's index, for foreign elements and contradicting labels."""
    first: dict[str, tuple[int, str]] = {}
    for index, frame in enumerate(frames):
        outside = sorted({int(z) for z in frame.configuration.numbers if not 1 <= z <= Z_MAX})
        if outside:
            named = ", ".join(chemical_symbols[z] for z in outside)
            raise FrameError(f"{name}, frame {index}: {frame.configuration.formula}: {named} is outside H-Ar")
        label = replace(frame, protocol_hash="").content_hash
        earlier, known = first.setdefault(frame.configuration.configuration_id, (index, label))
        if known != label:
            raise FrameError(
                f"{name}, frames {earlier} and {index}: {frame.configuration.formula}: the same configuration with "
                "different labels; remove the wrong one"
            )


def frame_of(atoms: ase.Atoms, source: str = "user") -> LabelledFrame:
    """A labelled frame whose labels may go by any of OTHER_NAMES; a single atom needs no forces, they are zero.

    Raises FrameError, TypeError, ValueError or IndexError for a frame that cannot be used, and FrameError where two
    such names hold different numbers.
    """
    results = {} if atoms.calc is None else dict(atoms.calc.results)
    for name, others in OTHER_NAMES.items():
        if name not in results and name not in atoms.info and not (name == "energy" and "free_energy" in results):
            held = {key: held[key] for held in (atoms.info, atoms.arrays) for key in others if key in held}
            values = [np.asarray(value, dtype=np.float64) for value in held.values()]
            if any(value.shape != values[0].shape or (value != values[0]).any() for value in values[1:]):
                raise FrameError(
                    f"{atoms.get_chemical_formula()}: {' and '.join(held)} differ; call one of them {name}"
                )
            if held:
                results[name] = values[0]
    if len(atoms) == 1:
        results.setdefault("forces", np.zeros((1, 3)))
    copy = atoms.copy()
    if "virial" in results:
        copy.info["virial"] = results.pop("virial")
    copy.calc = SinglePointCalculator(copy)
    copy.calc.results.update(results)
    return labelled(copy, source)


def labelled(atoms: ase.Atoms, source: str) -> LabelledFrame:
    """A frame with the labels of its calculator; raises FrameError for one without energy or forces."""
    results = atoms.calc.results if atoms.calc is not None else {}
    missing = [key for key in ("energy", "forces") if key not in results]
    if "free_energy" in results:
        results["energy"] = results["free_energy"]
        missing = [key for key in missing if key != "energy"]
    if missing:
        raise FrameError(_lacking(atoms, missing))
    frame = LabelledFrame.from_atoms(atoms)
    stress = frame.stress if frame.configuration.periodic else None
    virial = next((atoms.info[key] for key in ("virial", "virials") if key in atoms.info), None)
    if stress is None and virial is not None and frame.configuration.periodic:
        stress = -np.asarray(virial, dtype=np.float64).reshape(3, 3) / frame.configuration.volume
    origin = frame.configuration.origin
    if origin.source == "unknown":
        origin = replace(origin, source=source)
    return replace(frame, configuration=replace(frame.configuration, origin=origin), stress=stress)


def _lacking(atoms: ase.Atoms, missing: Sequence[str]) -> str:
    results = atoms.calc.results if atoms.calc is not None else {}
    found = sorted((set(atoms.info) - set(OWN_KEYS)) | (set(atoms.arrays) - set(STRUCTURE_KEYS)) | set(results))
    return (
        f"{atoms.get_chemical_formula()}: no {' and no '.join(missing)}; found {', '.join(found) or 'no other keys'}: "
        "rename what holds them to energy (eV) and forces (eV/Å)"
    )
