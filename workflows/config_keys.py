"""The keys of campaign.yaml: one frozen dataclass per section, each field with its meaning, unit and default."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from ..mlip.settings import SettingsError, check_keys

STAGES = ("generate", "explore", "select", "label", "train", "evaluate")
LABELLER_KEYS = {
    "quantumespresso": (
        "protocol", "spin", "overrides", "family", "pw_version", "max_iterations", "clean_scratch", "reference_atoms"
    ),
    "ase": ("calculator", "parameters"),
    "table": ("table",),
}  # fmt: skip
"""Keys of `label` that belong to one labeller; given to another they would do nothing."""


LARGEST_SEED = 2**53
"""The largest whole number up to which JSON keeps every one apart."""
_LJ = "ase.calculators.lj:LennardJones"
OWN_FILES = {"generate": ("pool",), "label": ("table",), "start": ("data", "committee", "structures")}
"""Keys that name files of the user, by section; they become nodes when the campaign is launched."""
STRUCTURES = ("pool", "structures")
"""Those of them that are extended XYZ, a file or a sharded folder."""


@dataclass(frozen=True)
class GenerateConfig:
    """Where configurations come from: a recipe that makes them, or a pool that they are drawn from."""

    recipe: str | dict[str, Any] | None = None
    """A recipe file (its path is taken from the campaign file's folder), or a recipe written out in place."""
    pool: str | None = None
    """Instead of a recipe: an extended XYZ file, or a folder that `argonaut generate` wrote, from which configurations
    are drawn, none of them twice."""
    seed_set: int = 24
    """Configurations labelled first, before there is a committee; 0 is allowed where `start` gives something."""
    starts: int = 24
    """New configurations from which each later iteration explores."""
    workers: int = 1
    """Processes of a job that makes configurations."""

    def __post_init__(self) -> None:
        _positive(self, "starts", "workers")
        if self.seed_set < 0:
            raise SettingsError(f"seed_set {self.seed_set}: expected 0 or more")
        if (self.recipe is None) == (self.pool is None):
            raise SettingsError("either recipe or pool must be given" + (", not both" if self.pool else ""))


@dataclass(frozen=True)
class LabelConfig:
    """How labels are made."""

    labeller: Literal["quantumespresso", "ase", "table"] = "quantumespresso"
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
    calculator: str = _LJ
    """For ase: import path of the calculator class."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """For ase: arguments of the calculator class."""
    table: str | None = None
    """For table: labelled configurations, an extended XYZ file or a dataset folder, in which labels are looked up."""
    max_jobs: int = 2
    """Labels in flight at a time."""
    shard_size: int = 100
    """Configurations per shard, at most 100."""
    max_attempts: int = 3
    """How often a label, or with ase a shard, is tried that the machine, not chemistry, has spoiled."""
    max_iterations: int = 9
    """Runs of pw.x per label, the first one included; each after it is a rung of the rescue ladder."""
    reference_atoms: bool = True
    """For quantumespresso: whether isolated atoms of all elements are labelled beside the seed set; they are what
    energies are then counted from in training."""
    clean_scratch: bool = False
    """Whether the folders of good labels are removed from the computer that ran them; what was retrieved stays."""

    def __post_init__(self) -> None:
        _positive(self, "max_jobs", "shard_size", "max_attempts", "max_iterations")
        for labeller, names in LABELLER_KEYS.items():
            for name in names:
                if labeller != self.labeller and getattr(self, name) != _default(LabelConfig, name):
                    raise SettingsError(f"{name} means nothing to the labeller {self.labeller!r}; leave it out")
        if self.labeller == "table" and self.table is None:
            raise SettingsError("table must be given: the file in which the labeller 'table' looks labels up")
        if not all(self.calculator.partition(":")):
            raise SettingsError(f"calculator {self.calculator!r}: expected module:Class, such as {_LJ}")
        if self.shard_size > 100:
            raise SettingsError(f"shard_size {self.shard_size}: expected at most 100")


@dataclass(frozen=True)
class TrainConfig:
    """The committee. All keys of training (see TrainSettings) may stand beside these."""

    architecture: str | list[str] = "teanet"
    """Of all members, or a list of which they take turns."""
    preset: str = "campaign"
    members: int = 4
    max_jobs: int = 2
    """Members trained at a time."""

    def __post_init__(self) -> None:
        _positive(self, "members", "max_jobs")
        if self.members < 2:
            raise SettingsError(f"members {self.members}: a committee needs at least 2")
        if isinstance(self.architecture, list) and not 0 < len(set(self.architecture)) <= self.members:
            raise SettingsError(f"architecture {self.architecture}: expected 1 to {self.members}, as many as members")


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
class StartConfig:
    """What a campaign begins with beside what it generates."""

    data: str | int | None = None
    """Labelled configurations: an extended XYZ file, a dataset folder, or the pk of a dataset in the profile."""
    protocol: Literal["same"] | dict[str, Any] | None = None
    """How `data` were labelled: `same` as this campaign labels, or a description of another protocol."""
    committee: str | int | None = None
    """A trained committee to explore with from the beginning and to fine-tune: a model folder, or the pk of one."""
    structures: str | None = None
    """Configurations of your own (extended XYZ, or a folder that `argonaut generate` wrote) that are labelled with the
    seed set, whatever they are."""

    def __post_init__(self) -> None:
        if self.protocol is not None and self.data is None:
            raise SettingsError("protocol says how data were labelled, but there are no data")
        if self.protocol == {}:
            raise SettingsError("protocol: expected `same`, or a description such as {code: ..., functional: ...}")


@dataclass(frozen=True)
class BudgetConfig:
    """At which limit the campaign ends early, with all it has; `argonaut resume` goes on after raising it."""

    labels: int | None = None
    """Labels asked for, lost ones included; an iteration that would ask for more than are left is not begun."""
    core_hours: float | None = None
    """Cores times hours of all jobs."""
    wall_hours: float | None = None
    """Hours from launch, over all parts of a resumed campaign."""
    lost_share: float | None = None
    """Share of lost labels above which something is wrong."""
    lost_after: int = 20
    """Labels that must have ended before `lost_share` counts."""

    def __post_init__(self) -> None:
        _positive(self, "lost_after")
        for name in ("labels", "core_hours", "wall_hours"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"{name} {value}: expected a number above 0, or null for no limit")
        if self.lost_share is not None and not 0 <= self.lost_share < 1:
            raise SettingsError(f"lost_share {self.lost_share}: expected a share from 0 to below 1, such as 0.3")


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
    start: StartConfig = field(default_factory=StartConfig)
    label: LabelConfig = field(default_factory=LabelConfig)
    train: dict[str, Any] = field(default_factory=dict)
    explore: dict[str, Any] = field(default_factory=dict)
    select: dict[str, Any] = field(default_factory=dict)
    stop: StopConfig = field(default_factory=StopConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    stages: dict[str, StageConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_keys(self.stages, STAGES, "stages")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise SettingsError(f"seed {self.seed}: expected 0 or more, up to {LARGEST_SEED}")
        begins_with_something = self.start.data or self.start.committee or self.start.structures
        if self.generate.seed_set == 0 and not begins_with_something:
            raise SettingsError("generate: seed_set 0: a campaign that begins with nothing needs a seed set")


def _default(config: type, name: str) -> Any:
    """Default value of a field."""
    found = next(f for f in dataclasses.fields(config) if f.name == name)
    return found.default if found.default_factory is dataclasses.MISSING else found.default_factory()


def _positive(settings: Any, *names: str) -> None:
    for name in names:
        if getattr(settings, name) < 1:
            raise SettingsError(f"{name} {getattr(settings, name)}: expected a whole number of 1 or more")


def recipe_of(config: CampaignConfig) -> dict[str, Any]:
    """The recipe of a checked campaign, which has been read from its file if it had one."""
    if not isinstance(config.generate.recipe, dict):
        raise SettingsError(
            "generate: recipe: expected a mapping; check the campaign with `config_from_document` first"
        )
    return config.generate.recipe
