"""What the settings of several sources have in common, checked with one wording."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Sequence
from typing import Literal

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ..units import MINIMUM_DISTANCE_RATIO_DFT, Z_MAX

Elements = Literal["all"] | list[str]
"""Symbols, or `all` for H-Ar."""
LARGEST_RATIO = 5.0
"""Closest approach over summed covalent radii that may be asked for: van der Waals contacts of hydrogen have 4."""
MOST = 1024
"""Atoms, molecules, repeats or defects in one configuration, and arrangements per round, that may be asked for."""
MOST_ATTEMPTS = 10_000
"""Attempts per configuration that may be asked for."""
LONGEST = 100.0
"""Å: vacuum, thickness or distance that may be asked for."""
LARGEST_RATTLE = 5.0
"""Å: displacement of atoms that may be asked for."""
LARGEST_RADIUS = 10.0
"""Å: smallest sphere that may be asked for."""
MOST_ELONGATED = 100.0
"""Longest over shortest lattice vector that may be asked for."""


def element_numbers(elements: Elements) -> NDArray[np.int64]:
    """(k,) atomic numbers, ascending; ValueError for none, for one that occurs twice, or for one outside H-Ar."""
    if elements == "all":
        return np.arange(1, Z_MAX + 1)
    unknown = [symbol for symbol in elements if not 1 <= atomic_numbers.get(symbol, 0) <= Z_MAX]
    if unknown or not elements:
        raise ValueError(f"elements {unknown or '[]'}: expected 'all' or symbols of H to Ar such as [H, C, O]")
    if len(set(elements)) < len(elements):
        raise ValueError(f"elements {elements}: one occurs twice")
    return np.array(sorted(atomic_numbers[symbol] for symbol in elements), dtype=np.int64)


def check_range(name: str, pair: Sequence[float], lowest: float, highest: float = np.inf) -> None:
    """Raise ValueError unless lowest <= pair[0] <= pair[1] <= highest."""
    low, high = pair
    if not lowest <= low <= high <= highest:
        upper = "" if highest == np.inf else f" <= {highest:g}"
        raise ValueError(
            f"{name} [{shown(low)}, {shown(high)}]: expected [lowest, highest] with {lowest:g} <= lowest <= "
            f"highest{upper}"
        )


def check_ratio(ratio: float, name: str = "minimum_distance_ratio") -> None:
    """Raise ValueError for a closest approach that no structure may have that is sent to DFT."""
    if not ratio >= MINIMUM_DISTANCE_RATIO_DFT:
        raise ValueError(
            f"{name} {ratio:g}: expected {MINIMUM_DISTANCE_RATIO_DFT} or more, below which no structure is sent to DFT"
        )
    if ratio > LARGEST_RATIO:
        raise ValueError(f"{name} {ratio:g}: expected {LARGEST_RATIO:g} or less")


def check_positive(settings: object, *names: str, highest: float = np.inf) -> None:
    """Raise ValueError for a setting that is not above 0, or above `highest`."""
    for name in names:
        value = getattr(settings, name)
        if not 0 < value <= highest:
            upper = "" if highest == np.inf else f", {highest:g} at most"
            raise ValueError(f"{name} {shown(value)}: expected a number above 0{upper}")


def shown(value: float) -> str:
    """A number for a message, whole ones of any size too."""
    return f"{value:g}" if abs(value) <= sys.float_info.max else reprlib.repr(value)
