"""What elements.yaml says of each element: dataset, cutoffs per stringency, starting moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from .errors import closest

STRINGENCIES = ("fast", "balanced", "stringent")


class ElementError(ValueError):
    """An element or a stringency that elements.yaml does not know."""


@dataclass(frozen=True)
class Element:
    """Entry of one element."""

    symbol: str
    variant: str
    """Variant of the recipe that the cutoffs were measured with."""
    valence: int
    """Electrons in the valence."""
    moment: float
    """Starting magnetic moment of the collinear protocol, Bohr magnetons per atom."""
    cutoffs: dict[str, tuple[float, float]]
    """Ry, wave functions and charge density, per stringency."""


@cache
def load_elements() -> dict[str, Element]:
    """All elements, by symbol, in order of Z."""
    document = yaml.safe_load((resources.files(__package__) / "elements.yaml").read_text())
    return {
        symbol: Element(
            symbol=symbol,
            variant=entry["variant"],
            valence=entry["valence"],
            moment=float(entry["moment"]),
            cutoffs={name: (float(entry[name][0]), float(entry[name][1])) for name in STRINGENCIES},
        )
        for symbol, entry in document.items()
    }


def campaign_cutoffs(elements: Iterable[str], stringency: str) -> tuple[float, float]:
    """Wave-function and density cutoff in Ry that serve every element of a campaign: the largest of each.

    Raises:
        ElementError: an element or a stringency is not in elements.yaml, or there are no elements.
    """
    table = load_elements()
    symbols = sorted(set(elements))
    unknown = [symbol for symbol in symbols if symbol not in table]
    if not symbols or unknown:
        raise ElementError(
            f"cutoffs need elements from H to Ar, got {symbols}" + (closest(unknown[0], table) if unknown else "")
        )
    if stringency not in STRINGENCIES:
        raise ElementError(f"no stringency {stringency!r}{closest(stringency, STRINGENCIES)}")
    wavefunction, density = zip(*(table[symbol].cutoffs[stringency] for symbol in symbols), strict=True)
    return max(wavefunction), max(density)
