"""What a committee costs beside one member, and what the parts of the work cost beside each other.

Everything is timed alternately in one go, so that a machine that is busy for a moment slows all parts alike. Printed
are the fastest round of each and the median over the rounds of its ratio to one member's energies and forces. Ratios
travel between machines, milliseconds do not.

    python benchmarks/committee_cost.py                       # random packings, as campaigns start from
    python benchmarks/committee_cost.py --data labels.extxyz  # configurations of your own
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.committee import Committee
from aiida_argonaut.mlip.frames import Configuration, read_configurations
from aiida_argonaut.mlip.generate.recipe import configuration, load_recipe
from aiida_argonaut.mlip.potential import get_architecture, network_part
from aiida_argonaut.mlip.units import Z_MAX

RECIPE = Path(__file__).parents[1] / "examples" / "recipes" / "packing.yaml"
SEED = 1


def configurations(data: Path | None, number: int) -> list[Configuration]:
    """Configurations from a file, or random packings."""
    if data is None:
        recipe = load_recipe(RECIPE)
        return [configuration(recipe, SEED, index) for index in range(number)]
    return list(read_configurations(data))[:number]


def untrained(preset: str, n_members: int) -> Committee:
    """A committee with random weights: what it says is worthless, what it costs is not."""
    architecture = get_architecture("teanet")
    config = architecture.preset(preset)
    members = tuple(architecture.init(config, torch.Generator().manual_seed(k)) for k in range(n_members))
    return Committee(architecture, preset, config, Baseline(tuple((z, 0.0) for z in range(1, Z_MAX + 1))), members, {})


def tasks(committee: Committee, chosen: list[Configuration]) -> dict[str, Callable[[], object]]:
    """What is compared, by name; the first is the unit."""
    one = untrained(committee.preset, 1)
    graph = committee.build_graph(chosen)
    weights = {name: part.clone().requires_grad_() for name, part in one.members[0].items()}

    def training_step() -> object:
        found = network_part(one.architecture, one.config, weights, one.baseline, graph, True, True)
        assert found.stress is not None
        loss = found.energy.square().mean() + found.forces.square().mean() + found.stress.square().mean()
        return torch.autograd.grad(loss, list(weights.values()), allow_unused=True)

    return {
        "one member, energies and forces": lambda: one.evaluate(graph),
        "one member, with stress": lambda: one.evaluate(graph, stress=True),
        f"{committee.n_members} members, energies and forces": lambda: committee.evaluate(graph),
        f"{committee.n_members} members, with stress": lambda: committee.evaluate(graph, stress=True),
        "one training step (eager)": training_step,
        "neighbour lists": lambda: committee.build_graph(chosen),
    }


def timed(todo: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every task in every round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in todo}
    for number in range(rounds + 1):
        for name, task in todo.items():
            began = time.perf_counter()
            task()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def main() -> None:
    """Time everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="extended XYZ; random packings where not given")
    parser.add_argument("--preset", default="campaign")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--structures", type=int, default=32, help="structures in the batch, at most")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    chosen = configurations(options.data, options.structures)
    committee = untrained(options.preset, options.members)
    graph = committee.build_graph(chosen)
    print(f"{len(chosen)} structures, {graph.n_atoms} atoms, {graph.n_bonds} bonds; teanet/{options.preset}, "
          f"{options.threads} threads, {options.rounds} rounds")  # fmt: skip
    seconds = timed(tasks(committee, chosen), options.rounds)
    unit = next(iter(seconds.values()))
    print(f"{'':38} {'ms':>8} {'us/atom':>8} {'ratio':>6}")
    for name, found in seconds.items():
        ratio = statistics.median(one / other for one, other in zip(found, unit, strict=True))
        print(f"{name:38} {1000 * min(found):8.1f} {1e6 * min(found) / graph.n_atoms:8.1f} {ratio:6.2f}")


if __name__ == "__main__":
    main()
