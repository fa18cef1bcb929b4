"""What a label of a random cell costs, whether it converges, and what its k-point spacing is worth.

Runs pw.x, one core, on the cells that a recipe makes from a seed, under a protocol, at one or several k-point spacings.
The finest spacing is the yardstick of the others: energy per atom and forces are compared cell by cell.

Results are kept in a file per protocol; what is there is not run again.

    python benchmarks/dft_random_cells.py examples/recipes/small.yaml -n 12 --seed 1 --spacings 1.2,0.7,0.4
    python benchmarks/dft_random_cells.py examples/recipes/small.yaml -n 12 --seed 1 --spacings 1.2,0.7,0.4 --table
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import results_file
from pw_run import numerics, pseudopotentials, run_pw

from aiida_argonaut.dft_inputs.kpoints import kpoint_mesh
from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters
from aiida_argonaut.dft_inputs.pseudos.recipes import family_label
from aiida_argonaut.mlip.generate.recipe import generate, load_recipe

RESULTS = Path(__file__).parent / "results"


def measure(recipe: Path, seed: int, index: int, protocol: str, spacing: float, family: Path) -> dict[str, Any]:
    """Formula, mesh and figures of one label."""
    made = generate(load_recipe(recipe), seed, index).configuration
    atoms, elements = made.to_atoms(), load_recipe(recipe).elements
    atoms.info.clear()
    mesh = kpoint_mesh(made.cell, spacing)
    parameters = pw_parameters(load_protocol(protocol), elements, atoms.get_chemical_symbols(), keep_files=True)
    figures = run_pw(atoms, parameters, mesh, family)
    described = {"formula": made.formula, "configuration_id": made.configuration_id, "n_atoms": len(atoms)}
    return {**described, "mesh": list(mesh), **figures}


def table(cells: dict[str, Any], spacings: list[str], n_cells: int) -> list[str]:
    """Lines of Markdown: a row per spacing, the finest last."""
    ordered = sorted(spacings, key=float, reverse=True)
    lines = [
        "| spacing, 1/Å | converged | SCF steps, mean (most) | CPU s per label, mean (range) "
        "| error meV/atom, mean (worst) | force error eV/Å, rms |",
        "|---|---|---|---|---|---|",
    ]
    for spacing in ordered:
        found = {index: cells[key] for index in range(n_cells) if (key := f"{index}:{spacing}") in cells}
        if not found:
            continue
        good = {index: run for index, run in found.items() if run["converged"]}
        steps, seconds = [run["scf_steps"] for run in good.values()], [run["cpu_s"] for run in found.values()]
        best = {index: cells.get(f"{index}:{ordered[-1]}", {"converged": False}) for index in good}
        lines.append(
            f"| {spacing} | {len(good)} of {len(found)} | {np.mean(steps):.1f} ({max(steps)}) "
            f"| {np.mean(seconds):.1f} ({min(seconds):.1f}-{max(seconds):.1f}) | {_errors(good, best)} |"
        )
    return lines


def _errors(runs: dict[int, Any], best: dict[int, Any]) -> str:
    """Mean and largest energy error and force error of some runs against better ones of the same cells."""
    pairs = [
        (runs[index], best[index]) for index in runs if best[index]["converged"] and best[index] is not runs[index]
    ]
    if not pairs:
        return "yardstick | yardstick"
    energy = [abs(run["energy"] - true["energy"]) / run["n_atoms"] * 1000 for run, true in pairs]
    forces = np.concatenate([np.ravel(np.array(run["forces"]) - true["forces"]) for run, true in pairs])
    return f"{np.mean(energy):.0f} ({max(energy):.0f}) | {np.sqrt(np.mean(forces**2)):.2f}"


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="recipe of `argonaut generate`")
    parser.add_argument("-n", type=int, default=12, help="cells, from index 0")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--protocol", default="fast")
    parser.add_argument("--spacings", default="0.7", help="1/Å, separated by commas; the finest is the yardstick")
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args()
    path = RESULTS / f"dft_random_cells-{options.recipe.stem}-{options.seed}-{options.protocol}.json"
    made_by = {"family": family_label(), "numerics": numerics(load_protocol(options.protocol))}
    head = {**made_by, "recipe_hash": load_recipe(options.recipe).content_hash, "seed": options.seed}
    cells, spacings = results_file.load(path, head, "cells", parser), options.spacings.split(",")
    if not options.table:
        family = pseudopotentials()
        for spacing in spacings:
            for key, index in ((f"{index}:{spacing}", index) for index in range(options.n)):
                if key not in cells:
                    cells[key] = measure(options.recipe, options.seed, index, options.protocol, float(spacing), family)
                    results_file.save(path, head, "cells", cells)
                    print(key, cells[key]["formula"], f"{cells[key]['cpu_s']} s", flush=True)
    print("\n".join(table(cells, spacings, options.n)))


if __name__ == "__main__":
    main()
