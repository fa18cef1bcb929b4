"""All checks, and how they are run on an architecture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from ..potential import Architecture, ArchitectureError, Parameters
from . import extensivity, invariance, smoothness
from .outcome import FAILED, Check, Outcome, judge
from .subject import Subject

EXACT = 1e-8
"""eV, eV/Å and eV/Å^3 in float64: what rounding may do to a quantity that must not change."""

CHECKS = (
    Check("rotation", "turned atoms: same energy, turned forces and stress", "eV, eV/Å", EXACT, invariance.rotation),
    Check("reflection", "mirrored atoms: same energy, mirrored forces", "eV, eV/Å", EXACT, invariance.reflection),
    Check("translation", "moved atoms: nothing changes", "eV, eV/Å", EXACT, invariance.translation),
    Check("wrapping", "other periodic images: nothing changes", "eV, eV/Å", EXACT, invariance.wrapping),
    Check("permutation", "another order of atoms: forces in that order", "eV, eV/Å", EXACT, invariance.permutation),
    Check("bond-direction", "bonds listed from the other end: same", "eV, eV/Å", EXACT, invariance.bond_direction),
    Check("longer-list", "bonds beyond the cutoff in the list: same", "eV, eV/Å", EXACT, invariance.longer_list),
    Check("batch", "structures together: as each alone", "eV, eV/Å", EXACT, invariance.batch),
    Check("separation", "no derivative from one structure to another", "eV/Å", 0.0, invariance.separation),
    Check("forces", "forces are minus the energy's derivatives", "eV/Å", 1e-3, smoothness.forces),
    Check("stress", "stress is the energy's derivative in the strain", "GPa", 1e-2, smoothness.stress),
    Check("cutoff", "energy and forces do not jump at the cutoff", "eV, eV/Å", 1e-6, smoothness.cutoff),
    Check("crowding", "energy and forces do not jump among many neighbours", "eV, eV/Å", 1e-6, smoothness.crowding),
    Check("supercell", "a repeated cell: repeated energy, same forces", "eV, eV/Å", EXACT, extensivity.supercell),
    Check("small-cell", "a cell below the cutoff: as its 3x3x3 repeat", "eV, eV/Å", EXACT, extensivity.small_cell),
    Check("fragments", "far fragments: the sum of each alone", "eV, eV/Å", EXACT, extensivity.fragments),
    Check("free-atoms", "a free atom: its reference energy, no force", "eV, eV/Å", EXACT, extensivity.free_atoms),
    Check("elements", "H to Ar: finite, and no two alike", "elements", 0.0, extensivity.elements),
    Check("storage", "saved and loaded: every bit the same", "tensors", 0.0, smoothness.storage),
    Check("force-loss", "rocksalt, fcc, single atom: finite gradients", "numbers", 0.0, smoothness.force_loss),
    Check("gradients", "a force loss has the right gradients", "relative", 1e-5, smoothness.gradients),
)


def check(
    architecture: Architecture,
    preset: str = "campaign",
    config: Any = None,
    parameters: Parameters | None = None,
    seed: int = 0,
    only: Iterable[str] = (),
) -> list[Outcome]:
    """Run the suite on one preset.

    `config`: instead of the preset's, say with smaller widths; `parameters`: trained weights instead of those that
    `init` draws with `seed`, with random numbers in place of weights that it leaves constant; `only`: names of checks.
    Raises ArchitectureError for a preset or check there is not.
    """
    config = architecture.preset(preset) if config is None else config
    if parameters is None:
        parameters = _drawn(architecture, config, torch.Generator().manual_seed(seed))
    subject = Subject(architecture, preset, config, {name: w.detach().double() for name, w in parameters.items()})
    reasons = dict(architecture.exceptions.get(preset, {}))
    names = [each.name for each in CHECKS]
    chosen = list(only) or names
    unknown = [name for name in [*chosen, *reasons] if name not in names]
    if unknown:
        raise ArchitectureError(f"{architecture.name}: no check '{unknown[0]}'; there are {', '.join(names)}")
    return [judge(each, subject, reasons.get(each.name)) for each in CHECKS if each.name in chosen]


def _drawn(architecture: Architecture, config: Any, generator: torch.Generator) -> Parameters:
    """Weights of `init`; a bias that is zero at first must not hide what it will break once it is trained."""
    return {
        name: weight + 0.1 * torch.randn(weight.shape, generator=generator) if weight.max() == weight.min() else weight
        for name, weight in architecture.init(config, generator).items()
    }


def failed(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that are neither held nor a documented exception."""
    return [outcome for outcome in outcomes if outcome.status == FAILED]
