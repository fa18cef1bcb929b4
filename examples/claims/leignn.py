"""LEIGNN's claims, rerun: molecular dynamics of a solid, a liquid and a gas, with direct and with conservative forces.

The paper (arXiv:2311.02869) runs molecular dynamics of a solid, a liquid and a gas with forces that the network
predicts directly, and judges them by distributions of interatomic distances. Here the truth is a potential of
reference_potentials.py, so that its trajectory is exact: Stillinger-Weber silicon (64 atoms, diamond, 1000 K), the
Lennard-Jones liquid (108 atoms, 0.8442 sigma^-3, k T = epsilon) and gas (32 atoms, 0.05 sigma^-3, k T = 2 epsilon).

    published   the published form, its direct forces, its cap on neighbours and its depth; the width is ours, 64
                channels instead of 512, for as many weights as `campaign` has (leignn_narrow.py)
    campaign    the conservative form: forces are the gradient of the energy; 231,008 weights
    --full      beside these the published form with the published width, 9.4 million weights
    exact       the truth itself, run like the models: what the length of the runs and the time step leave as errors

Both forms are trained on the same frames with the same wall time. Then, from the last training frame: Langevin dynamics
(float32), whose g(r) and h(r) are compared with those of the exact trajectory the frames are from; and dynamics without
thermostat (float64), the same velocities for all, whose total energy should be constant. Its drift is the slope of a
straight line. Direct forces change it since they are no gradient, and the published energy also jumps where a neighbour
passes the cap or the cutoff. A trajectory that is no longer finite, or hotter than 10 times the target, is stopped; its
time is told, and all else is of the part before.

    python examples/claims/leignn.py                                    # all systems and forms that are missing
    python examples/claims/leignn.py --system gas --form campaign       # one of them
    python examples/claims/leignn.py --table
    python examples/claims/leignn.py --plot

Results are kept in results/leignn.json and leignn.png, trajectories and trainings in the folder --work, from which a
training that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase
import ase.build
import ase.units
import leignn_narrow
import numpy as np
import torch
from a2i import SYSTEMS as FLUIDS
from ase.calculators.calculator import Calculator
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from leignn_plot import plot
from observables import Array, difference, distance_distribution, drift, radial_distribution
from reference_potentials import EPSILON, Potential
from simulation import Sampled, simulate
from trajectories import EVERY, TRAIN, System, errors, fcc, langevin, train, training_card, trajectory

from aiida_argonaut.mlip.calculator import CommitteeCalculator
from aiida_argonaut.mlip.committee import Committee

NAME = "leignn"
NVE_EVERY = 10
"""Steps between energies."""
LEARNED = ("weights", "training_steps", "force_rmse_mev_per_angstrom")
HOTTEST = 10.0
"""Times the target temperature, from which on a trajectory has exploded."""
EDGE_OF_SILICON = 5.431
"""Å, of the cubic cell: the minimum of the Stillinger-Weber potential."""
KELVIN = ase.units.kB


def silicon() -> ase.Atoms:
    """64 atoms, diamond."""
    return ase.build.bulk("Si", "diamond", a=EDGE_OF_SILICON, cubic=True).repeat(2)


SYSTEMS = {
    "solid": replace(FLUIDS["sw"], start=silicon, temperature=1000 * KELVIN, melt=1000 * KELVIN),
    "liquid": FLUIDS["lj"],
    "gas": replace(
        FLUIDS["lj"], start=lambda: fcc(0.05, 0.0, 2), temperature=2 * EPSILON, melt=2 * EPSILON, timestep=0.5
    ),
}
FORMS = {
    "exact": [],
    "published": ["--architecture", "leignn_narrow", "--preset", "published", "--import", leignn_narrow.__name__],
    "published-full": ["--architecture", "leignn", "--preset", "published"],
    "campaign": ["--architecture", "leignn", "--preset", "campaign"],
}
"""Form -> options of `argonaut train`."""


def run(name: str, form: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train, judge, and run molecular dynamics with one form in one system."""
    system = SYSTEMS[name]
    frames = trajectory(system, options.work / f"{name}.extxyz")
    told: dict[str, Any] = {}
    potentials: tuple[Calculator, ...] = (Potential(system.energy_of, system.cutoff),) * 2
    if form != "exact":
        folder = options.work / f"{name}-leignn-{form}-{options.budget}"
        told, committee = learn(frames, folder, form, options.budget)
        potentials = tuple(CommitteeCalculator(committee, dtype=kind) for kind in ("float32", "float64"))
    atoms = system.start()
    atoms.positions = frames[TRAIN - 1].positions
    warm, alone = (in_motion(atoms, system, calculator) for calculator in potentials)
    bath = langevin(warm, system, system.temperature, np.random.default_rng(4))
    hottest, reference = HOTTEST * system.temperature / KELVIN, curves([each.positions for each in frames], atoms)
    sampled = simulate(warm, bath, options.nvt_steps, EVERY, hottest)
    verlet = VelocityVerlet(alone, system.timestep * ase.units.fs)
    free = simulate(alone, verlet, options.nve_steps, NVE_EVERY, hottest)
    step = 1e-3 * system.timestep
    found = {**told, "nvt": with_thermostat(sampled, reference, atoms, step), "nve": without(free, step)}
    return {**found, "reference": reference} if form == "exact" else found


def learn(frames: list[ase.Atoms], folder: Path, form: str, budget: str) -> tuple[dict[str, Any], Committee]:
    """A model, trained if there is none yet, and what it is."""
    words = FORMS[form]
    if not (folder / "model" / "config.json").exists():  # the last file that a training writes
        train(frames, folder, words, budget)
    judged, card = errors(folder, words[4:]), training_card(folder)
    committee = Committee.load(folder / "model")
    told = {
        "weights": sum(weight.numel() for weight in committee.members[0].values()),
        "training_steps": card["steps"],
        "compiled": card["compiled"],
        "force_rmse_mev_per_angstrom": digits(judged["force_mev_per_angstrom"]["rmse"]),
        "energy_rmse_mev_per_atom": digits(judged["energy_mev_per_atom"]["rmse"]),
    }
    return told, committee


def in_motion(atoms: ase.Atoms, system: System, calculator: Calculator) -> ase.Atoms:
    """A copy with velocities of exactly the target temperature, the same ones every time, and a calculator."""
    copy = atoms.copy()
    heat, random = system.temperature / KELVIN, np.random.default_rng(3)
    MaxwellBoltzmannDistribution(copy, temperature_K=heat, rng=random, force_temp=True)
    Stationary(copy)
    copy.calc = calculator
    return copy


def curves(frames: list[Array], atoms: ase.Atoms) -> dict[str, list[float]]:
    """g(r) and h(r) in bins of observables.WIDTH, from (n, 3) Å in the cell of the atoms."""
    edge = float(atoms.cell.lengths()[0])
    g, h = radial_distribution(frames, edge)[1], distance_distribution(frames, edge)[1]
    return {"g": np.round(g, 3).tolist(), "h": np.round(h, 4).tolist()}


def with_thermostat(sampled: Sampled, reference: dict[str, Any], atoms: ase.Atoms, step: float) -> dict[str, Any]:
    """What is kept of a trajectory at constant temperature, time step in ps; of frames before it was stopped."""
    found = curves(sampled.positions, atoms)
    apart = {key: digits(difference(found[key], reference[key])) for key in ("g", "h")}
    return {
        "frames": len(sampled.positions), "stopped_ps": stopped(sampled, step), "reason": sampled.reason,
        "g_difference_angstrom": apart["g"], "h_difference": apart["h"], **found,
    }  # fmt: skip


def without(free: Sampled, step: float) -> dict[str, Any]:
    """What is kept of a trajectory at constant energy, time step in ps."""
    times = step * NVE_EVERY * np.arange(len(free.energies))
    energies = 1e3 * (np.array(free.energies) - free.energies[0])
    slope, deviation = drift(times, energies) if len(times) > 2 else (None, None)
    thinned = slice(None, None, max(1, len(times) // 100))
    return {
        "stopped_ps": stopped(free, step), "reason": free.reason, "drift_mev_per_atom_ps": digits(slope),
        "deviation_mev_per_atom": digits(deviation),
        "end_temperature_K": round(float(np.mean(free.temperatures[-max(1, len(times) // 5) :]))),
        "ps": np.round(times[thinned], 4).tolist(), "energy_mev_per_atom": np.round(energies[thinned], 3).tolist(),
    }  # fmt: skip


def stopped(sampled: Sampled, step: float) -> float | None:
    """ps at which a trajectory was stopped, time step in ps."""
    return None if sampled.stopped is None else round(step * sampled.stopped, 5)


def digits(value: float | None) -> float | None:
    """With four digits."""
    return None if value is None else float(f"{value:.4g}")


def settings(name: str, form: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a result depends on, and the command that makes it."""
    system = SYSTEMS[name]
    words = f"--system {name} --form {form} --nvt-steps {options.nvt_steps} --nve-steps {options.nve_steps}"
    return {
        "command": f"python examples/claims/leignn.py {words}" + (form != "exact") * f" --budget {options.budget}",
        "temperature_K": round(system.temperature / KELVIN, 1),
        "timestep_fs": system.timestep,
        "nvt_steps": options.nvt_steps,
        "nve_steps": options.nve_steps,
    }


def key_of(name: str, form: str, budget: str) -> str:
    """Under which a result is kept."""
    return f"{name}:{form}" if form == "exact" else f"{name}:{form}:{budget}"


def load(file: Path) -> dict[str, Any]:
    """All results there are."""
    return json.loads(file.read_text()) if file.exists() else {}


def store(file: Path, key: str, one: dict[str, Any]) -> None:
    """One more result, a line each; others may have been written meanwhile."""
    found = {**load(file), key: one}
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    rows = [f"{json.dumps(key)}: {json.dumps(found[key])}" for key in sorted(found)]
    unfinished.write_text("{\n" + ",\n".join(rows) + "\n}\n")
    unfinished.replace(file)


def lines(found: dict[str, Any]) -> list[str]:
    """Lines of Markdown."""
    rows = [
        "| system | form, budget | weights | training steps | force RMSE, meV/Å | g(r) off, Å | h(r) off "
        "| drift, meV/atom/ps | at the end, K (target) | exploded |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key, one in sorted(found.items(), key=lambda item: [list(SYSTEMS).index(item[0].split(":")[0]), item[0]]):
        name, form = key.split(":", 1)
        nvt, nve = one["nvt"], one["nve"]
        ends = {"with thermostat": nvt["stopped_ps"], "without": nve["stopped_ps"]}
        learned = [f"{one[k]:,}" if k in one else "-" for k in LEARNED]
        slope = "-" if nve["drift_mev_per_atom_ps"] is None else f"{nve['drift_mev_per_atom_ps']:.3f}"
        rows.append(
            f"| {name} | {form.replace(':', ', ')} | {' | '.join(learned)} | {nvt['g_difference_angstrom']:.3f} "
            f"| {nvt['h_difference']:.4f} | {slope} "
            f"| {nve['end_temperature_K']} ({one['settings']['temperature_K']:.0f}) "
            f"| {', '.join(f'{how} at {when:g} ps' for how, when in ends.items() if when is not None) or 'no'} |"
        )
    return rows


def asked() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", choices=SYSTEMS, help="default: all")
    parser.add_argument("--form", choices=FORMS, help="default: all but published-full")
    parser.add_argument("--full", action="store_true", help="published-full as well")
    parser.add_argument("--budget", default="5m", help="wall time of a training")
    parser.add_argument("--nvt-steps", type=int, default=2000)
    parser.add_argument("--nve-steps", type=int, default=4000)
    parser.add_argument("--work", type=Path, default=Path("claims-work"))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--plot", action="store_true", help="run nothing, draw the results of this budget")
    return parser.parse_args()


def main() -> None:
    """Run what is missing, draw it and print the table."""
    torch.set_num_threads(1)
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    options = asked()
    file = options.results / f"{NAME}.json"
    forms = [options.form] if options.form else [form for form in FORMS if options.full or form != "published-full"]
    for name in [options.system] if options.system else SYSTEMS:
        for form in () if options.table or options.plot else forms:
            key, wanted = key_of(name, form, options.budget), settings(name, form, options)
            if load(file).get(key, {}).get("settings") != wanted:
                print(f"{key}", flush=True)
                store(file, key, {"settings": wanted, **run(name, form, options)})
    if not options.table:
        plot(load(file), options.budget, file.with_suffix(".png"))
    print("\n".join(lines(load(file))))


if __name__ == "__main__":
    main()
