"""Which sources give configurations that DFT can label: converged labels, their forces and pressures, source by source.

Runs pw.x, one core, on the first configurations of every source of a recipe, under a protocol, with the cutoffs that a
campaign of the whole recipe would use. A label that does not converge at the protocol's own mixing is tried once more
with local Thomas-Fermi screening and a small beta, which decide nothing about a converged number; the table has both.

Results are kept in one file; what is there is not run again, unless the recipe now makes another configuration.

    python benchmarks/source_labels.py examples/recipes/mixed.yaml -n 16 --seed 1
    python benchmarks/source_labels.py examples/recipes/mixed.yaml -n 16 --seed 1 --prices   # expected CPU seconds only
    python benchmarks/source_labels.py examples/recipes/mixed.yaml -n 16 --seed 1 --table
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import results_file
from pw_run import numerics, pseudopotentials, run_pw

from aiida_argonaut.dft_inputs import cost
from aiida_argonaut.dft_inputs.kpoints import kpoint_mesh
from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters
from aiida_argonaut.dft_inputs.pseudos.recipes import family_label
from aiida_argonaut.mlip.generate.recipe import Generated, Recipe, generate, load_recipe
from aiida_argonaut.mlip.sanity import distance_ratio
from aiida_argonaut.mlip.units import GPA

RESULTS = Path(__file__).parent / "results"
RESCUE = {"mixing_mode": "local-TF", "mixing_beta": 0.2}
TIMEOUT = 1200.0


def first_of_each_source(recipe: Recipe, seed: int, number: int) -> Iterator[tuple[str, int, Generated]]:
    """(source, index, what was made) of the first `number` of each source, sources taking turns."""
    wanted = {ingredient.source: number for ingredient in recipe.ingredients}
    index = 0
    while any(wanted.values()):
        source = recipe.ingredients[recipe.turn(seed, index)[0]].source
        if wanted[source]:
            wanted[source] -= 1
            yield source, index, generate(recipe, seed, index)
        index += 1


def measure(made: Generated, elements: list[str], protocol_name: str, family: Path) -> dict[str, Any]:
    """Size and figures of one label."""
    configuration, protocol = made.configuration, load_protocol(protocol_name)
    mesh = kpoint_mesh(configuration.cell, protocol.kpoints_spacing)
    atoms = configuration.to_atoms()
    atoms.info.clear()
    parameters = pw_parameters(protocol, elements, atoms.get_chemical_symbols(), keep_files=True)
    told = {
        "formula": configuration.formula, "configuration_id": configuration.configuration_id, "mesh": list(mesh),
        "volume": round(configuration.volume, 2), "ratio": round(distance_ratio(configuration, 5.0), 4),
    }  # fmt: skip
    figures = run_pw(atoms, parameters, mesh, family, TIMEOUT)
    if not figures["converged"]:
        parameters["ELECTRONS"] |= RESCUE
        again = run_pw(atoms, parameters, mesh, family, TIMEOUT)
        figures = {**again, "converged": False, "rescued": again["converged"], "cpu_s": figures["cpu_s"]}
    return {**told, **_summary(figures, protocol)}


def _summary(figures: dict[str, Any], protocol: Any) -> dict[str, Any]:
    """What is kept of a run: no arrays, but the largest force and the pressure, and whether the caps allow them."""
    kept = {key: figures[key] for key in ("converged", "rescued", "cpu_s", "scf_steps") if key in figures}
    if "forces" in figures:
        force = float(np.linalg.norm(figures["forces"], axis=1).max())
        pressure = float(-np.mean(figures["stress"][:3]) / GPA)
        kept |= {"max_force": round(force, 2), "pressure_GPa": round(pressure, 1)}
        kept["within_caps"] = bool(force <= protocol.max_force and abs(pressure) <= protocol.max_pressure)
    return kept


@functools.cache
def pseudo(symbol: str) -> cost.PseudoSize:
    """Size of a pseudopotential of the embedded family."""
    return cost.pseudo_size((pseudopotentials() / f"{symbol}.upf").read_text())


def price(made: Generated, elements: list[str], protocol_name: str) -> float:
    """Expected CPU seconds of a label."""
    protocol, cell = load_protocol(protocol_name), made.configuration.cell
    symbols = made.configuration.to_atoms().get_chemical_symbols()
    system = pw_parameters(protocol, elements, symbols)["SYSTEM"]
    cutoffs, mesh = (system["ecutwfc"], system["ecutrho"]), kpoint_mesh(cell, protocol.kpoints_spacing)
    pseudos = {symbol: pseudo(symbol) for symbol in symbols}
    return cost.label_core_seconds(
        cost.label_size(cell, symbols, pseudos, cutoffs, mesh, False, protocol.conv_thr_per_atom)
    )


def table(runs: dict[str, Any]) -> list[str]:
    """Lines of Markdown: a row per source, and all of them."""
    lines = [
        "| source | labels | converged | after local-TF, beta 0.2 | within the caps | SCF steps, mean (most) "
        "| CPU s, median (range) | closest ratio, least | largest force eV/Å | pressure GPa |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    sources = list(dict.fromkeys(run["source"] for run in runs.values()))
    for source in [*sources, "all"]:
        found = [run for run in runs.values() if source in (run["source"], "all")]
        good = [run for run in found if run["converged"]]
        usable = [run for run in found if run["converged"] or run.get("rescued")]
        steps, seconds = [run["scf_steps"] for run in good], [run["cpu_s"] for run in found]
        pressures = [run["pressure_GPa"] for run in usable]
        lines.append(
            f"| {source} | {len(found)} | {len(good)} | {len(usable)} | {sum(run['within_caps'] for run in usable)} "
            f"| {np.mean(steps):.1f} ({max(steps)}) | {np.median(seconds):.1f} ({min(seconds):.1f}-{max(seconds):.1f}) "
            f"| {min(run['ratio'] for run in found):.2f} | {max(run['max_force'] for run in usable):.0f} "
            f"| {min(pressures):.0f} to {max(pressures):.0f} |"
        )
    return lines


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="recipe of `argonaut generate`")
    parser.add_argument("-n", type=int, default=16, help="labels per source")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--protocol", default="fast")
    parser.add_argument("--prices", action="store_true", help="print what it would cost only")
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe)
    path = RESULTS / f"source_labels-{options.recipe.stem}-{options.seed}-{options.protocol}.json"
    made_by = {"family": family_label(), "numerics": numerics(load_protocol(options.protocol))}
    head = {**made_by, "recipe_hash": recipe.content_hash, "seed": options.seed}
    wanted = first_of_each_source(recipe, options.seed, options.n)
    if options.prices:
        prices: dict[str, list[float]] = {}
        for source, _, made in wanted:
            prices.setdefault(source, []).append(price(made, recipe.elements, options.protocol))
        for source, each in prices.items():
            print(f"{source}: {np.mean(each):.1f} s per label, at most {max(each):.0f} s")
        return
    runs = results_file.load(path, head, "labels", parser)
    if not options.table:
        family = pseudopotentials()
        for source, index, made in wanted:
            if runs.get(str(index), {}).get("configuration_id") != made.configuration.configuration_id:
                runs[str(index)] = {"source": source, **measure(made, recipe.elements, options.protocol, family)}
                results_file.save(path, head, "labels", runs)
                print(index, json.dumps(runs[str(index)]), flush=True)
    print("\n".join(table(runs)))


if __name__ == "__main__":
    main()
