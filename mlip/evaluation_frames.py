"""The frames a model is evaluated on, each with the file and the index it came from.

Files are read with the questions of foreign.py, dataset folders as they are; the source of a frame that states none is
the name of its file. A frame with an element that the model
does not know is refused, or left out and counted; a label that occurs twice counts once. A configuration that has two
different labels is refused, for one of them is wrong, and so are labels of two protocols.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from .dataset import Dataset, DatasetError, is_dataset
from .extxyz import iterate_atoms
from .foreign import labelled
from .frames import FrameError, LabelledFrame


@dataclass(frozen=True)
class Place:
    """Where a frame stands."""

    file: str
    index: int

    def __str__(self) -> str:
        return f"{self.file}, frame {self.index}"


@dataclass(frozen=True, eq=False)
class EvaluationFrames:
    """Labelled frames of a model's elements."""

    frames: tuple[LabelledFrame, ...]
    places: tuple[Place, ...]
    """One per frame."""
    unknown: tuple[tuple[Place, tuple[str, ...]], ...] = ()
    """Frames left out, with the elements that the model does not know."""
    duplicates: int = 0
    """Frames left out because the same label had occurred before."""

    def left_out(self) -> dict[str, Any]:
        """Counts of what was left out, as a document; unknown elements by symbol, and the first such frame."""
        elements = Counter(symbol for _, symbols in self.unknown for symbol in symbols)
        first = {"first": str(self.unknown[0][0])} if self.unknown else {}
        return {
            "unknown_elements": len(self.unknown),
            "frames_per_unknown_element": dict(sorted(elements.items())),
            "duplicates": self.duplicates,
            **first,
        }


def read_evaluation_frames(
    paths: Sequence[str | Path], elements: Collection[int], skip_unknown: bool = False
) -> EvaluationFrames:
    """All labelled frames of dataset folders, sharded folders and extended XYZ files, in order.

    :param elements: atomic numbers the model knows.
    :param skip_unknown: leave frames with other elements out instead of refusing them.

    Raises FrameError or DatasetError, naming file and frame; also where nothing is left.
    """
    found: dict[str, tuple[Place, LabelledFrame]] = {}
    unknown: list[tuple[Place, tuple[str, ...]]] = []
    duplicates = 0
    for place, numbers, frame in (each for path in paths for each in _read(Path(path))):
        strange = tuple(chemical_symbols[z] for z in sorted(set(numbers) - set(elements)))
        if strange and not skip_unknown:
            raise FrameError(_not_known(place, strange, elements))
        if strange:
            unknown.append((place, strange))
            continue
        labelled = _checked(place, frame)
        earlier, known = found.setdefault(labelled.configuration.configuration_id, (place, labelled))
        if earlier is not place:
            _check_same(earlier, known, place, labelled)
            duplicates += 1
    if not found:
        raise FrameError(
            f"{', '.join(map(str, paths))}: all {len(unknown)} frames have elements the model does not know"
        )
    hashes = sorted({frame.protocol_hash for _, frame in found.values()} - {""})
    if len(hashes) > 1:
        raise DatasetError(f"labels of {len(hashes)} protocols do not mix: {', '.join(h[:12] for h in hashes)}")
    places, frames = zip(*found.values(), strict=True)
    return EvaluationFrames(frames, places, tuple(unknown), duplicates)


def _read(path: Path) -> Iterator[tuple[Place, list[int], Any]]:
    """(place, atomic numbers, LabelledFrame or ASE atoms) of each frame."""
    if is_dataset(path):
        for index, frame in enumerate(Dataset.load(path).frames):
            yield Place(str(path / "frames.extxyz"), index), frame.configuration.numbers.tolist(), frame
        return
    for index, atoms in enumerate(iterate_atoms(path)):
        yield Place(str(path), index), atoms.numbers.tolist(), atoms


def _checked(place: Place, frame: Any) -> LabelledFrame:
    if isinstance(frame, LabelledFrame):
        return frame
    try:
        return labelled(frame, Path(place.file).stem)
    except (TypeError, ValueError) as error:  # a FrameError, or numbers that are none
        raise FrameError(f"{place}: {' '.join(str(error).split())}") from error


def _check_same(first: Place, known: LabelledFrame, second: Place, other: LabelledFrame) -> None:
    one, two = (replace(frame, protocol_hash="").content_hash for frame in (known, other))
    if one != two:
        raise FrameError(
            f"{first} and {second}: {other.configuration.formula}: the same configuration with different labels; "
            "remove the wrong one"
        )


def _not_known(place: Place, strange: Sequence[str], elements: Collection[int]) -> str:
    have = ", ".join(chemical_symbols[z] for z in sorted(elements))
    return (
        f"{place}: the model does not know {', '.join(strange)}; it was trained on {have}; `--skip-unknown` leaves "
        "such frames out and counts them"
    )
