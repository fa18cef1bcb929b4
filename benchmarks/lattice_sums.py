"""Seconds per structure of the lattice sums, against a direct Ewald sum in numpy and the paper's published figure.

Random triclinic cells of 2 to 40 atoms (15 Å^3 each), float64, alpha 3 1/Å, truncation error of every sum at most
`--tolerance` in its unit (1/g, 1/g^6, mean over the cell). The reference is what one writes first: a loop over pairs,
and for each all images and reciprocal vectors in a sphere that serves every pair, at the even splitting. The errors of
both against tolerance 1e-13 (in these units; relative for sums that exceed them) are printed first. CPU time on one
thread, turn by turn; medians over rounds.

PotNet's released code needs 313 ms per structure by its paper; it cannot be run here (its licence keeps it out), so
that its figure is of another machine.

    python benchmarks/lattice_sums.py
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import erfc
from torch import Tensor

from aiida_argonaut.mlip.lattice_sums import lattice_sums

SEED = 1
VOLUME = 15.0
PUBLISHED_MS = 313.0
Array = NDArray[np.float64]
Structures = tuple[Tensor, Tensor, Tensor, Tensor]


def structures(counts: Sequence[int]) -> Structures:
    """Random structures as positions (n, 3) Å, cell (g, 3, 3) Å, pbc (g,) and structure (n,)."""
    generator = torch.Generator().manual_seed(SEED)
    number = torch.tensor(counts)
    cell = torch.eye(3) + 0.6 * (torch.rand(len(counts), 3, 3, generator=generator) - 0.5)
    cell = cell.double() * ((VOLUME * number) / cell.double().det().abs())[:, None, None] ** (1 / 3)
    structure = torch.repeat_interleave(torch.arange(len(counts)), number)
    fraction = torch.rand(len(structure), 3, generator=generator).double()
    pbc = torch.ones(len(counts), dtype=torch.bool)
    return (fraction[:, None] @ cell[structure])[:, 0], cell, pbc, structure


def one(given: Structures, index: int) -> Structures:
    """One of the structures."""
    positions, cell, pbc, structure = given
    atoms = structure == index
    return positions[atoms], cell[index : index + 1], pbc[index : index + 1], torch.zeros_like(structure[atoms])


def within(radius: float, basis: Array) -> Array:
    """All lattice vectors (p, 3) up to a radius."""
    most = [math.ceil(radius * float(np.linalg.norm(column))) for column in np.linalg.inv(basis).T]
    vectors = np.array(list(product(*(range(-n, n + 1) for n in most))), dtype=float) @ basis
    return vectors[(vectors**2).sum(1) <= radius**2]


def reference(positions: Array, cell: Array, alpha: float, tolerance: float) -> Array:
    """(P, 3) sums of all pairs i <= j, ordered by j, i."""
    volume, dual = abs(float(np.linalg.det(cell))), np.linalg.inv(cell).T
    g = volume ** (1 / 3)
    s = g / math.sqrt(math.pi)
    reach = math.sqrt(math.log(math.pi**3 / tolerance) + 1)
    decay = (-math.log(tolerance * 8 * math.pi / volume / alpha**3) + 10) / alpha
    longest = float(np.linalg.norm(cell, axis=1).sum()) / 2
    near, far = within(s * reach + longest, cell), within(decay + longest, cell)
    m = within(reach / (math.pi * s), dual)
    m = m[(m * m).sum(1) > 0]
    x = (math.pi * s) ** 2 * (m * m).sum(1)
    coulomb = math.pi * s**2 / volume * np.exp(-x) / x
    london = 4 / 3 * math.sqrt(math.pi) * x**1.5 * erfc(np.sqrt(x)) + np.exp(-x) * (2 / 3 - 4 / 3 * x)
    london *= math.pi**1.5 / (2 * volume * s**3)
    found = []
    for j, i in zip(*np.tril_indices(len(positions)), strict=True):
        v = positions[j] - positions[i]
        v = v - np.rint(v @ dual.T) @ cell
        r, long = (np.sqrt(((images + v) ** 2).sum(1)) for images in (near, far))
        r, long = r[r > 0], long[long > 0]
        u, wave = r / s, np.cos(2 * math.pi * (m @ v))
        values = [
            (erfc(u) / r).sum() + coulomb @ wave - math.pi * s**2 / volume,
            (np.exp(-(u**2)) * (1 + u**2 + u**4 / 2) / r**6).sum() + london @ wave + math.pi**1.5 / (3 * volume * s**3),
            np.exp(-alpha * long).sum(),
        ]
        if i == j:
            values[0] -= 2 / (math.sqrt(math.pi) * s)
            values[1] -= 1 / (6 * s**6)
        found.append(values)
    return np.array(found)


def with_forces(given: Structures, tolerance: float) -> object:
    """Sums and the gradient of their total in positions and cell."""
    positions, cell = given[0].clone().requires_grad_(), given[1].clone().requires_grad_()
    values = lattice_sums(positions, cell, *given[2:], tolerance=tolerance).values
    return torch.autograd.grad(values.sum(), (positions, cell))


def tasks(given: Structures, counts: Sequence[int], tolerance: float) -> dict[str, list[Callable[[], object]]]:
    """What is timed: one call per structure, or one for all."""
    alone = [one(given, index) for index in range(len(counts))]
    return {
        "reference": [partial(reference, a[0].numpy(), a[1][0].numpy(), 3.0, tolerance) for a in alone],
        "alone": [partial(lattice_sums, *a, tolerance=tolerance) for a in alone],
        "with gradient": [partial(with_forces, a, tolerance) for a in alone],
        "batch": [partial(lattice_sums, *given, tolerance=tolerance)],
        "batch with gradient": [partial(with_forces, given, tolerance)],
    }


def timed(todo: dict[str, list[Callable[[], object]]], rounds: int) -> dict[str, list[float]]:
    """Median CPU milliseconds of every call, after one round that does not count."""
    seconds: dict[str, list[list[float]]] = {name: [[] for _ in calls] for name, calls in todo.items()}
    for number in range(rounds + 1):
        for name, calls in todo.items():
            for call, found in zip(calls, seconds[name], strict=True):
                began = time.process_time()
                call()
                if number:
                    found.append(time.process_time() - began)
    return {name: [1000 * statistics.median(each) for each in found] for name, found in seconds.items()}


def errors(given: Structures, counts: Sequence[int], tolerance: float) -> tuple[float, float]:
    """Largest errors of the reference and of ours, in the units of the tolerance or relative, where that is less."""
    worst = [0.0, 0.0]
    for index in range(len(counts)):
        alone = one(given, index)
        exact = lattice_sums(*alone, tolerance=1e-13).values
        volume = float(alone[1].det().abs())
        unit = torch.tensor([volume ** (-1 / 3), volume**-2, 8 * math.pi / 27 / volume]).double()
        ours = lattice_sums(*alone, tolerance=tolerance).values
        direct = torch.from_numpy(reference(alone[0].numpy(), alone[1][0].numpy(), 3.0, tolerance))
        unit = torch.maximum(unit, exact.abs())
        worst = [max(w, float(((a - exact) / unit).abs().max())) for w, a in zip(worst, (direct, ours), strict=True)]
    return worst[0], worst[1]


def main() -> None:
    """Time everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atoms", type=int, nargs="+", default=[2, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40])
    parser.add_argument("--tolerance", type=float, default=1e-8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    given = structures(options.atoms)
    print("largest errors: reference {:.1e}, ours {:.1e}".format(*errors(given, options.atoms, options.tolerance)))
    found = timed(tasks(given, options.atoms, options.tolerance), options.rounds)
    print("\n| atoms | reference, ms | ours, ms | ratio | with gradient, ms |\n|---|---|---|---|---|")
    rows = list(zip(options.atoms, found["reference"], found["alone"], found["with gradient"], strict=True))
    mean = ("mean", *(statistics.mean(found[name]) for name in ("reference", "alone", "with gradient")))
    for name, direct, ours, gradient in (*rows, mean):
        print(f"| {name} | {direct:.1f} | {ours:.2f} | {direct / ours:.1f} | {gradient:.2f} |")
    batch, gradient = (found[name][0] / len(options.atoms) for name in ("batch", "batch with gradient"))
    print(f"| mean, one batch | {mean[1]:.1f} | {batch:.2f} | {mean[1] / batch:.1f} | {gradient:.2f} |")
    print(f"\nreleased code, published: {PUBLISHED_MS:.0f} ms per structure, {PUBLISHED_MS / mean[2]:.0f} times ours")


if __name__ == "__main__":
    main()
