"""Is a finished label to be believed? What a converged pw.x run may still be: incomplete, or far from all physics.

A label that is refused is set aside with its reason and its figures, not deleted: the calculation stays in the record.

pw.x takes a net force off before it prints forces, so that their sum is zero to the last printed digit: a larger one
says that these are not the forces of this cell. How well the forces are converged is told by the correction that pw.x
adds for incomplete self-consistency and prints beside the total force.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .protocol import Protocol
from .pw_output import EV_PER_ANGSTROM3_IN_GPA

RYDBERG = 13.605693122994
"""eV, CODATA 2018."""
BOHR = 0.529177210903
"""Å, CODATA 2018."""
REASONS = (
    "label_incomplete",
    "scf_accuracy",
    "net_force",
    "force_correction_cap",
    "force_cap",
    "pressure_cap",
    "smearing_cap",
    "energy_cap",
)
"""Reason codes, in the order in which a label is looked at."""
MAX_POSITIVE = 0.01
"""eV/atom: -TS may be positive under cold smearing, by some meV in a metal; by more where pw.x has put the Fermi level
at the edge of a gap (docs/dft.md). Under other smearings it never is."""
PRINTED = 0.5e-8 * RYDBERG
"""eV: pw.x prints the estimated accuracy of the energy to 1e-8 Ry."""


def first_problem(
    protocol: Protocol,
    symbols: Sequence[str],
    energy: float | None,
    forces: ArrayLike | None,
    stress: ArrayLike | None,
    *,
    smearing_energy: float | None = None,
    scf_accuracy: float | None = None,
    force_correction: float | None = None,
    reference_energies: Mapping[str, float] | None = None,
) -> tuple[str, str] | None:
    """Why a label is not to be used: (one of REASONS, one line with number, cap and unit); None if nothing is wrong.

    Args:
        protocol: the caps, whether a stress is due, and the threshold of self-consistency.
        symbols: one per atom.
        energy: eV per cell.
        forces: (n, 3) eV/Å.
        stress: (3, 3), or (6,) in Voigt order, eV/Å^3, tensile positive; None where the protocol asks for none.
        smearing_energy: eV per cell, -TS; None: not looked at.
        scf_accuracy: eV per cell, the last 'estimated scf accuracy'; None: not looked at.
        force_correction: eV/Å, see `scf_force_correction`; None: not looked at.
        reference_energies: eV by element, of the free pseudo-atoms; None, or an element without one: not looked at.
    """
    missing = _missing(protocol, symbols, energy, forces, stress)
    if missing:
        return "label_incomplete", missing
    due = protocol.conv_thr_per_atom * RYDBERG * len(symbols)
    if scf_accuracy is not None and not scf_accuracy <= 1.05 * due + PRINTED:
        return "scf_accuracy", f"self-consistent to {scf_accuracy:.1e} eV, the protocol asks for {due:.1e} eV"
    found = _figures(energy, forces, stress, symbols, smearing_energy, force_correction, reference_energies)
    for reason, key, what, cap, unit in (
        ("net_force", "net_force_eV_per_A", "net force", protocol.max_net_force, "eV/Å"),
        (
            "force_correction_cap", "force_correction_eV_per_A", "SCF correction of the forces",
            protocol.max_force_correction, "eV/Å",
        ),
        ("force_cap", "max_force_eV_per_A", "force", protocol.max_force, "eV/Å"),
        ("pressure_cap", "pressure_GPa", "pressure", protocol.max_pressure, "GPa"),
        ("smearing_cap", "smearing_eV_per_atom", "smearing energy -TS", protocol.max_smearing_energy, "eV/atom"),
    ):  # fmt: skip
        if not abs(found.get(key, 0.0)) <= cap:
            return reason, f"a {what} of {found[key]:.4g} {unit}, the cap is {cap:g}"
    smeared = found.get("smearing_eV_per_atom", 0.0)
    if not smeared <= MAX_POSITIVE:
        return "smearing_cap", f"-TS is positive, {smeared:.4g} eV/atom: the Fermi level is at the edge of a gap"
    low, high = protocol.min_energy_per_atom, protocol.max_energy_per_atom
    bound = found.get("energy_per_atom_eV", 0.0)
    if not low <= bound <= high:
        return "energy_cap", f"{bound:.4g} eV/atom from the free atoms, expected {low:g} to {high:g}"
    return None


def label_figures(
    energy: float | None,
    forces: ArrayLike | None,
    stress: ArrayLike | None,
    symbols: Sequence[str],
    *,
    smearing_energy: float | None = None,
    force_correction: float | None = None,
    reference_energies: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """The numbers a label is judged by, those that are there and finite: for the account of a refused one.

    Arguments as in `first_problem`. Keys: energy_eV, energy_per_atom_eV (against the free atoms), max_force_eV_per_A,
    net_force_eV_per_A, force_correction_eV_per_A, pressure_GPa, smearing_eV_per_atom.
    """
    found = _figures(energy, forces, stress, symbols, smearing_energy, force_correction, reference_energies)
    return {key: value for key, value in found.items() if np.isfinite(value)}


def _figures(
    energy: float | None,
    forces: ArrayLike | None,
    stress: ArrayLike | None,
    symbols: Sequence[str],
    smearing_energy: float | None,
    force_correction: float | None,
    references: Mapping[str, float] | None,
) -> dict[str, float]:
    figures: dict[str, float] = {}
    if energy is not None:
        figures["energy_eV"] = float(energy)
        if references is not None and set(symbols) <= set(references):
            figures["energy_per_atom_eV"] = (energy - sum(references[symbol] for symbol in symbols)) / len(symbols)
    vectors, tensor = _array(forces), _array(stress)
    if vectors is not None and vectors.shape == (len(symbols), 3):
        figures["max_force_eV_per_A"] = float(np.linalg.norm(vectors, axis=1).max())
        figures["net_force_eV_per_A"] = float(np.linalg.norm(vectors.sum(axis=0)))
    if force_correction is not None:
        figures["force_correction_eV_per_A"] = force_correction
    if tensor is not None and tensor.shape in ((3, 3), (6,)):
        diagonal = np.diag(tensor) if tensor.ndim == 2 else tensor[:3]
        figures["pressure_GPa"] = float(-diagonal.mean() * EV_PER_ANGSTROM3_IN_GPA)
    if smearing_energy is not None:
        figures["smearing_eV_per_atom"] = smearing_energy / len(symbols)
    return figures


def scf_force_correction(stdout: str) -> float | None:
    """'Total SCF correction' of the last forces in pw.x's output, eV/Å; None if there is none.

    The norm over all components, as of the total force beside it.
    """
    found = re.findall(r"Total SCF correction\s*=\s*(\S+)", stdout)
    try:
        return float(found[-1]) * RYDBERG / BOHR if found else None
    except ValueError:  # asterisks where a number does not fit
        return float("inf")


def _missing(
    protocol: Protocol,
    symbols: Sequence[str],
    energy: float | None,
    forces: ArrayLike | None,
    stress: ArrayLike | None,
) -> str | None:
    """What of energy, forces and stress is not there, in words."""
    if energy is None or not np.isfinite(energy):
        return f"the energy is {energy}, expected a number in eV"
    wanted: list[tuple[str, ArrayLike | None, tuple[tuple[int, ...], ...]]] = [
        ("forces", forces, ((len(symbols), 3),)),
    ]
    if protocol.stress:
        wanted.append(("stress", stress, ((3, 3), (6,))))
    for name, given, shapes in wanted:
        array = _array(given)
        if array is None:
            return f"no {name}"
        if array.shape not in shapes:
            return f"{name} of shape {array.shape}, expected {' or '.join(map(str, shapes))}"
        if not np.isfinite(array).all():
            return f"{name} with {int((~np.isfinite(array)).sum())} values that are not finite"
    return None


def _array(values: ArrayLike | None) -> NDArray[np.float64] | None:
    """As floats; None if they are not numbers."""
    if values is None:
        return None
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
