"""How an isolated atom is asked of pw.x: the zero that cohesive and atomisation energies are counted from.

Two atoms go by this name, one for each treatment of spin:

- `none`: the smooth reference. Not spin-polarised, the electrons of an open p shell shared by its three orbitals
  through the protocol's smearing, as in every other label. Its energy differs from the one in the header of the
  dataset by the -TS of that smearing, the cutoffs and the box.
- `collinear`: the ground state of the free atom. Hund's multiplicity from elements.yaml, integer occupations (`fixed`
  with a total magnetisation), so that the p shell is not spherical. In PBE that is the lowest state, and atomisation
  energies in tables are counted from it.

A cubic box would leave the three p orbitals equal, and self-consistency would have no reason to prefer one; three
different edges decide. Even so the p shell of B, Al and Si can turn almost freely: the estimated error of the energy
wanders about 1e-6 Ry for ever, while the energy stands still. Self-consistency therefore ends at THRESHOLD.

Which configuration is such an atom is decided by its content (`is_reference_atom`), not by what somebody calls it, so
that one configuration is never labelled in two ways under one protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .elements import ElementError, load_elements
from .errors import closest
from .label_sanity import RYDBERG
from .protocol import D3, Protocol, ProtocolError, pw_parameters

BOX = (8.5, 10.0, 12.0)
"""Å, edges of the orthorhombic box; what a larger one would change is in docs/labels.md."""
THRESHOLD = 1e-6
"""Ry, estimated error of the energy at which self-consistency ends, unless the protocol asks for less."""
MESH = (1, 1, 1)
"""k points: Gamma alone."""
TOLERANCE = 1e-6
"""Å, within which a box is the box."""
MOST_SMEARING = 5.0
"""Times the smearing: what -TS of an atom may come to. Six half-filled spin orbitals have 6 ln 2 = 4.2 under
Fermi-Dirac smearing and 6 / (2 sqrt(pi)) = 1.7 under Gaussian smearing."""


@dataclass(frozen=True)
class ReferenceAtom:
    """Everything pw.x needs but the pseudopotential and the folders."""

    symbols: tuple[str, ...]
    """One symbol: the atom stands at the origin."""
    parameters: dict[str, dict[str, Any]]
    """Namelists as `pw_parameters` makes them."""
    cell: tuple[tuple[float, float, float], ...]
    """Å, one lattice vector per row."""
    mesh: tuple[int, int, int] = MESH


def unpaired_electrons(symbol: str) -> int:
    """Electrons without a partner in the free atom by Hund's first rule; the multiplicity is one more.

    Raises:
        ElementError: an element outside elements.yaml.
    """
    table = load_elements()
    if symbol not in table:
        raise ElementError(f"a reference atom needs an element from H to Ar, got {symbol!r}{closest(symbol, table)}")
    return round(table[symbol].moment)


def reference_atom(
    protocol: Protocol,
    symbol: str,
    elements: Iterable[str] | None = None,
    cutoffs: tuple[float, float] | None = None,
    box: tuple[float, float, float] = BOX,
) -> ReferenceAtom:
    """The isolated atom of an element under a protocol.

    Args:
        protocol: the choices; its `spin` says which of the two atoms is meant.
        symbol: element of the atom.
        elements: all elements of the campaign, which set the cutoffs; None: this one alone.
        cutoffs: Ry as in `pw_parameters`.
        box: Å, three different edges.

    Raises:
        ElementError: an element outside elements.yaml.
        ProtocolError: an element that is not one of the campaign, or a box with equal edges.
    """
    unpaired = unpaired_electrons(symbol)
    if len(set(box)) != 3 or min(box) <= 0:
        raise ProtocolError(f"the box of an atom needs three different edges above 0 Å, got {tuple(box)}")
    parameters = pw_parameters(protocol, {symbol} if elements is None else elements, [symbol], cutoffs, keep_files=True)
    system = {key: value for key, value in parameters["SYSTEM"].items() if key not in D3}
    if protocol.spin == "collinear":
        system = {key: value for key, value in system.items() if key not in ("smearing", "degauss")}
        system |= {"occupations": "fixed", "tot_magnetization": float(unpaired)}
    electrons = {**parameters["ELECTRONS"], "conv_thr": max(THRESHOLD, protocol.conv_thr_per_atom)}
    first, second, third = box
    return ReferenceAtom(
        symbols=(symbol,),
        parameters={**parameters, "SYSTEM": {**system, "nosym": True}, "ELECTRONS": electrons},
        cell=((first, 0.0, 0.0), (0.0, second, 0.0), (0.0, 0.0, third)),
    )


def is_reference_atom(numbers: Sequence[int], positions: ArrayLike, cell: ArrayLike) -> bool:
    """Whether a configuration is one atom at the origin of BOX, and so asked of pw.x as `reference_atom` says.

    Args:
        numbers: atomic numbers.
        positions: (n, 3) Å.
        cell: (3, 3) Å, one lattice vector per row.
    """
    if len(numbers) != 1:
        return False
    at_origin = np.allclose(positions, 0.0, rtol=0.0, atol=TOLERANCE)
    return bool(at_origin and np.allclose(cell, np.diag(BOX), rtol=0.0, atol=TOLERANCE))


def judged_by(protocol: Protocol) -> Protocol:
    """The protocol with the threshold that an atom is asked for, and a cap on -TS that an open shell keeps to."""
    return replace(
        protocol,
        conv_thr_per_atom=max(THRESHOLD, protocol.conv_thr_per_atom),
        max_smearing_energy=max(protocol.max_smearing_energy, MOST_SMEARING * protocol.degauss * RYDBERG),
    )
