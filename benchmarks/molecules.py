"""Bond lengths, angle and atomisation energies of O2, N2, H2O and CH4 as the collinear protocol makes them.

One molecule in an orthorhombic box at Gamma, protocol `balanced` with `spin: collinear`, nothing else changed: what a
campaign with molecules would label. The minimum is where the forces vanish: along the bond for O2 and N2 and the
breathing of CH4, in bond and angle for H2O, from a parabola through three forces (two parameters: a plane). Atoms are
those of `dft_inputs/reference_atoms.py` in a smaller box. Each molecule is also run with whole electrons (`fixed`
occupations, two unpaired in O2): the difference is what smearing adds to a label, and atomisation energies are without
it. O2 is also run without spin.

Results are kept in results/molecules.json; what is there is not run again.

    python benchmarks/molecules.py
    python benchmarks/molecules.py --table
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase
import numpy as np
import results_file
from numpy.typing import NDArray
from pw_run import numerics, pseudopotentials, run_pw
from reference_atoms import run_atom

from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters
from aiida_argonaut.dft_inputs.pseudos.recipes import family_label
from aiida_argonaut.dft_inputs.reference_atoms import reference_atom

RESULTS = Path(__file__).parent / "results" / "molecules.json"
PROTOCOL = "balanced"
BOX = (6.5, 7.0, 7.5)
"""Å, of a molecule."""
ATOM_BOX = (7.0, 8.0, 9.5)
"""Å, of its atoms, none of which is large."""
STEPS = (0.02, 2.0)
"""Å and degrees between the points."""
KCAL = 23.0605
"""kcal/mol in one eV."""
START = {"O2": (1.22,), "N2": (1.10,), "H2O": (0.97, 104.5), "CH4": (1.095,)}
"""Middle of the points: bond length in Å, angle in degrees."""
EXPERIMENT = {"O2": (1.2075,), "N2": (1.0977,), "H2O": (0.9575, 104.51), "CH4": (1.087,)}
"""Å and degrees, equilibrium: K. P. Huber, G. Herzberg, Constants of Diatomic Molecules (1979) for the two diatomics,
NIST Computational Chemistry Comparison and Benchmark Database for the others."""
ATOMISATION = {"O2": (144.0, 118.0), "N2": (243.0, 227.0), "H2O": (234.0, 232.0), "CH4": (420.0, 419.0)}
"""kcal/mol, PBE and experiment without zero-point energy: J. P. Perdew, K. Burke, M. Ernzerhof, Phys. Rev. Lett. 77,
3865 (1996), table I."""
Array = NDArray[np.float64]


def molecule(name: str, values: tuple[float, ...]) -> ase.Atoms:
    """The molecule with this bond length in Å and, for water, this angle in degrees, in the middle of the box."""
    bond = values[0]
    if name == "H2O":
        half = np.radians(values[1]) / 2
        across, along = bond * np.sin(half), bond * np.cos(half)
        places, symbols = [[0, 0, 0], [0, across, along], [0, -across, along]], "OHH"
    elif name == "CH4":
        corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
        places, symbols = [[0, 0, 0], *(corners * bond / np.sqrt(3)).tolist()], "CHHHH"
    else:
        places, symbols = [[0, 0, 0], [0, 0, bond]], name[0] * 2
    atoms = ase.Atoms(symbols, positions=places, cell=BOX, pbc=True)
    atoms.positions += np.array(BOX) / 2 - atoms.positions.mean(axis=0)
    return atoms


def points(name: str) -> list[tuple[float, ...]]:
    """Values of the parameters at which forces are calculated."""
    start = START[name]
    if len(start) == 1:
        return [(round(start[0] + shift * STEPS[0], 4),) for shift in (-1, 0, 1)]
    bond, angle = start
    return [start, (round(bond + STEPS[0], 4), angle), (bond, angle + STEPS[1])]


def run(
    name: str, values: tuple[float, ...], family: Path, spin: str = "collinear", fixed: bool = False
) -> dict[str, Any]:
    """Figures of one run of pw.x; `fixed`: integer occupations and the multiplicity of the molecule, no smearing."""
    atoms = molecule(name, values)
    symbols = atoms.get_chemical_symbols()
    parameters = pw_parameters(load_protocol(PROTOCOL, {"spin": spin}), symbols, symbols, keep_files=True)
    moments = parameters["SYSTEM"].pop("starting_magnetization", {})
    if moments:
        atoms.set_initial_magnetic_moments([moments[symbol] for symbol in symbols])  # ase's way to say it
    if fixed:
        kept = {key: value for key, value in parameters["SYSTEM"].items() if key not in ("smearing", "degauss")}
        parameters["SYSTEM"] = {**kept, "occupations": "fixed", "tot_magnetization": 2.0 * (name == "O2")}
    return run_pw(atoms, parameters, (1, 1, 1), family)


def wanted(family: Path) -> Iterator[tuple[str, Any]]:
    """Name of each run and the call that makes it."""
    for name in START:
        for values in points(name):
            yield f"{name} {values}", lambda name=name, values=values: run(name, values, family)
        yield f"{name} {START[name]} fixed", lambda name=name: run(name, START[name], family, fixed=True)
    yield f"O2 {START['O2']} none", lambda: run("O2", START["O2"], family, spin="none")
    for name in START:
        elements = sorted(set(molecule(name, START[name]).get_chemical_symbols()))
        for symbol in elements:
            key = f"atom {symbol} {load_protocol(PROTOCOL).cutoffs(elements)}"
            yield key, lambda symbol=symbol, elements=elements: atom(symbol, elements, family)


def atom(symbol: str, elements: list[str], family: Path) -> dict[str, Any]:
    """Figures of the atom with the cutoffs of these elements."""
    protocol = load_protocol(PROTOCOL, {"spin": "collinear"})
    return run_atom(reference_atom(protocol, symbol, elements, box=ATOM_BOX), family)


def gradient(name: str, values: tuple[float, ...], forces: list[list[float]]) -> Array:
    """-dE/d(parameter) in eV/Å and eV/degree, from the forces on all atoms."""
    step, found = 1e-4, []
    for shift in step * np.eye(len(values)):
        low, high = (molecule(name, tuple(np.array(values) + sign * shift)).positions for sign in (-1, 1))
        found.append(np.sum((high - low) / (2 * step) * np.array(forces)))
    return np.array(found)


def minimum(name: str, runs: dict[str, Any]) -> tuple[tuple[float, ...], float] | None:
    """Parameters at which the forces vanish, and the energy there in eV; None if a run is missing."""
    given = points(name)
    found = [runs.get(f"{name} {values}", {}) for values in given]
    if not all("forces" in one for one in found):
        return None
    slopes = np.array([gradient(name, values, one["forces"]) for values, one in zip(given, found, strict=True)])
    if len(given[0]) == 1:
        places = np.array(given)[:, 0]
        curve = np.polyfit(places - places[1], slopes[:, 0], 2)
        roots = np.roots(curve)
        shift = float(min(roots.real, key=abs))
        energy = found[1]["energy"] - float(np.polyval(np.polyint(curve), shift))
        return (float(places[1]) + shift,), energy
    hessian = (slopes[1:] - slopes[0]).T / np.array(STEPS)
    move = np.linalg.solve(hessian, -slopes[0])
    energy = found[0]["energy"] - float(slopes[0] @ move + 0.5 * move @ hessian @ move)
    return tuple(float(v) for v in np.array(given[0]) + move), energy


def atomisation(name: str, energy: float, runs: dict[str, Any]) -> float | None:
    """kcal/mol to take the molecule apart into its atoms; None if an atom is missing."""
    symbols = molecule(name, START[name]).get_chemical_symbols()
    cutoffs = load_protocol(PROTOCOL).cutoffs(symbols)
    atoms = [runs.get(f"atom {symbol} {cutoffs}", {}).get("energy") for symbol in symbols]
    return None if None in atoms else (sum(atoms) - energy) * KCAL


def smearing_energy(name: str, runs: dict[str, Any]) -> float | None:
    """eV, label minus the same molecule with whole electrons; None if a run is missing."""
    label, fixed = (runs.get(f"{name} {START[name]}{suffix}", {}).get("energy") for suffix in ("", " fixed"))
    return None if label is None or fixed is None else label - fixed


def table(runs: dict[str, Any]) -> list[str]:
    """Lines of Markdown: a row per molecule."""
    lines = [
        "| | bond length, Å | experiment | angle, degrees | experiment | smearing, meV | atomisation, kcal/mol "
        "| PBE, published | experiment |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, measured in EXPERIMENT.items():
        found = minimum(name, runs)
        if found is None:
            continue
        values, energy = found
        smearing = smearing_energy(name, runs)
        apart = atomisation(name, energy - (smearing or 0.0), runs)
        angles = f"{values[1]:.1f} | {measured[1]:.1f}" if len(values) > 1 else "- | -"
        lines.append(
            f"| {name} | {values[0]:.4f} | {measured[0]:.4f} | {angles} "
            f"| {'-' if smearing is None else f'{1000 * smearing:+.0f}'} | {'-' if apart is None else f'{apart:.1f}'} "
            f"| {ATOMISATION[name][0]:g} | {ATOMISATION[name][1]:g} |"
        )
    return lines


def without_spin(runs: dict[str, Any]) -> list[str]:
    """What the protocol without spin does to O2."""
    collinear, none = (runs.get(f"O2 {START['O2']}{suffix}", {}).get("energy") for suffix in ("", " none"))
    if collinear is None or none is None:
        return []
    return [f"O2 at {START['O2'][0]} Å without spin is {none - collinear:.2f} eV above the collinear protocol."]


def lines(results: dict[str, Any]) -> list[str]:
    """What docs/labels.md shows."""
    return table(results["runs"]) + without_spin(results["runs"])


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args()
    head = {"family": family_label(), "numerics": numerics(load_protocol(PROTOCOL))}
    runs = results_file.load(RESULTS, head, "runs", parser)
    if not options.table:
        for key, make in wanted(pseudopotentials()):
            if key not in runs:
                runs[key] = make()
                results_file.save(RESULTS, head, "runs", runs)
                print(key, {k: v for k, v in runs[key].items() if k not in ("forces", "stress")}, flush=True)
    print("\n".join(lines({"runs": runs})))


if __name__ == "__main__":
    main()
