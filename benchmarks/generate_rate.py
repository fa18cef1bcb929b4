"""How fast configurations are made and written, how that scales, and what a million of them takes.

    python benchmarks/generate_rate.py packing     # against a plain numpy insertion, alternately, output included
    python benchmarks/generate_rate.py scaling     # one worker against two, alternately
    python benchmarks/generate_rate.py million     # 10^6 packings with two workers: time, memory, size
    python benchmarks/generate_rate.py million --recipe examples/recipes/mixed.yaml -n 100000

Each writes its part of benchmarks/results/generate_rate.json. Memory is that of all processes together (proportional
set size, sampled four times a second).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import psutil
import yaml
from ase.data import covalent_radii

from aiida_argonaut.mlip.generate.recipe import Recipe, recipe_from_mapping
from aiida_argonaut.mlip.generate.shards import make_shard

RESULTS = Path(__file__).parent / "results" / "generate_rate.json"
CELLS: dict[str, Any] = {"source": "packing", "atoms": [8, 32]}
RATIO, PACKING = 0.7, 0.25


def insertion(rng: np.random.Generator) -> ase.Atoms:
    """A random cell of 8 to 32 atoms of H-Ar: one atom after the other, where no other one is too close."""
    numbers = rng.integers(1, 19, rng.integers(8, 33))
    radii = covalent_radii[numbers]
    while True:
        cell = np.eye(3) * rng.uniform(0.85, 1.15, 3)[:, None] + rng.uniform(-0.15, 0.15, (3, 3))
        cell *= (np.sum(4 / 3 * np.pi * radii**3) / PACKING / abs(np.linalg.det(cell))) ** (1 / 3)
        images = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3), axis=-1).reshape(-1, 3) @ cell
        placed = np.zeros((0, 3))
        for k in range(len(numbers)):
            for _ in range(400):
                trial = rng.random(3) @ cell
                apart = np.linalg.norm(placed[:, None] + images - trial, axis=-1).min(axis=1, initial=np.inf)
                if (apart >= RATIO * (radii[:k] + radii[k])).all():
                    placed = np.vstack([placed, trial])
                    break
            else:
                break
        if len(placed) == len(numbers):
            return ase.Atoms(numbers=numbers, positions=placed, cell=cell, pbc=True)


def packing(rounds: int, cells: int) -> dict[str, Any]:
    """Cells per second of CPU of both, turn by turn, on one core."""
    recipe, rng = recipe_from_mapping(CELLS), np.random.default_rng(0)
    make_shard(recipe, 0, 0, 10)  # compiles
    ours, plain = [], []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            ours.append(cells / _cpu(lambda turn=turn: _write_ours(recipe, Path(folder), turn * cells, cells)))
            few = max(1, cells // 10)
            plain.append(few / _cpu(lambda few=few: _write_plain(rng, Path(folder), few)))
    ratios = [a / b for a, b in zip(ours, plain, strict=True)]
    return {
        "cells_per_cpu_second": round(statistics.median(ours)),
        "insertion_per_cpu_second": round(statistics.median(plain)),
        "ratio": round(statistics.median(ratios), 1),
        "ratio_range": [round(min(ratios), 1), round(max(ratios), 1)],
    }


def _write_ours(recipe: Recipe, folder: Path, start: int, cells: int) -> None:
    (folder / "ours.extxyz").write_bytes(make_shard(recipe, 0, start, start + cells).text)


def _write_plain(rng: np.random.Generator, folder: Path, cells: int) -> None:
    ase.io.write(folder / "plain.extxyz", [insertion(rng) for _ in range(cells)], format="extxyz")


def _cpu(work: Any) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def scaling(rounds: int, cells: int) -> dict[str, Any]:
    """Wall time of the command with one worker and with two, turn by turn."""
    pairs = []
    for _ in range(rounds):
        one, two = _command(CELLS, cells, 1), _command(CELLS, cells, 2)
        if one["sha256"] != two["sha256"]:
            raise SystemExit("one and two workers made different configurations")
        pairs.append((one["seconds"], two["seconds"]))
    return {
        "configurations": cells,
        "seconds_one_worker": [one for one, _ in pairs],
        "seconds_two_workers": [two for _, two in pairs],
        "ratio": round(statistics.median(one / two for one, two in pairs), 2),
    }


def million(recipe: dict[str, Any], cells: int) -> dict[str, Any]:
    """Wall time, memory and size of a large run with two workers."""
    return {"configurations": cells, **_command(recipe, cells, 2)}


def _command(recipe: dict[str, Any], cells: int, workers: int) -> dict[str, Any]:
    """Run `argonaut generate` into a folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="argonaut-rate-"))
    try:
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        command = ["argonaut", "generate", "recipe.yaml", "-n", str(cells), "-o", "out", "--workers", str(workers)]
        begin = time.monotonic()
        process = subprocess.Popen([*command, "--json"], cwd=folder, stdout=subprocess.PIPE, text=True)
        most = 0
        while process.poll() is None:
            most = max(most, _memory(process.pid))
            time.sleep(0.25)
        seconds = time.monotonic() - begin
        account = json.loads(process.communicate()[0])
        size = sum(path.stat().st_size for path in (folder / "out").iterdir())
    finally:
        shutil.rmtree(folder)
    return {
        "seconds": round(seconds, 1), "per_second": round(cells / seconds), "memory_GB": round(most / 1e9, 2),
        "output_GB": round(size / 1e9, 3), "lost": len(account["lost"]), "sha256": account["sha256"],
    }  # fmt: skip


def _memory(pid: int) -> int:
    """Bytes of a process and all its descendants."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            total += process.memory_full_info().pss
    except psutil.Error:  # one of them has just ended
        pass
    return total


def main() -> None:
    """Measure one part and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("packing", "scaling", "million"))
    parser.add_argument("-n", type=int, help="configurations")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recipe", type=Path, help="for million: another recipe")
    options = parser.parse_args()
    name = options.part
    if name == "packing":
        found = packing(options.rounds, options.n or 5000)
    elif name == "scaling":
        found = scaling(options.rounds, options.n or 100_000)
    elif options.recipe is None:
        found = million(CELLS, options.n or 1_000_000)
    else:
        name = options.recipe.stem
        found = million(yaml.safe_load(options.recipe.read_text()), options.n or 100_000)
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    results[name] = {"command": " ".join(["python", *sys.argv]), **found}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results[name], indent=1))


if __name__ == "__main__":
    main()
