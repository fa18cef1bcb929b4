"""What campaigns store: sets of configurations, labelled datasets and committees, each as plain files in one node.

The files are the ones that the compute commands read and write; `export` gives them back unchanged.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiida.common.exceptions import ValidationError
from aiida.orm import Data
from ase import Atoms

from ..mlip.dataset import Dataset
from ..mlip.frames import (
    Configuration,
    FrameError,
    hash_document,
    read_atoms,
    read_configurations,
    write_atoms,
    write_configurations,
)
from ..mlip.model_folder import networks_of
from ..mlip.predictions import ENERGY_KEY, PredictedFrame

FRAMES_FILE = "frames.extxyz"


class FilesData(Data):
    """A node that is a few named files; subclasses say which must be there and what is worth querying for."""

    REQUIRED: tuple[str, ...] = ()

    @classmethod
    def from_folder(cls, folder: str | Path, names: Iterable[str] | None = None) -> Any:
        """An unstored node holding the named files of a folder, or all of its files."""
        node = cls()
        for name in sorted(names or (path.name for path in Path(folder).iterdir() if path.is_file())):
            node.base.repository.put_object_from_file(str(Path(folder) / name), name)
        node._describe()
        return node

    def export_to(self, folder: str | Path) -> Path:
        """Write the files of this node into a new or empty folder and return it."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for name in self.base.repository.list_object_names():
            with self.base.repository.open(name, "rb") as source, (target / name).open("wb") as sink:
                shutil.copyfileobj(source, sink)
        return target

    def _document(self, name: str) -> dict[str, Any]:
        with self.base.repository.open(name, "r") as handle:
            return dict(json.load(handle))

    def _describe(self) -> None:
        """Set the attributes that make the node findable; called once, before it is stored."""

    def _validate(self) -> bool:
        super()._validate()
        missing = sorted(set(self.REQUIRED) - set(self.base.repository.list_object_names()))
        if missing:
            raise ValidationError(f"{type(self).__name__} lacks {', '.join(missing)}")
        return True


class ConfigurationsData(FilesData):
    """Configurations nobody has labelled, with committee predictions where there were any (extended XYZ)."""

    REQUIRED = (FRAMES_FILE,)

    @classmethod
    def from_configurations(cls, configurations: list[Configuration], folder: Path) -> ConfigurationsData:
        """An unstored node; `folder` is scratch space."""
        write_configurations(folder / FRAMES_FILE, configurations)
        return cls.from_file(folder / FRAMES_FILE)

    @classmethod
    def from_file(cls, path: str | Path) -> ConfigurationsData:
        """An unstored node from an extended XYZ file."""
        node = cls()
        node.base.repository.put_object_from_file(str(path), FRAMES_FILE)
        node._describe()
        return node

    def configurations(self) -> list[Configuration]:
        """The configurations, in order."""
        with self.base.repository.open(FRAMES_FILE, "r") as handle:
            try:
                return read_configurations(handle)
            except FrameError as error:  # it names a file in the repository's own space, which says nothing to anyone
                raise FrameError(str(error).replace(handle.name, FRAMES_FILE)) from error

    def atoms(self) -> list[Atoms]:
        """The configurations with all that the file says of them, in order."""
        with self.base.repository.as_path() as folder:
            return read_atoms(folder / FRAMES_FILE) if self.n_frames else []

    def predicted_frames(self) -> list[PredictedFrame]:
        """The configurations that have predictions of a committee, with them, in order."""
        return [PredictedFrame.from_atoms(atoms) for atoms in self.atoms() if ENERGY_KEY in atoms.info]

    def part(self, start: int, end: int) -> ConfigurationsData:
        """An unstored node with the frames start <= index < end, predictions included."""
        with self.base.repository.as_path() as folder, tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch) / FRAMES_FILE
            write_atoms(target, read_atoms(folder / FRAMES_FILE)[start:end])
            return type(self).from_file(target)

    def _describe(self) -> None:
        configurations = self.configurations()
        self.base.attributes.set("n_frames", len(configurations))
        self.base.attributes.set("sources", dict(Counter(c.origin.source for c in configurations)))
        self.base.attributes.set("content_hash", hash_document([c.configuration_id for c in configurations]))

    @property
    def n_frames(self) -> int:
        """How many configurations."""
        return int(self.base.attributes.get("n_frames"))


class DatasetData(FilesData):
    """Labelled frames of one protocol: frames.extxyz and dataset.json, verified by content hash."""

    REQUIRED = (FRAMES_FILE, "dataset.json")

    @classmethod
    def from_dataset(cls, dataset: Dataset, folder: Path) -> DatasetData:
        """An unstored node; `folder` is scratch space."""
        dataset.save(folder)
        node: DatasetData = cls.from_folder(folder)
        return node

    def dataset(self) -> Dataset:
        """The labelled frames; raises if the files do not match their content hash."""
        with self.base.repository.as_path() as folder:
            return Dataset.load(folder)

    def _describe(self) -> None:
        document = self._document("dataset.json")
        for key in ("n_frames", "content_hash", "protocol_hash", "elements"):
            self.base.attributes.set(key, document[key])

    @property
    def n_frames(self) -> int:
        """How many labelled frames."""
        return int(self.base.attributes.get("n_frames"))

    @property
    def content_hash(self) -> str:
        """sha256 over the labelled frames and their protocol, independent of their order."""
        return str(self.base.attributes.get("content_hash"))


class CommitteeData(FilesData):
    """One trained potential or several: model.safetensors, config.json, card.json, metrics.jsonl."""

    REQUIRED = ("model.safetensors", "config.json", "card.json")

    def _describe(self) -> None:
        config = self._document("config.json")
        for key in ("n_members", "elements"):
            self.base.attributes.set(key, config[key])
        of_each = {k: network for network in networks_of(config) for k in network["members"]}
        for key in ("architecture", "preset"):
            found = [of_each[k][key] for k in range(config["n_members"])]
            self.base.attributes.set(key, found[0] if len(set(found)) == 1 else found)

    @property
    def n_members(self) -> int:
        """How many members."""
        return int(self.base.attributes.get("n_members"))


def dataset_node(dataset: Dataset) -> DatasetData:
    """An unstored node of a dataset."""
    with tempfile.TemporaryDirectory() as scratch:
        return DatasetData.from_dataset(dataset, Path(scratch))
