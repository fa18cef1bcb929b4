"""What the graph cache costs and gives: frames/s built, frames/s and batches/s read, memory.

    python benchmarks/graph_cache.py [--frames 20000] [--workers 2] [--cutoff 5.0] [--batch 32] [--folder DIR]

Synthetic frames of 4 to 32 atoms of H, C, N and O at 10 Å^3 per atom, half of them periodic, are made in the process
that works on them, as they would be read from a file there. Times are wall and processor time; say what else ran.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.frames import Configuration, LabelledFrame
from aiida_argonaut.mlip.graph import build_graph
from aiida_argonaut.mlip.graph_cache import SHARD, open_or_build
from aiida_argonaut.mlip.sample import Sample
from aiida_argonaut.mlip.samples import Samples

BASELINE = Baseline(((1, -13.6), (6, -150.0), (7, -270.0), (8, -430.0)))


def made(first: int, count: int) -> list[LabelledFrame]:
    """Frames `first`, `first + 1`, ...: a function of their index."""
    return [_frame(index) for index in range(first, first + count)]


def _frame(index: int) -> LabelledFrame:
    random = np.random.default_rng(index)
    n, periodic = int(random.integers(4, 33)), bool(index % 2)
    edge = (10.0 * n) ** (1 / 3)
    cell = edge * (np.eye(3) + 0.05 * random.normal(size=(3, 3)))
    configuration = Configuration(random.choice([1, 6, 7, 8], n), random.random((n, 3)) @ cell, cell, (periodic,) * 3)
    stress = random.normal(size=(3, 3)) if periodic else None
    return LabelledFrame(configuration, float(random.normal()), random.normal(size=(n, 3)), stress, "p")


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """(result, wall s, processor s of this process and its children)."""
    before, start = os.times(), time.perf_counter()
    result = work()
    after = os.times()
    return result, time.perf_counter() - start, sum(after[:4]) - sum(before[:4])


def peak_mib(who: int) -> float:
    """Largest resident memory so far, MiB."""
    return resource.getrusage(who).ru_maxrss / 1024


def read(samples: Samples, batch: int, count: int) -> list[Sample]:
    """Some batches of frames drawn at random."""
    random = np.random.default_rng(0)
    last = [samples.batch(random.integers(len(samples), size=batch)) for _ in range(count)]
    return last[-1:]


def main() -> None:
    """Build, open, read; print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cutoff", type=float, default=5.0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    starts = range(0, given.frames, SHARD)
    shards = [functools.partial(made, start, min(SHARD, given.frames - start)) for start in starts]
    _, _, making = timed(lambda: made(0, min(1000, given.frames)))
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:

        def opened() -> Samples:
            return open_or_build(f"benchmark {given.frames}", shards, given.cutoff, folder, BASELINE, given.workers)

        _, build_wall, build_cpu = timed(opened)
        peak = [peak_mib(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        samples, open_wall, _ = timed(opened)
        n = 200
        _, read_wall, read_cpu = timed(lambda: read(samples, given.batch, n))
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        frame = [made(0, 1)[0].configuration]
        _, _, one = timed(lambda: [build_graph(frame, given.cutoff) for _ in range(100)])
        figures = {
            "frames": given.frames,
            "workers": given.workers,
            "atoms": int(samples.atoms.sum()),
            "bonds": int(samples.bonds.sum()),
            "build_frames_per_s": given.frames / build_wall,
            "build_ms_cpu_per_frame": 1e3 * build_cpu / given.frames,
            "of_which_making_frames_ms": 1e3 * making / min(1000, given.frames),
            "open_s": open_wall,
            "batches_per_s": n / read_wall,
            "batch_ms_cpu": 1e3 * read_cpu / n,
            "graph_of_the_first_frame_ms_cpu": 1e3 * one / 100,
            "disk_mb": size / 1e6,
            "peak_mib_this_process_while_building": peak[0],
            "peak_mib_largest_worker": peak[1],
        }
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}, indent=2))


if __name__ == "__main__":
    main()
