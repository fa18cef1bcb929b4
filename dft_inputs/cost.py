"""What a pw.x label costs, before it is made: a plain model of one self-consistent run on one core.

A run of S steps at K k points with B bands, P plane waves, D plane waves of the density, N projectors, and M pairs of
projectors on one atom (summed over all atoms) or m (over the different elements) takes about

    species E + S (fft K B P ln P + algebra K B P (B + N) + augment m D + onsite M)        core-seconds

where E is the number of elements, each of which has its tables made first. P = V k_c^3 / (6 pi^2) with k_c^2 the cutoff
in Ry and V in Bohr^3; D likewise. At Gamma alone wave functions are real and count half; with spin there are twice as
many k points, densities and atoms. The constants are fitted to measured labels, on other cells than
those that the spread was measured on; which machine runs pw.x matters more than all else, so that a price calibrated
on earlier labels of the same code is the better one.

    python benchmarks/label_cost.py
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

BOHR = 0.529177210903
"""Å"""
CONSTANTS = {"species": 0.3276, "fft": 1.482e-07, "algebra": 8.229e-09, "augment": 1.501e-07, "onsite": 0.000577}
"""Core-seconds per unit of each term; see the head of this file."""
USUAL_PROJECTORS = 8
"""Two of s and two of p."""
OTHER_FILES = 70_000
"""Bytes of input, output and XML of a label."""
STEPS_PER_DIGIT = 1.055
"""Steps of self-consistency per decimal digit of the threshold in Ry per atom."""
STEPS_SPIN = 1.422
"""Times as many with spin."""
SPREAD = (0.75, 1.26)
"""Measured over predicted, 10 % and 90 % quantile over labels that were not fitted."""


class CostError(ValueError):
    """A pseudopotential that cannot be read."""


@dataclass(frozen=True)
class PseudoSize:
    """What of a pseudopotential decides the cost."""

    valence: float
    """Electrons."""
    projectors: int
    pairs: int
    """Pairs of projectors that augment the density."""


def pseudo_size(upf: str) -> PseudoSize:
    """Size of a UPF 2 text; of older ones USUAL_PROJECTORS are taken. CostError where the valence is missing."""
    valence = re.search(r'\bz_valence\s*=\s*"\s*([^"\s]+)', upf) or re.search(r"([\d.Ee+-]+)\s+Z valence", upf)
    if valence is None:
        raise CostError("a pseudopotential without z_valence: expected UPF")
    momenta = re.findall(r'<PP_BETA\.\d+\b[^>]*?angular_momentum\s*=\s*"\s*(\d+)', upf)
    projectors = sum(2 * int(momentum) + 1 for momentum in momenta) or USUAL_PROJECTORS
    conserving = re.search(r'\bpseudo_type\s*=\s*"\s*(NC|SL)', upf) is not None
    pairs = 0 if conserving else projectors * (projectors + 1) // 2
    return PseudoSize(float(valence[1]), projectors, pairs)


@dataclass(frozen=True)
class LabelSize:
    """What decides the cost of a label."""

    species: int
    """Different elements."""
    bands: int
    kpoints: int
    """Not related by time reversal, and twice as many with spin."""
    projectors: int
    """Of all atoms."""
    pairs: int
    """Of projectors on one atom, over all atoms: what augments the density; 0 for norm-conserving datasets."""
    species_pairs: int
    """The same over the different elements."""
    plane_waves: float
    """Per wave function."""
    density_waves: float
    gamma: bool
    """Whether Gamma is the only k point."""
    digits: float
    """-log10 of the threshold in Ry per atom."""
    spin: bool


def label_size(
    cell: ArrayLike, symbols: Sequence[str], pseudos: Mapping[str, PseudoSize], cutoffs: tuple[float, float],
    mesh: tuple[int, int, int], spin: bool, conv_thr_per_atom: float,
) -> LabelSize:  # fmt: skip
    """Size of a label.

    Args:
        cell: (3, 3) Å.
        symbols: of each atom.
        pseudos: of each element.
        cutoffs: Ry, wave functions and density.
        mesh: Gamma-centred k points.
        spin: whether the label is spin-polarised.
        conv_thr_per_atom: Ry per atom.
    """
    volume = abs(float(np.linalg.det(np.asarray(cell, dtype=np.float64))))
    wavefunction, density = (volume_waves(volume, cutoff) for cutoff in cutoffs)
    return LabelSize(
        species=len(set(symbols)),
        bands=bands(sum(pseudos[symbol].valence for symbol in symbols)),
        projectors=sum(pseudos[symbol].projectors for symbol in symbols),
        pairs=sum(pseudos[symbol].pairs for symbol in symbols),
        species_pairs=sum(pseudos[symbol].pairs for symbol in set(symbols)),
        kpoints=irreducible(mesh) * (2 if spin else 1),
        plane_waves=wavefunction,
        density_waves=density,
        gamma=tuple(mesh) == (1, 1, 1),
        digits=-math.log10(conv_thr_per_atom),
        spin=spin,
    )


def volume_waves(volume: float, cutoff: float) -> float:
    """Plane waves of a cell of `volume` Å^3 below `cutoff` Ry."""
    return float(volume / BOHR**3 * cutoff**1.5 / (6 * math.pi**2))


def bands(electrons: float) -> int:
    """Bands that pw.x takes under smearing: a fifth more than are filled, four at least."""
    return max(math.ceil(0.6 * electrons - 1e-9), math.ceil(electrons / 2 - 1e-9) + 4)


def irreducible(mesh: tuple[int, int, int]) -> int:
    """Points of a Gamma-centred mesh that time reversal does not relate; random cells have no other symmetry."""
    points = math.prod(mesh)
    fixed = math.prod(2 if n % 2 == 0 else 1 for n in mesh)
    return (points + fixed) // 2


def steps(size: LabelSize) -> float:
    """Expected steps of self-consistency."""
    return STEPS_PER_DIGIT * size.digits * (STEPS_SPIN if size.spin else 1.0)


def terms(size: LabelSize, n_steps: float) -> dict[str, float]:
    """What each of CONSTANTS is multiplied with."""
    waves = size.kpoints * size.bands * size.plane_waves * (0.5 if size.gamma else 1.0)
    spins = 2 if size.spin else 1
    return {
        "species": size.species,
        "fft": n_steps * waves * math.log(max(size.plane_waves, 2.0)),
        "algebra": n_steps * waves * (size.bands + size.projectors),
        "augment": n_steps * spins * size.species_pairs * size.density_waves,
        "onsite": n_steps * spins * size.pairs,
    }


def scratch_bytes(size: LabelSize, pseudopotentials: int) -> float:
    """What pw.x leaves on the computer: wave functions, density, and the pseudopotentials twice.

    Args:
        size: of the label.
        pseudopotentials: bytes of the files of all its elements.
    """
    waves = size.kpoints * size.plane_waves * (16 * size.bands + 12) * (0.5 if size.gamma else 1.0)
    density = size.density_waves * (28 + (16 if size.spin else 0))
    return waves + density + 2 * pseudopotentials + OTHER_FILES


def label_core_seconds(size: LabelSize) -> float:
    """Expected core-seconds of a label, on the machine of the constants."""
    return sum(CONSTANTS[name] * value for name, value in terms(size, steps(size)).items())
