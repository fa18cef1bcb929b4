"""What users bring: labelled data, a trained committee, structures, a pool, a table; read and checked, then nodes.

Labels of another protocol than the campaign's never enter its dataset: they train the committee that the campaign
begins with, and stay a dataset of their own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.exceptions import NotExistent, ValidationError
from ase.data import chemical_symbols

from ..mlip.dataset import Dataset, import_frames, is_dataset
from ..mlip.foreign import read_labelled
from ..mlip.frames import Configuration, read_configurations
from ..mlip.settings import SettingsError
from ..mlip.table import load_table
from .config_keys import CampaignConfig, recipe_of
from .data import CommitteeData, ConfigurationsData, DatasetData, dataset_node
from .recipe_files import CampaignRecipe, read_recipe, stored_recipe

LARGEST_PK = 2**31 - 1


@dataclass(frozen=True)
class OwnFiles:
    """What the files that a campaign names hold, before it is known by which protocol the campaign labels."""

    data: str | DatasetData | None = None
    """Path of labelled frames, or a dataset that is in the profile already."""
    protocol: str | Mapping[str, Any] | None = None
    """How `data` were labelled: 'same', a protocol document, or None if the frames say it."""
    committee: CommitteeData | None = None
    structures: list[Configuration] = field(default_factory=list)
    pool: list[Configuration] = field(default_factory=list)
    table: Dataset | None = None
    elements: frozenset[str] = frozenset()
    """Symbols of all that has to be labelled beside what the recipe makes, or is known to the committee."""

    def recipe(self, config: CampaignConfig, where: str) -> CampaignRecipe | None:
        """The recipe with the files that it names, read now; None where there is a pool instead."""
        return None if config.generate.recipe is None else read_recipe(recipe_of(config), f"{where}: generate: recipe")

    def nodes(self, label: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Inputs of the campaign: `pool`, `table`, and under `start` dataset, other_dataset, committee, structures.

        :param label: settings of the label stage, whose protocol decides whether `data` join the campaign's dataset.
        """
        start: dict[str, Any] = {} if self.committee is None else {"committee": self.committee}
        if self.data is not None:
            dataset = self._dataset(label)
            same = dataset.base.attributes.get("protocol_hash") == label["protocol_hash"]
            start["dataset" if same else "other_dataset"] = dataset
        nodes: dict[str, Any] = {} if self.table is None else {"table": dataset_node(self.table)}
        with tempfile.TemporaryDirectory() as scratch:
            if self.structures:
                start["structures"] = ConfigurationsData.from_configurations(self.structures, Path(scratch))
            if self.pool:
                nodes["pool"] = ConfigurationsData.from_configurations(self.pool, Path(scratch))
        if "other_dataset" in start and "committee" in start:
            raise SettingsError(
                f"{where}: start: data of another protocol than the campaign's only serve to train a first committee, "
                "but a committee is given too; leave one of them out"
            )
        return {**nodes, **({"start": start} if start else {})}

    def _dataset(self, label: Mapping[str, Any]) -> DatasetData:
        if isinstance(self.data, DatasetData):
            return self.data
        document = label["protocol"] if self.protocol == "same" else self.protocol
        return dataset_node(import_frames(str(self.data), document))


class StoredFiles:
    """What a user brought to a campaign that is resumed, as it was stored: the files may have changed or gone since."""

    def __init__(self, parts: Sequence[orm.WorkChainNode], begun: bool) -> None:
        """Of campaigns that continue each other; `begun`: whether an iteration, own structures and all, is done."""
        self.inputs = parts[-1].inputs
        self.first_committee = next(
            (p.outputs.initial_committee for p in parts if "initial_committee" in p.outputs), None
        )
        self.begun = begun

    @property
    def elements(self) -> frozenset[str]:
        """Symbols of all elements that the campaign has known so far."""
        return frozenset(self.inputs.settings["train"]["elements"])

    @property
    def table(self) -> Dataset | None:
        """Where labels are looked up."""
        return self.inputs.table.dataset() if "table" in self.inputs else None

    def recipe(self, config: CampaignConfig, where: str) -> CampaignRecipe | None:
        """As OwnFiles.recipe, with the files as they were stored."""
        if config.generate.recipe is None:
            return None
        files = self.inputs.recipe_files if "recipe_files" in self.inputs else {}
        left_out = self.inputs.settings.get_dict().get("left_out", ())
        nodes = {name: files[name] for name in files}
        return stored_recipe(recipe_of(config), f"{where}: generate: recipe", nodes, left_out)

    def nodes(self, label: Mapping[str, Any], where: str) -> dict[str, Any]:
        """As OwnFiles.nodes; a first committee that was trained takes the place of the labels it was trained on."""
        start = {link: self.inputs.start[link] for link in self.inputs.start} if "start" in self.inputs else {}
        if self.first_committee is not None:
            start.pop("other_dataset", None)
            start["committee"] = self.first_committee
        if self.begun:
            start.pop("structures", None)
        nodes = {port: self.inputs[port] for port in ("pool", "table") if port in self.inputs}
        return {**nodes, **({"start": start} if start else {})}


def read_own(config: CampaignConfig, where: str) -> OwnFiles:
    """Read all files that a checked campaign names; ValueError says what is wrong with which."""
    start = config.start
    found: dict[str, Any] = {}
    if start.data is not None:
        found["data"] = (
            start.data if isinstance(start.data, str) else _load(start.data, DatasetData, f"{where}: start: data")
        )
    if start.committee is not None:
        found["committee"] = _committee(start.committee, f"{where}: start: committee")
    for name, path in (("structures", start.structures), ("pool", config.generate.pool)):
        if path is not None:
            found[name] = read_configurations(path)
            for configuration in found[name]:
                configuration.check_elements()
    if config.label.table is not None:
        found["table"] = load_table(config.label.table)
    labelled = _labelled_configurations(found.get("data"))
    symbols = {
        chemical_symbols[z]
        for configuration in [*labelled, *found.get("structures", []), *found.get("pool", [])]
        for z in configuration.numbers
    }
    return OwnFiles(**found, protocol=start.protocol, elements=frozenset(symbols))


def _labelled_configurations(data: str | DatasetData | None) -> list[Configuration]:
    if data is None:
        return []
    if isinstance(data, DatasetData):
        return [frame.configuration for frame in data.dataset().frames]
    frames = Dataset.load(data).frames if is_dataset(data) else read_labelled(data)
    return [frame.configuration for frame in frames]


def _committee(given: str | int, where: str) -> CommitteeData:
    if isinstance(given, int):
        return _load(given, CommitteeData, where)
    try:
        committee: CommitteeData = CommitteeData.from_folder(given)
        committee._validate()
        committee.base.attributes.get("architecture")
    except (ValidationError, KeyError, TypeError, ValueError, OSError, AttributeError) as error:
        raise SettingsError(f"{where}: {given}: not a model folder: {error}") from error
    return committee


def _load(pk: int, kind: type[orm.Data], where: str) -> Any:
    """The node with this pk; SettingsError unless it is of the expected kind."""
    try:
        if not 0 < pk <= LARGEST_PK:  # no database has such a number, and some refuse to look for it
            raise NotExistent(str(pk))
        node = orm.load_node(pk)
    except NotExistent as error:
        raise SettingsError(f"{where}: no node {pk} in this profile") from error
    if not isinstance(node, kind):
        raise SettingsError(f"{where}: node {pk} is a {type(node).__name__}, expected a {kind.__name__}")
    return node
