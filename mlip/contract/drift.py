"""How well a trained model keeps the energy of a trajectory without a thermostat."""

from __future__ import annotations

import ase.units
import numpy as np
from ase.md.velocitydistribution import Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet

from ..calculator import CommitteeCalculator
from ..committee import Committee
from ..frames import Configuration
from ..potential import direct_forces
from .outcome import EXCEPTION, FAILED, HELD, Outcome

LARGEST = 1.0
"""meV per atom and ps."""


def measured(committee: Committee, start: Configuration, temperature: float) -> Outcome:
    """The drift as an outcome of the contract; direct forces may drift."""
    found = drift(committee, start, temperature)
    status = HELD if found <= LARGEST else EXCEPTION if direct_forces(committee.config) else FAILED
    text = f"energy of a trajectory of 1 ps without thermostat, begun at {temperature:g} K"
    return Outcome("drift", status, found if np.isfinite(found) else None, LARGEST, "meV/atom/ps", text)


def drift(
    committee: Committee,
    start: Configuration,
    temperature: float = 300.0,
    duration: float = 1000.0,
    timestep: float = 0.5,
    seed: int = 0,
) -> float:
    """|slope| of the total energy in meV per atom and ps, from velocity Verlet in float64 with the committee's mean.

    `temperature` in K, of the first velocities; `duration` and `timestep` in fs. The slope is that of a straight line
    through all steps but the first tenth.
    """
    atoms = start.to_atoms()
    random = np.random.default_rng(seed)
    spread = np.sqrt(atoms.get_masses() * ase.units.kB * temperature)
    atoms.set_momenta(random.normal(size=(len(atoms), 3)) * spread[:, None])
    Stationary(atoms)
    if not start.periodic:
        ZeroRotation(atoms)
    atoms.calc = CommitteeCalculator(committee)
    dynamics = VelocityVerlet(atoms, timestep * ase.units.fs)
    energies = [float(atoms.get_total_energy())]
    for _ in range(max(20, round(duration / timestep))):
        dynamics.run(1)
        energies.append(float(atoms.get_total_energy()))
    kept = np.array(energies[len(energies) // 10 :])
    times = 1e-3 * timestep * np.arange(len(kept))
    return abs(float(np.polyfit(times, 1e3 * kept / len(atoms), 1)[0]))
