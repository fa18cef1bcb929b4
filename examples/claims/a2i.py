"""The A2I transformer's claim, rerun: energies of condensed phases far below their fluctuation in molecular dynamics.

The paper (arXiv:2110.14374) tests pair, many-body and two-component interactions. Here: a Lennard-Jones fluid, liquid
silicon after Stillinger and Weber (Phys. Rev. B 31, 5262 (1985)), the binary mixture of Kob and Andersen (Phys. Rev.
E 51, 4626 (1995)). Each system is run at constant temperature; frames of the first part of the trajectory are for
training, those after a gap for the test. What is told is RMSE(E/N) over the standard deviation of E/N in the test.

    python examples/claims/a2i.py --system lj --preset campaign --budget 5m      # a trajectory, a training, a row
    python examples/claims/a2i.py --table

The potentials are those of reference_potentials.py. Results are kept in results/a2i.json, trajectories in the folder
--work, from which a training that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import ase.build
import ase.io
import ase.units
import numpy as np
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from reference_potentials import CUTOFF, EPSILON, SIGMA, Potential, lennard_jones, stillinger_weber
from torch import Tensor

from aiida_argonaut.mlip.graph import Graph

RESULTS = Path(__file__).parent / "results" / "a2i.json"
TRAIN, GAP, TEST = 300, 20, 100
"""Frames."""


@dataclass(frozen=True)
class System:
    """What is run."""

    start: Callable[[], ase.Atoms]
    energy_of: Callable[[Graph], Tensor]
    cutoff: float
    temperature: float
    """eV, k T."""
    timestep: float
    """fs."""
    melt: float
    """eV, k T of the first 500 steps."""


def fcc(density: float, share: float) -> ase.Atoms:
    """108 atoms, density in sigma^-3, a `share` of them He at random sites."""
    edge = SIGMA * (108 / density) ** (1 / 3)
    atoms = ase.build.bulk("H", "fcc", a=edge / 3, cubic=True).repeat(3)
    chosen = np.random.default_rng(1).permutation(108)[: round(share * 108)]
    atoms.numbers[chosen] = 2
    atoms.set_masses(np.ones(108))
    return atoms


def silicon() -> ase.Atoms:
    """64 atoms at the density of the liquid, 2.53 g/cm^3."""
    edge = (64 * 28.0855 / 0.602214 / 2.53) ** (1 / 3)
    return ase.build.bulk("Si", "diamond", a=edge / 2, cubic=True).repeat(2)


SYSTEMS = {
    "lj": System(lambda: fcc(0.8442, 0.0), lennard_jones, CUTOFF, 1.0 * EPSILON, 1.0, 3.0 * EPSILON),
    "sw": System(silicon, stillinger_weber, 3.78, 2000 * ase.units.kB, 1.0, 4000 * ase.units.kB),
    "ka": System(lambda: fcc(1.2, 0.2), lennard_jones, CUTOFF, 1.0 * EPSILON, 1.0, 3.0 * EPSILON),
}


def trajectory(name: str, folder: Path) -> list[ase.Atoms]:
    """Frames with energies and forces; made once."""
    file = folder / f"{name}.extxyz"
    if file.exists():
        return read(file)
    system = SYSTEMS[name]
    atoms, random = system.start(), np.random.default_rng(2)
    atoms.calc = Potential(system.energy_of, system.cutoff)
    MaxwellBoltzmannDistribution(atoms, temperature_K=system.melt / ase.units.kB, rng=random)
    frames: list[ase.Atoms] = []
    sampled = 20 * (TRAIN + GAP + TEST)
    for heat, steps in ((system.melt, 500), (system.temperature, 2000), (system.temperature, sampled)):
        settings = {"temperature_K": heat / ase.units.kB, "friction": 0.02 / ase.units.fs, "rng": random}
        dynamics = Langevin(atoms, system.timestep * ase.units.fs, **settings)
        if steps == sampled:
            dynamics.attach(lambda: frames.append(labelled(atoms)), interval=20)
        dynamics.run(steps)
    folder.mkdir(parents=True, exist_ok=True)
    ase.io.write(file, frames[1:], format="extxyz")
    return read(file)


def labelled(atoms: ase.Atoms) -> ase.Atoms:
    """A copy with energy and forces, and an atom's usual mass."""
    from ase.calculators.singlepoint import SinglePointCalculator

    copy = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    copy.calc = SinglePointCalculator(copy, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
    return copy


def read(file: Path) -> list[ase.Atoms]:
    """All frames of a file."""
    found = ase.io.read(file, ":")
    assert isinstance(found, list)
    return found


def run(name: str, preset: str, budget: str, work: Path) -> dict[str, Any]:
    """Train and judge."""
    frames = trajectory(name, work)
    folder = work / f"{name}-{preset}-{budget}"
    folder.mkdir(parents=True, exist_ok=True)
    ase.io.write(folder / "train.extxyz", frames[:TRAIN], format="extxyz")
    ase.io.write(folder / "test.extxyz", frames[-TEST:], format="extxyz")
    command = ["argonaut", "train", folder / "train.extxyz", "-o", folder / "model", "--architecture", "a2i"]
    subprocess.run([*map(str, command), "--preset", preset, "--budget", budget, "--seed", "1"], check=True)
    judge = ["argonaut", "evaluate", folder / "model", folder / "test.extxyz", "--json", "-o", folder / "errors"]
    told = json.loads(subprocess.run([*map(str, judge)], check=True, capture_output=True, text=True).stdout)
    energies = np.array([frame.get_potential_energy() / len(frame) for frame in frames[-TEST:]])
    error, spread = told["energy_mev_per_atom"]["rmse"], 1e3 * float(energies.std())
    return {
        "budget": budget, "rmse_mev_per_atom": error, "deviation_mev_per_atom": spread, "ratio": error / spread,
        "force_rmse_mev_per_angstrom": told["force_mev_per_angstrom"]["rmse"],
        "steps": json.loads((folder / "model" / "card.json").read_text())["members"][0]["steps"],
    }  # fmt: skip


def lines(found: dict[str, Any]) -> list[str]:
    """Lines of Markdown."""
    rows = [
        "| system | preset | RMSE(E/N), meV | deviation of E/N, meV | ratio | force RMSE, meV/Å | steps |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, one in sorted(found.items()):
        name, preset = key.split(":")[:2]
        rows.append(
            f"| {name} | {preset} | {one['rmse_mev_per_atom']:.3f} | {one['deviation_mev_per_atom']:.2f} "
            f"| {one['ratio']:.3f} | {one['force_rmse_mev_per_angstrom']:.1f} | {one['steps']:,} |"
        )
    return rows


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", choices=SYSTEMS)
    parser.add_argument("--preset", default="campaign", choices=["campaign", "published"])
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--work", type=Path, default=Path("claims-work"))
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if options.system and not options.table:
        key = f"{options.system}:{options.preset}:{options.budget}"
        found[key] = run(options.system, options.preset, options.budget, options.work)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print("\n".join(lines(found)))


if __name__ == "__main__":
    main()
