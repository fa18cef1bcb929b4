"""The rescue ladder: what is tried when a label does not become self-consistent, rung after rung.

Every rung says the whole of the parameters it asks for, starting from the nominal ones, so that no change of an
earlier rung is left over. What a rung changes for good (mixing, diagonalisation, number of bands, starting moments)
does not change a converged number; the one that changes the smearing is followed by `nominal`, which starts from its
density.

The strategies are those that the field uses against charge sloshing and vacuum: local Thomas-Fermi mixing with a small
beta (D. Raczkowski, A. Canning, L. W. Wang, Phys. Rev. B 64, 121101 (2001)), conjugate-gradient diagonalisation, more
bands, a wide smearing first. Their order and numbers are ours.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .scf import steps_left

RUNGS = ("more_steps", "local_tf", "diagonalization", "more_bands", "wide_smearing", "nominal", "moments")
SMALL_BETA = 0.15
MANY_STEPS = 150
WIDENING = 5.0
"""Times the nominal smearing that is converged first."""
HIGH_SHARE = 0.8
"""Starting magnetisation with which another spin state is tried."""
_GENTLE: dict[str, Any] = {"mixing_mode": "local-TF", "mixing_beta": SMALL_BETA, "electron_maxstep": MANY_STEPS}


@dataclass(frozen=True)
class Rung:
    """One strategy: its name, what it changes, and whether it goes on from the density of the run before."""

    name: str
    electrons: dict[str, Any] = field(default_factory=dict)
    system: dict[str, Any] = field(default_factory=dict)
    from_density: bool = False

    def parameters(self, nominal: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """Namelists of this rung."""
        changed = {name: dict(copy.deepcopy(values)) for name, values in nominal.items()}
        changed["ELECTRONS"] |= self.electrons
        changed["SYSTEM"] |= self.system
        return changed


def next_rung(
    nominal: Mapping[str, Mapping[str, Any]],
    tried: Sequence[str],
    converged: bool,
    accuracies: Sequence[float],
    bands: int | None,
    has_density: bool,
) -> Rung | None:
    """The next thing to try, or None at the end of the ladder.

    Args:
        nominal: namelists of the protocol.
        tried: names of the rungs so far, in their order.
        converged: whether the last run became self-consistent: after `wide_smearing` that is not the end.
        accuracies: Ry, of the last run, step by step.
        bands: number of bands of the last run, None if it did not say.
        has_density: whether the last run left a density to go on from.
    """
    if tried and tried[-1] == "wide_smearing":
        if converged and has_density:
            return Rung("nominal", _GENTLE, from_density=True)
    elif converged:
        return None
    limit, threshold = nominal["ELECTRONS"]["electron_maxstep"], nominal["ELECTRONS"]["conv_thr"]
    spin = nominal["SYSTEM"].get("nspin") == 2
    slow = has_density and bool(accuracies) and steps_left(accuracies, threshold) <= limit
    ladder = {
        "more_steps": Rung("more_steps", {"electron_maxstep": max(limit, MANY_STEPS)}, from_density=True)
        if slow and not tried
        else None,
        "local_tf": Rung("local_tf", _GENTLE),
        "diagonalization": Rung("diagonalization", {**_GENTLE, "diagonalization": "cg"}),
        "more_bands": Rung("more_bands", _GENTLE, {"nbnd": int(1.3 * bands) + 4}) if bands else None,
        "wide_smearing": Rung("wide_smearing", _GENTLE, {"degauss": WIDENING * nominal["SYSTEM"]["degauss"]})
        if "degauss" in nominal["SYSTEM"]
        else None,
        "moments": Rung("moments", _GENTLE, {"starting_magnetization": _high(nominal)}) if spin else None,
    }
    begun = max((RUNGS.index(name) for name in tried if name in RUNGS), default=-1)
    return next((rung for name, rung in ladder.items() if rung is not None and RUNGS.index(name) > begun), None)


def _high(nominal: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    return dict.fromkeys(nominal["SYSTEM"].get("starting_magnetization", {}), HIGH_SHARE)


PROTOCOL_KEYS = {
    "SYSTEM": (
        "ecutwfc",
        "ecutrho",
        "ecfixed",
        "q2sigma",
        "qcutz",
        "occupations",
        "smearing",
        "degauss",
        "nspin",
        "tot_magnetization",
        "vdw_corr",
        "dftd3_version",
        "dftd3_threebody",
    ),
    "ELECTRONS": ("conv_thr",),
}
"""Parameters that decide the numbers of a label."""


def off_nominal(nominal: Mapping[str, Mapping[str, Any]], asked: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What of the protocol a run did not keep to, in words; empty for one whose numbers are a label's."""
    return [
        f"{key} {asked.get(namelist, {}).get(key)!r} instead of {nominal.get(namelist, {}).get(key)!r}"
        for namelist, keys in PROTOCOL_KEYS.items()
        for key in keys
        if not _same(asked.get(namelist, {}).get(key), nominal.get(namelist, {}).get(key))
    ]


def _same(one: Any, other: Any) -> bool:
    """Equal; numbers to 12 digits, as AiiDA keeps 14 of them."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12)
    return bool(one == other)
