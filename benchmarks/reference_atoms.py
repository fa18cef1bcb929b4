"""Energies of the isolated atoms H-Ar, smooth and collinear, against the header of their dataset and each other.

Each atom as `dft_inputs/reference_atoms.py` asks for it, in the box given there and, with --scale, in a larger one.
Results are kept in results/reference_atoms.json; what is there is not run again.

    python benchmarks/reference_atoms.py                                  # all 18 at `fast`, 36 runs
    python benchmarks/reference_atoms.py --elements H,Li,O,Na --scale 1.2  # the same in a larger box
    python benchmarks/reference_atoms.py --table
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import ase
import results_file
from pw_run import numerics, pseudopotentials, run_pw

from aiida_argonaut.dft_inputs.elements import load_elements
from aiida_argonaut.dft_inputs.protocol import SPINS, load_protocol
from aiida_argonaut.dft_inputs.pseudos.atom import RYDBERG_EV
from aiida_argonaut.dft_inputs.pseudos.recipes import SHELLS, family_label, load_recipes
from aiida_argonaut.dft_inputs.pseudos.upf import check_upf
from aiida_argonaut.dft_inputs.reference_atoms import BOX, ReferenceAtom, reference_atom, unpaired_electrons

RESULTS = Path(__file__).parent / "results" / "reference_atoms.json"


def run_atom(atom: ReferenceAtom, family: Path) -> dict[str, Any]:
    """Figures of one run of pw.x."""
    atoms = ase.Atoms(list(atom.symbols), positions=[[0, 0, 0]], cell=atom.cell, pbc=True)
    system = dict(atom.parameters["SYSTEM"])
    moments = system.pop("starting_magnetization", {})
    atoms.set_initial_magnetic_moments([moments.get(symbol, 0.0) for symbol in atom.symbols])  # ase's way to say it
    figures = run_pw(atoms, {**atom.parameters, "SYSTEM": system}, atom.mesh, family)
    return {key: value for key, value in figures.items() if key not in ("forces", "stress")}


def box_name(scale: float) -> str:
    """Edges of the box in Å."""
    return "x".join(f"{edge * scale:g}" for edge in BOX)


def header_energy(symbol: str, family: Path) -> float:
    """eV, of the spherical atom, from the header of its dataset."""
    upf = check_upf((family / f"{symbol}.upf").read_text(), load_recipes([symbol])[symbol])
    return round(upf.total_energy * RYDBERG_EV, 6)


def gaussian_smearing(filling: float) -> float:
    """-TS of one level and spin in units of the width, where this share of it is filled (Gaussian smearing)."""
    x = NormalDist(0.0, math.sqrt(0.5)).inv_cdf(filling)
    return -math.exp(-(x**2)) / (2 * math.sqrt(math.pi))


def smearing_energy(symbol: str, degauss: float) -> float:
    """-TS in eV of the spherical atom: the levels of the open shell equally filled, nothing from closed shells."""
    shells = load_recipes([symbol])[symbol].valence_shells
    fillings = [(2 * m + 1, n / (4 * m + 2)) for state, n in shells.items() for m in [SHELLS.index(state[1])] if n > 0]
    return sum(2 * m * gaussian_smearing(filling) for m, filling in fillings if filling < 1) * degauss * RYDBERG_EV


def table(results: dict[str, Any], protocol: str = "fast") -> list[str]:
    """Lines of Markdown: a row per element."""
    runs, headers, box = results["runs"], results["headers"], box_name(1.0)
    lines = [
        "| | unpaired electrons | header, eV | none minus header, eV | of it -TS, eV | collinear minus header, eV "
        "| SCF steps | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for symbol in load_elements():
        found = [runs.get(f"{symbol}:{spin}:{protocol}:{box}", {}) for spin in SPINS]
        if not any(found):
            continue
        none, collinear = (f"{run['energy'] - headers[symbol]:+.3f}" if "energy" in run else "-" for run in found)
        steps, seconds = (
            " / ".join(f"{run[key]:.0f}" if key in run else "-" for run in found) for key in ("scf_steps", "cpu_s")
        )
        smearing = smearing_energy(symbol, load_protocol(protocol).degauss)
        lines.append(
            f"| {symbol} | {unpaired_electrons(symbol)} | {headers[symbol]:.4f} | {none} | {smearing:+.3f} "
            f"| {collinear} | {steps} | {seconds} |"
        )
    return lines


def box_table(results: dict[str, Any], scale: float, protocol: str = "fast") -> list[str]:
    """Lines of Markdown: what the larger box changes, in meV."""
    runs, rows = results["runs"], []
    for symbol in load_elements():
        changes = []
        for spin in SPINS:
            small, large = (runs.get(f"{symbol}:{spin}:{protocol}:{box_name(s)}", {}) for s in (1.0, scale))
            known = "energy" in small and "energy" in large
            changes.append(f"{1000 * (large['energy'] - small['energy']):+.1f}" if known else "-")
        if changes != ["-"] * len(SPINS):
            rows.append(f"| {symbol} | " + " | ".join(changes) + " |")
    heads = [f"| {box_name(scale)} Å minus {box_name(1.0)} Å, meV | none | collinear |", "|---|---|---|"]
    return [*heads, *rows] if rows else []


def lines(results: dict[str, Any], protocol: str = "fast") -> list[str]:
    """What docs/labels.md shows."""
    return [*table(results, protocol), *box_table(results, 1.2, protocol)]


def save(results: dict[str, Any]) -> None:
    """Write the file whole, one run per line."""
    head = {key: value for key, value in results.items() if key != "runs"}
    results_file.save(RESULTS, head, "runs", results["runs"])


def main() -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", default=",".join(load_elements()))
    parser.add_argument("--protocol", default="fast")
    parser.add_argument("--spins", default=",".join(SPINS))
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the edges of the box")
    parser.add_argument("--table", action="store_true", help="print the tables only")
    options = parser.parse_args()
    head = {"family": family_label(), "numerics": numerics(load_protocol(options.protocol))}
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {**head, "runs": {}}
    found = {key: results.get(key) for key in head}
    if found != head:
        parser.error(f"{RESULTS.name} is of {found}, asked is {head}; move it away to measure anew")
    if not options.table:
        family = pseudopotentials()
        results["headers"] = {symbol: header_energy(symbol, family) for symbol in load_elements()}
        box = (BOX[0] * options.scale, BOX[1] * options.scale, BOX[2] * options.scale)
        for symbol in options.elements.split(","):
            for spin in options.spins.split(","):
                key = f"{symbol}:{spin}:{options.protocol}:{box_name(options.scale)}"
                if key not in results["runs"]:
                    protocol = load_protocol(options.protocol, {"spin": spin})
                    results["runs"][key] = run_atom(reference_atom(protocol, symbol, box=box), family)
                    save(results)
                    print(key, results["runs"][key], flush=True)
    print("\n".join(lines(results, options.protocol)))


if __name__ == "__main__":
    main()
