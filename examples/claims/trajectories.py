"""Trajectories of the potentials taken as truth, as frames for training and test, and a training judged on them.

A system is run at constant temperature (Langevin); frames of the first part of the trajectory are for training, those
after a gap for the test. The systems themselves are in the scripts that rerun a claim.
"""

from __future__ import annotations

import json
import os
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
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from reference_potentials import SIGMA, Potential
from torch import Tensor

from aiida_argonaut.mlip.graph import Graph

TRAIN, GAP, TEST = 300, 20, 100
"""Frames."""
FRICTION = 0.02
"""1/fs, of the heat bath."""
EVERY = 20
"""Steps between frames."""


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


def fcc(density: float, share: float, cells: int = 3) -> ase.Atoms:
    """4 cells^3 atoms of mass 1 in a cube, density in sigma^-3, a `share` of them He at random sites."""
    count = 4 * cells**3
    edge = SIGMA * (count / density) ** (1 / 3)
    atoms = ase.build.bulk("H", "fcc", a=edge / cells, cubic=True).repeat(cells)
    chosen = np.random.default_rng(1).permutation(count)[: round(share * count)]
    atoms.numbers[chosen] = 2
    atoms.set_masses(np.ones(count))
    return atoms


def trajectory(system: System, file: Path) -> list[ase.Atoms]:
    """TRAIN + GAP + TEST frames with energies and forces; made once."""
    if file.exists():
        return read(file)
    atoms, random = system.start(), np.random.default_rng(2)
    atoms.calc = Potential(system.energy_of, system.cutoff)
    MaxwellBoltzmannDistribution(atoms, temperature_K=system.melt / ase.units.kB, rng=random)
    frames: list[ase.Atoms] = []
    sampled = EVERY * (TRAIN + GAP + TEST)
    for heat, steps in ((system.melt, 500), (system.temperature, 2000), (system.temperature, sampled)):
        dynamics = langevin(atoms, system, heat, random)
        if steps == sampled:
            dynamics.attach(lambda: frames.append(labelled(atoms)), interval=EVERY)
        dynamics.run(steps)
        if not atoms.get_temperature() * ase.units.kB < 3 * system.melt:
            raise SystemExit(f"{file.name}: {atoms.get_temperature():.3g} K: the time step is too long")
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    ase.io.write(unfinished, frames[1:], format="extxyz")
    unfinished.replace(file)
    return read(file)


def langevin(atoms: ase.Atoms, system: System, heat: float, random: np.random.Generator) -> Langevin:
    """A heat bath of k T = `heat` eV."""
    settings: dict[str, Any] = {
        "temperature_K": heat / ase.units.kB,
        "friction": FRICTION / ase.units.fs,
        "rng": random,
    }
    return Langevin(atoms, system.timestep * ase.units.fs, **settings)


def labelled(atoms: ase.Atoms) -> ase.Atoms:
    """A copy with energy and forces, and an atom's usual mass."""
    copy = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    copy.calc = SinglePointCalculator(copy, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
    return copy


def read(file: Path) -> list[ase.Atoms]:
    """All frames of a file."""
    found = ase.io.read(file, ":")
    assert isinstance(found, list)
    return found


def train(frames: list[ase.Atoms], folder: Path, words: list[str], budget: str) -> None:
    """`argonaut train` on the first frames, model in folder/model; the last ones are written beside it for the test."""
    folder.mkdir(parents=True, exist_ok=True)
    ase.io.write(folder / "train.extxyz", frames[:TRAIN], format="extxyz")
    ase.io.write(folder / "test.extxyz", frames[-TEST:], format="extxyz")
    command = ["argonaut", "train", folder / "train.extxyz", "-o", folder / "model", *words]
    subprocess.run([*map(str, command), "--budget", budget, "--seed", "1"], check=True, env=surroundings())


def errors(folder: Path, words: list[str]) -> dict[str, Any]:
    """What `argonaut evaluate --json` says of folder/model on the test frames."""
    judge = ["argonaut", "evaluate", folder / "model", folder / "test.extxyz", "--json", "-o", folder / "errors"]
    done = subprocess.run([*map(str, judge), *words], check=True, stdout=subprocess.PIPE, text=True, env=surroundings())
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def training_card(folder: Path) -> dict[str, Any]:
    """How the one member of folder/model was trained."""
    member: dict[str, Any] = json.loads((folder / "model" / "card.json").read_text())["members"][0]
    return member


def surroundings() -> dict[str, str]:
    """Environment of a command that may --import a module of this folder."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
