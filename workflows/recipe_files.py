"""Files that a recipe names become nodes: read when a campaign is launched, stored, and read from there ever after."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
from aiida import orm
from aiida.common.exceptions import NotExistent

from ..mlip.extxyz import FrameError
from ..mlip.generate.recipe import Recipe, check_feasible, recipe_from_mapping, with_files
from ..mlip.generate.user_files import Reader, folder_reader
from ..mlip.settings import SettingsError
from .data import FRAMES_FILE, ConfigurationsData, DatasetData

GROUP = "group:"


@dataclass(frozen=True)
class CampaignRecipe:
    """A recipe with the files that it names."""

    document: dict[str, Any]
    """As generation jobs get it: source number N reads `user_N/frames.extxyz`."""
    recipe: Recipe
    """The same, loaded."""
    files: Mapping[str, ConfigurationsData]
    """The structures of `user_N`, for every source that names files."""
    left_out: Sequence[str] = ()
    """What was wrong with files and frames that were left out on request."""

    def check_counts(self, first: int, later: int, where: str) -> None:
        """Raise SettingsError unless the first iteration has all that comes but once, and none asks for too much.

        :param first: configurations of the first iteration.
        :param later: of every other one.
        """
        length, counted = self.recipe.length, self.recipe.counted
        if first < counted:
            raise SettingsError(
                f"{where}: generate: the recipe's counts make {counted} configurations, but the first iteration asks "
                f"for {first}; raise seed_set (or starts, where there is no seed set) to {counted} or more"
            )
        if length is not None and max(first, later) > length:
            raise SettingsError(
                f"{where}: generate: {max(first, later)} configurations are asked for, but the recipe has counts only, "
                f"which end after {length}; give one of its sources a weight"
            )


def read_recipe(mapping: Mapping[str, Any], where: str) -> CampaignRecipe:
    """A recipe and its files, read; SettingsError for what cannot be used."""
    recipe = recipe_from_mapping(mapping, where, _read)
    try:
        check_feasible(recipe)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from error
    document = with_files(mapping, where, lambda number, _: f"user_{number}/{FRAMES_FILE}")
    files = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, ingredient in enumerate(recipe.ingredients):
            if structures := getattr(ingredient.settings, "structures", None):
                files[f"user_{number}"] = ConfigurationsData.from_configurations(list(structures), Path(scratch))
    return CampaignRecipe(document, recipe, files, recipe.left_out)


def stored_recipe(
    mapping: Mapping[str, Any],
    where: str,
    files: Mapping[str, ConfigurationsData],
    left_out: Sequence[str] = (),
) -> CampaignRecipe:
    """A recipe as generation jobs get it, with the files that were stored for it."""
    return CampaignRecipe(dict(mapping), recipe_from_mapping(mapping, where, stored_reader(files)), files, left_out)


def stored_reader(files: Mapping[str, ConfigurationsData]) -> Reader:
    """Reader of `user_N/frames.extxyz` from the node `user_N`."""

    def read(name: str) -> list[ase.Atoms]:
        node = files.get(name.partition("/")[0])
        if node is None:
            raise FrameError(f"{name}: not among the files that the campaign has stored; launch another campaign")
        return node.atoms()

    return read


def _read(name: str) -> list[ase.Atoms]:
    """A file by its full path, or all structures of a group, in order of their pk."""
    if not name.startswith(GROUP):
        return folder_reader(Path())(name)
    label = name.removeprefix(GROUP)
    try:
        group = orm.load_group(label)
    except (NotExistent, ValueError) as error:
        raise FrameError(f"{name}: no group {label!r} in this profile") from error
    found = [atoms for node in sorted(group.nodes, key=lambda node: node.pk) for atoms in _atoms(node, name)]
    if not found:
        raise FrameError(f"{name}: the group is empty")
    return found


def _atoms(node: orm.Node, name: str) -> list[ase.Atoms]:
    if isinstance(node, ConfigurationsData):
        return node.atoms()
    if isinstance(node, DatasetData):
        return [frame.configuration.to_atoms() for frame in node.dataset().frames]
    if isinstance(node, orm.TrajectoryData):
        return [node.get_step_structure(step).get_ase() for step in range(node.numsteps)]
    if isinstance(node, (orm.StructureData, orm.CifData)):
        atoms: ase.Atoms = node.get_ase()
        return [atoms]
    raise FrameError(f"{name}: node {node.pk} is a {type(node).__name__}, which holds no structures")
