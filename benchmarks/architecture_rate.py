"""What one training step and one evaluation of each architecture and preset cost, operation by operation (eager).

All are timed alternately in one go, so that a machine that is busy for a moment slows all alike. A step is energy,
forces, stress and the gradient of a loss over them; no optimiser. Printed are the fastest round of each and the median
over the rounds of its ratio to the first one. Ratios travel between machines, milliseconds do not.

    python benchmarks/architecture_rate.py                                          # every preset there is
    python benchmarks/architecture_rate.py --architectures teanet/campaign teanet/published
    python benchmarks/architecture_rate.py --data labels.extxyz --clock wall
    python benchmarks/architecture_rate.py --device cuda --structures 512
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.frames import Configuration, read_configurations
from aiida_argonaut.mlip.generate.recipe import configuration, recipe_from_mapping
from aiida_argonaut.mlip.graph import build_graph, device_of
from aiida_argonaut.mlip.potential import Architecture, architecture_names, get_architecture, network_part
from aiida_argonaut.mlip.units import Z_MAX

CELLS = {
    "source": "packing",
    "atoms": [8, 26],
    "species": [3, 8],
    "packing_fraction": [0.2, 0.3],
    "maximum_volume_per_atom": 100.0,
}
SEED = 1
BASELINE = Baseline(tuple((z, 0.0) for z in range(1, Z_MAX + 1)), repulsion=False)


Tasks = dict[str, Callable[[], object]]


class Case(NamedTuple):
    """An architecture in one preset."""

    architecture: Architecture
    preset: str

    @property
    def name(self) -> str:
        """Architecture and preset."""
        return f"{self.architecture.name}/{self.preset}"


def configurations(data: Path | None, number: int) -> list[Configuration]:
    """The first configurations of a file, or random packings of 17 atoms on average with all elements H-Ar."""
    if data is None:
        recipe = recipe_from_mapping(CELLS)
        return [configuration(recipe, SEED, index) for index in range(number)]
    return list(read_configurations(data))[:number]


def cases(named: Sequence[str]) -> list[Case]:
    """'name' is all presets of an architecture, 'name/preset' one; without any, all there are."""
    found = []
    for text in named or architecture_names():
        name, _, preset = text.partition("/")
        architecture = get_architecture(name)
        found += [Case(architecture, one) for one in ([preset] if preset else architecture.presets)]
    return found


def tasks(case: Case, chosen: Sequence[Configuration], device: torch.device) -> tuple[str, Tasks]:
    """What the case is, in words, and its step and evaluation."""
    architecture, config = case.architecture, case.architecture.preset(case.preset)
    graph = build_graph(chosen, config.cutoff, dtype=torch.float32, device=device)
    random = torch.Generator().manual_seed(SEED)
    weights = {name: w.to(device).requires_grad_() for name, w in architecture.init(config, random).items()}
    frozen = {name: weight.detach() for name, weight in weights.items()}

    def found(parameters: dict[str, torch.Tensor], create_graph: bool) -> Any:
        return network_part(architecture, config, parameters, BASELINE, graph, True, create_graph)

    def step() -> object:
        result = found(weights, True)
        loss = sum(part.square().mean() for part in result if part is not None)
        return torch.autograd.grad(loss, list(weights.values()), allow_unused=True)

    size = f"{sum(w.numel() for w in weights.values())} parameters, {graph.n_atoms} atoms, {graph.n_bonds} bonds"
    return size, {f"{case.name} step": step, f"{case.name} evaluation": lambda: found(frozen, False)}


def finished() -> float:
    """Wall time after the GPU has done all that it was told."""
    torch.cuda.synchronize()
    return time.perf_counter()


def timed(todo: Tasks, rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of every task in every round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in todo}
    for number in range(rounds + 1):
        for name, task in todo.items():
            began = clock()
            task()
            if number:
                seconds[name].append(clock() - began)
    return seconds


def main() -> None:
    """Time everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", nargs="*", default=[], help="name or name/preset; all where not given")
    parser.add_argument("--data", type=Path, help="extended XYZ; random packings where not given")
    parser.add_argument("--structures", type=int, default=16, help="structures in the batch, at most")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--clock", choices=["cpu", "wall"], default="cpu", help="cpu: steady on a machine that is shared"
    )
    parser.add_argument("--device", default="cpu", help="cuda: in wall time")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = device_of(options.device)
    chosen = configurations(options.data, options.structures)
    todo: Tasks = {}
    for case in cases(options.architectures):
        size, both = tasks(case, chosen, device)
        todo |= both
        print(f"{case.name}: {size}")
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    if device.type == "cuda":
        clock, options.clock = finished, f"wall (on {torch.cuda.get_device_name(device)})"
    seconds = timed(todo, options.rounds, clock)
    unit = next(iter(seconds.values()))
    print(f"{len(chosen)} structures, {options.threads} threads, {options.rounds} rounds, {options.clock} time")
    print(f"{'':32} {'ms':>8} {'ratio':>6}")
    for name, found in seconds.items():
        ratio = statistics.median(one / other for one, other in zip(found, unit, strict=True))
        print(f"{name:32} {1000 * min(found):8.1f} {ratio:6.2f}")


if __name__ == "__main__":
    main()
