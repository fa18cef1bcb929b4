"""A hard plane-wave cutoff against a smooth edge: does the printed stress belong to the energies, and at what price?

Random cells of label_derivatives.py at several cutoffs, each with a hard cutoff and with smooth edges of several widths
and heights (`plane_waves` of dft_inputs/protocol.py). Three volumes (linear strains of -1, 0 and +1 %) with the same
reduced k mesh: what the energy does beyond the integral of the printed stress is the Pulay stress. The last run of a
cell, hard and at 120/960 Ry, says what the pressure converges to.

Results are kept in results/plane_wave_edge.json; what is there is not run again.

    python benchmarks/plane_wave_edge.py
    python benchmarks/plane_wave_edge.py --table
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import results_file
from label_derivatives import THRESHOLD, configuration, strained
from pw_run import pseudopotentials, run_pw

from aiida_argonaut.dft_inputs.kpoints import kpoint_mesh
from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters
from aiida_argonaut.dft_inputs.pseudos.recipes import family_label
from aiida_argonaut.dft_inputs.pw_output import EV_PER_ANGSTROM3_IN_GPA

RESULTS = Path(__file__).parent / "results" / "plane_wave_edge.json"
STRAINS = (-0.01, 0.0, 0.01)
REFERENCE = (120.0, 960.0)
"""Ry, wave functions and density."""
HARD = (0.0, 0.0, 0.0)
CASES: dict[str, dict[tuple[float, float], tuple[tuple[float, float, float], ...]]] = {
    "HPS": {(35, 175): (HARD, (3, 1.2, 1000), (5, 2, 1000)), (45, 360): (HARD, (3, 1.2, 1000))},
    "O4": {
        (40, 200): (HARD, (3, 1.2, 1000)),
        (50, 400): (HARD, (5, 2, 150), (5, 2, 1000), (5, 2, 3000), (3, 1.2, 1000), (2, 0.8, 1000)),
    },
}
"""Cell -> cutoffs in Ry -> edges: Ry beyond the cutoff, width in Ry, height in Ry."""


def run(
    cell: str, cutoffs: tuple[float, float], edge: tuple[float, float, float], strain: float, family: Path
) -> dict[str, Any]:
    """Volume, energy, mean printed stress and CPU seconds of one run."""
    made = configuration(cell)
    atoms = strained(made.to_atoms(), strain * np.eye(3))
    atoms.info.clear()
    protocol = replace(load_protocol("balanced"), conv_thr_per_atom=THRESHOLD, cutoff_smoothing=0.0)
    symbols = atoms.get_chemical_symbols()
    beyond, width, height = edge
    waves = (cutoffs[0] + beyond, cutoffs[1] * (1 + beyond / cutoffs[0]))
    parameters = pw_parameters(protocol, symbols, symbols, waves)
    if beyond:
        parameters["SYSTEM"] |= {"ecfixed": float(cutoffs[0]), "q2sigma": float(width), "qcutz": float(height)}
    figures = run_pw(atoms, parameters, kpoint_mesh(made.cell, load_protocol("fast").kpoints_spacing), family)
    return {
        "volume": round(atoms.get_volume(), 6), "energy": figures["energy"], "cpu_s": figures["cpu_s"],
        "stress": round(float(np.mean(figures["stress"][:3])), 8), "scf_steps": figures["scf_steps"],
    }  # fmt: skip


def key_of(cell: str, cutoffs: tuple[float, float], edge: tuple[float, float, float], strain: float) -> str:
    """Name of a run."""
    kind = "hard" if edge == HARD else "+{:g} {:g} {:g}".format(*edge)
    return f"{cell} {cutoffs[0]:g}/{cutoffs[1]:g} {kind} {strain:+g}"


def wanted() -> list[tuple[str, tuple[float, float], tuple[float, float, float], float]]:
    """All runs."""
    found = []
    for cell, cases in CASES.items():
        for cutoffs, edges in cases.items():
            found += [(cell, cutoffs, edge, strain) for edge in edges for strain in STRAINS]
        found.append((cell, REFERENCE, HARD, 0.0))
    return found


def lines(runs: dict[str, Any]) -> list[str]:
    """Lines of Markdown: a row per cell, cutoffs and edge."""
    found = [
        "| cell | cutoffs, Ry | Ry beyond, width, height | Pulay stress, GPa | printed pressure, GPa "
        "| it converges to, GPa | CPU s per run |",
        "|---|---|---|---|---|---|---|",
    ]
    for cell, cases in CASES.items():
        best = runs.get(key_of(cell, REFERENCE, HARD, 0.0))
        for cutoffs, edges in cases.items():
            for edge in edges:
                three = [runs.get(key_of(cell, cutoffs, edge, strain)) for strain in STRAINS]
                if best is None or None in three:
                    continue
                volumes, energies, stresses = (
                    np.array([one[name] for one in three]) for name in ("volume", "energy", "stress")
                )
                shift = volumes - volumes[1]
                rest = energies - np.polyval(np.polyint(np.polyfit(shift, stresses, 2)), shift)
                pulay = (rest[2] - rest[0]) / (shift[2] - shift[0]) * EV_PER_ANGSTROM3_IN_GPA
                printed, converged = (-one["stress"] * EV_PER_ANGSTROM3_IN_GPA for one in (three[1], best))
                told = "hard" if edge == HARD else "{:g}, {:g}, {:g}".format(*edge)
                found.append(
                    f"| {cell} | {cutoffs[0]:g}/{cutoffs[1]:g} | {told} | {pulay:+.3f} | {printed:.2f} "
                    f"| {converged:.2f} | {np.mean([one['cpu_s'] for one in three]):.1f} |"
                )
    return found


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args()
    head = {"family": family_label()}
    runs = results_file.load(RESULTS, head, "runs", parser)
    if not options.table:
        family = pseudopotentials()
        for one in wanted():
            if (key := key_of(*one)) not in runs:
                runs[key] = run(*one, family)
                results_file.save(RESULTS, head, "runs", runs)
                print(key, runs[key], flush=True)
    print("\n".join(lines(runs)))


if __name__ == "__main__":
    main()
