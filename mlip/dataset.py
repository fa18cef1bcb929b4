"""Dataset: labelled frames of one protocol, identified by content, split without relatives on both sides.

A dataset's hash does not depend on the order of its frames, on file names or on times. Frames of different protocols
do not mix: their energies differ in meaning. Two frames are relatives if one configuration was made from the other,
however many steps back; `split` parts no relatives, else validation would measure memory.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from .extxyz import is_sharded
from .foreign import check_labelled, read_labelled
from .frames import LabelledFrame, hash_document, read_frames, write_frames

FORMAT = "argonaut-dataset-1"
"""Version of the folder layout: frames.extxyz beside dataset.json."""
DOCUMENT = "dataset.json"
"""What makes a folder a dataset."""


class DatasetError(ValueError):
    """A dataset that cannot be built, read or combined."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled frames that share one protocol."""

    frames: tuple[LabelledFrame, ...]
    """In any order; a label_id occurs once."""
    protocol: dict[str, Any] = field(default_factory=dict)
    """The protocol as a document, for people; empty if only its hash (in the frames) is known."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "frames", tuple(self.frames))
        hashes = sorted({frame.protocol_hash for frame in self.frames})
        if len(hashes) > 1:
            raise DatasetError(
                f"frames of {len(hashes)} protocols do not mix: {', '.join(h[:12] or '(none)' for h in hashes)}"
            )
        if len({frame.label_id for frame in self.frames}) < len(self.frames):
            raise DatasetError("a label_id occurs twice; use Dataset.from_frames to drop exact duplicates")

    @classmethod
    def from_frames(cls, frames: Iterable[LabelledFrame], protocol: dict[str, Any] | None = None) -> Dataset:
        """Dataset of `frames`; of frames with the same label_id the first is kept."""
        first: dict[str, LabelledFrame] = {}
        for frame in frames:
            first.setdefault(frame.label_id, frame)
        return cls(tuple(first.values()), protocol or {})

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def protocol_hash(self) -> str:
        """Protocol hash of all frames; '' for an empty dataset."""
        return self.frames[0].protocol_hash if self.frames else ""

    @functools.cached_property
    def content_hash(self) -> str:
        """sha256 over the sorted content hashes of the frames and the protocol hash."""
        digest = hashlib.sha256(self.protocol_hash.encode())
        for content in sorted(frame.content_hash for frame in self.frames):
            digest.update(content.encode())
        return digest.hexdigest()

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return tuple(sorted({int(z) for frame in self.frames for z in frame.configuration.numbers}))

    @property
    def n_atoms(self) -> int:
        """Atoms in all frames."""
        return sum(len(frame) for frame in self.frames)

    @property
    def one_lineage(self) -> bool:
        """Whether all frames are relatives, so that no split keeps relatives on one side."""
        return len(self) > 1 and len(lineages(self.frames)) == 1

    def split(self, validation_fraction: float, seed: int) -> tuple[Dataset, Dataset]:
        """(train, validation) with whole lineages on one side or the other.

        Lineages are drawn in an order shuffled with `seed` and go to validation while that brings its size nearer to
        `validation_fraction` of the frames. With two or more lineages and a fraction above 0 each side gets at least
        one. Where all frames are of one lineage (see `one_lineage`) the frames themselves are drawn: validation then
        says less. The result depends on the set of frames, not on their order. Raises DatasetError for a fraction
        outside [0, 1).
        """
        if not 0 <= validation_fraction < 1:
            raise DatasetError(f"validation_fraction {validation_fraction}: expected 0 <= fraction < 1")
        groups = lineages(self.frames)
        if len(groups) == 1:
            groups = [[frame] for frame in groups[0]]
        drawn = [groups[index] for index in np.random.default_rng(seed).permutation(len(groups))]
        wanted = validation_fraction * len(self.frames)
        chosen: list[LabelledFrame] = []
        for group in drawn:
            if len(chosen) + len(group) / 2 < wanted and len(chosen) + len(group) < len(self.frames):
                chosen.extend(group)
        if not chosen and wanted > 0 and len(drawn) > 1:
            chosen = min(drawn, key=len)
        validation = {frame.label_id for frame in chosen}
        train = [frame for frame in self.frames if frame.label_id not in validation]
        held_out = [frame for frame in self.frames if frame.label_id in validation]
        return Dataset(tuple(train), self.protocol), Dataset(tuple(held_out), self.protocol)

    def save(self, folder: str | Path) -> None:
        """Write frames.extxyz and dataset.json into `folder` (made if needed)."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        write_frames(target / "frames.extxyz", self.frames)
        document = {
            "format": FORMAT,
            "content_hash": self.content_hash,
            "protocol_hash": self.protocol_hash,
            "protocol": self.protocol,
            "n_frames": len(self),
            "elements": [chemical_symbols[z] for z in self.elements],
        }
        (target / DOCUMENT).write_text(json.dumps(document, indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Dataset:
        """Read a dataset folder, or labelled frames as extended XYZ, a file or a sharded folder, without a document.

        Raises DatasetError if the folder is not a dataset or its content differs from its recorded hash.
        """
        source = Path(path)
        try:
            if not is_dataset(source):
                return cls.from_frames(read_frames(source))
            document = _read_document(source)
            frames = read_frames(source / "frames.extxyz") if document.get("n_frames") else []
            dataset = cls(tuple(frames), document.get("protocol", {}))
        except DatasetError as error:
            raise DatasetError(f"{source}: {str(error).removeprefix(f'{source}: ')}") from error
        if dataset.content_hash != document.get("content_hash"):
            raise DatasetError(
                f"{source}: content hash {dataset.content_hash[:12]} differs from the recorded "
                f"{str(document.get('content_hash'))[:12]}; frames.extxyz was changed after it was written"
            )
        return dataset


def is_dataset(path: str | Path) -> bool:
    """Whether labelled frames stand in a dataset folder, and not in a file or in a sharded folder of many (extxyz)."""
    folder = Path(path)
    return folder.is_dir() and ((folder / DOCUMENT).is_file() or not is_sharded(folder))


def merge(datasets: Sequence[Dataset]) -> Dataset:
    """All frames of `datasets` as one; exact duplicates (same label_id) are kept once, the first one.

    Raises DatasetError, showing the keys that differ, if the protocols are not the same.
    """
    filled = [dataset for dataset in datasets if len(dataset)]
    for other in filled[1:]:
        if other.protocol_hash != filled[0].protocol_hash:
            raise DatasetError(_difference(filled[0], other))
    protocol: dict[str, Any] = next((dataset.protocol for dataset in filled or datasets if dataset.protocol), {})
    return Dataset.from_frames((frame for dataset in filled for frame in dataset.frames), protocol)


def protocol_hash_of(protocol: Mapping[str, Any]) -> str:
    """'p' and 31 hex digits over a protocol document, made as dft_inputs makes them: what frames carry."""
    return "p" + hash_document(dict(protocol))[:31]


def import_frames(path: str | Path, protocol: Mapping[str, Any] | None = None, source: str = "user") -> Dataset:
    """Dataset of labelled frames from a file by anybody (see foreign.read_labelled) or from a dataset folder.

    :param protocol: what made the labels, as a document: frames that carry no protocol_hash get its hash, frames that
        do must carry exactly that one. None if all of them carry one already.
    :param source: name of the origin of frames that state none.

    Exact duplicates are kept once. Raises FrameError or DatasetError, naming file and frame, for what read_labelled
    refuses and for a frame without a protocol, or of another one.
    """
    read = Dataset.load(path) if is_dataset(path) else None
    frames = read_labelled(path, source) if read is None else list(read.frames)
    check_labelled(frames, str(path))
    stated = "" if protocol is None else protocol_hash_of(protocol)
    expected = stated or (frames[0].protocol_hash if frames else "")
    for index, frame in enumerate(frames):
        if not frame.protocol_hash and not stated:
            raise DatasetError(f"{path}, frame {index}: carries no protocol_hash; state the protocol of these labels")
        if frame.protocol_hash not in ("", expected):
            whose = "the stated protocol has" if stated else "frame 0 has"
            raise DatasetError(
                f"{path}, frame {index}: carries the protocol_hash {frame.protocol_hash}, {whose} {expected}; labels "
                "of two protocols do not mix"
            )
    document = dict(protocol) if protocol is not None else read.protocol if read is not None else {}
    return Dataset.from_frames((replace(frame, protocol_hash=expected) for frame in frames), document)


def lineages(frames: Sequence[LabelledFrame]) -> list[list[LabelledFrame]]:
    """Frames grouped with their relatives (union-find over configuration_id and parent), in an order of their own.

    Siblings are relatives even where their common parent is not among the frames.
    """
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        leader.setdefault(name, name)
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for frame in frames:
        child, parent = frame.configuration.configuration_id, frame.configuration.origin.parent
        if parent:
            leader[find(child)] = find(parent)
    groups: dict[str, list[LabelledFrame]] = {}
    for frame in sorted(frames, key=lambda frame: frame.label_id):
        groups.setdefault(find(frame.configuration.configuration_id), []).append(frame)
    return list(groups.values())


def _read_document(folder: Path) -> dict[str, Any]:
    path = folder / DOCUMENT
    if not path.is_file():
        raise DatasetError(
            f"{folder}: not a dataset; expected a folder with {DOCUMENT}, one that `argonaut generate` has written, or "
            "an extended XYZ file"
        )
    try:
        document = json.loads(path.read_text())
    except ValueError as error:
        raise DatasetError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        given = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise DatasetError(f"{path}: format {given!r}, expected {FORMAT!r}")
    if not isinstance(document.get("protocol", {}), dict):
        raise DatasetError(f"{path}: protocol {document['protocol']!r}, expected a JSON object")
    return document


def _difference(one: Dataset, other: Dataset) -> str:
    """One line that says how the protocols of two datasets differ."""
    flat_one, flat_other = _flat(one.protocol), _flat(other.protocol)
    keys = sorted(key for key in flat_one | flat_other if flat_one.get(key) != flat_other.get(key))
    if keys:
        shown = "; ".join(f"{key}: {flat_one.get(key)!r} and {flat_other.get(key)!r}" for key in keys)
    else:
        shown = f"hashes {one.protocol_hash[:12] or '(none)'} and {other.protocol_hash[:12] or '(none)'}"
    return f"datasets of different protocols do not mix ({shown}); label one of them again"


def _flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping as {'a.b': value}."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
