"""Whether forces and stress of labels are the derivatives of their energy, and how large the Pulay stress is.

Three small random cells, made by recipes of examples/ from a seed, under the shipped protocols. Of the protocol's
choices two are changed: the k mesh is that of `fast` for all (fixed in reduced coordinates, so that no point comes or
goes with the strain; what is tested does not depend on its density), and self-consistency ends at THRESHOLD.

- forces: three components of one atom and one direction in which all atoms move, against central differences.
- stress, shear and traceless: against central differences.
- Pulay stress: five volumes at a constant cutoff, as labels of different cells have it. What the energy does beyond the
  integral of the printed stress is fitted by a straight line in the volume; its slope is the Pulay stress.

Results are kept in results/label_derivatives.json; what is there is not run again.

    python benchmarks/label_derivatives.py --protocols fast,balanced,stringent
    python benchmarks/label_derivatives.py --table
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase
import numpy as np
import results_file
import yaml
from numpy.typing import NDArray
from pw_run import numerics, pseudopotentials, run_pw

from aiida_argonaut.dft_inputs.elements import STRINGENCIES
from aiida_argonaut.dft_inputs.kpoints import kpoint_mesh
from aiida_argonaut.dft_inputs.protocol import Protocol, load_protocol, pw_parameters
from aiida_argonaut.dft_inputs.pseudos.recipes import family_label
from aiida_argonaut.dft_inputs.pw_output import EV_PER_ANGSTROM3_IN_GPA
from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.generate.recipe import generate, recipe_from_mapping

RESULTS = Path(__file__).parent / "results" / "label_derivatives.json"
RECIPES = Path(__file__).parents[1] / "examples" / "recipes"
SEED = 1
CELLS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "HPS": ("small", 6, {}),
    "O4": ("small", 5, {"elements": ["O"], "atoms": [4, 4], "species": [1, 1]}),
    "C2Al": ("mixed", 9, {}),
}
"""Name -> recipe, index, and what is changed in the recipe."""
THRESHOLD = 1e-11
"""Ry per atom."""
STEP = 0.005
"""Å, of a displaced atom, to each side."""
SHEAR = 0.005
"""Traceless, to each side."""
VOLUMES = (-0.03, -0.015, 0.015, 0.03)
"""Linear strains of the fit of the Pulay stress, beside 0."""
STEPS = (0.0025, 0.01, 0.02, 0.04)
"""Å, other steps that `--steps` tries on the first component of the first cell."""
DIRECTIONS = {
    "xy": [[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]],
    "xx-yy": [[0.5, 0, 0], [0, -0.5, 0], [0, 0, 0]],
}
"""Traceless strains: dE/de / V is a component of the stress, or half a difference of two."""
Array = NDArray[np.float64]


def configuration(name: str) -> Configuration:
    """The cell of that name."""
    recipe, index, changes = CELLS[name]
    document = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text())
    return generate(recipe_from_mapping({**document, **changes}), SEED, index).configuration


def directions(atoms: ase.Atoms) -> dict[str, Array]:
    """Name -> (n, 3) displacement of norm 1."""
    found = {}
    for axis, letter in enumerate("xyz"):
        one = np.zeros((len(atoms), 3))
        one[-1, axis] = 1.0
        found[letter] = one
    every = np.random.default_rng(SEED).normal(size=(len(atoms), 3))
    return {**found, "all": every / np.linalg.norm(every)}


def strained(atoms: ase.Atoms, strain: Array) -> ase.Atoms:
    """Cell and atoms under a symmetric strain."""
    changed = atoms.copy()
    changed.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    return changed


def variants(atoms: ase.Atoms, steps: bool) -> Iterator[tuple[str, ase.Atoms]]:
    """Name of a run and its cell."""
    yield "0", atoms
    for linear in VOLUMES:
        yield f"volume {linear:+g}", strained(atoms, linear * np.eye(3))
    moves = directions(atoms)
    for name, step in [(name, STEP) for name in moves] + [("x", step) for step in STEPS if steps]:
        for sign in (-1, 1):
            moved = atoms.copy()
            moved.positions += sign * step * moves[name]
            yield f"move {name} {sign * step:+g}", moved
    for name, matrix in DIRECTIONS.items():
        for sign in (-1, 1):
            yield f"strain {name} {sign * SHEAR:+g}", strained(atoms, sign * SHEAR * np.array(matrix))


def run(atoms: ase.Atoms, protocol: Protocol, mesh: tuple[int, int, int], family: Path) -> Any:
    """Figures of one run of pw.x."""
    symbols = atoms.get_chemical_symbols()
    return run_pw(atoms, pw_parameters(protocol, symbols, symbols, keep_files=True), mesh, family)


def measure(name: str, protocol_name: str, runs: dict[str, Any], family: Path, options: Any) -> Iterator[str]:
    """Fill in what is missing of one cell under one protocol; yields the name of each new run."""
    made = configuration(name)
    atoms = made.to_atoms()
    atoms.info.clear()
    protocol = load_protocol(protocol_name)
    mesh = kpoint_mesh(made.cell, load_protocol("fast").kpoints_spacing)
    tight = replace(protocol, conv_thr_per_atom=THRESHOLD)
    if "own threshold" not in runs:
        runs["own threshold"] = run(atoms, protocol, mesh, family)
        yield "own threshold"
    for key, changed in variants(atoms, options.steps):
        if key not in runs and key.split()[0] in ("0", *options.only.split(",")):
            runs[key] = run(changed, tight, mesh, family)
            yield key


def tensor(voigt: list[float]) -> Array:
    """(3, 3) of the six components in ASE's order."""
    xx, yy, zz, yz, xz, xy = voigt
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def force_errors(runs: dict[str, Any], atoms: ase.Atoms, step: float = STEP) -> dict[str, float]:
    """Printed force minus -dE/dx in meV/Å, by direction."""
    found = {}
    for name, direction in directions(atoms).items():
        keys = [f"move {name} {sign * step:+g}" for sign in (-1, 1)]
        if all(key in runs for key in keys):
            low, high = (runs[key]["energy"] for key in keys)
            printed = float(np.sum(np.array(runs["0"]["forces"]) * direction))
            found[name] = 1000 * (printed + (high - low) / (2 * step))
    return found


def stress_errors(runs: dict[str, Any], atoms: ase.Atoms) -> dict[str, float]:
    """Printed stress minus dE/de/V in GPa, of the traceless strains."""
    found = {}
    for name, matrix in DIRECTIONS.items():
        keys = [f"strain {name} {sign * SHEAR:+g}" for sign in (-1, 1)]
        if all(key in runs for key in keys):
            low, high = (runs[key]["energy"] for key in keys)
            slope = (high - low) / (2 * SHEAR) / atoms.get_volume()
            printed = np.sum(tensor(runs["0"]["stress"]) * np.array(matrix))
            found[name] = float(printed - slope) * EV_PER_ANGSTROM3_IN_GPA
    return found


def pulay_stress(runs: dict[str, Any], atoms: ase.Atoms) -> tuple[float, float] | None:
    """dE/dV at a constant cutoff minus the printed mean stress, and the scatter about the straight line, both in GPa.

    The printed stress, a cubic in the volume, is integrated; what is left of the energy is fitted by a line.
    """
    linear = np.array(sorted([0.0, *VOLUMES]))
    keys = ["0" if e == 0 else f"volume {e:+g}" for e in linear]
    if not all(key in runs for key in keys):
        return None
    volumes = atoms.get_volume() * (1 + linear) ** 3
    energies = np.array([runs[key]["energy"] for key in keys])
    stresses = np.array([np.mean(runs[key]["stress"][:3]) for key in keys])
    shift = volumes - atoms.get_volume()
    integral = np.polyval(np.polyint(np.polyfit(shift, stresses, 3)), shift)
    rest = energies - integral
    line = np.polyfit(shift, rest, 1)
    scatter = np.std(rest - np.polyval(line, shift)) / np.ptp(shift)
    return float(line[0]) * EV_PER_ANGSTROM3_IN_GPA, float(scatter) * EV_PER_ANGSTROM3_IN_GPA


def told(value: float | None, form: str) -> str:
    """The number, or a dash where it was not measured."""
    return "-" if value is None else format(value, form)


def table(cells: dict[str, Any]) -> list[str]:
    """Lines of Markdown: a row per cell and protocol."""
    lines = [
        "| cell | protocol | cutoffs, Ry | largest force error, meV/Å (threshold) "
        "| traceless stress error, GPa | Pulay stress, GPa | CPU s per run |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in CELLS:
        atoms = configuration(name).to_atoms()
        for stringency in STRINGENCIES:
            runs = cells.get(f"{name}:{stringency}", {})
            if "0" not in runs:
                continue
            forces, stresses = force_errors(runs, atoms), stress_errors(runs, atoms)
            own = np.abs(np.array(runs["own threshold"]["forces"]) - runs["0"]["forces"]).max() * 1000
            shear = [abs(error) for error in stresses.values()]
            pulay = pulay_stress(runs, atoms)
            cutoffs = load_protocol(stringency).cutoffs(atoms.get_chemical_symbols())
            worst = max((abs(error) for error in forces.values()), default=None)
            lines.append(
                f"| {name} | {stringency} | {cutoffs[0]:g}/{cutoffs[1]:g} | {told(worst, '.1f')} ({own:.1f}) "
                f"| {told(max(shear, default=None), '.2f')} "
                f"| {'-' if pulay is None else f'{pulay[0]:+.2f} ± {pulay[1]:.2f}'} "
                f"| {np.mean([one['cpu_s'] for one in runs.values()]):.1f} |"
            )
    return lines


def steps_table(cells: dict[str, Any]) -> list[str]:
    """Lines of Markdown: error of one force component by step, for cells where other steps were tried."""
    lines = []
    for key, runs in cells.items():
        atoms = configuration(key.split(":")[0]).to_atoms()
        found = {step: force_errors(runs, atoms, step).get("x") for step in sorted((STEP, *STEPS))}
        if sum(error is not None for error in found.values()) > 1:
            shown = ", ".join(f"{step:g} Å {error:+.2f}" for step, error in found.items() if error is not None)
            lines.append(f"{key}, x component, error in meV/Å by step: {shown}")
    return lines


def lines(results: dict[str, Any]) -> list[str]:
    """What docs/labels.md shows."""
    return table(results["cells"]) + steps_table(results["cells"])


def main() -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--protocols", default="fast,balanced")
    parser.add_argument("--steps", action="store_true", help="other steps for one force component too")
    parser.add_argument("--only", default="volume,move,strain", help="first words of the names of runs")
    parser.add_argument("--table", action="store_true", help="print the tables only")
    options = parser.parse_args()
    made_by = {name: numerics(load_protocol(name)) for name in STRINGENCIES}
    head: dict[str, Any] = {"family": family_label(), "seed": SEED, "numerics": made_by}
    cells = results_file.load(RESULTS, head, "cells", parser)
    if not options.table:
        family = pseudopotentials()
        for protocol in options.protocols.split(","):
            for name in options.cells.split(","):
                runs = cells.setdefault(f"{name}:{protocol}", {})
                for key in measure(name, protocol, runs, family, options):
                    results_file.save(RESULTS, head, "cells", cells, depth=2)
                    print(name, protocol, key, runs[key]["cpu_s"], "s", flush=True)
    print("\n".join(lines({"cells": cells})))


if __name__ == "__main__":
    main()
