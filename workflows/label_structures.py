"""Structures that a user gives to be labelled as they are: each once, in the order given, with the place it stood at.

Nothing is dropped here. What cannot be read, or is outside H-Ar, is refused; what is read but cannot be labelled (not
periodic, atoms too close) goes on to the label stage, which counts it as a loss with its reason.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import ase
import numpy as np
from ase.data import chemical_symbols

from ..mlip.extxyz import FrameError, beyond_sense
from ..mlip.frames import Configuration, write_atoms
from ..mlip.generate.user_files import in_a_box, read_structures
from ..mlip.settings import SettingsError
from .data import FRAMES_FILE, ConfigurationsData
from .reference_atoms import SOURCE, is_reference_atom, isolated_atoms

GIVEN, ALSO_GIVEN = "given", "also_given"
"""Keys in `info`: the file#frame of a structure, and all further ones of the same structure."""
FLAT = 1e-6
"""Å^3: a cell below it has no third vector."""
_UNUSUAL = re.compile(r"[^\w./+~@:,=()-]")
"""Characters of a path that extended XYZ, or a reader of it, might take for something else."""


@dataclass(frozen=True)
class GivenStructures:
    """What was read."""

    configurations: tuple[Configuration, ...]
    """Each structure once, in the order in which they were given."""
    places: Mapping[str, tuple[str, ...]]
    """file#frame by configuration_id: all places at which the structure stands, the first one first; reference_atom#H
    of an isolated atom that stands in no file."""
    files: tuple[str, ...] = field(default=())

    @property
    def n_given(self) -> int:
        """Frames in all files, those that are given more than once included."""
        return sum(map(len, self.places.values()))

    @property
    def elements(self) -> set[str]:
        """Symbols that occur."""
        return {chemical_symbols[z] for each in self.configurations for z in each.numbers}

    @property
    def isolated(self) -> int:
        """Isolated atoms among them."""
        return sum(map(is_reference_atom, self.configurations))

    def with_atoms(self, elements: Iterable[str]) -> GivenStructures:
        """The same with an isolated atom of each element that has none yet, behind all others."""
        atoms = {f"{SOURCE}#{atom.formula}": atom for atom in isolated_atoms(elements)}
        new = {place: atom for place, atom in atoms.items() if atom.configuration_id not in self.places}
        places = {atom.configuration_id: (place,) for place, atom in new.items()}
        configurations = (*self.configurations, *new.values())
        return dataclasses.replace(self, configurations=configurations, places={**self.places, **places})

    def node(self) -> ConfigurationsData:
        """An unstored node of them, with their places."""
        frames = []
        for configuration in self.configurations:
            atoms, places = configuration.to_atoms(), self.places[configuration.configuration_id]
            atoms.info[GIVEN] = places[0]
            if places[1:]:
                atoms.info[ALSO_GIVEN] = ";".join(places[1:])
            frames.append(atoms)
        with tempfile.TemporaryDirectory() as scratch:
            write_atoms(Path(scratch) / FRAMES_FILE, frames)
            return ConfigurationsData.from_file(Path(scratch) / FRAMES_FILE)


def read_given(paths: Sequence[Path], box: float | None = None) -> GivenStructures:
    """Read all files; SettingsError names the first file or file#frame that cannot be used.

    :param box: Å of vacuum around what is not periodic in all directions, which is put into a cell; None leaves it.

    A frame keeps the source, seed and parent that it states (as `argonaut generate` writes them); others are of the
    source `user`, with their place as the seed. Labels in the files are left behind.
    """
    configurations: dict[str, Configuration] = {}
    places: dict[str, list[str]] = {}
    problems: list[str] = []
    for path in paths:
        try:
            frames = read_structures(path)
        except FrameError as error:
            problems.append(str(error))
            continue
        for number, atoms in enumerate(frames):
            place = place_of(path, number)
            try:
                configuration = _configuration(atoms, place, box)
            except (ValueError, TypeError) as error:  # a FrameError, or numbers that are none
                problems.append(f"{path}#{number}: {error}")
                continue
            configurations.setdefault(configuration.configuration_id, configuration)
            places.setdefault(configuration.configuration_id, []).append(place)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise SettingsError(f"{' '.join(problems[0].split())}{more}; take it out, or mend it: nothing was submitted")
    found = {name: tuple(each) for name, each in places.items()}
    return GivenStructures(tuple(configurations.values()), found, tuple(map(str, paths)))


def place_of(path: Path, number: int) -> str:
    """file#frame, frames counted from 0; characters that could be misread stand as %XX."""
    return f"{_UNUSUAL.sub(lambda match: quote(match[0], errors='surrogateescape'), str(path))}#{number}"


def places_of(node: ConfigurationsData) -> dict[str, tuple[str, ...]]:
    """The places of a stored set by configuration_id, in its order; () for those that state none."""
    found = {}
    for atoms in node.atoms():
        told = (str(atoms.info.get(GIVEN, "")), *str(atoms.info.get(ALSO_GIVEN, "")).split(";"))
        found[Configuration.from_atoms(atoms).configuration_id] = tuple(place for place in told if place)
    return found


def _configuration(atoms: ase.Atoms, place: str, box: float | None) -> Configuration:
    """The structure as it is, or in a box; FrameError for one that no label stage could take."""
    if len(atoms) == 0:
        raise FrameError("holds no atoms")
    if problem := beyond_sense(atoms):
        raise FrameError(problem)
    periodic = bool(all(atoms.pbc))
    if box is not None and not periodic:
        atoms, periodic = in_box(atoms, box), True
    marked = atoms.copy()
    marked.pbc = periodic  # in all directions or in none: pw.x knows nothing in between
    configuration = Configuration.from_atoms(marked)
    configuration.check_elements()
    if configuration.origin.source == "unknown":
        origin = dataclasses.replace(configuration.origin, source="user", seed=place)
        configuration = dataclasses.replace(configuration, origin=origin)
    return configuration


def in_box(atoms: ase.Atoms, vacuum: float) -> ase.Atoms:
    """The same in a fully periodic cell, as `user_files.prepared` makes it, whatever its distances.

    :param vacuum: Å that are added to the extent along directions in which nothing is periodic. A surface that comes
        with its third lattice vector keeps it.
    """
    cell, positions = np.array(atoms.cell.array), np.array(atoms.positions)
    if not any(atoms.pbc) or abs(np.linalg.det(cell)) < FLAT:
        cell, positions = in_a_box(cell, positions, np.array(atoms.pbc), vacuum)
    boxed = ase.Atoms(numbers=atoms.numbers, positions=positions, cell=cell, pbc=True)
    boxed.info.update(atoms.info)
    return boxed
