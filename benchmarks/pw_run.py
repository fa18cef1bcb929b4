"""One pw.x run outside AiiDA: what the benchmarks of labels ask and what they keep of the answer.

Shares the input with campaigns (`dft_inputs.protocol.pw_parameters`), so that what is measured is what is labelled.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np

from aiida_argonaut.dft_inputs.protocol import Protocol
from aiida_argonaut.dft_inputs.pseudos.build import build_family
from aiida_argonaut.dft_inputs.pseudos.recipes import family_label
from aiida_argonaut.dft_inputs.pw_output import pw_version

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "aiida-argonaut"


def numerics(protocol: Protocol) -> dict[str, Any]:
    """What of a protocol decides a number beside cutoffs and k points: runs of another one are not to be mixed in."""
    return {key: getattr(protocol, key) for key in ("smearing", "degauss", "cutoff_smoothing")}


def pseudopotentials() -> Path:
    """Folder of the embedded family, built by ld1.x where it is not in the cache yet."""
    folder = CACHE / family_label().replace("/", "-")
    build_family(folder, workers=1)
    return folder


def run_pw(
    atoms: ase.Atoms, parameters: dict[str, Any], mesh: tuple[int, int, int], family: Path, timeout: float = 3600.0
) -> dict[str, Any]:
    """Run pw.x on one core and return figures of the run.

    Args:
        atoms: periodic cell, Å.
        parameters: namelists, as `pw_parameters` makes them.
        mesh: Gamma-centred k points.
        family: folder of El.upf.
        timeout: seconds after which the run counts as not converged.

    Returns:
        `converged`, `cpu_s` (user and system time of pw.x), `pw_version`, and if converged `scf_steps`, `energy` eV,
        `forces` (n, 3) eV/Å and, where it was asked for, `stress` (6,) eV/Å^3 in ASE's order and sign.
    """
    symbols = sorted(set(atoms.get_chemical_symbols()))
    control = {**parameters["CONTROL"], "pseudo_dir": str(family), "outdir": "./out"}
    with tempfile.TemporaryDirectory(prefix="argonaut-pw-") as name:
        folder = Path(name)
        ase.io.write(
            folder / "pw.in", atoms, format="espresso-in", input_data={**parameters, "CONTROL": control},
            pseudopotentials={symbol: f"{symbol}.upf" for symbol in symbols}, kpts=None if mesh == (1, 1, 1) else mesh,
        )  # fmt: skip
        stdout, seconds = _timed(["pw.x", "-in", "pw.in"], folder, timeout)
        figures: dict[str, Any] = {
            "converged": "JOB DONE" in stdout and "convergence has been achieved" in stdout,
            "cpu_s": round(seconds, 2),
            "pw_version": pw_version(stdout),
        }
        if figures["converged"]:
            figures |= _answer(folder, stdout)
    return figures


def _timed(command: list[str], folder: Path, timeout: float) -> tuple[str, float]:
    """Standard output and CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "pw.out").open("w") as sink:
        try:
            subprocess.run(command, cwd=folder, env=environment, stdout=sink, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            sink.write("\nstopped by the benchmark: too long\n")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (folder / "pw.out").read_text(), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _answer(folder: Path, stdout: str) -> dict[str, Any]:
    result = ase.io.read(folder / "pw.out", format="espresso-out")
    assert isinstance(result, ase.Atoms)
    steps = re.findall(r"convergence has been achieved in\s+(\d+) iterations", stdout)
    return {
        "scf_steps": int(steps[-1]),
        "energy": round(float(result.get_potential_energy()), 6),
        "forces": np.round(result.get_forces(), 5).tolist(),
        **({"stress": np.round(result.get_stress(), 7).tolist()} if "stress" in result.calc.results else {}),
    }
