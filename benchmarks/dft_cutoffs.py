"""Cutoffs with their evidence: errors of forces and pressure per element and pair of cutoffs.

Two atoms at (0, 0, 0) and (0.44, 0.47, 0.53) of an orthorhombic cell (axes 0.96 : 1 : 1 / 0.96) with the volume per
atom of the element's FCC crystal, 2x2x2 k points, cold smearing 0.02 Ry, against REFERENCE. No symmetry is left, so
that all force components are tested.

Results are kept in results/dft_cutoffs.json; what is there is not run again.

    python benchmarks/dft_cutoffs.py                                # everything that is missing
    python benchmarks/dft_cutoffs.py --elements H,C --cutoffs 40/200,60/480
    python benchmarks/dft_cutoffs.py --table                        # the table of docs/dft.md, nothing is run
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import ase
import numpy as np
from pw_run import pseudopotentials, run_pw

from aiida_argonaut.dft_inputs.elements import STRINGENCIES, load_elements
from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters
from aiida_argonaut.dft_inputs.pseudos.recipes import family_label

RESULTS = Path(__file__).parent / "results" / "dft_cutoffs.json"
REFERENCE = "120/960"
"""Ry, wave functions / density."""
GRID = ("35/175", "40/200", "45/225", "50/250", "45/360", "50/400", "60/480", "70/560")
"""Ry, measured for every element, beside the cutoffs that elements.yaml gives to it."""
MESH = (2, 2, 2)
GPA = 160.21766208
"""GPa in one eV/Å^3."""
FCC_VOLUME = {
    "H": 2.965, "He": 17.773, "Li": 20.224, "Be": 7.872, "B": 5.892, "C": 7.322, "N": 7.601, "O": 7.999, "F": 10.147,
    "Ne": 24.303, "Na": 37.099, "Mg": 23.125, "Al": 16.495, "Si": 14.482, "P": 14.564, "S": 15.881, "Cl": 21.288,
    "Ar": 52.276,
}  # fmt: skip
"""Å^3 per atom, all-electron PBE average of E. Bosoni et al., Nat. Rev. Phys. 6, 45 (2024)."""


def cell(element: str) -> ase.Atoms:
    """The two-atom cell of an element."""
    edge = (2 * FCC_VOLUME[element]) ** (1 / 3)
    places = [[0, 0, 0], [0.44, 0.47, 0.53]]
    return ase.Atoms([element] * 2, scaled_positions=places, cell=[0.96 * edge, edge, edge / 0.96], pbc=True)


def own_cutoffs(element: str) -> dict[str, str]:
    """Cutoffs in elements.yaml by stringency, as 'wave functions/density'."""
    given = load_elements()[element].cutoffs
    return {name: f"{given[name][0]:g}/{given[name][1]:g}" for name in STRINGENCIES}


def measure(element: str, cutoffs: str, family: Path) -> dict[str, Any]:
    """Figures of one run of pw.x."""
    wavefunction, density = (float(part) for part in cutoffs.split("/"))
    protocol = load_protocol("stringent", {"degauss": 0.02})
    parameters = pw_parameters(protocol, [element], [element] * 2, (wavefunction, density))
    return run_pw(cell(element), parameters, MESH, family)


def errors(runs: dict[str, Any], cutoffs: str) -> tuple[float, float] | None:
    """Largest error of a force component in meV/Å and error of the pressure in GPa; None if one was not measured."""
    if cutoffs not in runs or REFERENCE not in runs:
        return None
    found, best = runs[cutoffs], runs[REFERENCE]
    force = np.abs(np.array(found["forces"]) - best["forces"]).max()
    pressure = -np.mean(np.array(found["stress"])[:3] - np.array(best["stress"])[:3])
    return round(1000 * float(force), 1), round(float(pressure) * GPA, 2) + 0.0


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


def load() -> dict[str, Any]:
    """What has been measured."""
    if RESULTS.is_file():
        return dict(json.loads(RESULTS.read_text()))
    return {"family": family_label(), "reference": REFERENCE, "elements": {}}


def save(results: dict[str, Any]) -> None:
    """Write the file whole, one run per line."""
    rows = []
    for element, runs in results["elements"].items():
        lines = ",\n".join(f"   {json.dumps(cutoffs)}: {json.dumps(run)}" for cutoffs, run in runs.items())
        rows.append(f'  "{element}": {{\n{lines}\n  }}')
    head = "".join(f" {json.dumps(key)}: {json.dumps(results[key])},\n" for key in ("family", "reference"))
    temporary = RESULTS.with_suffix(".part")
    temporary.write_text("{\n" + head + ' "elements": {\n' + ",\n".join(rows) + "\n }\n}\n")
    os.replace(temporary, RESULTS)


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", default=",".join(FCC_VOLUME), help="symbols, separated by commas")
    parser.add_argument("--cutoffs", help="pairs such as 40/200,60/480; by default the grid and each element's own")
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args()
    results = load()
    if not options.table:
        family = pseudopotentials()
        if results["family"] != family_label():
            parser.error(f"{RESULTS.name} is of family {results['family']}; move it away to measure {family_label()}")
        for element in options.elements.split(","):
            wanted = options.cutoffs.split(",") if options.cutoffs else [*GRID, *own_cutoffs(element).values()]
            runs = results["elements"].setdefault(element, {})
            for cutoffs in dict.fromkeys([REFERENCE, *wanted]):
                if cutoffs not in runs:
                    runs[cutoffs] = measure(element, cutoffs, family)
                    save(results)
                    print(element, cutoffs, f"{runs[cutoffs]['cpu_s']} s", _told(runs, cutoffs), flush=True)
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
