"""Fingerprint: a vector that is the same for a structure however it is rotated, shifted, numbered or repeated.

For each pair of elements a smooth histogram of the distances, weighted by 1/r^2 and a cutoff that falls to zero at
REACH; all of it scaled to unit length, so that a cell and its supercell agree. Two structures with the same pair
distances in another arrangement (homometric ones) are not told apart, which is rare and here harmless: one of them is
not labelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vesin import NeighborList

from .frames import Configuration
from .units import Z_MAX

REACH = 6.0
"""Å."""
CENTRES: NDArray[np.float64] = np.arange(0.5, REACH, 0.25)
"""(b,) Å, centres of the bins."""
WIDTH = 0.25
"""Å, standard deviation of the smearing."""


def fingerprint(configuration: Configuration) -> NDArray[np.float32]:
    """(171 * b,) float32 of unit length, zero for an atom alone; the pair (Z1, Z2) has row (Z2 - 1) Z2 / 2 + Z1 - 1."""
    finder = NeighborList(cutoff=REACH, full_list=True, n_threads=1)
    positions, cell = np.array(configuration.positions), np.array(configuration.cell)
    i, j, distance = finder.compute(positions, cell, configuration.periodic, "ijd")
    first, second = np.sort(configuration.numbers[np.stack([i, j]).astype(np.int64)], axis=0)
    rows = (second - 1) * second // 2 + first - 1
    weight = 0.5 * (1 + np.cos(np.pi * distance / REACH)) / distance**2
    smeared = weight[:, None] * np.exp(-0.5 * ((distance[:, None] - CENTRES) / WIDTH) ** 2)
    histogram = np.zeros((Z_MAX * (Z_MAX + 1) // 2, len(CENTRES)))
    np.add.at(histogram, rows, smeared)
    length = np.linalg.norm(histogram)
    return (histogram / (length or 1.0)).astype(np.float32).ravel()


def fingerprints(configurations: Sequence[Configuration]) -> NDArray[np.float32]:
    """(k, d) one row per configuration; columns as in `fingerprint`."""
    if not configurations:
        return np.zeros((0, Z_MAX * (Z_MAX + 1) // 2 * len(CENTRES)), dtype=np.float32)
    return np.stack([fingerprint(configuration) for configuration in configurations])


def composition(configuration: Configuration) -> tuple[tuple[int, int], ...]:
    """((Z, count), ...) divided by the greatest common divisor: the same for a structure and its supercells."""
    numbers, counts = np.unique(configuration.numbers, return_counts=True)
    reduced = counts // np.gcd.reduce(counts)
    return tuple((int(z), int(c)) for z, c in zip(numbers, reduced, strict=True))


def near_duplicates(
    configurations: Sequence[Configuration], known: Sequence[Configuration], protected: int, near: float
) -> tuple[list[tuple[float, int | None] | None], NDArray[np.float32]]:
    """Which configurations are nearer than `near` to a known or an earlier kept one of the same composition.

    :param configurations: the first `protected` of them are kept whatever they are near to.
    :returns: for each configuration None if it is kept, else (distance, index of the kept one or None for a known
        one); and the fingerprints (k, d) of all configurations.
    """
    vectors = fingerprints(configurations)
    kept: dict[Any, list[tuple[int | None, NDArray[np.float32]]]] = {composition(c): [] for c in configurations}
    related = [configuration for configuration in known if composition(configuration) in kept]
    for configuration, vector in zip(related, fingerprints(related), strict=True):
        kept[composition(configuration)].append((None, vector))
    found: list[tuple[float, int | None] | None] = []
    for index, configuration in enumerate(configurations):
        others = kept[composition(configuration)]
        distances = [float(np.linalg.norm(vector - vectors[index])) for _, vector in others]
        if index >= protected and distances and min(distances) < near:
            found.append((min(distances), others[int(np.argmin(distances))][0]))
        else:
            found.append(None)
            others.append((index, vectors[index]))
    return found, vectors
