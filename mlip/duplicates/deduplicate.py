"""Duplicates: which frames of a long list are structures that were there before. A later, counted step; generation
itself never drops anything.

Exact duplicates are looked up by `structure_hash` and confirmed by `isometry`. Near duplicates have the reduced formula
and almost the volume per atom of an earlier frame, a fingerprint near to its own (see `fingerprint`), and are confirmed
by pymatgen's StructureMatcher (Ong et al., Comput. Mater. Sci. 68, 314 (2013)) without scaling of the volume.

The first occurrence is kept. A frame is never left out if that would lose something: not if its label says more than
that of the kept one or something else, and not if it is the first of the source `user`.

Isolated frames have exact duplicates only. Memory per kept frame: 0.4 kB and 25 bytes per atom; with `near` another
0.5 kB and 0.1 kB for every pair of its elements.
"""

from __future__ import annotations

import array
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..frames import Configuration
from .isometry import isometry
from .structure_hash import hash_keys

PROTECTED = "user"
"""Source whose frames are left out only where an earlier frame of this source is exactly the same."""
Kind = Literal["kept", "exact", "near"]


@dataclass(frozen=True)
class DuplicateSettings:
    """Keys of `argonaut deduplicate --config`."""

    near: bool = False
    """Whether near duplicates are left out too."""
    fingerprint_distance: float = 0.05
    """Fingerprint distance (0 to 1.41) below which frames may be near duplicates: about 0.03 Å per atom."""
    volume_tolerance: float = 0.02
    """Largest difference in volume per atom, as a share of the larger."""
    length_tolerance: float = 0.02
    """Largest difference in the lengths of lattice vectors, as a share (StructureMatcher's ltol)."""
    site_tolerance: float = 0.05
    """Root mean square distance of atoms, as a share of the cube root of the volume per atom (its stol)."""
    angle_tolerance: float = 2.0
    """Degrees (its angle_tol)."""
    energy_tolerance: float = 1e-6
    """eV per atom: labels that differ by more are different; so for the largest force (eV/Å) and pressure (eV/Å^3)."""

    def __post_init__(self) -> None:
        for name in (
            "fingerprint_distance",
            "volume_tolerance",
            "length_tolerance",
            "site_tolerance",
            "angle_tolerance",
        ):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} {getattr(self, name):g}: expected a number above 0")
        if not 0 <= self.energy_tolerance < np.inf:
            raise ValueError(f"energy_tolerance {self.energy_tolerance:g} eV per atom: expected 0 or more")


class Label(NamedTuple):
    """What of a label is the same however the cell is chosen or turned; None for what was not labelled."""

    protocol_hash: str
    energy: float | None
    """eV per atom."""
    largest_force: float | None
    """eV/Å."""
    pressure: float | None
    """eV/Å^3."""

    def says_nothing_beyond(self, other: Label | None, tolerance: float) -> bool:
        """Whether all that is said here is said by the other too, within the tolerance."""
        if other is None or self.protocol_hash != other.protocol_hash:
            return False
        pairs = zip(self[1:], other[1:], strict=True)
        return all(mine is None or (theirs is not None and abs(mine - theirs) <= tolerance) for mine, theirs in pairs)


class Frame(NamedTuple):
    """One frame of a list."""

    configuration: Configuration
    label: Label | None = None


class Verdict(NamedTuple):
    """What becomes of a frame."""

    kind: Kind
    other: int | None = None
    """Number in the list (from 0) of the kept frame that it repeats; None if it repeats none."""
    other_id: str = ""
    """configuration_id of that frame."""
    distance: float = 0.0
    """Exact: Å, largest distance of atoms brought together. Near: fingerprint distance."""
    reason: str = ""
    """Why a duplicate is kept: 'label' or 'protected'."""


class DuplicateFinder:
    """Takes the frames of a list one by one; what it says of one depends on the frames before it alone."""

    def __init__(self, settings: DuplicateSettings) -> None:
        self.settings = settings
        self._kept = _Kept()
        self._number = 0

    def verdict(self, frame: Frame) -> Verdict:
        """What becomes of the next frame."""
        configuration = frame.configuration
        keys = hash_keys(configuration)
        verdict = _exact(self._kept, frame, keys, self.settings)
        vector = _vector(configuration) if self.settings.near and configuration.periodic else None
        if vector is not None and verdict.kind == "kept" and verdict.other is None:
            verdict = _near(self._kept, frame, vector, self.settings)
        if verdict.kind == "kept":
            self._kept.add(self._number, frame, keys[0], vector)
        self._number += 1
        return verdict


def label_of(results: dict[str, Any], protocol_hash: str, n: int) -> Label | None:
    """The label in the results of an ASE calculator for `n` atoms; None if there is none."""
    energy = results.get("free_energy", results.get("energy"))
    forces, stress = results.get("forces"), results.get("stress")
    if energy is None and forces is None and stress is None:
        return None
    diagonal: Any = [] if stress is None else np.ravel(stress)[[0, 4, 8] if np.size(stress) == 9 else [0, 1, 2]]
    return Label(
        protocol_hash,
        None if energy is None else float(energy) / n,
        None if forces is None else float(np.linalg.norm(forces, axis=1).max()),
        None if stress is None else -float(np.sum(diagonal)) / 3,
    )


@dataclass
class _Kept:
    """The frames kept so far: numbers packed as bytes, in place of the many objects of a configuration."""

    numbers: array.array[int] = field(default_factory=lambda: array.array("q"))
    packed: list[bytes] = field(default_factory=list)
    labels: dict[int, Label] = field(default_factory=dict)
    protected: set[int] = field(default_factory=set)
    by_key: dict[int, tuple[int, ...]] = field(default_factory=dict)
    by_formula: dict[bytes, list[tuple[int, float, NDArray[np.float32]]]] = field(default_factory=dict)
    """Reduced formula -> (place, volume per atom, fingerprint)."""

    def add(self, number: int, frame: Frame, key: int, vector: NDArray[np.float32] | None) -> None:
        """Remember a kept frame, which is number `number` of the list."""
        place, configuration = len(self.packed), frame.configuration
        self.numbers.append(number)
        self.packed.append(
            bytes([configuration.periodic])
            + configuration.cell.tobytes()
            + configuration.numbers.astype(np.uint8).tobytes()
            + configuration.positions.tobytes()
        )
        if frame.label is not None:
            self.labels[place] = frame.label
        if configuration.origin.source == PROTECTED:
            self.protected.add(place)
        self.by_key[key] = (*self.by_key.get(key, ()), place)
        if vector is not None:
            volume = configuration.volume / len(configuration)
            self.by_formula.setdefault(_formula(configuration), []).append((place, volume, vector))

    def configuration(self, place: int) -> Configuration:
        """The kept frame again, without its origin."""
        packed = self.packed[place]
        n = (len(packed) - 73) // 25
        numbers = np.frombuffer(packed, np.uint8, n, 73).astype(np.int64)
        positions = np.frombuffer(packed[73 + n :]).reshape(n, 3)
        pbc = (bool(packed[0]),) * 3
        return Configuration(numbers, positions, np.frombuffer(packed[1:73]).reshape(3, 3), pbc)

    def verdict(self, kind: Kind, place: int, distance: float, reason: str = "") -> Verdict:
        """What is said of a frame that repeats the one at `place`."""
        return Verdict(kind, self.numbers[place], self.configuration(place).configuration_id, distance, reason)


def _exact(kept: _Kept, frame: Frame, keys: list[int], settings: DuplicateSettings) -> Verdict:
    places = sorted({place for key in keys for place in kept.by_key.get(key, ())})
    found: list[tuple[int, float]] = []
    for place in places:
        distance = isometry(kept.configuration(place), frame.configuration)
        if distance is None:
            continue
        found.append((place, distance))
        if not (reason := _held_back(kept, place, frame, settings)):
            return kept.verdict("exact", place, distance)
    if not found:
        return Verdict("kept")
    place, distance = found[0]
    return kept.verdict("kept", place, distance, reason)


def _held_back(kept: _Kept, place: int, frame: Frame, settings: DuplicateSettings) -> str:
    """Why a frame is kept though it is a duplicate of the one at `place`; '' if it need not be."""
    if frame.configuration.origin.source == PROTECTED and place not in kept.protected:
        return "protected"
    if frame.label is not None and not frame.label.says_nothing_beyond(
        kept.labels.get(place), settings.energy_tolerance
    ):
        return "label"
    return ""


def _near(kept: _Kept, frame: Frame, vector: NDArray[np.float32], settings: DuplicateSettings) -> Verdict:
    volume = frame.configuration.volume / len(frame.configuration)
    others = kept.by_formula.get(_formula(frame.configuration), [])
    close = sorted(
        (float(np.linalg.norm(other - vector)), place)
        for place, its_volume, other in others
        if abs(its_volume - volume) <= settings.volume_tolerance * max(its_volume, volume)
    )
    first: Verdict | None = None
    for distance, place in close:
        if distance >= settings.fingerprint_distance:
            break
        if not _alike(kept.configuration(place), frame.configuration, settings):
            continue
        protected = frame.configuration.origin.source == PROTECTED
        reason = "protected" if protected else _held_back(kept, place, frame, settings)
        if not reason:
            return kept.verdict("near", place, distance)
        first = first or kept.verdict("kept", place, distance, reason)
    return first or Verdict("kept")


def _alike(first: Configuration, second: Configuration, settings: DuplicateSettings) -> bool:
    """StructureMatcher's word on it: between the cells as they are if they are of one size, then primitive ones."""
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Lattice, Structure

    one, other = (
        Structure(Lattice(c.cell), c.numbers.tolist(), c.positions, coords_are_cartesian=True) for c in (first, second)
    )
    tolerances = (settings.length_tolerance, settings.site_tolerance, settings.angle_tolerance)
    return any(
        StructureMatcher(*tolerances, primitive_cell=primitive, scale=False).fit(one, other)
        for primitive in ([False, True] if len(first) == len(second) else [True])
    )


def _formula(configuration: Configuration) -> bytes:
    from ..fingerprint import composition

    return np.array(composition(configuration), dtype="<u4").tobytes()


def _vector(configuration: Configuration) -> NDArray[np.float32]:
    """The rows of the fingerprint that the elements of the configuration fill."""
    from ..fingerprint import CENTRES, fingerprint

    present = np.unique(configuration.numbers)
    rows = [(b - 1) * b // 2 + a - 1 for b in present for a in present if a <= b]
    return fingerprint(configuration).reshape(-1, len(CENTRES))[rows].ravel()
