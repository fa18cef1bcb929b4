"""Figures by which a finished label is judged, on labels of random configurations: where the caps may stand.

Energy per atom against the free pseudo-atoms, -TS per atom, net force, the correction of the forces for incomplete
self-consistency, largest force and pressure. Sets, one core, protocol `fast`, plain mixing:

- crystals and molecules that are bound as strongly as any of H-Ar;
- free atoms with open shells, which protocol `fast` treats without spin polarisation;
- the first configurations of every source of a recipe that are expected to cost at most `--seconds`;
- FCC crystals of one element at small volumes per atom, up to and beyond the pressures that a protocol allows.

The ranges of the table are of labels whose force and pressure are within the caps of the protocol.

Results are kept in one file; what is there is not run again.

    python benchmarks/label_sanity.py examples/recipes/mixed.yaml -n 6 --seed 1
    python benchmarks/label_sanity.py examples/recipes/mixed.yaml -n 6 --seed 1 --table
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase
import ase.build
import ase.io
import numpy as np
import results_file
from pw_run import numerics, pseudopotentials
from source_labels import price

from aiida_argonaut.dft_inputs.kpoints import kpoint_mesh
from aiida_argonaut.dft_inputs.label_sanity import label_figures, scf_force_correction
from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters
from aiida_argonaut.dft_inputs.pseudos.upf import header
from aiida_argonaut.mlip.generate.recipe import generate, load_recipe
from aiida_argonaut.mlip.units import RYDBERG

RESULTS = Path(__file__).parent / "results"
FCC = ("H", "He", "Be", "C", "N", "F", "Ne", "Na", "Si", "Cl", "Ar")
OPEN_SHELLS = ("H", "B", "C", "N", "O", "F", "Al", "Si", "P", "S", "Cl")
CRYSTALS = {
    "C": ("diamond", 3.567),
    "BN": ("zincblende", 3.615),
    "SiC": ("zincblende", 4.36),
    "LiF": ("rocksalt", 4.03),
}
"""Structure and lattice constant, Å."""
MOLECULES = ("N2", "CO", "H2")
BOX = 6.0
"""Å, edge of the cubic cell of a free atom or molecule."""
VOLUMES = (2.5, 4.0, 6.0, 9.0)
"""Å^3 per atom of the FCC crystals."""
TIMEOUT = 600.0


@functools.cache
def atom_energy(symbol: str) -> float:
    """eV, of the pseudo-atom."""
    return header((pseudopotentials() / f"{symbol}.upf").read_text()).total_energy * RYDBERG


def run(atoms: ase.Atoms, elements: list[str]) -> dict[str, Any]:
    """Figures of one label of protocol `fast`; `converged` only where it did not come to an end."""
    protocol, symbols = load_protocol("fast"), atoms.get_chemical_symbols()
    mesh = kpoint_mesh(np.asarray(atoms.cell), protocol.kpoints_spacing)
    parameters = pw_parameters(protocol, elements, symbols)
    parameters["CONTROL"] |= {"pseudo_dir": str(pseudopotentials()), "outdir": "./out"}
    with tempfile.TemporaryDirectory(prefix="argonaut-pw-") as folder:
        ase.io.write(
            f"{folder}/pw.in", atoms, format="espresso-in", input_data=parameters,
            pseudopotentials={symbol: f"{symbol}.upf" for symbol in symbols}, kpts=None if mesh == (1, 1, 1) else mesh,
        )  # fmt: skip
        with open(f"{folder}/pw.out", "w") as sink:
            try:
                subprocess.run(
                    ["pw.x", "-in", "pw.in"], cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=sink,
                    stderr=subprocess.DEVNULL, timeout=TIMEOUT, check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                return {"converged": False}
        stdout = Path(folder, "pw.out").read_text()
        if "convergence has been achieved" not in stdout or "JOB DONE" not in stdout:
            return {"converged": False}
        label = ase.io.read(f"{folder}/pw.out", format="espresso-out")
    assert isinstance(label, ase.Atoms)
    smearing = stdout.rpartition("smearing contrib. (-TS)")[2].split()[1]
    figures = label_figures(
        label.get_potential_energy(), label.get_forces(), label.get_stress(), symbols,
        smearing_energy=float(smearing) * RYDBERG, force_correction=scf_force_correction(stdout),
        reference_energies={symbol: atom_energy(symbol) for symbol in set(symbols)},
    )  # fmt: skip
    return {"converged": True, **{key: float(f"{value:.4g}") for key, value in figures.items()}}


def cells(path: Path, number: int, seed: int, seconds: float) -> Iterator[tuple[str, str, ase.Atoms, list[str]]]:
    """(source, key, atoms, elements of the cutoffs)."""
    for formula, (structure, edge) in CRYSTALS.items():
        crystal = ase.build.bulk(formula, structure, a=edge)
        yield "strong bonds", formula, crystal, sorted(set(crystal.get_chemical_symbols()))
    for formula in MOLECULES:
        molecule = ase.build.molecule(formula, cell=[BOX] * 3, pbc=True)
        yield "strong bonds", formula, molecule, sorted(set(molecule.get_chemical_symbols()))
    for symbol in OPEN_SHELLS:
        yield "free atoms", f"{symbol} free", ase.Atoms(symbol, cell=[BOX] * 3, pbc=True), [symbol]
    for symbol, volume in itertools.product(FCC, VOLUMES):
        yield (
            f"fcc {volume} Å^3",
            f"{symbol} {volume}",
            ase.build.bulk(symbol, "fcc", a=(4 * volume) ** (1 / 3)),
            [symbol],
        )
    recipe = load_recipe(path)
    wanted = {ingredient.source: number for ingredient in recipe.ingredients}
    for index in itertools.takewhile(lambda _: any(wanted.values()), range(2000)):
        source = recipe.ingredients[recipe.turn(seed, index)[0]].source
        if not wanted[source]:
            continue
        made = generate(recipe, seed, index)
        if price(made, recipe.elements, "fast") <= seconds:
            wanted[source] -= 1
            atoms = made.configuration.to_atoms()
            yield (
                source,
                str(index),
                ase.Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True),
                recipe.elements,
            )


def table(labels: dict[str, Any]) -> list[str]:
    """Lines of Markdown: a row per source."""
    shown = {
        "energy_per_atom_eV": "energy, eV/atom", "smearing_eV_per_atom": "-TS, eV/atom",
        "force_correction_eV_per_A": "SCF correction, eV/Å", "net_force_eV_per_A": "net force, eV/Å",
        "max_force_eV_per_A": "force, eV/Å", "pressure_GPa": "pressure, GPa",
    }  # fmt: skip
    protocol = load_protocol("fast")
    lines = [
        f"| set | labels | converged | within caps | {' | '.join(shown.values())} |",
        "|---" * (4 + len(shown)) + "|",
    ]
    sources = sorted(
        {label["source"] for label in labels.values()}, key=lambda name: (name[:4] in ("fcc ", "free"), name)
    )
    for source in sources:
        found = [label for label in labels.values() if label["source"] == source]
        good = [label for label in found if label["converged"]]
        kept = [
            label
            for label in good
            if label["max_force_eV_per_A"] <= protocol.max_force and abs(label["pressure_GPa"]) <= protocol.max_pressure
        ]
        spans = (f"{min(x[key] for x in kept):.3g} to {max(x[key] for x in kept):.3g}" if kept else "" for key in shown)
        lines.append(f"| {source} | {len(found)} | {len(good)} | {len(kept)} | {' | '.join(spans)} |")
    return lines


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="recipe of `argonaut generate`")
    parser.add_argument("-n", type=int, default=6, help="labels per source")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=12.0, help="no label that is expected to cost more")
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args()
    path = RESULTS / f"label_sanity-{options.recipe.stem}-{options.seed}-fast.json"
    head = {"seed": options.seed, "numerics": numerics(load_protocol("fast"))}
    labels = results_file.load(path, head, "labels", parser)
    if not options.table:
        for source, key, atoms, elements in cells(options.recipe, options.n, options.seed, options.seconds):
            if key not in labels:
                labels[key] = {"source": source, "formula": str(atoms.symbols), **run(atoms, elements)}
                results_file.save(path, head, "labels", labels)
                print(key, json.dumps(labels[key]), flush=True)
    print("\n".join(table(labels)))


if __name__ == "__main__":
    main()
