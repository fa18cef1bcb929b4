"""Cutoffs with their evidence: errors of forces, pressure and energy differences per element and pair of cutoffs.

Two atoms at (0, 0, 0) and (0.44, 0.47, 0.53) of an orthorhombic cell (axes 0.96 : 1 : 1 / 0.96) with the volume per
atom of the element's FCC crystal, 2x2x2 k points, smearing and smooth edge of `fast`, against REFERENCE. No symmetry is
left, so that all force components are tested. Energies are compared as a campaign uses them, as differences: energy per
atom of this cell minus that of a BCC crystal with 4/3 of its volume per atom, other neighbours and another density.

Results are kept in results/dft_cutoffs.json with the hash of each element's recipe; what is there is not run again, and
runs of an element whose recipe has changed, or with another smearing or edge, are forgotten.

    python benchmarks/dft_cutoffs.py                                # everything that is missing
    python benchmarks/dft_cutoffs.py --elements H,C --cutoffs 40/200,60/480
    python benchmarks/dft_cutoffs.py --table                        # the tables of the docs, nothing is run
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import ase
import numpy as np
import results_file
from ase.build import bulk
from pw_run import numerics, pseudopotentials, run_pw

from aiida_argonaut.dft_inputs.elements import STRINGENCIES, load_elements
from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters
from aiida_argonaut.dft_inputs.pseudos.all_electron import load_all_electron
from aiida_argonaut.dft_inputs.pseudos.recipes import load_recipe

RESULTS = Path(__file__).parent / "results" / "dft_cutoffs.json"
REFERENCE = "120/960"
"""Ry, wave functions / density."""
GRID = ("35/175", "40/200", "45/225", "50/250", "45/360", "50/400", "60/480", "70/560")
"""Ry, measured for every element, beside the cutoffs that elements.yaml gives to it."""
MESH = (2, 2, 2)
PROTOCOL = load_protocol("stringent", {"degauss": load_protocol("fast").degauss})
GROWN = " grown"
"""Ends the names of the runs of the crystal that energies are compared with."""
GPA = 160.21766208
"""GPa in one eV/Å^3."""


def fcc_volume(element: str) -> float:
    """Å^3 per atom of the FCC crystal, all-electron."""
    return round(load_all_electron(element)["FCC"].volume, 3)


def cell(element: str) -> ase.Atoms:
    """The two-atom cell of an element."""
    edge = (2 * fcc_volume(element)) ** (1 / 3)
    places = [[0, 0, 0], [0.44, 0.47, 0.53]]
    return ase.Atoms([element] * 2, scaled_positions=places, cell=[0.96 * edge, edge, edge / 0.96], pbc=True)


def grown(element: str) -> ase.Atoms:
    """The primitive cell of the BCC crystal that energies are compared with."""
    return bulk(element, "bcc", a=(2 * 4 / 3 * fcc_volume(element)) ** (1 / 3))


def own_cutoffs(element: str) -> dict[str, str]:
    """Cutoffs in elements.yaml by stringency, as 'wave functions/density'."""
    given = load_elements()[element].cutoffs
    return {name: f"{given[name][0]:g}/{given[name][1]:g}" for name in STRINGENCIES}


def measure(atoms: ase.Atoms, cutoffs: str, family: Path) -> dict[str, Any]:
    """Figures of one run of pw.x."""
    wavefunction, density = (float(part) for part in cutoffs.split("/"))
    symbols = atoms.get_chemical_symbols()
    return run_pw(atoms, pw_parameters(PROTOCOL, symbols, symbols, (wavefunction, density)), MESH, family)


def errors(runs: dict[str, Any], cutoffs: str) -> tuple[float, float] | None:
    """Largest error of a force component in meV/Å and error of the pressure in GPa; None if one was not measured."""
    if cutoffs not in runs or REFERENCE not in runs:
        return None
    found, best = runs[cutoffs], runs[REFERENCE]
    force = np.abs(np.array(found["forces"]) - best["forces"]).max()
    pressure = -np.mean(np.array(found["stress"])[:3] - np.array(best["stress"])[:3])
    return round(1000 * float(force), 1), round(float(pressure) * GPA, 2) + 0.0


def energy_errors(runs: dict[str, Any], cutoffs: str) -> tuple[float, float] | None:
    """Errors in meV per atom of the energy itself and of its difference to the grown crystal; None if not measured."""
    keys = (cutoffs, cutoffs + GROWN, REFERENCE, REFERENCE + GROWN)
    if not all(key in runs for key in keys):
        return None
    dense, wide, dense_best, wide_best = (runs[key]["energy"] for key in keys)
    own = dense / 2 - dense_best / 2
    return round(1000 * own, 1) + 0.0, round(1000 * (own - (wide - wide_best)), 1) + 0.0


def table(results: dict[str, Any]) -> list[str]:
    """Lines of Markdown: a row per element, a column per pair of cutoffs, then the cutoffs that elements.yaml chose."""
    lines = ["| | " + " | ".join((*GRID, *STRINGENCIES)) + " |", "|---" * (1 + len(GRID) + len(STRINGENCIES)) + "|"]
    for element, runs in results["elements"].items():
        own = own_cutoffs(element)
        cells = [_told(runs, cutoffs) for cutoffs in GRID]
        cells += [own[name] if own[name] in GRID else f"{own[name]}: {_told(runs, own[name])}" for name in STRINGENCIES]
        lines.append(f"| {element} | " + " | ".join(cells) + " |")
    return lines


def _told(runs: dict[str, Any], cutoffs: str) -> str:
    found = errors(runs, cutoffs)
    return f"{found[0]:.1f} / {found[1]:+.2f}" if found else "-"


def energy_table(results: dict[str, Any]) -> list[str]:
    """Lines of Markdown: a row per element, a column per stringency of elements.yaml, what `energy_errors` says."""
    lines = ["| | " + " | ".join(STRINGENCIES) + " |", "|---" * (1 + len(STRINGENCIES)) + "|"]
    for element, runs in results["elements"].items():
        found = [energy_errors(runs, cutoffs) for cutoffs in own_cutoffs(element).values()]
        cells = [f"{one[0]:+.1f} / {one[1]:+.1f}" if one else "-" for one in found]
        lines.append(f"| {element} | " + " | ".join(cells) + " |")
    return lines


def load() -> dict[str, Any]:
    """What has been measured with the recipes as they are now: their hashes, and runs by element and cutoffs."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    if kept.get("numerics") != numerics(PROTOCOL):
        kept = {"recipes": {}}
    recipes = {element: load_recipe(element).hash for element in load_elements()}
    current = {element: kept["recipes"].get(element) == recipe for element, recipe in recipes.items()}
    elements = {element: kept["elements"][element] if same else {} for element, same in current.items()}
    return {"reference": REFERENCE, "numerics": numerics(PROTOCOL), "recipes": recipes, "elements": elements}


def save(results: dict[str, Any]) -> None:
    """Write the file whole, one run per line."""
    head = {key: value for key, value in results.items() if key != "elements"}
    results_file.save(RESULTS, head, "elements", results["elements"], depth=2)


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", default=",".join(load_elements()), help="symbols, separated by commas")
    parser.add_argument("--cutoffs", help="pairs such as 40/200,60/480; by default the grid and each element's own")
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args()
    results = load()
    if not options.table:
        family = pseudopotentials()
        for element in options.elements.split(","):
            wanted = options.cutoffs.split(",") if options.cutoffs else [*GRID, *own_cutoffs(element).values()]
            runs = results["elements"][element]
            for cutoffs in dict.fromkeys([REFERENCE, *wanted]):
                for key, atoms in ((cutoffs, cell(element)), (cutoffs + GROWN, grown(element))):
                    if key not in runs:
                        runs[key] = measure(atoms, cutoffs, family)
                        save(results)
                told = (_told(runs, cutoffs), energy_errors(runs, cutoffs))
                print(element, cutoffs, f"{runs[cutoffs]['cpu_s']} s", *told, flush=True)
    print("\n".join([*table(results), "", *energy_table(results)]))


if __name__ == "__main__":
    main()
