"""The embedded pseudopotentials against all-electron equations of state, each element at its own cutoffs.

Energies at seven volumes from 94 to 106 % of the all-electron equilibrium volume, primitive cells with all symmetry, a
Birch-Murnaghan fit. Structures: FCC for every element, and the one of FCC, BCC, simple cubic and diamond that is lowest
in energy (compared at the all-electron volume of each, cutoffs of `balanced`). The k points are denser than those of
any protocol, so that what is seen is the dataset and its cutoffs: see SPACING, NOBLE_SPACING and PROTOCOL.

Results are kept in results/equations_of_state.json, one run per line, and what is there is not run again. Runs of an
element whose recipe has changed, or with another smearing or edge, are forgotten.

    python benchmarks/equations_of_state.py                         # everything that is missing
    python benchmarks/equations_of_state.py --elements H,C --stringencies balanced --structures FCC
    python benchmarks/equations_of_state.py --table                 # tables of docs/pseudopotentials.md, nothing is run
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np
import results_file
from numpy.typing import ArrayLike
from pw_run import numerics, pseudopotentials, run_pw

from aiida_argonaut.dft_inputs.elements import STRINGENCIES, load_elements
from aiida_argonaut.dft_inputs.kpoints import kpoint_mesh
from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters
from aiida_argonaut.dft_inputs.pseudos.all_electron import EquationOfState, load_all_electron
from aiida_argonaut.dft_inputs.pseudos.recipes import family_label, load_recipe

RESULTS = Path(__file__).parent / "results" / "equations_of_state.json"
SCALES = (0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06)
"""Volumes, of the all-electron equilibrium volume."""
SPACING = 0.2
"""1/Å, k points of the crystals; the mesh is that of scale 1 for all volumes."""
NOBLE_SPACING = dict.fromkeys(("He", "Ne", "Ar"), 0.4)
"""1/Å, of closed shells, whose bands are flat."""
PROTOCOL = dataclasses.replace(load_protocol("stringent"), degauss=load_protocol("balanced").degauss, mixing_beta=0.7)
"""Threshold 1e-10 Ry per atom, smearing of `balanced`; cutoffs are the element's own."""
GPA = 160.21766208
"""GPa in one eV/Å^3."""
GOALS = {"fast": (2.0, 15.0), "balanced": (0.5, 7.0), "stringent": (0.5, 7.0)}
"""%: deviation of the volume and of the bulk modulus above which a row needs a reason."""
STRUCTURES: dict[str, tuple[list[list[float]], list[list[float]]]] = {
    "FCC": ([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], [[0, 0, 0]]),
    "BCC": ([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]], [[0, 0, 0]]),
    "SC": ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 0, 0]]),
    "diamond": ([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], [[0, 0, 0], [0.25, 0.25, 0.25]]),
}
"""Primitive lattice vectors in units of the cubic edge, and fractional positions."""


def crystal(element: str, structure: str, scale: float = 1.0) -> ase.Atoms:
    """Primitive cell at `scale` times the all-electron volume."""
    vectors, places = STRUCTURES[structure]
    volume = scale * len(places) * load_all_electron(element)[structure].volume
    edge = (volume / abs(np.linalg.det(vectors))) ** (1 / 3)
    return ase.Atoms([element] * len(places), scaled_positions=places, cell=edge * np.array(vectors), pbc=True)


def birch_murnaghan(volumes: ArrayLike, energies: ArrayLike) -> EquationOfState:
    """Equilibrium volume, bulk modulus and its pressure derivative of a third-order Birch-Murnaghan fit.

    F. Birch, Phys. Rev. 71, 809 (1947): the energy is a cubic polynomial in x = V^(-2/3), here by least squares.

    Args:
        volumes: (n,) Å^3 per atom, n >= 5.
        energies: (n,) eV per atom.

    Raises:
        ValueError: too few points, or the polynomial has no minimum within the volumes.
    """
    volume, energy = np.asarray(volumes, dtype=np.float64), np.asarray(energies, dtype=np.float64)
    if volume.shape != energy.shape or len(volume) < 5:
        raise ValueError(f"an equation of state needs 5 volumes and as many energies, got {len(volume)}, {len(energy)}")
    unit = float(volume.mean())
    first = np.polyder(np.poly1d(np.polyfit((volume / unit) ** (-2 / 3), energy, 3)))
    second, third = first.deriv(), first.deriv(2)
    inside = [float(x.real) for x in first.roots if abs(x.imag) < 1e-9 and second(x.real) > 0]
    found = [x for x in inside if volume.min() <= unit * x**-1.5 <= volume.max()]
    if not found:
        raise ValueError(f"no minimum of the energy between {volume.min():.3f} and {volume.max():.3f} Å^3 per atom")
    x = found[0]
    modulus = 4 / 9 * x**3.5 * second(x) / unit
    return EquationOfState(unit * x**-1.5, float(modulus) * GPA, float(4 + 2 * x * third(x) / (3 * second(x))))


def run_key(structure: str, cutoffs: str, scale: float, spacing: float | None = None) -> str:
    """Name of a run within its element; the k spacing is told where it is not the usual one."""
    return f"{structure} {cutoffs} {scale:.2f}" + (f" k{spacing:g}" if spacing else "")


def measure(
    element: str, structure: str, cutoffs: str, scale: float, spacing: float | None, family: Path
) -> dict[str, Any]:
    """Figures of one run of pw.x: volume in Å^3 and energy in eV, both per atom, and what it took."""
    atoms = crystal(element, structure, scale)
    parameters = pw_parameters(PROTOCOL, [element], [element] * len(atoms), as_pair(cutoffs))
    mesh = kpoint_mesh(crystal(element, structure).cell.array, spacing or NOBLE_SPACING.get(element, SPACING))
    run = run_pw(atoms, parameters, mesh, family)
    figures = {"converged": run["converged"], "mesh": mesh[0], "cpu_s": run["cpu_s"], "pw_version": run["pw_version"]}
    if run["converged"]:
        figures["volume"] = round(atoms.get_volume() / len(atoms), 6)
        figures["energy"] = round(run["energy"] / len(atoms), 6)
    return figures


def as_pair(cutoffs: str) -> tuple[float, float]:
    """Ry, from 'wave functions/density'."""
    wavefunction, density = cutoffs.split("/")
    return float(wavefunction), float(density)


def own_cutoffs(element: str, stringency: str) -> str:
    """What elements.yaml gives to an element, as 'wave functions/density'."""
    return "{:g}/{:g}".format(*load_elements()[element].cutoffs[stringency])


def equation(
    runs: Mapping[str, Any], structure: str, cutoffs: str, spacing: float | None = None
) -> EquationOfState | None:
    """The fit of one structure at one pair of cutoffs; None where runs are missing or have not converged."""
    found = [runs.get(run_key(structure, cutoffs, scale, spacing), {}) for scale in SCALES]
    if not all(run.get("converged") for run in found):
        return None
    return birch_murnaghan([run["volume"] for run in found], [run["energy"] for run in found])


def deviation(
    element: str, runs: Mapping[str, Any], structure: str, stringency: str, spacing: float | None = None
) -> tuple[float, float] | None:
    """% of the all-electron volume and bulk modulus by which an element at its own cutoffs is off."""
    found = equation(runs, structure, own_cutoffs(element, stringency), spacing)
    true = load_all_electron(element)[structure]
    if found is None:
        return None
    return (
        round(100 * (found.volume / true.volume - 1), 2) + 0.0,
        round(100 * (found.bulk_modulus / true.bulk_modulus - 1), 1) + 0.0,
    )


def lowest(element: str, runs: Mapping[str, Any]) -> dict[str, float]:
    """eV per atom of each structure above the lowest at the all-electron volumes, in order; empty if one is missing."""
    keys = {structure: run_key(structure, own_cutoffs(element, "balanced"), 1.0) for structure in STRUCTURES}
    if not all(runs.get(key, {}).get("converged") for key in keys.values()):
        return {}
    energies = {structure: runs[key]["energy"] for structure, key in keys.items()}
    best = min(energies.values())
    return dict(sorted(((name, energy - best) for name, energy in energies.items()), key=lambda pair: pair[1]))


def table(elements: Mapping[str, Any]) -> list[str]:
    """Lines of Markdown: a row per element and structure, volume / bulk modulus in % for every stringency."""
    lines = ["| | structure | " + " | ".join(STRINGENCIES) + " |", "|---" * (2 + len(STRINGENCIES)) + "|"]
    for element, entry in elements.items():
        runs = entry["runs"]
        order = list(lowest(element, runs))
        for structure in dict.fromkeys(["FCC", *order[:1]]):
            name = f"{structure}, lowest" if order[:1] == [structure] else structure
            cells = [_told(deviation(element, runs, structure, stringency)) for stringency in STRINGENCIES]
            lines.append(f"| {element} | {name} | " + " | ".join(cells) + " |")
    return lines


def _told(found: tuple[float, float] | None) -> str:
    return f"{found[0]:+.2f} / {found[1]:+.1f}" if found else "-"


def order_table(elements: Mapping[str, Any]) -> list[str]:
    """Lines of Markdown: a row per element, meV per atom of each structure above the lowest."""
    lines = ["| | " + " | ".join(STRUCTURES) + " |", "|---" * (1 + len(STRUCTURES)) + "|"]
    for element, entry in elements.items():
        found = lowest(element, entry["runs"])
        cells = [f"{1000 * found[name]:.1f}" if found else "-" for name in STRUCTURES]
        lines.append(f"| {element} | " + " | ".join(cells) + " |")
    return lines


def spacing_table(elements: Mapping[str, Any]) -> list[str]:
    """Lines of Markdown: what denser k points change, FCC at the cutoffs of `fast`; empty where none were measured."""
    lines = []
    for element, entry in elements.items():
        for spacing in sorted({float(key.rpartition(" k")[2]) for key in entry["runs"] if " k" in key}):
            pair = [_told(deviation(element, entry["runs"], "FCC", "fast", k)) for k in (None, spacing)]
            lines.append(f"| {element} | {pair[0]} | {spacing:g} 1/Å: {pair[1]} |")
    return [f"| | {SPACING:g} 1/Å | denser |", "|---|---|---|", *lines] if lines else []


def misses(elements: Mapping[str, Any]) -> list[tuple[str, str, str, float, float]]:
    """Element, structure, stringency, volume and bulk modulus in % of what is outside GOALS."""
    return [
        (element, structure, stringency, *found)
        for element, entry in elements.items()
        for structure in dict.fromkeys(["FCC", *list(lowest(element, entry["runs"]))[:1]])
        for stringency, (volume, modulus) in GOALS.items()
        if (found := deviation(element, entry["runs"], structure, stringency))
        and (abs(found[0]) > volume or abs(found[1]) > modulus)
    ]


def load() -> dict[str, Any]:
    """What has been measured with the recipes as they are now."""
    head = {"spacing": SPACING, "noble_spacing": NOBLE_SPACING, "numerics": numerics(PROTOCOL)}
    found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    kept = found["elements"] if all(found.get(key) == value for key, value in head.items()) else {}
    fresh = {}
    for element in load_elements():
        recipe = load_recipe(element).hash
        current = kept.get(element, {}).get("recipe") == recipe
        fresh[element] = kept[element] if current else {"recipe": recipe, "runs": {}}
    return {**head, "elements": fresh}


def save(results: Mapping[str, Any]) -> None:
    """Write the file whole, one run per line."""
    head = {key: value for key, value in results.items() if key != "elements"}
    results_file.save(RESULTS, head, "elements", results["elements"], depth=3)


def wanted(
    element: str,
    runs: Mapping[str, Any],
    stringency: str,
    structures: Iterable[str] | None,
    spacing: float | None = None,
) -> list[tuple[str, str, float, float | None]]:
    """(structure, cutoffs, scale, spacing) of the runs of an element that are missing.

    Without `structures`: all of FCC, one of each other structure to find the lowest, and then all of the lowest.
    """
    cutoffs, balanced = own_cutoffs(element, stringency), own_cutoffs(element, "balanced")
    if structures is None:
        single = [(structure, balanced, 1.0, None) for structure in STRUCTURES]
        structures = dict.fromkeys(["FCC", *list(lowest(element, runs))[:1]])
    else:
        single = []
    asked = [*single, *((structure, cutoffs, scale, spacing) for structure in structures for scale in SCALES)]
    return [run for run in dict.fromkeys(asked) if run_key(*run) not in runs]


def main() -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", default=",".join(load_elements()), help="symbols, separated by commas")
    parser.add_argument("--stringencies", default=",".join(STRINGENCIES), help="separated by commas")
    parser.add_argument("--structures", help="of FCC,BCC,SC,diamond; by default FCC and the lowest")
    parser.add_argument("--spacing", type=float, help="1/Å, to see what denser k points change")
    parser.add_argument("--table", action="store_true", help="print the tables only")
    options = parser.parse_args()
    results = load()
    if not options.table:
        family = pseudopotentials()
        structures = options.structures.split(",") if options.structures else None
        for stringency in options.stringencies.split(","):
            for element in options.elements.split(","):
                _complete(results, element, stringency, structures, options.spacing, family)
    print(family_label())
    print("\n".join(table(results["elements"])))
    print("\n".join(order_table(results["elements"])))
    print("\n".join(spacing_table(results["elements"])))
    for row in misses(results["elements"]):
        print("outside the goals:", *row)


def _complete(
    results: dict[str, Any],
    element: str,
    stringency: str,
    structures: list[str] | None,
    spacing: float | None,
    family: Path,
) -> None:
    """Run what an element lacks at one stringency, and save after each run."""
    runs = results["elements"][element]["runs"]
    while missing := wanted(element, runs, stringency, structures, spacing):
        for run in missing:
            runs[run_key(*run)] = measure(element, *run, family)
            save(results)
    seconds = sum(run["cpu_s"] for key, run in runs.items() if f" {own_cutoffs(element, stringency)} " in key)
    told = {name: _told(deviation(element, runs, name, stringency, spacing)) for name in STRUCTURES}
    print(element, stringency, f"{seconds:.0f} s", told, flush=True)


if __name__ == "__main__":
    main()
