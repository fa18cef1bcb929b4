"""The same atom twice: pw.x must give the energy that `ld1.x` wrote into the header of the dataset.

Both describe the spherical, not spin-polarised atom. pw.x gets it exactly, without smearing, from occupations that
share the electrons of an open shell among its orbitals. The energies differ by what the box and the cutoffs cost; a
ghost state or a broken file shows as electronvolts. With this settled the header's `total_psenergy` is a reference
energy that needs no calculation.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .ld1 import PseudoError, last_words, run_program
from .recipes import SHELLS, Recipe
from .upf import check_upf

RYDBERG_EV = 13.605693122994
BOX = 10.0
"""Å, edge of the cubic box; Li and Na feel their images in 8.5 Å by -0.1 eV."""
CUTOFFS = (60.0, 480.0)
"""Ry, wave functions and density."""
TOLERANCE = 0.08
"""eV between the two energies."""
TIMEOUT = 1800.0
"""Seconds for one atom."""


@dataclass(frozen=True)
class AtomCheck:
    """Energies of one isolated atom in eV."""

    element: str
    header_energy: float
    pw_energy: float

    @property
    def difference(self) -> float:
        """eV, pw.x minus header."""
        return self.pw_energy - self.header_energy

    @property
    def passed(self) -> bool:
        """Whether the two agree within TOLERANCE."""
        return abs(self.difference) <= TOLERANCE


def occupations(recipe: Recipe) -> list[float]:
    """Electrons per orbital of the spherical atom, from the lowest orbital up."""
    shells = sorted(recipe.valence_shells.items(), key=lambda shell: (shell[0][0], SHELLS.index(shell[0][1])))
    return [n / (2 * m + 1) for state, n in shells for m in [SHELLS.index(state[1])] for _ in range(2 * m + 1)]


def atom_input(recipe: Recipe, pseudo: Path, box: float = BOX, cutoffs: tuple[float, float] = CUTOFFS) -> str:
    """Input of pw.x for the spherical atom in a cubic box."""
    electrons = occupations(recipe)
    return (
        f"&CONTROL\n  calculation = 'scf'\n  pseudo_dir = '{pseudo.resolve().parent}'\n  outdir = './out'\n"
        "  disk_io = 'none'\n/\n"
        f"&SYSTEM\n  ibrav = 0\n  nat = 1\n  ntyp = 1\n  ecutwfc = {cutoffs[0]}\n  ecutrho = {cutoffs[1]}\n"
        f"  occupations = 'from_input'\n  nbnd = {len(electrons)}\n/\n"
        "&ELECTRONS\n  conv_thr = 1.0d-8\n  mixing_beta = 0.5\n/\n"
        f"ATOMIC_SPECIES\n  {recipe.element} 1.0 {pseudo.name}\n"
        f"ATOMIC_POSITIONS angstrom\n  {recipe.element} 0.0 0.0 0.0\n"
        f"CELL_PARAMETERS angstrom\n  {box} 0.0 0.0\n  0.0 {box} 0.0\n  0.0 0.0 {box}\n"
        "K_POINTS gamma\nOCCUPATIONS\n" + "".join(f"  {n:.12f}\n" for n in electrons)
    )


def check_atom_energy(recipe: Recipe, pseudo: Path, executable: str = "pw.x", box: float = BOX) -> AtomCheck:
    """Compare header and pw.x for one dataset; raises PseudoError where pw.x gives no energy."""
    header = check_upf(pseudo.read_text(), recipe)
    with tempfile.TemporaryDirectory(prefix="argonaut-atom-") as name:
        (Path(name) / "pw.in").write_text(atom_input(recipe, pseudo, box))
        stdout = run_program([executable, "-in", "pw.in"], Path(name), TIMEOUT)
    energies = re.findall(r"^!\s+total energy\s+=\s+(\S+)", stdout, re.MULTILINE)
    if not energies:
        raise PseudoError(f"{recipe.element}: {executable} gave no converged energy: {last_words(stdout)}")
    return AtomCheck(recipe.element, header.total_energy * RYDBERG_EV, float(energies[-1]) * RYDBERG_EV)
