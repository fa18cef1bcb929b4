"""The A2I transformer's claim, rerun: energies of condensed phases far below their fluctuation in molecular dynamics.

The paper (arXiv:2110.14374) tests pair, many-body and two-component interactions. Here: a Lennard-Jones fluid, liquid
silicon after Stillinger and Weber (Phys. Rev. B 31, 5262 (1985)), the binary mixture of Kob and Andersen (Phys. Rev.
E 51, 4626 (1995)). Each system is run at constant temperature; frames of the first part of the trajectory are for
training, those after a gap for the test. What is told is RMSE(E/N) over the standard deviation of E/N in the test.

    python examples/claims/a2i.py --system lj --preset campaign --budget 6m      # a trajectory, a training, a row
    python examples/claims/a2i.py --plot          # table, and results/a2i.png

The potentials are those of reference_potentials.py. Results are kept in results/a2i.json, trajectories in the folder
--work, from which a training that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import ase
import ase.build
import ase.units
import numpy as np
from numpy.typing import NDArray
from reference_potentials import CUTOFF, EPSILON, lennard_jones, stillinger_weber
from trajectories import TEST, System, errors, fcc, train, training_card, trajectory

from aiida_argonaut.mlip.calculator import CommitteeCalculator

RESULTS = Path(__file__).parent / "results" / "a2i.json"
SETTINGS = {"campaign": "{}", "published": '{"learning_rate": 0.001}'}
"""Of the training, as JSON: attention of all neighbours to all does not learn at the default rate."""


def silicon() -> ase.Atoms:
    """64 atoms at the density of the liquid, 2.53 g/cm^3."""
    edge = (64 * 28.0855 / 0.602214 / 2.53) ** (1 / 3)
    return ase.build.bulk("Si", "diamond", a=edge / 2, cubic=True).repeat(2)


NAMES = {"lj": "Lennard-Jones", "sw": "Stillinger-Weber", "ka": "Kob-Andersen"}
SYSTEMS = {
    "lj": System(lambda: fcc(0.8442, 0.0), lennard_jones, CUTOFF, 1.0 * EPSILON, 1.0, 3.0 * EPSILON),
    "sw": System(silicon, stillinger_weber, 3.78, 2000 * ase.units.kB, 1.0, 4000 * ase.units.kB),
    "ka": System(lambda: fcc(1.2, 0.2), lennard_jones, CUTOFF, 1.0 * EPSILON, 0.5, 3.0 * EPSILON),
}


def run(name: str, preset: str, budget: str, work: Path) -> dict[str, Any]:
    """Train and judge."""
    frames = trajectory(SYSTEMS[name], work / f"{name}.extxyz")
    folder = work / f"{name}-{preset}-{budget}"
    folder.mkdir(exist_ok=True)
    settings = folder / "train.json"
    settings.write_text(SETTINGS[preset])
    train(frames, folder, ["--architecture", "a2i", "--preset", preset, "--config", str(settings)], budget)
    told = errors(folder, [])
    energies = per_atom(frames[-TEST:])
    calculator = CommitteeCalculator(folder / "model", dtype="float32")
    predicted = per_atom([with_calculator(frame, calculator) for frame in frames[-TEST:]])
    error, spread = told["energy_mev_per_atom"]["rmse"], 1e3 * float(energies.std())
    return {
        "budget": budget, "rmse_mev_per_atom": error, "deviation_mev_per_atom": spread, "ratio": error / spread,
        "force_rmse_mev_per_angstrom": told["force_mev_per_angstrom"]["rmse"],
        "steps": training_card(folder)["steps"],
        "energies": energies.round(6).tolist(), "predicted": predicted.round(6).tolist(),
    }  # fmt: skip


def per_atom(frames: list[ase.Atoms]) -> NDArray[np.float64]:
    """(frames,) eV."""
    return np.array([frame.get_potential_energy() / len(frame) for frame in frames])


def with_calculator(frame: ase.Atoms, calculator: CommitteeCalculator) -> ase.Atoms:
    """A copy without its label."""
    copy = frame.copy()
    copy.calc = calculator
    return copy


def plot(found: dict[str, Any]) -> None:
    """Predicted against true E/N, a panel per row of the table, in results/a2i.png."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(4.2 * len(found), 4), layout="constrained", squeeze=False)
    for axis, (key, one) in zip(axes.flat, sorted(found.items()), strict=True):
        true = 1e3 * (np.array(one["energies"]) - np.mean(one["energies"]))
        predicted = 1e3 * (np.array(one["predicted"]) - np.mean(one["energies"]))
        ends = np.array([true.min(), true.max()])
        goal = 0.2 * one["deviation_mev_per_atom"]
        axis.fill_between(ends, ends - goal, ends + goal, color="0.85", label="0.2 standard deviations")
        axis.plot(ends, ends, "k-", lw=0.8)
        axis.plot(true, predicted, "o", ms=4)
        axis.set(title=f"{NAMES[key.split(':')[0]]}, {key.split(':')[1]}: {one['ratio']:.3f}")
        axis.set(xlabel="E/N minus its mean, meV", ylabel="A2I, meV")
    axes.flat[0].legend(loc="upper left", fontsize=8)
    figure.savefig(RESULTS.with_suffix(".png"), dpi=110)


def lines(found: dict[str, Any]) -> list[str]:
    """Lines of Markdown."""
    rows = [
        "| system | preset, budget | RMSE(E/N), meV | deviation of E/N, meV | ratio | force RMSE, meV/Å | steps |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, one in sorted(found.items()):
        name, preset, budget = key.split(":")
        rows.append(
            f"| {name} | {preset}, {budget} | {one['rmse_mev_per_atom']:.3f} | {one['deviation_mev_per_atom']:.2f} "
            f"| {one['ratio']:.3f} | {one['force_rmse_mev_per_angstrom']:.1f} | {one['steps']:,} |"
        )
    return rows


def load() -> dict[str, Any]:
    """Results so far: another run may have added to them."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", choices=SYSTEMS)
    parser.add_argument("--preset", default="campaign", choices=SETTINGS)
    parser.add_argument("--budget", default="6m")
    parser.add_argument("--work", type=Path, default=Path("claims-work"))
    parser.add_argument("--plot", action="store_true", help="draw what has been measured")
    options = parser.parse_args()
    found = load()
    if options.system:
        one = run(options.system, options.preset, options.budget, options.work)
        found = load() | {f"{options.system}:{options.preset}:{options.budget}": one}
        RESULTS.parent.mkdir(exist_ok=True)
        rows = ",\n".join(f' "{key}": {json.dumps(one)}' for key, one in sorted(found.items()))
        RESULTS.write_text(f"{{\n{rows}\n}}\n")
    if options.plot:
        plot(found)
    print("\n".join(lines(found)))


if __name__ == "__main__":
    main()
