"""Units and signs, said once.

Everywhere: energy eV, length Å, force eV/Å, stress eV/Å^3, time fs, temperature K, mass u. Pressure is shown in GPa.

Stress has ASE's sign: stress = (dE/dstrain) / volume, positive under tension; pressure = -trace(stress) / 3.
Energy is the free energy of the smeared electrons, the one whose derivatives are the forces and the stress.
"""

from ase import units

HARTREE = units.Hartree
RYDBERG = units.Rydberg
BOHR = units.Bohr
BOLTZMANN = units.kB
"""eV/K"""
FEMTOSECOND = units.fs
"""One fs in ASE's time unit Å sqrt(u/eV): multiply a time in fs by it before using it with eV, Å and u."""
GPA = units.GPa
"""One GPa in eV/Å^3."""

Z_MAX = 18
"""The chemistry of this project is H (Z = 1) to Ar (Z = 18)."""

MINIMUM_DISTANCE_RATIO_DFT = 0.50
"""No frame with a pair closer than this share of its summed covalent radii (ASE's table) is sent to DFT."""
MINIMUM_DISTANCE_RATIO_DYNAMICS = 0.60
"""Molecular dynamics stops, and selection rejects, below this share of the summed covalent radii."""
