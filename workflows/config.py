"""campaign.yaml: what a user writes becomes validated settings, and those with codes and pseudopotentials a builder.

Every key has a default except the recipe. An unknown key is an error that names the nearest valid one. All that follows
from the file is fixed here, before anything is submitted: defaults, cutoffs, the protocol's hash, versions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from ..dft_inputs.protocol import Protocol, ProtocolError, load_protocol
from ..mlip.generate.recipe import recipe_from_mapping
from ..mlip.settings import SettingsError, check_keys, read_mapping, settings_from_mapping

STAGES = ("generate", "explore", "select", "label", "train", "evaluate")
NUMERICS = ("aiida-argonaut", "torch", "numpy")
"""Packages whose version may change a result; part of every job's inputs."""


FOR_QUANTUMESPRESSO = ("protocol", "spin", "overrides", "family", "pw_version", "max_iterations")
FOR_ASE = ("calculator", "parameters")
"""Keys of `label` that belong to one labeller; given to the other they would do nothing."""


@dataclass(frozen=True)
class GenerateConfig:
    """Where configurations come from."""

    recipe: str | dict[str, Any]
    """A recipe file (its path is taken from the campaign file's folder), or a recipe written out in place."""
    seed_set: int = 24
    """Configurations labelled first, before there is a committee."""
    starts: int = 24
    """New random configurations from which each later iteration explores."""

    def __post_init__(self) -> None:
        _positive(self, "seed_set", "starts")


@dataclass(frozen=True)
class LabelConfig:
    """How labels are made."""

    labeller: Literal["quantumespresso", "ase"] = "quantumespresso"
    protocol: Literal["fast", "balanced", "stringent"] = "balanced"
    """For quantumespresso: see dft_inputs/protocols."""
    spin: Literal["none", "collinear"] | None = None
    """For quantumespresso; None keeps the protocol's own choice."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """For quantumespresso: single values of the protocol."""
    family: str | None = None
    """For quantumespresso: label of an installed aiida-pseudo family; None is the embedded one."""
    pw_version: str | None = None
    """For quantumespresso: version of pw.x on a remote computer, in quotes; None takes what set-up has seen."""
    calculator: str = "ase.calculators.lj:LennardJones"
    """For ase: import path of the calculator class."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """For ase: arguments of the calculator class."""
    max_jobs: int = 2
    """Labels in flight at a time."""
    shard_size: int = 100
    """Configurations per shard, at most 100."""
    max_attempts: int = 3
    """How often a label, or with ase a shard, is tried that the machine, not chemistry, has spoiled."""
    max_iterations: int = 3
    """Runs of pw.x per label within one attempt, each with another remedy."""

    def __post_init__(self) -> None:
        _positive(self, "max_jobs", "shard_size", "max_attempts", "max_iterations")
        for name in FOR_QUANTUMESPRESSO if self.labeller == "ase" else FOR_ASE:
            if getattr(self, name) != _default(LabelConfig, name):
                raise SettingsError(f"{name} means nothing to the labeller {self.labeller!r}; leave it out")
        if self.shard_size > 100:
            raise SettingsError(f"shard_size {self.shard_size}: expected at most 100")


@dataclass(frozen=True)
class TrainConfig:
    """The committee. All keys of training (see TrainSettings) may stand beside these."""

    architecture: str = "teanet"
    preset: str = "campaign"
    members: int = 4
    max_jobs: int = 2
    """Members trained at a time."""

    def __post_init__(self) -> None:
        _positive(self, "members", "max_jobs")
        if self.members < 2:
            raise SettingsError(f"members {self.members}: a committee needs at least 2")


@dataclass(frozen=True)
class ExploreConfig:
    """Molecular dynamics. All keys of exploration (see ExplorationSettings) may stand beside these."""

    dataset_starts: int = 8
    """Frames of the dataset from which dynamics starts, besides the new random configurations."""

    def __post_init__(self) -> None:
        if self.dataset_starts < 0:
            raise SettingsError(f"dataset_starts {self.dataset_starts}: expected 0 or more")


@dataclass(frozen=True)
class SelectConfig:
    """What is labelled next. All keys of selection (see SelectionSettings) may stand beside these."""

    count: int = 16
    """Labels per iteration."""

    def __post_init__(self) -> None:
        _positive(self, "count")


@dataclass(frozen=True)
class StopConfig:
    """When the campaign is over."""

    iterations: int = 5
    """Iterations after the seed set, at most."""
    force_rmse: float | None = None
    """eV/Å: stop when the forces on fresh labels, predicted before they were labelled, are this good."""

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise SettingsError(f"iterations {self.iterations}: expected 0 (the seed set alone) or more")
        if self.force_rmse is not None and not self.force_rmse > 0:
            raise SettingsError(f"force_rmse {self.force_rmse}: expected a number above 0, in eV/Å")


@dataclass(frozen=True)
class StageConfig:
    """Where a stage runs."""

    code: str | None = None
    """Label of an AiiDA code; None is `pw@localhost` for labels with pw.x, `argonaut@localhost` for the rest."""
    options: dict[str, Any] = field(default_factory=dict)
    """AiiDA's scheduler options: resources, max_wallclock_seconds, queue_name, account, withmpi, prepend_text ..."""


@dataclass(frozen=True)
class CampaignConfig:
    """A campaign file."""

    generate: GenerateConfig
    seed: int = 1
    """Everything random follows from it."""
    label: LabelConfig = field(default_factory=LabelConfig)
    train: dict[str, Any] = field(default_factory=dict)
    explore: dict[str, Any] = field(default_factory=dict)
    select: dict[str, Any] = field(default_factory=dict)
    stop: StopConfig = field(default_factory=StopConfig)
    stages: dict[str, StageConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_keys(self.stages, STAGES, "stages")
        if self.seed < 0:
            raise SettingsError(f"seed {self.seed}: expected 0 or more")


def load_config(path: str | Path) -> CampaignConfig:
    """Read and check a campaign file, its recipe and all stages included; ValueError says what is wrong and where."""
    source = Path(path)
    config = settings_from_mapping(CampaignConfig, read_mapping(source), str(path))
    recipe = config.generate.recipe
    if isinstance(recipe, str):
        recipe_path = source.parent / recipe
        recipe = read_mapping(recipe_path)
        recipe_from_mapping(recipe, str(recipe_path))
    else:
        recipe_from_mapping(recipe, f"{path}: generate: recipe")
    config = dataclasses.replace(config, generate=dataclasses.replace(config.generate, recipe=recipe))
    stage_settings(config, str(path))
    if config.label.labeller == "quantumespresso":
        try:
            protocol_request(config.label)
        except ProtocolError as error:
            raise SettingsError(f"{path}: label: {error}") from error
    return config


def protocol_request(label: LabelConfig) -> Protocol:
    """The protocol that a campaign asks for, single values replaced; ProtocolError names a bad one."""
    return load_protocol(label.protocol, {**label.overrides, **({"spin": label.spin} if label.spin else {})})


def campaign_elements(recipe: Mapping[str, Any]) -> list[str]:
    """Symbols of all elements that a recipe may use, in order of Z."""
    from ase.data import atomic_numbers, chemical_symbols

    symbols: set[str] = set()
    for ingredient in recipe_from_mapping(recipe).ingredients:
        elements = ingredient.settings.elements
        symbols |= set(chemical_symbols[1:19] if elements == "all" else elements)
    return sorted(symbols, key=lambda symbol: atomic_numbers[symbol])


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
        "generate": dataclasses.asdict(config.generate),
        "train": {**train, "config": training},
        "explore": {**explore, "config": dynamics},
        "select": {**select, "config": selection},
        "stop": dataclasses.asdict(config.stop),
        "stages": {
            stage: {"options": {**default_options(), **config.stages.get(stage, StageConfig()).options}}
            for stage in STAGES
        },
        "numerics": {package: version(package) for package in NUMERICS},
    }
    plain: dict[str, Any] = _plain(settings, where)
    return plain


def check_architecture(architecture: str, preset: str) -> None:
    """Raise ValueError, naming the nearest one, for an architecture or preset that does not exist."""
    from ..mlip.potential import get_architecture

    get_architecture(architecture).preset(preset)


def default_options() -> dict[str, Any]:
    """One core, no MPI: what serves small cells best."""
    return {
        "resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1},
        "withmpi": False,
        "max_wallclock_seconds": 3600,
        "environment_variables": {"OMP_NUM_THREADS": "1"},
    }


def check_options(options: dict[str, Any], config: CampaignConfig, stage: str, code: Any, where: str) -> None:
    """Raise SettingsError for scheduler options that AiiDA, or the scheduler of the code's computer, would refuse."""
    from aiida.plugins import CalculationFactory

    name = {"quantumespresso": "quantumespresso.pw", "ase": "argonaut.label_ase"}[config.label.labeller]
    process: Any = CalculationFactory(name if stage == "label" else f"argonaut.{stage}")
    namespace = process.spec().inputs["metadata"]["options"]
    check_keys(options, namespace, f"{where}: options")
    problem = namespace.validate(options)
    if problem is not None:
        raise SettingsError(f"{where}: options: {problem.message} ({problem.port})")
    try:
        code.computer.get_scheduler().validate_resources(**options["resources"])
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{where}: options: resources: {error}") from error


def campaign_builder(path: str | Path) -> Any:
    """Builder of the campaign in a file, ready to submit; needs a loaded profile.

    Raises SettingsError for a bad file, and SetupError where a code or a pseudopotential family is missing.
    """
    from aiida import orm

    from .campaign import CampaignWorkChain
    from .label_settings import label_settings, load_stage_code

    config = load_config(path)
    settings = stage_settings(config, str(path))
    elements = campaign_elements(settings["generate"]["recipe"])
    codes = {stage: load_stage_code(config, stage) for stage in STAGES}
    settings["train"]["elements"] = elements
    settings["label"], pseudos = label_settings(config.label, elements, codes["label"])
    settings["label"]["options"] = settings["stages"]["label"]["options"]
    for stage in STAGES:
        check_options(settings["stages"][stage]["options"], config, stage, codes[stage], f"{path}: stages: {stage}")
    builder: Any = CampaignWorkChain.get_builder()
    builder.settings = orm.Dict(_plain(settings, str(path)))
    builder.seed = orm.Int(config.seed)
    builder.codes = codes
    if pseudos:
        builder.pseudos = pseudos
    builder.metadata.label = Path(path).stem
    builder.metadata.description = f"campaign of {Path(path).name}, seed {config.seed}, elements {' '.join(elements)}"
    return builder


def _split(own: type, inner: type, mapping: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys of a section that are the campaign's, and those of the stage itself, validated and filled up."""
    own_names = [f.name for f in dataclasses.fields(own)]
    check_keys(mapping, [*own_names, *(f.name for f in dataclasses.fields(inner))], where)
    mine: Any = settings_from_mapping(own, {k: v for k, v in mapping.items() if k in own_names}, where)
    theirs: Any = settings_from_mapping(inner, {k: v for k, v in mapping.items() if k not in own_names}, where)
    return dataclasses.asdict(mine), dataclasses.asdict(theirs)


def _plain(value: Any, where: str) -> Any:
    """The same with tuples as lists, as JSON has it; SettingsError for what JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(item, f"{where}: {key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, where) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"{where}: {value} cannot be stored; give a finite number")
    return value


def _default(config: type, name: str) -> Any:
    """Default value of a field."""
    found = next(f for f in dataclasses.fields(config) if f.name == name)
    return found.default if found.default_factory is dataclasses.MISSING else found.default_factory()


def _positive(settings: Any, *names: str) -> None:
    for name in names:
        if getattr(settings, name) < 1:
            raise SettingsError(f"{name} {getattr(settings, name)}: expected a whole number of 1 or more")
