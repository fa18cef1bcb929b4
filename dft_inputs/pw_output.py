"""Two conventions of pw.x output: its stress has the other sign than ours, and its version is in the banner.

Measured with pw.x 6.7 on a strained SiC cell (docs/dft.md): the energy after '!' is the free energy E - TS, its
derivative with respect to the positions is minus the printed forces, and its derivative with respect to strain is
minus the printed stress, which is positive where the cell wants to expand. aiida-quantumespresso passes the three on
as they are, in eV, eV/Å and GPa.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

EV_PER_ANGSTROM3_IN_GPA = 160.21766208
"""GPa in one eV/Å^3."""


class PwOutputError(ValueError):
    """Output of pw.x that does not hold what was looked for."""


def tensile_stress(printed: ArrayLike) -> NDArray[np.float64]:
    """(3, 3) stress in eV/Å^3, positive under tension (the sign of ASE), from the one pw.x prints.

    Args:
        printed: (3, 3) GPa, as in the array `stress` of aiida-quantumespresso's `output_trajectory` (one step of it).

    Raises:
        PwOutputError: not a finite (3, 3) array.
    """
    stress = np.asarray(printed, dtype=np.float64)
    if stress.shape != (3, 3) or not np.isfinite(stress).all():
        raise PwOutputError(f"expected a finite (3, 3) stress in GPa, got shape {stress.shape}")
    return -0.5 * (stress + stress.T) / EV_PER_ANGSTROM3_IN_GPA


def pw_version(stdout: str) -> str:
    """Version of pw.x, such as '6.7', from the banner of any of its runs; raises PwOutputError."""
    match = re.search(r"Program PWSCF\s+v\.?\s*(\d+(?:\.\d+)*)", stdout)
    if match is None:
        raise PwOutputError("no banner 'Program PWSCF v.X.Y' in this output: is it from pw.x?")
    return match[1]


def version_number(name: str) -> str:
    """The number in the name of a version: 6.7 of '6.7MaX', as the XML of pw.x 6.7 calls itself; '' without one."""
    match = re.match(r"\d+(?:\.\d+)*", name)
    return match[0] if match else ""
