"""How accurate each architecture is after a fixed time on one core, on public data sets.

Every run is `argonaut train` with the defaults of the architecture's `campaign` preset and a budget, on one core, and
`argonaut evaluate` on frames that were never seen; raw energies, no shift. Compiling is done before (a training of a
few steps fills the compiler's cache; its seconds are told), so that the budget is spent on training.

    python benchmarks/potentials.py --data DIR --sets ethanol,acac --architectures teanet,leignn --budget 20m
    python benchmarks/potentials.py --sets own
    python benchmarks/potentials.py --table

`own` are the project's own labels of small cells of all elements (own_labels.yaml says by which commands, and
mace_baseline.py trains a MACE on them). The others are in DIR, which holds, under these names
(public data; sha256 of each file is kept with its results):

    rmd17_ethanol/ethanol_train_01.xyz.gz, ethanol_test_01.xyz.gz   github.com/andersx/rmd17-npz 4f6bb0a, CC0
    acac/train_300K.xyz                                             github.com/davkovacs/BOTNet-datasets 29e6d46, MIT
    mlearn_Li/train.xyz                                             github.com/materialsvirtuallab/mlearn 10c427a, BSD-3
    water_dp/train.xyz.gz                                           github.com/deepmodeling/deepmd-kit bc902da, LGPL-3

Results, learning curves included, are kept in results/potentials.json; what is there is not run again. A run that was
stopped goes on where it was, from the folder --work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import yaml

RESULTS = Path(__file__).parent / "results" / "potentials.json"
OWN = tuple(RESULTS.with_name(f"own_labels{part}.extxyz") for part in ("", "_more"))
GOALS = {
    "ethanol": {"teanet": "F <= 8, E <= 1.5", "leignn": "F <= 15, E <= 5", "other": "F <= 40, E <= 10"},
    "acac": {"teanet": "F RMSE <= 15", "leignn": "F RMSE <= 40", "other": "F RMSE <= 100"},
    "Li": dict.fromkeys(("teanet", "leignn"), "F <= 30, E <= 6 per atom") | {"other": "F <= 47, E <= 15 per atom"},
    "water": dict.fromkeys(("teanet", "leignn"), "F RMSE <= 120 (the better)") | {"other": "-"},
    "own": {"other": "-"},
}
NOT_COMPILED = ("potnet",)
"""Architectures whose step cannot be traced: `compile: yes` is an error for them."""
Frames = list[ase.Atoms]


def ethanol(data: Path) -> tuple[Frames, Frames, list[Path], float]:
    """950 + 50 and 1000 frames."""
    files = [data / "rmd17_ethanol" / f"ethanol_{part}_01.xyz.gz" for part in ("train", "test")]
    return read(files[0]), read(files[1]), files, 0.05


def acac(data: Path) -> tuple[Frames, Frames, list[Path], float]:
    """450 frames, of which 23 judge, and 50."""
    file = data / "acac" / "train_300K.xyz"
    train, test = parted(read(file), 50)
    return train, test, [file], 0.05


def lithium(data: Path) -> tuple[Frames, Frames, list[Path], float]:
    """80 % and 20 % of 241 frames."""
    file = data / "mlearn_Li" / "train.xyz"
    frames = read(file)
    train, test = parted(frames, round(0.2 * len(frames)))
    return train, test, [file], 0.05


def water(data: Path) -> tuple[Frames, Frames, list[Path], float]:
    """256 and 64 frames."""
    file = data / "water_dp" / "train.xyz.gz"
    train, test = parted(read(file), 64)
    return train, test, [file], 0.05


def own(data: Path) -> tuple[Frames, Frames, list[Path], float]:
    """Small cells of H-Ar from all sources, a fifth of the compositions for the test; free atoms are for training."""
    atoms, frames = by_source([frame for file in OWN for frame in read(file)])
    formulas = sorted({frame.symbols.get_chemical_formula(empirical=True) for frame in frames})
    chosen = set(np.random.default_rng(0).permutation(formulas)[: round(0.2 * len(formulas))])
    apart: tuple[Frames, Frames] = (atoms, [])
    for frame in frames:
        apart[frame.symbols.get_chemical_formula(empirical=True) in chosen].append(frame)
    return *apart, list(OWN), 0.05


def by_source(frames: Frames) -> tuple[Frames, Frames]:
    """Free atoms, of which one per element was labelled beside the cells, and all others."""
    free = [frame for frame in frames if frame.info.get("source") == "reference_atom"]
    return free, [frame for frame in frames if frame.info.get("source") != "reference_atom"]


SETS: dict[str, Callable[[Path], tuple[Frames, Frames, list[Path], float]]] = {
    "ethanol": ethanol,
    "acac": acac,
    "Li": lithium,
    "water": water,
    "own": own,
}


def read(file: Path) -> Frames:
    """All frames of a file."""
    found = ase.io.read(file, ":")
    assert isinstance(found, list)
    return found


def parted(frames: Frames, n_test: int) -> tuple[Frames, Frames]:
    """Train and test, at random with seed 0."""
    order = np.random.default_rng(0).permutation(len(frames))
    return [frames[k] for k in sorted(order[n_test:])], [frames[k] for k in sorted(order[:n_test])]


def command(words: list[str | Path], core: int) -> str:
    """Output of a command on one core; an error ends the benchmark with what it said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        ["taskset", "-c", str(core), *map(str, words)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done.stdout


def run(name: str, architecture: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train and evaluate once."""
    folder = options.work / f"{name}-{architecture}-{options.budget}{(options.device != 'cpu') * '-gpu'}"
    folder.mkdir(parents=True, exist_ok=True)
    train, test, files, share = SETS[name](options.data)
    for part, frames in (("train", train), ("test", test)):
        ase.io.write(folder / f"{part}.extxyz", frames, format="extxyz")
    settings = {
        "validation_fraction": share,
        "compile": "yes" if options.device == "cpu" and architecture not in NOT_COMPILED else "auto",
        **json.loads(options.settings),
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(settings))
    (folder / "warm.yaml").write_text(yaml.safe_dump({**settings, "steps": 3, "records": 1}))
    common = ["--architecture", architecture, "--device", options.device, "--seed", "1"]
    began = time.monotonic()
    if not (folder / "model" / "checkpoints").exists():
        command(
            ["argonaut", "train", folder / "train.extxyz", "-o", folder / "warm", "--config", folder / "warm.yaml",
             *common],
            options.core,
        )  # fmt: skip
    compiled = time.monotonic() - began
    command(
        ["argonaut", "train", folder / "train.extxyz", "-o", folder / "model", "--config", folder / "train.yaml",
         "--budget", options.budget, *common],
        options.core,
    )  # fmt: skip
    found = json.loads(
        command(
            ["argonaut", "evaluate", folder / "model", folder / "test.extxyz", "--json", "--device", options.device],
            options.core,
        )
    )
    card = json.loads((folder / "model" / "card.json").read_text())
    lines = [json.loads(line) for line in (folder / "model" / "metrics.jsonl").read_text().splitlines()]
    kept = ("step", "seconds", "validation_force_mae_mev_per_angstrom", "validation_energy_mae_mev_per_atom")
    member = card["members"][0]
    sizes = [len(frame) for frame in test]
    return {
        "files": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
        "settings": settings, "budget": options.budget, "code": card["created_by"], "torch": card["torch"],
        "parameters": parameters(folder / "model"), "steps": member["steps"], "seconds": member["seconds"],
        "warm_up_seconds": round(compiled, 1), "compile_seconds": member["compile_seconds"],
        "atoms_per_frame": round(float(np.mean(sizes)), 2),
        "energy_mev_per_atom": found["energy_mev_per_atom"], "force_mev_per_angstrom": found["force_mev_per_angstrom"],
        "stress_gpa": found["stress_gpa"], "curve": [[line[key] for key in kept] for line in lines],
    }  # fmt: skip


def parameters(model: Path) -> int:
    """Weights of the model."""
    from safetensors import safe_open

    with safe_open(model / "model.safetensors", framework="np") as file:
        return sum(int(np.prod(file.get_slice(name).get_shape())) for name in file.keys())  # noqa: SIM118 no dict


def table(runs: dict[str, Any]) -> list[str]:
    """Lines of Markdown: a row per run."""
    found = [
        "| data | architecture, parameters | force MAE / RMSE, meV/Å | energy MAE, meV (per atom) | steps | goal |",
        "|---|---|---|---|---|---|",
    ]
    for key, one in sorted(runs.items()):
        name, architecture = key.split(":")[:2]
        force, energy = one["force_mev_per_angstrom"], one["energy_mev_per_atom"]["mae"]
        goal = GOALS[name].get(architecture, GOALS[name]["other"])
        found.append(
            f"| {name} | {architecture}, {one['parameters']:,} | {force['mae']:.1f} / {force['rmse']:.1f} "
            f"| {energy * one['atoms_per_frame']:.2f} ({energy:.2f}) | {one['steps']:,} | {goal} |"
        )
    return found


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--architectures", default="teanet,leignn")
    parser.add_argument("--budget", default="20m")
    parser.add_argument("--settings", default="{}", help="JSON, to see what other settings do; not kept as results")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cuda: compiling is then left to the trainer")
    parser.add_argument("--work", type=Path, default=Path("potentials-work"))
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args()
    if not options.table:
        if options.data is None and options.sets != "own":
            parser.error("--data DIR: the folder of the data sets; see --help")
        for name in options.sets.split(","):
            for architecture in options.architectures.split(","):
                key = f"{name}:{architecture}:{options.budget}" + (options.device != "cpu") * f":{options.device}"
                if options.settings == "{}" and key in load():
                    continue
                one = run(name, architecture, options)
                print(key, json.dumps({k: v for k, v in one.items() if k != "curve"}), flush=True)
                if options.settings == "{}":
                    save({**load(), key: one})
    print("\n".join(table(load())))


def load() -> dict[str, Any]:
    """Results so far: read anew each time, as another process may run beside this one."""
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}


def save(runs: dict[str, Any]) -> None:
    """Write the file whole, one run per line."""
    rows = ",\n".join(f" {json.dumps(key)}: {json.dumps(run)}" for key, run in sorted(runs.items()))
    temporary = RESULTS.with_suffix(".part")
    temporary.write_text(f"{{\n{rows}\n}}\n")
    os.replace(temporary, RESULTS)


if __name__ == "__main__":
    main()
