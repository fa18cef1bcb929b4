"""Isolated atoms of a campaign: labelled once per protocol beside its seed set, and what energies are counted from.

They are frames of the dataset like any other, with the hash of its protocol, but nothing is explored from them, and no
error is measured on them: a model whose reference energies they are has them right by construction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from ..dft_inputs.reference_atoms import BOX
from ..dft_inputs.reference_atoms import is_reference_atom as is_one_in_the_box
from ..mlip.frames import Configuration, LabelledFrame, Origin

SOURCE = "reference_atom"
"""What accounts and frames call it."""
SAME_PROTOCOL, HEADERS, FITTED = "atoms of the same protocol", "pseudopotential headers", "least squares"
"""What reference energies may be."""


def is_reference_atom(configuration: Configuration) -> bool:
    """Whether a configuration is an isolated atom in the box of `dft_inputs.reference_atoms`, whoever gave it."""
    alone = configuration.periodic and len(configuration) == 1
    return alone and is_one_in_the_box(configuration.numbers.tolist(), configuration.positions, configuration.cell)


def isolated_atoms(elements: Iterable[str]) -> list[Configuration]:
    """One atom of each element (symbols), in the order of atomic numbers."""
    numbers = sorted({atomic_numbers[symbol] for symbol in elements})
    origins = {number: Origin(SOURCE, chemical_symbols[number]) for number in numbers}
    return [Configuration([z], np.zeros((1, 3)), np.diag(BOX), origin=origins[z]) for z in numbers]


def atoms_due(settings: Mapping[str, Any], iteration: int) -> list[str]:
    """Elements whose isolated atoms an iteration labels: all of the campaign with its seed set, none later.

    :param settings: of the campaign.
    """
    asked = settings.get("label", {}).get("reference_atoms", False)
    return list(settings["train"]["elements"]) if asked and iteration == 0 else []


def atom_energies(frames: Iterable[LabelledFrame]) -> dict[str, float]:
    """Energy of the isolated atom by element, eV, of those that are among the frames."""
    found = {frame.configuration.formula: frame.energy for frame in frames if is_reference_atom(frame.configuration)}
    return dict(sorted(found.items(), key=lambda item: atomic_numbers[item[0]]))


def without_atoms(frames: Iterable[LabelledFrame]) -> Sequence[LabelledFrame]:
    """The frames that are no isolated atoms."""
    return [frame for frame in frames if not is_reference_atom(frame.configuration)]
