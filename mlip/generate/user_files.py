"""The user's own structures, read from what people keep them in: extended XYZ, CIF, POSCAR, pymatgen's JSON, any of
ASE's formats.

What periodic DFT needs is seen to here: molecules get a box, surfaces without a third lattice vector get one; labels
are left behind. Partly occupied sites and elements outside H-Ar are refused.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ase
import numpy as np

from ..extxyz import FrameError, beyond_sense, is_file, iterate_atoms
from ..frames import Configuration, Origin
from ..sanity import unphysical
from ..units import MINIMUM_DISTANCE_RATIO_DFT

Reader = Callable[[str], list[ase.Atoms]]
"""File name as it stands in a recipe -> its structures; raises FrameError for one that cannot be read."""


def folder_reader(folder: Path) -> Reader:
    """Reader of files whose names are meant from `folder`."""

    def read(name: str) -> list[ase.Atoms]:
        if name.startswith("group:"):
            raise FrameError(f"{name}: groups of AiiDA can be named in campaign files only")
        return read_structures(folder / name)

    return read


def read_structures(path: Path) -> list[ase.Atoms]:
    """All structures of a file (or of a folder that `argonaut generate` wrote); FrameError says what is wrong."""
    import ase.io

    if path.suffix in (".extxyz", ".xyz") or os.path.isdir(path):
        return list(iterate_atoms(path))
    if not is_file(path):
        raise FrameError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of readers, about files that they then read well
            if path.suffix in (".cif", ".json"):
                return [_from_pymatgen(structure) for structure in _pymatgen(path)]
            return list(ase.io.read(path, index=":"))
    except Exception as error:  # readers raise many kinds, none of which names the file
        problem = " ".join(str(error).split()) or type(error).__name__
        raise FrameError(f"{path}: cannot be read as a structure: {problem}") from error


def prepared(atoms: ase.Atoms, vacuum: float) -> Configuration:
    """The structure in a fully periodic cell, free of labels; FrameError if it may not reach DFT.

    :param vacuum: Å around a molecule, and along directions in which nothing is periodic.
    """
    cell, positions = np.array(atoms.cell.array), np.array(atoms.positions)
    if len(atoms) == 0:
        raise FrameError("holds no atoms")
    if problem := beyond_sense(atoms):
        raise FrameError(problem)
    if not all(atoms.pbc) and (not any(atoms.pbc) or abs(np.linalg.det(cell)) < 1e-6):
        cell, positions = in_a_box(cell, positions, np.array(atoms.pbc), vacuum)
    configuration = Configuration(atoms.numbers, positions, cell, origin=Origin("user"))
    configuration.check_elements()
    if problem := unphysical(configuration, MINIMUM_DISTANCE_RATIO_DFT):
        raise FrameError(f"{configuration.formula}: {problem}, the floor of DFT")
    return configuration


def in_a_box(cell: Any, positions: Any, periodic: Any, vacuum: float) -> tuple[Any, Any]:
    """(3, 3) Å cell and (n, 3) Å positions: what is not periodic gets an extent plus `vacuum`, at right angles."""
    kept = cell[periodic]
    free = ase.cell.Cell(np.where(periodic[:, None], cell, 0.0)).complete().array if len(kept) else np.eye(3)
    box = free.copy()
    for axis in np.flatnonzero(~periodic):
        along = free[axis] / np.linalg.norm(free[axis])
        heights = positions @ along
        box[axis] = along * (np.ptp(heights) + vacuum)
        positions = positions + along * (vacuum / 2 - heights.min())
    return box, positions


def _pymatgen(path: Path) -> Iterator[Any]:
    from pymatgen.core import Molecule, Structure
    from pymatgen.io.cif import CifParser

    if path.suffix == ".cif":
        yield from CifParser(str(path)).parse_structures(primitive=False)
        return
    try:
        yield Structure.from_file(str(path))
    except (KeyError, ValueError, TypeError):
        yield Molecule.from_file(str(path))


def _from_pymatgen(structure: Any) -> ase.Atoms:
    if not structure.is_ordered:
        raise FrameError(f"{structure.formula}: sites are partly occupied; give an ordered structure")
    numbers = [site.specie.Z for site in structure]
    lattice = getattr(structure, "lattice", None)
    cell = None if lattice is None else lattice.matrix
    return ase.Atoms(numbers=numbers, positions=structure.cart_coords, cell=cell, pbc=cell is not None)
