"""User: the user's own structures, always kept and always marked, then perturbed copies of them if asked for.

The first configurations of this source are the structures as they were given, one by one; they come before all shares
of a recipe. Their `source` is user, and `given` says where they stood (file#frame). Copies follow, as often of each,
with the configuration_id of the structure as their parent.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase
from ase.data import chemical_symbols

from ..extxyz import FrameError
from ..frames import Configuration, Origin
from ..settings import SettingsError
from .checks import LONGEST, check_positive, check_ratio, shown
from .draw import Draw
from .perturb import PerturbSettings, perturbed
from .user_files import Reader, prepared

MOST_COPIES = 10**9
"""Copies of each structure that may be asked for."""


@dataclass(frozen=True)
class UserSettings:
    """Keys of a `source: user` recipe."""

    files: list[str]
    """Extended XYZ, CIF, POSCAR, pymatgen JSON or any format of ASE's, seen from the recipe's folder; in a campaign
    also group:LABEL, an AiiDA group."""
    copies: int = 0
    """Perturbed copies of each structure, beside the structure itself; with a `weight` there is no end to them."""
    perturb: PerturbSettings = field(default_factory=PerturbSettings)
    """What copies suffer."""
    minimum_distance_ratio: float = 0.60
    """Closest approach in copies over summed covalent radii; structures as given keep theirs, down to 0.50."""
    vacuum: float = 6.0
    """Å around molecules and surfaces that come without a box."""
    skip_unusable: bool = False
    """Leave out what cannot be read or used, and name it, instead of stopping."""

    def __post_init__(self) -> None:
        check_ratio(self.minimum_distance_ratio)
        if not self.files:
            raise ValueError("files []: expected at least one")
        if not 0 <= self.copies <= MOST_COPIES:
            raise ValueError(f"copies {shown(self.copies)}: expected 0 to {MOST_COPIES}")
        check_positive(self, "vacuum", highest=LONGEST)


@dataclass(frozen=True)
class UserStructures:
    """What the settings name, read."""

    settings: UserSettings
    structures: tuple[Configuration, ...]
    """The `seed` of each is the place where it stood: file#frame."""
    left_out: tuple[str, ...] = ()
    """What was wrong with each file or frame that was skipped."""

    @property
    def elements(self) -> list[str]:
        """Symbols of all elements that occur."""
        return [chemical_symbols[z] for z in sorted({int(z) for each in self.structures for z in each.numbers})]

    @property
    def number(self) -> int:
        """Configurations: every structure and its copies."""
        return len(self.structures) * (1 + self.settings.copies)

    def document(self) -> dict[str, Any]:
        """What decides the configurations: contents, not names of files."""
        ids = [structure.configuration_id for structure in self.structures]
        return {**dataclasses.asdict(self.settings), "files": None, "skip_unusable": None, "structures": ids}


def load_user(settings: UserSettings, read: Reader) -> UserStructures:
    """Read all files. Raises SettingsError for the first that cannot be used, or if nothing is left without them."""
    structures, problems = [], []
    for name in settings.files:
        try:
            frames = read(name)
        except FrameError as error:
            problems.append(str(error))
            continue
        for number, atoms in enumerate(frames):
            try:
                structures.append(_placed(prepared(atoms, settings.vacuum), atoms, f"{Path(name).name}#{number}"))
            except FrameError as error:
                problems.append(f"{name}, frame {number}: {error}")
    if problems and not settings.skip_unusable:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise SettingsError(f"{problems[0]}{more}; skip_unusable: true leaves out what cannot be used")
    if not structures:
        raise SettingsError(f"files {settings.files}: none of them holds a structure that can be used: {problems[0]}")
    return UserStructures(settings, tuple(structures), tuple(problems))


def _placed(structure: Configuration, atoms: ase.Atoms, place: str) -> Configuration:
    """The structure with its place, which is the one that it brings where it was stored for a campaign."""
    known = str(atoms.info.get("seed", ""))
    own = atoms.info.get("source") == "user" and "#" in known
    return dataclasses.replace(structure, origin=Origin("user", known if own else place))


def user(own: UserStructures, draw: Draw) -> tuple[Configuration, dict[str, Any]]:
    """The structure whose turn it is as it was given, or, after all of them, a perturbed copy.

    Raises GenerationError if no copy keeps its distances.
    """
    turn, place = divmod(draw.rank, len(own.structures))
    given = own.structures[place]
    figures: dict[str, Any] = {"given": given.origin.seed}
    if turn == 0:
        return dataclasses.replace(given, origin=Origin("user", draw.name)), figures
    numbers, positions, cell, done = perturbed(
        given.numbers,
        given.positions,
        given.cell,
        own.settings.perturb,
        own.settings.minimum_distance_ratio,
        draw.generator(),
    )
    origin = Origin("user", draw.name, parent=given.configuration_id)
    return Configuration(numbers, positions, cell, origin=origin), {**figures, **done}
