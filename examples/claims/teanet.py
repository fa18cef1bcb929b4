"""TeaNet's claims, rerun as far as own labels allow: bonds that break, crystals under strain, a molecule never seen.

The paper (arXiv:1912.01398) shows dissociation curves, equations of state and hydrocarbons of one potential that was
trained on randomised structures. Here: H2, N2, O2, CO, HF and LiH pulled apart, E(V) of lithium, aluminium, silicon and
magnesium, and hydrocarbons, all labelled by `argonaut label` at `fast` (PBE, no spin polarisation: a free atom is the
spherical one, and what a bond is worth against it is not what experiment says). Of the curves every second point is for
training, the others and all of the C=C stretch of ethylene are for the test; ethylene in training is rattled only.

Two potentials, of the same preset, seed and budget:

    random     the labels of benchmarks/own_labels.yaml alone: 336 random cells, 18 atoms
    all        these, and the training half of what is labelled here

    python examples/claims/teanet.py structures -o curves.extxyz
    argonaut label curves.extxyz --protocol fast -o examples/claims/results/teanet_labels.extxyz \\
      --elements H,He,Li,Be,B,C,N,O,F,Ne,Na,Mg,Al,Si,P,S,Cl,Ar
    python examples/claims/teanet.py train --potential random --budget 10m
    python examples/claims/teanet.py train --potential all --budget 10m
    python examples/claims/teanet.py plot

Crystals have one or two atoms in a cell, and at the k spacing of `fast` their mesh changes along E(V): labels jump
there by tenths of an eV per atom, as much as the curve is deep. Points with another mesh than that of the reference
volume are drawn apart and not counted; for training they are used like any other label.

The elements are named so that cutoffs, hence the protocol's hash, are those of the random cells: one dataset. Results
are kept in results/teanet.json; a training that was stopped goes on from the folder --work.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import ase
import ase.build
import ase.io
import numpy as np
from numpy.typing import NDArray

from aiida_argonaut.dft_inputs.kpoints import kpoint_mesh
from aiida_argonaut.mlip.calculator import CommitteeCalculator

RESULTS = Path(__file__).parent / "results"
LABELS = RESULTS / "teanet_labels.extxyz"
RANDOM = [Path(__file__).parents[2] / "benchmarks" / "results" / f"own_labels{part}.extxyz" for part in ("", "_more")]
BONDS = {"H2": 0.75, "N2": 1.10, "O2": 1.23, "CO": 1.14, "HF": 0.94, "LiH": 1.61}
"""Å, about the minimum."""
STRETCHES = (0.70, 0.78, 0.86, 0.93, 1.00, 1.08, 1.17, 1.28, 1.42, 1.60, 1.80, 2.05, 2.35, 2.70, 3.10)
"""Of the bond length; a pair nearer than half of its covalent radii is not labelled."""
FARTHEST = 4.0
"""Å: images along the longest edge of the box stay farther away than this."""
BOX = (5.0, 5.5, 9.0)
"""Å, of a pair of atoms."""
CRYSTALS = {"Li": ("bcc", 3.44), "Al": ("fcc", 4.04), "Si": ("diamond", 5.47), "Mg": ("hcp", 3.19)}
"""Structure and lattice constant in Å, about the minimum."""
VOLUMES = (0.76, 0.82, 0.88, 0.94, 1.0, 1.06, 1.13, 1.20, 1.28)
"""Of the volume at that lattice constant."""
MOLECULES = ("CH4", "C2H2", "C2H4", "C2H6")
K_SPACING = 0.7
"""1/Å, of `fast`."""
RATTLED = 8
"""Distorted structures of each molecule and each crystal, for training."""
VACUUM = 4.0
"""Å around a molecule."""
STRETCHED = tuple(np.round(np.linspace(1.10, 2.20, 12), 3).tolist())
"""Å, C=C of ethylene, its CH2 groups kept rigid; all for the test."""
Array = NDArray[np.float64]


def structures() -> list[ase.Atoms]:
    """All of them; info has `source` (the curve), `x` (its abscissa, none for rattled ones) and `part`."""
    random = np.random.default_rng(0)
    found = [
        told(pair(name, factor * bond), name, factor * bond, k)
        for name, bond in BONDS.items()
        for k, factor in enumerate(STRETCHES)
        if factor * bond < FARTHEST
    ]
    for symbol in CRYSTALS:
        found += [told(crystal(symbol, scale), symbol, scale, k) for k, scale in enumerate(VOLUMES)]
        found += [told(rattled(crystal(symbol, 1.0, 4), random, 0.10), symbol, None, 0) for _ in range(RATTLED)]
    for name in MOLECULES:
        found += [told(rattled(boxed(ase.build.molecule(name)), random, 0.0), name, None, 0) for _ in range(RATTLED)]
    return found + [told(boxed(ethylene(length)), "C=C", length, 1) for length in STRETCHED]


def told(atoms: ase.Atoms, source: str, x: float | None, k: int) -> ase.Atoms:
    """Every second point of a curve is for the test."""
    atoms.info = {"source": source, "part": "test" if k % 2 else "train"} | ({} if x is None else {"x": round(x, 4)})
    return atoms


def pair(name: str, distance: float) -> ase.Atoms:
    """Two atoms along the longest edge of the box."""
    symbols = ase.Atoms(name).get_chemical_symbols()
    return ase.Atoms(symbols, [[0, 0, 0], [0, 0, distance]], cell=BOX, pbc=True)


def crystal(symbol: str, scale: float, least: int = 1) -> ase.Atoms:
    """At `scale` times the volume of CRYSTALS, repeated along its shortest edge until it has `least` atoms."""
    structure, constant = CRYSTALS[symbol]
    atoms = ase.build.bulk(symbol, structure, a=constant, c=5.18 if structure == "hcp" else None)
    atoms.set_cell(scale ** (1 / 3) * atoms.cell.array, scale_atoms=True)
    while len(atoms) < least:
        atoms = atoms.repeat(np.where(np.arange(3) == np.argmin(atoms.cell.lengths()), 2, 1))
    return atoms


def rattled(atoms: ase.Atoms, random: np.random.Generator, strain: float) -> ase.Atoms:
    """Every component of a position moved by 0.1 Å on average, edges strained."""
    moved = atoms.copy()
    if strain:
        change = random.uniform(-strain, strain, (3, 3))
        moved.set_cell(moved.cell.array @ (np.eye(3) + (change + change.T) / 2), scale_atoms=True)
    moved.positions += random.normal(0.0, 0.1, moved.positions.shape)
    return moved


def boxed(atoms: ase.Atoms) -> ase.Atoms:
    """In an orthorhombic periodic box with VACUUM between images."""
    atoms.set_cell(np.ptp(atoms.positions, axis=0) + VACUUM)
    atoms.center()
    atoms.pbc = True
    return atoms


def ethylene(length: float) -> ase.Atoms:
    """C2H4 with this C=C distance in Å."""
    atoms = ase.build.molecule("C2H4")
    carbon = np.flatnonzero(atoms.numbers == 6)
    axis = atoms.positions[carbon[1]] - atoms.positions[carbon[0]]
    now = float(np.linalg.norm(axis))
    side = np.sign((atoms.positions - atoms.positions[carbon].mean(axis=0)) @ axis)
    atoms.positions += side[:, None] * axis / now * (length - now) / 2
    return atoms


def labelled() -> list[ase.Atoms]:
    """Labelled frames with what `structures` says of them; lost ones are left out."""
    asked, frames = structures(), read(LABELS)
    for frame in frames:
        source = str(frame.info["given"]).rpartition("#")
        if source[0] == "reference_atom":
            continue
        like = asked[int(source[2])]
        if not np.array_equal(frame.numbers, like.numbers) or not np.allclose(frame.cell, like.cell, atol=1e-6):
            raise SystemExit(
                f"{LABELS}: {frame.info['given']} is not what this script makes; label its structures anew"
            )
        frame.info |= {key: like.info[key] for key in ("source", "part", "x") if key in like.info}
    return frames


def read(file: Path) -> list[ase.Atoms]:
    """All frames of a file."""
    found = ase.io.read(file, ":")
    assert isinstance(found, list)
    return found


def train(potential: str, budget: str, work: Path) -> None:
    """Train a potential and keep its energies of all curves."""
    folder = work / f"{potential}-{budget}"
    folder.mkdir(parents=True, exist_ok=True)
    frames = [frame for file in RANDOM for frame in read(file)]
    mine = labelled()
    if potential == "all":
        frames += [frame for frame in mine if frame.info["part"] == "train"]
    ase.io.write(folder / "train.extxyz", frames, format="extxyz")
    (folder / "settings.json").write_text(json.dumps({"validation_fraction": 0.05}))
    command = [
        "argonaut",
        "train",
        folder / "train.extxyz",
        "-o",
        folder / "model",
        "--config",
        folder / "settings.json",
    ]
    subprocess.run([*map(str, command), "--budget", budget, "--seed", "1"], check=True)
    member = json.loads((folder / "model" / "card.json").read_text())["members"][0]
    calculator = CommitteeCalculator(folder / "model")
    predicted = []
    for frame in mine:
        one = frame.copy()
        one.calc = calculator
        predicted.append(round(float(one.get_potential_energy()), 6))
    save({potential: {"budget": budget, "steps": member["steps"], "frames": len(frames), "energies": predicted}})


def load() -> dict[str, Any]:
    """Results so far."""
    file = RESULTS / "teanet.json"
    return json.loads(file.read_text()) if file.exists() else {}


def save(found: dict[str, Any]) -> None:
    """Add to the results, one potential per line."""
    rows = ",\n".join(f' "{name}": {json.dumps(one)}' for name, one in sorted((load() | found).items()))
    (RESULTS / "teanet.json").write_text(f"{{\n{rows}\n}}\n")


class Curve(NamedTuple):
    """Points of a curve in the order of their abscissa."""

    x: Array
    energy: Array
    """eV per atom."""
    test: NDArray[np.bool_]
    """Whether a point is for the test."""
    other: NDArray[np.bool_]
    """Whether its mesh of k points is another than that of the reference volume."""

    def counted(self) -> Curve:
        """Without points of another mesh."""
        return Curve(*(part[~self.other] for part in self))


def curve(frames: list[ase.Atoms], energies: Array, name: str) -> Curve:
    """The points of this name, with these energies of all frames in eV."""
    chosen = [k for k, frame in enumerate(frames) if frame.info["source"] == name and "x" in frame.info]
    chosen.sort(key=lambda k: frames[k].info["x"])
    mesh = kpoint_mesh(crystal(name, 1.0).cell.array, K_SPACING) if name in CRYSTALS else None
    return Curve(
        np.array([frames[k].info["x"] for k in chosen]),
        np.array([energies[k] / len(frames[k]) for k in chosen]),
        np.array([frames[k].info["part"] == "test" for k in chosen], dtype=bool),
        np.array([mesh not in (None, kpoint_mesh(frames[k].cell.array, K_SPACING)) for k in chosen], dtype=bool),
    )


def jump(points: Curve) -> str:
    """eV per atom between the nearest label of another mesh and the parabola through the three points next to it."""
    if not points.other.any():
        return "-"
    same = points.counted()
    near = min(points.other.nonzero()[0], key=lambda k: np.abs(same.x - points.x[k]).min())
    beside = np.argsort(np.abs(same.x - points.x[near]))[:3]
    line = np.polyfit(same.x[beside], same.energy[beside], 2)
    return f"{points.energy[near] - np.polyval(line, points.x[near]):+.2f}"


def minimum(x: Array, energy: Array) -> float:
    """Abscissa of the lowest point of a parabola through the lowest point and its neighbours."""
    k = int(np.clip(np.argmin(energy), 1, len(x) - 2))
    second, first, _ = np.polyfit(x[k - 1 : k + 2] - x[k], energy[k - 1 : k + 2], 2)
    return float(x[k] - first / (2 * second)) if second > 0 else float(x[np.argmin(energy)])


def summary(frames: list[ase.Atoms], found: dict[str, Any]) -> list[str]:
    """Lines of Markdown, a row per curve; errors of the points for the test, in meV per atom."""
    labels = np.array([frame.get_potential_energy() for frame in frames])
    lines = [
        "| curve | points for the test | depth, eV per atom | another mesh adds | error, random | error, all "
        "| minimum, label | random | all |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in (*BONDS, *CRYSTALS, "C=C"):
        label = curve(frames, labels, name)
        x, energy, test, _ = label.counted()
        if len(x) < 3:
            continue
        cells: list[list[str]] = [[], []]
        for potential in ("random", "all"):
            if potential not in found:
                cells = [[*cells[0], "-"], [*cells[1], "-"]]
                continue
            predicted = curve(frames, np.array(found[potential]["energies"]), name).counted().energy
            error = 1e3 * np.abs(predicted - energy)[test].mean()
            cells = [[*cells[0], f"{error:.0f}"], [*cells[1], f"{minimum(x, predicted):.3f}"]]
        lines.append(
            f"| {name} | {int(test.sum())} | {energy[-1] - energy.min():.2f} | {jump(label)} | {' | '.join(cells[0])} "
            f"| {minimum(x, energy):.3f} | {' | '.join(cells[1])} |"
        )
    return lines


def plot(frames: list[ase.Atoms], found: dict[str, Any]) -> None:
    """One panel per curve, in results/teanet.png."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = np.array([frame.get_potential_energy() for frame in frames])
    names = (*BONDS, *CRYSTALS, "C=C")
    figure, axes = pyplot.subplots(3, 4, figsize=(14, 9), layout="constrained")
    for axis, name in zip(axes.flat, names, strict=False):
        x, energy, test, other = curve(frames, labels, name)
        if len(x) == 0:
            continue
        zero = energy[~other].min()
        for chosen, marker, told in (
            (~test & ~other, {"mfc": "k"}, "DFT, training"),
            (test & ~other, {"mfc": "white"}, "DFT, test"),
            (other, {"mfc": "none", "mec": "C3", "marker": "s"}, "DFT, another k mesh"),
        ):
            axis.plot(x[chosen], (energy - zero)[chosen], **{"ls": "", "marker": "o", "mec": "k"} | marker, label=told)
        predicted = []
        for potential, style in (("random", "C1--"), ("all", "C0-")):
            if potential in found:
                predicted.append(curve(frames, np.array(found[potential]["energies"]), name).energy)
                axis.plot(x, predicted[-1] - zero, style, label=f"TeaNet, {potential}")
        axis.set(title=name, xlabel="volume / reference" if name in CRYSTALS else "distance, Å", ylabel="eV per atom")
        shown = np.array([energy, *predicted]) - zero
        axis.set_ylim(shown.min() - 0.05 * np.ptp(shown), min(shown.max() + 0.05 * np.ptp(shown), 2 * np.ptp(energy)))
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    axes.flat[len(names)].legend(*axes.flat[0].get_legend_handles_labels(), loc="center")
    figure.savefig(RESULTS / "teanet.png", dpi=110)


def main() -> None:
    """One of the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["structures", "train", "plot", "table"])
    parser.add_argument("-o", "--output", type=Path, default=Path("curves.extxyz"))
    parser.add_argument("--potential", choices=["random", "all"], default="all")
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--work", type=Path, default=Path("claims-work"))
    options = parser.parse_args()
    if options.step == "structures":
        ase.io.write(options.output, structures(), format="extxyz")
        return
    if options.step == "train":
        train(options.potential, options.budget, options.work / "teanet")
    if options.step == "plot":
        plot(labelled(), load())
    print("\n".join(summary(labelled(), load())))


if __name__ == "__main__":
    main()
