"""Recipe -> `ld1.x` -> a dataset that was tested on the atom it was made for.

`ld1.x` is the atomic program of Quantum ESPRESSO. It solves the all-electron atom, generates the PAW dataset, solves
the pseudo-atom, and tabulates the logarithmic derivatives of both, from which `check_atom` tells whether eigenvalues
agree and whether the dataset binds a state that the atom does not have (a ghost).
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .recipes import SHELLS, Recipe

TIMEOUT = 300.0
"""Seconds for one element; an idle core needs less than one."""
EIGENVALUE_TOLERANCE = 1e-3
"""Ry between the all-electron and the pseudo eigenvalue of the reference atom."""
WINDOW = (-10.0, 4.0, 0.01)
"""Ry: first and last energy and step of the logarithmic derivatives."""
GHOST_WINDOW = (-10.0, 2.0)
"""Ry: a pole of the pseudo-atom in here needs one of the atom within POLE_TOLERANCE."""
POLE_TOLERANCE = 0.15
"""Ry."""
DERIVATIVE_RADIUS = 2.2
"""bohr; outside every pseudised region."""


class PseudoError(RuntimeError):
    """`ld1.x` or `pw.x` did not give what was asked for; the message holds the program's last own words."""


@dataclass(frozen=True)
class Ld1Run:
    """What one run of `ld1.x` left behind."""

    upf: str
    """Text of the dataset as written by `ld1.x`."""
    stdout: str
    all_electron: NDArray[np.float64]
    """(m, 4) energies in Ry and logarithmic derivatives in 1/bohr for s, p and d."""
    pseudo: NDArray[np.float64]
    """(m, 4) the same of the pseudo-atom."""


def ld1_input(recipe: Recipe) -> str:
    """The input file of `ld1.x` for a recipe."""
    start, stop, step = WINDOW
    local: dict[str, object] = {"lloc": -1 if recipe.local_channel is None else SHELLS.index(recipe.local_channel)}
    if recipe.local_radius is not None:
        local["rcloc"] = recipe.local_radius
    core = {} if recipe.core_radius is None else {"nlcc": True, "new_core_ps": True, "rcore": recipe.core_radius}
    atom = {
        "title": recipe.element,
        "zed": float(recipe.atomic_number),
        "rel": 1,
        "dft": "PBE",
        "config": recipe.configuration,
        "iswitch": 3,
        "nld": 3,
        "rlderiv": DERIVATIVE_RADIUS,
        "eminld": start,
        "emaxld": stop,
        "deld": step,
    }
    paw = {
        "author": f"argonaut recipe {recipe.hash}",
        "file_pseudopw": "out.upf",
        "lpaw": True,
        "pseudotype": 3,
        "tm": True,
        "which_augfun": "PSQ",
        "rmatch_augfun_nc": True,
    }
    rows = [
        f"{p.state.upper()} {p.number} {p.angular_momentum} {p.occupation:.2f} {p.energy:.4f} "
        f"{p.radius:.3f} {p.ultrasoft_radius:.3f} 0.0"
        for p in recipe.projectors
    ]
    return (
        _namelist("input", atom) + _namelist("inputp", paw | local | core) + "\n".join([str(len(rows)), *rows]) + "\n"
    )


def _namelist(name: str, entries: dict[str, object]) -> str:
    return "\n".join([f"&{name}", *(f"  {key} = {_fortran(value)}" for key, value in entries.items()), "/"]) + "\n"


def _fortran(value: object) -> str:
    if isinstance(value, bool):
        return ".true." if value else ".false."
    return f"'{value}'" if isinstance(value, str) else repr(value)


def last_words(stdout: str, stderr: str = "", n_lines: int = 6) -> str:
    """The lines with which a Fortran program ended, its own error box preferred to what MPI says about it."""
    lines = [line.strip() for line in stdout.splitlines() if line.strip(" %")]
    errors = [k for k, line in enumerate(lines) if "Error in routine" in line]
    chosen = lines[errors[-1] : errors[-1] + 3] if errors else lines[-n_lines:] or stderr.splitlines()[-n_lines:]
    return " | ".join(chosen) or "(no output)"


def run_program(command: list[str], folder: Path, timeout: float) -> str:
    """Run a serial Quantum ESPRESSO program in a folder and return its stdout; raises PseudoError."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
    except FileNotFoundError as error:
        raise PseudoError(f"{command[0]}: no such program; install Quantum ESPRESSO or give its path") from error
    except subprocess.TimeoutExpired as error:
        raise PseudoError(f"{command[0]} was stopped after {timeout:g} s without an end") from error
    if done.returncode != 0:
        raise PseudoError(f"{command[0]} ended with {done.returncode}: {last_words(done.stdout, done.stderr)}")
    return done.stdout


def run_ld1(recipe: Recipe, executable: str = "ld1.x", timeout: float = TIMEOUT) -> Ld1Run:
    """Generate one dataset in a temporary folder; raises PseudoError."""
    with tempfile.TemporaryDirectory(prefix="argonaut-ld1-") as name:
        folder = Path(name)
        (folder / "ld1.in").write_text(ld1_input(recipe))
        try:
            stdout = run_program([executable, "-in", "ld1.in"], folder, timeout)
        except PseudoError as error:
            raise PseudoError(f"{recipe.element}: {error}") from error
        missing = [f for f in ("out.upf", "ld1.dlog", "ld1ps.dlog") if not (folder / f).is_file()]
        if missing:
            raise PseudoError(f"{recipe.element}: {executable} wrote no {', '.join(missing)}: {last_words(stdout)}")
        derivatives = [np.loadtxt(folder / f, ndmin=2) for f in ("ld1.dlog", "ld1ps.dlog")]
        return Ld1Run((folder / "out.upf").read_text(), stdout, *derivatives)


def check_atom(recipe: Recipe, run: Ld1Run) -> None:
    """Raise PseudoError unless the pseudo-atom has the eigenvalues of the atom and no ghost state."""
    test = run.stdout.partition("Testing the pseudopotential")[2]
    row = re.compile(r"^\s+\d \d\s+(\d[SPD])\s+\d\(\s*[-\d.]+\)\s+[-\d.]+\s+[-\d.]+\s+([-\d.]+)\s*$", re.MULTILINE)
    errors = {match[1].lower(): abs(float(match[2])) for match in row.finditer(test)}
    untested = set(recipe.valence_shells) - set(errors)
    if untested:
        raise PseudoError(
            f"{recipe.element}: ld1.x did not test the states {sorted(untested)}: {last_words(run.stdout)}"
        )
    wrong = {state: error for state, error in errors.items() if error > EIGENVALUE_TOLERANCE}
    if wrong:
        raise PseudoError(f"{recipe.element}: eigenvalues off by {wrong} Ry, more than {EIGENVALUE_TOLERANCE}")
    for momentum, letter in enumerate(SHELLS):
        ghosts = ghost_states(run, momentum)
        if ghosts:
            raise PseudoError(f"{recipe.element}: ghost {letter} states at {ghosts} Ry, which the atom does not have")


def ghost_states(run: Ld1Run, angular_momentum: int) -> list[float]:
    """Energies in Ry where the pseudo-atom has a pole of the logarithmic derivative and the atom has none nearby."""
    own = poles(run.pseudo[:, [0, angular_momentum + 1]])
    true = poles(run.all_electron[:, [0, angular_momentum + 1]])
    low, high = GHOST_WINDOW
    return [e for e in own if low <= e <= high and not any(abs(e - t) < POLE_TOLERANCE for t in true)]


def poles(derivative: NDArray[np.float64]) -> list[float]:
    """Energies in Ry of the poles of a logarithmic derivative.

    Args:
        derivative: (m, 2) energy in Ry, d ln(psi) / dr in 1/bohr. Between poles it only falls with energy, so that
        every
            rise is a pole.
    """
    rises = np.flatnonzero(np.diff(derivative[:, 1]) > 1.0)
    return [round(float(derivative[k, 0]), 2) for k in rises]
