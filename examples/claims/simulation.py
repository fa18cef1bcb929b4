"""Molecular dynamics that is stopped, and says when, where it explodes."""

from __future__ import annotations

from dataclasses import dataclass, field

import ase
import ase.units
import numpy as np
from ase.md.md import MolecularDynamics
from observables import Array

from aiida_argonaut.mlip.frames import FrameError


@dataclass
class Sampled:
    """What is seen of a trajectory every so many steps, the first one included."""

    positions: list[Array] = field(default_factory=list)
    """(n, 3) Å."""
    energies: list[float] = field(default_factory=list)
    """eV/atom, potential and kinetic."""
    temperatures: list[float] = field(default_factory=list)
    """K, of all degrees of freedom."""
    stopped: int | None = None
    """Step after which nothing more was run."""
    reason: str | None = None
    """Why."""


def simulate(atoms: ase.Atoms, dynamics: MolecularDynamics, steps: int, every: int, hottest: float) -> Sampled:
    """Run `steps` steps of the dynamics of these atoms, or until they are hotter than `hottest` K or nothing finite."""
    sampled = Sampled()
    for step in range(steps + 1):
        try:
            if step > 0:
                dynamics.run(1)
            energy = float(atoms.get_total_energy()) / len(atoms)
        except FrameError as error:  # atoms are where no model can be asked
            sampled.stopped, sampled.reason = step, str(error)
            return sampled
        temperature = float(atoms.get_kinetic_energy()) / (1.5 * len(atoms) * ase.units.kB)
        if not (np.isfinite(energy) and temperature <= hottest):
            sampled.stopped, sampled.reason = step, f"{temperature:.3g} K, {energy:.3g} eV/atom"
            return sampled
        if step % every == 0:
            sampled.positions.append(atoms.positions.copy())
            sampled.energies.append(energy)
            sampled.temperatures.append(temperature)
    return sampled
