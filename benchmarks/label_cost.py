"""What labels cost, for the model in dft_inputs/cost.py: measures labels of many kinds, fits, and checks on others.

Cells of 1 to 10 atoms of H-Ar, each with cutoffs, k spacing and spin drawn at random, run one after the other on one
core. Cells whose index is a multiple of three are not fitted, nor are some with more work than any
that is: on both the model is judged. Results are kept; what is there is not run again.

    python benchmarks/label_cost.py                 # about 7 minutes of one core
    python benchmarks/label_cost.py --table         # fit and print only
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import results_file
from pw_run import pseudopotentials, run_pw
from scipy.optimize import nnls

from aiida_argonaut.dft_inputs import cost
from aiida_argonaut.dft_inputs.kpoints import kpoint_mesh
from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters
from aiida_argonaut.dft_inputs.pseudos.recipes import family_label
from aiida_argonaut.mlip.generate.recipe import generate, recipe_from_mapping

PATH = Path(__file__).parent / "results" / "label_cost.json"
RECIPE = {"source": "packing", "atoms": [1, 10], "packing_fraction": [0.1, 0.6], "maximum_volume_per_atom": 40.0}
SEED, CELLS, LARGE = 1, 60, 4
WORK = {"cell": (3e3, 3e5), "large": (6e5, 1.2e6)}
"""Least and most k points x bands x plane waves."""
PROTOCOLS = (
    ("fast", (35, 175)),
    ("fast", (40, 200)),
    ("fast", (50, 250)),
    ("balanced", (40, 320)),
    ("balanced", (50, 400)),
    ("stringent", (60, 480)),
)


@cache
def pseudo(symbol: str) -> cost.PseudoSize:
    """Of the embedded family."""
    return cost.pseudo_size((pseudopotentials() / f"{symbol}.upf").read_text())


def draw(kind: str, index: int) -> dict[str, Any]:
    """The cell and settings of a label: drawn again until the work is within WORK."""
    least, most = WORK[kind]
    random = np.random.default_rng([SEED, index, len(kind)])
    recipe = recipe_from_mapping(RECIPE)
    while True:
        made = generate(recipe, SEED, int(random.integers(10**6))).configuration
        name, cutoffs = PROTOCOLS[random.integers(len(PROTOCOLS))]
        spacing, spin = float(np.exp(random.uniform(np.log(0.3), np.log(1.5)))), bool(random.random() < 0.2)
        overrides = {"kpoints_spacing": round(spacing, 3), "spin": "collinear" if spin else "none"}
        protocol = load_protocol(name, overrides)
        mesh = kpoint_mesh(made.cell, protocol.kpoints_spacing)
        atoms = made.to_atoms()
        symbols = atoms.get_chemical_symbols()
        pseudos = {symbol: pseudo(symbol) for symbol in symbols}
        size = cost.label_size(made.cell, symbols, pseudos, cutoffs, mesh, spin, protocol.conv_thr_per_atom)
        if least <= size.kpoints * size.bands * size.plane_waves <= most:
            return {"atoms": atoms, "protocol": protocol, "cutoffs": cutoffs, "mesh": mesh, "size": size}


def measure(kind: str, index: int, family: Path) -> dict[str, Any]:
    """Settings, size and figures of one label."""
    drawn = draw(kind, index)
    atoms, protocol = drawn["atoms"], drawn["protocol"]
    formula = atoms.get_chemical_formula()
    atoms.info.clear()
    symbols = atoms.get_chemical_symbols()
    parameters = pw_parameters(protocol, symbols, symbols, drawn["cutoffs"], keep_files=True)
    moments = parameters["SYSTEM"].pop("starting_magnetization", {})
    atoms.set_initial_magnetic_moments([moments.get(symbol, 0.0) for symbol in symbols])  # ase writes them by species
    figures = run_pw(atoms, parameters, drawn["mesh"], family)
    told = {key: figures[key] for key in ("converged", "cpu_s", "pw_version", "scf_steps") if key in figures}
    settings = {"protocol": protocol.name, "cutoffs": drawn["cutoffs"], "mesh": drawn["mesh"]}
    return {"formula": formula, **settings, "size": asdict(drawn["size"]), **told}


def fitted(cells: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Converged labels that are fitted, and those that the model is judged on."""
    good = {key: run for key, run in cells.items() if run["converged"]}
    judged = {key for key in good if key.startswith("large") or int(key.partition(":")[2]) % 3 == 0}
    return [good[key] for key in sorted(good.keys() - judged)], [good[key] for key in sorted(judged)]


def fit(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Constants of the model that make the relative errors small."""
    sizes = [cost.LabelSize(**run["size"]) for run in runs]
    digits = {spin: [run["scf_steps"] / s.digits for run, s in zip(runs, sizes, strict=True) if s.spin is spin]
              for spin in (False, True)}  # fmt: skip
    seconds = np.array([run["cpu_s"] for run in runs])
    rows = np.array([[*cost.terms(s, run["scf_steps"]).values()] for run, s in zip(runs, sizes, strict=True)])
    found, _ = nnls(rows / seconds[:, None], np.ones(len(runs)))
    constants = {name: float(f"{value:.4g}") for name, value in zip(cost.CONSTANTS, found, strict=True)}
    per_digit = float(np.mean(digits[False]))
    return {
        "CONSTANTS": constants,
        "STEPS_PER_DIGIT": round(per_digit, 3),
        "STEPS_SPIN": round(float(np.mean(digits[True])) / per_digit, 3),
    }


def ratios(runs: list[dict[str, Any]]) -> list[float]:
    """Measured over predicted core-seconds, by the constants of dft_inputs/cost.py."""
    return [run["cpu_s"] / cost.label_core_seconds(cost.LabelSize(**run["size"])) for run in runs]


def table(cells: dict[str, Any]) -> list[str]:
    """Lines of Markdown: how far the model of dft_inputs/cost.py is off."""
    used, judged = fitted(cells)
    large = [run for key, run in cells.items() if key.startswith("large") and run["converged"]]
    plain = [run for run in judged if run not in large]
    lines = [
        "| labels | number | CPU s, median (range) | measured / predicted, median | 10-90 % | of the sums |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in (("fitted", used), ("not fitted", plain), ("not fitted, large", large)):
        if not runs:
            continue
        off, seconds = ratios(runs), [run["cpu_s"] for run in runs]
        low, middle, high = np.quantile(off, (0.1, 0.5, 0.9))
        total = sum(seconds) / sum(s / r for s, r in zip(seconds, off, strict=True))
        lines.append(
            f"| {name} | {len(runs)} | {np.median(seconds):.1f} ({min(seconds):.1f}-{max(seconds):.1f}) "
            f"| {middle:.2f} | {low:.2f}-{high:.2f} | {total:.2f} |"
        )
    return lines


def main() -> None:
    """Measure what is missing, fit, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="fit and print only")
    options = parser.parse_args()
    head = {"family": family_label(), "recipe": RECIPE, "seed": SEED}
    cells = results_file.load(PATH, head, "cells", parser)
    if not options.table:
        family = pseudopotentials()
        wanted = [("cell", index) for index in range(CELLS)] + [("large", index) for index in range(LARGE)]
        for kind, index in wanted:
            key = f"{kind}:{index}"
            if key not in cells:
                cells[key] = measure(kind, index, family)
                results_file.save(PATH, head, "cells", cells)
                print(key, cells[key]["formula"], f"{cells[key]['cpu_s']} s", flush=True)
    used, judged = fitted(cells)
    print(json.dumps(fit(used), indent=1))
    print("SPREAD", [round(float(q), 2) for q in np.quantile(ratios(judged), (0.1, 0.9))])
    print("\n".join(table(cells)))


if __name__ == "__main__":
    main()
