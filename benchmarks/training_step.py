"""Loss and gradient of one batch, eager and compiled, turn by turn: CPU time on one thread, and whether they agree.

Batches: ethanols from a file (--data, the folder of benchmarks/potentials.py) or random cells of 17 atoms with all
elements H-Ar. With --tensornet, matgl's TensorNet (64 units, 2 blocks, cutoff 5 Å, float32; `pip install matgl`) takes
its turn with the same cells, and energy, forces and stress in its loss. `wide` is TeaNet with more channels.

    python benchmarks/training_step.py --architectures teanet,leignn
    python benchmarks/training_step.py --data DIR --batch 8
    python benchmarks/training_step.py --architectures teanet,wide,leignn --tensornet
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from ase.data import chemical_symbols
from vesin import NeighborList

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.batching import batch_limits
from aiida_argonaut.mlip.frames import Configuration, LabelledFrame
from aiida_argonaut.mlip.objective import Weights
from aiida_argonaut.mlip.potential import get_architecture
from aiida_argonaut.mlip.samples import Samples
from aiida_argonaut.mlip.step import Network, compiled

BASELINE = Baseline(tuple((z, 0.0) for z in range(1, 19)))
WEIGHTS = Weights(1.0, 1.0, 1.0, 0.1)
WIDE = {"scalar_width": 96, "bond_width": 48, "vector_width": 24}
"""TeaNet of about 200,000 weights, for --architectures wide."""


def frames(data: Path | None, number: int) -> list[LabelledFrame]:
    """Labelled frames: what the labels are does not matter here."""
    random = np.random.default_rng(0)
    if data is not None:
        read = ase.io.read(data / "rmd17_ethanol" / "ethanol_train_01.xyz.gz", f":{number}")
        assert isinstance(read, list)
        given = [Configuration(atoms.numbers, atoms.positions, np.zeros((3, 3)), (False,) * 3) for atoms in read]
    else:
        cells = [np.eye(3) * (17 * 14.0) ** (1 / 3) + 0.3 * random.normal(size=(3, 3)) for _ in range(number)]
        given = [Configuration(random.integers(1, 19, 17), random.random((17, 3)) @ cell, cell) for cell in cells]
    return [
        LabelledFrame(one, 0.0, random.normal(size=(len(one), 3)), np.zeros((3, 3)) if one.periodic else None, "p")
        for one in given
    ]


def seconds(step: Callable[[], Any], times: list[float]) -> None:
    """Note how long a step takes."""
    began = time.process_time()
    step()
    times.append(time.process_time() - began)


def tensornet(made: list[LabelledFrame]) -> tuple[Callable[[], Any], int]:
    """The same for matgl's TensorNet, and its number of weights."""
    from matgl.apps.pes import Potential
    from matgl.models import TensorNet
    from torch_geometric.data import Batch, Data

    network = Potential(TensorNet(element_types=tuple(chemical_symbols[1:19]), units=64, nblocks=2, cutoff=5.0))
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    finder = NeighborList(cutoff=5.0, full_list=True)
    parts = []
    for frame in made:
        given = frame.configuration
        i, j, image = finder.compute(np.array(given.positions), np.array(given.cell), True, "ijS")
        parts.append(
            Data(
                edge_index=torch.from_numpy(np.stack([i, j]).astype(np.int64)),
                pbc_offset=torch.from_numpy(image).float(),
                frac_coords=torch.from_numpy(given.positions @ np.linalg.inv(given.cell)).float(),
                node_type=torch.from_numpy(given.numbers - 1),
                num_nodes=len(given.numbers),
                lattice=torch.from_numpy(np.array(given.cell)).float()[None],
                forces=torch.from_numpy(np.array(frame.forces)).float(),
            )
        )
    batch = Batch.from_data_list(parts)

    def step() -> Any:
        energy, forces, stress, _ = network(batch, batch.lattice)
        loss = energy.square().mean() + (forces - batch.forces).square().mean() + stress.square().mean()
        return torch.autograd.grad(loss, weights, allow_unused=True)

    return step, sum(weight.numel() for weight in weights)


def measure(name: str, made: list[LabelledFrame], rounds: int, peer: Callable[[], Any] | None) -> str:
    """A line of Markdown."""
    architecture = get_architecture("teanet" if name == "wide" else name)
    config = architecture.preset("campaign")
    if name == "wide":
        config = replace(config, **WIDE)
    weights = architecture.init(config, torch.Generator().manual_seed(0))
    shapes = {key: tuple(weight.shape) for key, weight in weights.items()}
    flat = torch.cat([weight.flatten() for weight in weights.values()])
    network = Network(architecture, config, shapes, BASELINE, made[0].stress is not None, WEIGHTS.linear_from)
    samples = Samples.prepare(made, BASELINE, config.cutoff)
    everything = range(len(made))
    plain = samples.batch(everything)
    padded = samples.padded(everything, batch_limits(samples, everything, len(made), 10**9).padded())
    began = time.process_time()
    run, _ = compiled(network, flat, padded)
    made_in = time.process_time() - began
    eager: list[float] = []
    fast: list[float] = []
    other: list[float] = []
    for _ in range(rounds):
        if peer is not None:
            seconds(peer, other)
        seconds(lambda: network.eager(flat, plain, WEIGHTS), eager)
        seconds(lambda: run(flat, padded, WEIGHTS), fast)
    first, second = network.eager(flat, plain, WEIGHTS)[1], run(flat, padded, WEIGHTS)[1]
    difference = float((first - second).norm() / first.norm())
    slow, quick = statistics.median(eager), statistics.median(fast)
    against = ""
    if peer is not None:
        theirs = statistics.median(other)
        against = f" {1000 * theirs:.0f} | {theirs / slow:.1f} | {theirs / quick:.1f} |"
    return (
        f"| {name}, {len(flat):,} weights | {plain.graph.n_atoms} atoms, {plain.graph.n_bonds} bonds "
        f"| {1000 * slow:.1f} | {1000 * quick:.1f} | {slow / quick:.1f} | {made_in:.0f} | {difference:.0e} |{against}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", default="teanet,leignn")
    parser.add_argument("--data", type=Path, help="folder of the data sets; without it random cells")
    parser.add_argument("--batch", type=int, default=16, help="frames")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tensornet", action="store_true", help="matgl's TensorNet too, on random cells")
    options = parser.parse_args()
    if options.tensornet and options.data is not None:
        parser.error("--tensornet is for periodic cells; leave --data out")
    torch.set_num_threads(1)
    made = frames(options.data, options.batch)
    head = ["architecture", "batch", "eager, ms", "compiled, ms", "ratio", "compiling, CPU s", "gradients differ by"]
    peer = None
    if options.tensornet:
        peer, size = tensornet(made)
        peer()
        head += [f"TensorNet ({size:,} weights), ms", "to eager", "to compiled"]
    print(f"| {' | '.join(head)} |")
    print("|" + "---|" * len(head))
    for name in options.architectures.split(","):
        print(measure(name, made, options.rounds, peer), flush=True)


if __name__ == "__main__":
    main()
