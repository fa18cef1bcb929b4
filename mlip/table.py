"""Labels looked up in a table of labelled frames, by content: for studies of selection without a DFT code.

A configuration is found if the table holds the same atoms in the same order and

- has its configuration_id: every number agrees to 1e-8 Å, or else
- both are isolated or both periodic, no component of a lattice vector differs by more than TOLERANCE, and no coordinate
  of an atom either, after lattice vectors are taken off: it may have been wrapped, or printed with four decimals.

Atoms in another order, a shift or rotation of everything, or other lattice vectors for the same lattice are not found.
An entry with the id decides alone. Several entries within TOLERANCE whose labels differ are a loss, not a choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset, DatasetError, is_dataset, protocol_hash_of
from .foreign import check_labelled, read_labelled
from .frames import Configuration, LabelledFrame
from .labelling import Loss, lost

LOSSES = ("not_in_table", "ambiguous_in_table")
"""Reasons for a loss: no such entry; several of them, with different labels."""
TOLERANCE = 2e-4
"""Å: twice what four decimals can do to an atom that was wrapped by one lattice vector."""
SAME_LABEL = 1e-6
"""eV, eV/Å, eV/Å^3: labels that differ by less are one label."""


def load_table(path: str | Path) -> Dataset:
    """The table in a dataset folder or an extended XYZ file of labelled frames, with a protocol (see `named`).

    Raises DatasetError or FrameError for frames of several protocols, or some with one and some without, and for what
    foreign.read_labelled refuses, such as one configuration with two labels.
    """
    if is_dataset(path):
        table = Dataset.load(path)
        check_labelled(table.frames, str(path))
        return named(table)
    frames = read_labelled(path)
    hashes = sorted({frame.protocol_hash for frame in frames})
    if len(hashes) > 1:
        shown = ", ".join(each or "(none)" for each in hashes)
        raise DatasetError(f"{path}: frames of {len(hashes)} protocols, {shown}; a table has one: split the file")
    return named(Dataset.from_frames(frames))


def named(table: Dataset) -> Dataset:
    """The table with a protocol: its own if its frames carry one, else one that names the table by its content."""
    if table.protocol_hash or not len(table):
        return table
    protocol = {"table": table.content_hash, "n_frames": len(table)}
    identity = protocol_hash_of(protocol)
    return Dataset(tuple(replace(frame, protocol_hash=identity) for frame in table.frames), protocol)


def label_from_table(configurations: Sequence[Configuration], table: Dataset) -> Iterator[LabelledFrame | Loss]:
    """Look configurations up one by one, in their order.

    Each leaves with the label of its entry and the protocol of the table (see `named`), as a frame of the *asked*
    configuration: its numbers, its id, its origin. What is not found is a loss.
    """
    index = _Index(named(table).frames)
    return (index.label(configuration) for configuration in configurations)


class _Index:
    """Entries by id, and by their atoms in order."""

    def __init__(self, frames: Sequence[LabelledFrame]) -> None:
        self.by_id = {frame.configuration.configuration_id: frame for frame in frames}
        self.by_atoms: dict[tuple[bytes, bool], list[LabelledFrame]] = {}
        for frame in frames:
            self.by_atoms.setdefault(_atoms(frame.configuration), []).append(frame)
        self.stacked: dict[tuple[bytes, bool], tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def label(self, asked: Configuration) -> LabelledFrame | Loss:
        """The label of a configuration, or why there is none."""
        exact = self.by_id.get(asked.configuration_id)
        found = self.near(asked) if exact is None else [exact]
        if not found:
            alike = len(self.by_atoms.get(_atoms(asked), ()))
            return lost(asked, LOSSES[0], f"none of {alike} entries with these atoms in this order is the same")
        if not all(_same_label(found[0], other) for other in found[1:]):
            return lost(asked, LOSSES[1], f"{len(found)} entries within {TOLERANCE} Å have different labels")
        return replace(found[0], configuration=asked)

    def near(self, asked: Configuration) -> list[LabelledFrame]:
        """Entries that are the same within TOLERANCE."""
        key = _atoms(asked)
        entries = self.by_atoms.get(key, [])
        if not entries:
            return []
        if key not in self.stacked:
            structures = [entry.configuration for entry in entries]
            self.stacked[key] = np.array([s.positions for s in structures]), np.array([s.cell for s in structures])
        positions, cells = self.stacked[key]
        offset = positions - asked.positions
        if asked.periodic:
            fractional = positions @ np.linalg.inv(cells) - asked.positions @ np.linalg.inv(asked.cell)
            offset = (fractional - np.round(fractional)) @ asked.cell
            offset = np.concatenate([offset, cells - asked.cell], axis=1)
        same = np.abs(offset).max(axis=(1, 2)) <= TOLERANCE
        return [entries[index] for index in np.flatnonzero(same)]


def _atoms(configuration: Configuration) -> tuple[bytes, bool]:
    return configuration.numbers.tobytes(), configuration.periodic


def _same_label(one: LabelledFrame, other: LabelledFrame) -> bool:
    first, second = (np.concatenate([[f.energy], f.forces.ravel(), _stress(f).ravel()]) for f in (one, other))
    return bool(np.allclose(first, second, rtol=0, atol=SAME_LABEL, equal_nan=True))


def _stress(frame: LabelledFrame) -> NDArray[np.float64]:
    return np.full((3, 3), np.nan) if frame.stress is None else frame.stress
