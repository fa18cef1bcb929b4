"""campaign.yaml: what a user writes becomes validated settings.

Every key has a default, except that configurations must come from somewhere. An unknown key is an error that names the
nearest valid one. Nothing here needs an AiiDA profile; `builder` makes the inputs of a campaign out of the settings.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..dft_inputs.protocol import Protocol, ProtocolError, load_protocol
from ..mlip.extxyz import FrameError, shards
from ..mlip.generate.recipe import check_recipe, with_files
from ..mlip.settings import SettingsError, check_keys, read_mapping, settings_from_mapping
from .config_keys import (
    OWN_FILES,
    STAGES,
    STRUCTURES,
    CampaignConfig,
    ExploreConfig,
    LabelConfig,
    SelectConfig,
    StageConfig,
    TrainConfig,
)

NUMERICS = ("aiida-argonaut", "torch", "numpy", "numba", "ase", "pymatgen")
"""Packages whose version may change a result; part of every job's inputs."""


def load_config(path: str | Path) -> CampaignConfig:
    """Read and check a campaign file, its recipe and all stages included; ValueError says what is wrong and where."""
    return config_from_document(read_mapping(path), str(path), Path(path).parent)


def config_from_document(document: Mapping[str, Any], where: str, folder: Path | None = None) -> CampaignConfig:
    """A checked campaign from the mapping of its file.

    :param where: names the file in error messages.
    :param folder: where paths are taken from; None leaves the files that the document names alone.
    """
    config = settings_from_mapping(CampaignConfig, document, where)
    recipe = config.generate.recipe
    if recipe is not None:
        place, home = f"{where}: generate: recipe", folder
        if isinstance(recipe, str):
            path = (folder or Path()) / recipe
            recipe, place, home = read_mapping(path), str(path), path.parent
        check_recipe(recipe, place)
        if home is not None:
            recipe = with_files(recipe, place, functools.partial(_full_path, home))
    config = dataclasses.replace(config, generate=dataclasses.replace(config.generate, recipe=recipe))
    if folder is not None:
        config = _with_full_paths(config, folder, where)
    plain(dataclasses.asdict(config), where)
    stage_settings(config, where)
    if config.label.labeller == "quantumespresso":
        try:
            protocol_request(config.label)
        except ProtocolError as error:
            raise SettingsError(f"{where}: label: {error}") from error
    return config


def _full_path(folder: Path, source: int, name: str) -> str:
    return name if name.startswith("group:") else str(folder / name)


def _with_full_paths(config: CampaignConfig, folder: Path, where: str) -> CampaignConfig:
    """The files that a campaign names, as seen from the folder of its file; SettingsError for one that is not there."""
    for section, names in OWN_FILES.items():
        settings = getattr(config, section)
        for name in names:
            given = getattr(settings, name)
            if not isinstance(given, str):
                continue
            path = folder / given
            if not path.exists():
                raise SettingsError(f"{where}: {section}: {name}: {path}: no such file or folder")
            if name in STRUCTURES and path.is_dir():
                try:
                    shards(path)
                except FrameError as error:
                    raise SettingsError(f"{where}: {section}: {name}: {error}") from error
            settings = dataclasses.replace(settings, **{name: str(path)})
        config = dataclasses.replace(config, **{section: settings})
    return config


def protocol_request(label: LabelConfig) -> Protocol:
    """The protocol that a campaign asks for, single values replaced; ProtocolError names a bad one."""
    return load_protocol(label.protocol, {**label.overrides, **({"spin": label.spin} if label.spin else {})})


def stage_settings(config: CampaignConfig, where: str = "campaign") -> dict[str, Any]:
    """Settings of all stages but labelling, with every default written out."""
    from ..mlip.exploration_settings import ExplorationSettings
    from ..mlip.select import SelectionSettings
    from ..mlip.train_settings import TrainSettings

    train, training = _split(TrainConfig, TrainSettings, config.train, f"{where}: train")
    explore, dynamics = _split(ExploreConfig, ExplorationSettings, config.explore, f"{where}: explore")
    select, selection = _split(SelectConfig, SelectionSettings, config.select, f"{where}: select")
    check_architecture(train["architecture"], train["preset"])
    settings = {
        "generate": {key: value for key, value in dataclasses.asdict(config.generate).items() if key != "pool"},
        "train": {**train, "config": training},
        "explore": {**explore, "config": dynamics},
        "select": {**select, "config": selection},
        "stop": dataclasses.asdict(config.stop),
        "budget": dataclasses.asdict(config.budget),
        "stages": {
            stage: {"options": {**default_options(), **config.stages.get(stage, StageConfig()).options}}
            for stage in STAGES
        },
        "numerics": {package: version(package) for package in NUMERICS},
    }
    checked: dict[str, Any] = plain(settings, where)
    return checked


def check_architecture(architecture: str | list[str], preset: str) -> None:
    """Raise ValueError, naming the nearest one, for an architecture or preset that does not exist.

    Of several, for those that cannot be members of one committee, too.
    """
    from ..mlip.potential import direct_forces, get_architecture

    names = [architecture] if isinstance(architecture, str) else architecture
    if len({direct_forces(get_architecture(name).preset(preset)) for name in names}) > 1:
        raise ValueError(f"train: {', '.join(names)} in preset {preset!r}: some have direct forces and no stress")


def default_options() -> dict[str, Any]:
    """One core, no MPI: what serves small cells best."""
    return {
        "resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1},
        "withmpi": False,
        "max_wallclock_seconds": 3600,
        "environment_variables": {"OMP_NUM_THREADS": "1"},
    }


def _split(own: type, inner: type, mapping: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys of a section that are the campaign's, and those of the stage itself, validated and filled up."""
    own_names = [f.name for f in dataclasses.fields(own)]
    check_keys(mapping, [*own_names, *(f.name for f in dataclasses.fields(inner))], where)
    mine: Any = settings_from_mapping(own, {k: v for k, v in mapping.items() if k in own_names}, where)
    theirs: Any = settings_from_mapping(inner, {k: v for k, v in mapping.items() if k not in own_names}, where)
    return dataclasses.asdict(mine), dataclasses.asdict(theirs)


def plain(value: Any, where: str) -> Any:
    """The same with tuples as lists, as JSON has it; SettingsError for what JSON does not have."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise SettingsError(f"{where}: the key {key!r} is no text; put it in quotes")
        return {key: plain(item, f"{where}: {key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, where) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"{where}: {value} cannot be stored; give a finite number")
    return value
