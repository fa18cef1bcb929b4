"""Cold against Gaussian smearing in systems with a gap: where pw.x puts the Fermi level, and what that does.

A beryllium atom, crystals of argon at several volumes, and the cells of a recipe in which cold smearing gave the
largest positive -TS among some hundred labels. With a gap wider than the smearing -TS is zero; what else is printed is
a Fermi level at the edge of the gap. Energies are against those with an eighth of the width, Gaussian.

Results are kept in results/smearing.json; what is there is not run again.

    python benchmarks/smearing.py
    python benchmarks/smearing.py --table
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase
import ase.build
import ase.io
import results_file
import yaml
from pw_run import pseudopotentials

from aiida_argonaut.dft_inputs.kpoints import kpoint_mesh
from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters
from aiida_argonaut.dft_inputs.pseudos.recipes import family_label
from aiida_argonaut.mlip.generate.recipe import generate, recipe_from_mapping
from aiida_argonaut.mlip.units import RYDBERG

RESULTS = Path(__file__).parent / "results" / "smearing.json"
RECIPE = Path(__file__).parents[1] / "examples" / "recipes" / "mixed.yaml"
SEED = 1
CELLS = {333: "dimers", 357: "dimers", 543: "clusters", 109: "clusters", 222: "clusters"}
"""Index in the recipe -> its source: the five largest positive -TS of 97 labels under cold smearing."""
WIDTH = 0.02
"""Ry"""
KINDS = {"cold": ("cold", WIDTH), "gaussian": ("gaussian", WIDTH), "narrow": ("gaussian", WIDTH / 8)}


def systems() -> Iterator[tuple[str, ase.Atoms, float]]:
    """Name, cell and k spacing in 1/Å."""
    yield "Be atom", ase.Atoms("Be", cell=[7.0, 7.5, 8.0], pbc=True), 10.0
    for scale in (0.94, 0.96, 0.98, 1.0):
        edge = (4 * 52.0 * scale) ** (1 / 3)
        yield f"FCC Ar, {52.0 * scale:.1f} Å^3 per atom", ase.build.bulk("Ar", "fcc", a=edge), 0.4
    recipe = recipe_from_mapping(yaml.safe_load(RECIPE.read_text()))
    for index, source in CELLS.items():
        atoms = generate(recipe, SEED, index).configuration.to_atoms()
        atoms.info.clear()
        yield f"{source} {index}: {atoms.get_chemical_formula()}", atoms, load_protocol("fast").kpoints_spacing


def run(atoms: ase.Atoms, spacing: float, smearing: str, width: float, family: Path) -> dict[str, Any]:
    """Energy and -TS in eV per atom, and SCF steps."""
    protocol = load_protocol("fast", {"smearing": smearing, "degauss": width, "stress": False})
    symbols = atoms.get_chemical_symbols()
    parameters = pw_parameters(protocol, symbols, symbols)
    mesh = kpoint_mesh(atoms.cell.array, spacing)
    with tempfile.TemporaryDirectory(prefix="argonaut-pw-") as name:
        control = {**parameters["CONTROL"], "pseudo_dir": str(family), "outdir": "./out"}
        ase.io.write(
            Path(name) / "pw.in", atoms, format="espresso-in", input_data={**parameters, "CONTROL": control},
            pseudopotentials={symbol: f"{symbol}.upf" for symbol in set(symbols)},
            kpts=None if mesh == (1, 1, 1) else mesh,
        )  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            ["pw.x", "-in", "pw.in"], cwd=name, env=environment, capture_output=True, text=True, check=False
        )
    energy, smeared = (
        re.findall(pattern + r"\s*=\s*(\S+) Ry", done.stdout)
        for pattern in (r"!\s+total energy", r"smearing contrib\. \(-TS\)")
    )
    steps = re.findall(r"convergence has been achieved in\s+(\d+) iterations", done.stdout)
    if not (energy and smeared and steps):
        return {"converged": False}
    return {
        "converged": True,
        "energy": round(float(energy[-1]) * RYDBERG / len(atoms), 6),
        "smearing_energy": round(float(smeared[-1]) * RYDBERG / len(atoms), 6),
        "scf_steps": int(steps[-1]),
    }


def lines(runs: dict[str, Any]) -> list[str]:
    """Lines of Markdown: a row per system."""
    found = [
        "| meV per atom | cold: -TS | energy off by | Gaussian: -TS | energy off by |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(key.rpartition(":")[0] for key in runs):
        each = [runs.get(f"{name}:{kind}", {}) for kind in KINDS]
        if not all(one.get("converged") for one in each):
            continue
        cold, gaussian, narrow = each
        cells = []
        for one in (cold, gaussian):
            cells += [f"{1000 * one['smearing_energy']:+.1f}", f"{1000 * (one['energy'] - narrow['energy']):+.1f}"]
        found.append(f"| {name} | " + " | ".join(cells) + " |")
    return found


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args()
    head = {"family": family_label(), "seed": SEED, "width": WIDTH}
    runs = results_file.load(RESULTS, head, "runs", parser)
    if not options.table:
        family = pseudopotentials()
        for name, atoms, spacing in systems():
            for kind, (smearing, width) in KINDS.items():
                if (key := f"{name}:{kind}") not in runs:
                    runs[key] = run(atoms, spacing, smearing, width, family)
                    results_file.save(RESULTS, head, "runs", runs)
                    print(key, runs[key], flush=True)
    print("\n".join(lines(runs)))


if __name__ == "__main__":
    main()
