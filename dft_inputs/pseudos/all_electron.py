"""All-electron equations of state of elemental crystals, read from all_electron.yaml: a yardstick of the datasets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from ..errors import closest
from .recipes import RecipeError


@dataclass(frozen=True)
class EquationOfState:
    """Where the energy of a crystal is lowest, and how fast it rises from there."""

    volume: float
    """Å^3 per atom."""
    bulk_modulus: float
    """GPa."""
    derivative: float
    """Of the bulk modulus with respect to pressure."""


@cache
def _document() -> dict[str, Any]:
    return dict(yaml.safe_load((resources.files(__package__) / "all_electron.yaml").read_text()))


def load_all_electron(element: str) -> dict[str, EquationOfState]:
    """Equations of state of an element by structure: FCC, BCC, SC (simple cubic) and diamond; raises RecipeError."""
    entries = _document()
    if element not in entries:
        raise RecipeError(f"no all-electron equation of state of {element!r}{closest(element, entries)}")
    return {structure: EquationOfState(*map(float, row)) for structure, row in entries[element].items()}
