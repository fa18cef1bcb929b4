"""From a checked campaign file to the inputs of a campaign: codes, pseudopotentials, versions and files become nodes.

All that follows from the file is fixed here, before anything is submitted: defaults, cutoffs, the protocol's hash.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.plugins import CalculationFactory
from ase.data import atomic_numbers

from ..mlip.settings import SettingsError, check_keys, read_mapping
from .campaign import CampaignWorkChain
from .config import config_from_document, plain, stage_settings
from .config_keys import STAGES, CampaignConfig
from .label_settings import label_settings, load_stage_code
from .own import OwnFiles, StoredFiles, read_own
from .recipe_files import CampaignRecipe

LABEL_CALCULATIONS = {
    "quantumespresso": "quantumespresso.pw", "ase": "argonaut.label_ase", "table": "argonaut.label_table"
}  # fmt: skip
"""The calculation that the options of the label stage go to, by labeller."""


def campaign_builder(path: str | Path) -> Any:
    """Builder of the campaign in a file, ready to submit; needs a loaded profile.

    Raises SettingsError for a bad file, and SetupError where a code or a pseudopotential family is missing.
    """
    source = Path(path)
    config = config_from_document(read_mapping(source), str(path), source.parent)
    builder = builder_of(config, str(path), read_own(config, str(path)))
    builder.metadata.label = source.stem
    elements = " ".join(builder.settings["train"]["elements"])
    builder.metadata.description = f"campaign of {source.name}, seed {config.seed}, elements {elements}"
    return builder


def builder_of(config: CampaignConfig, where: str, own: OwnFiles | StoredFiles) -> Any:
    """Builder of a checked campaign and what its user's own files hold; `where` names the campaign in messages."""
    settings = stage_settings(config, where)
    codes = {stage: load_stage_code(config, stage) for stage in STAGES}
    for stage in STAGES:
        check_options(settings["stages"][stage]["options"], config, stage, codes[stage], f"{where}: stages: {stage}")
    recipe = own.recipe(config, where)
    if recipe is not None:
        config = _with_recipe(config, settings, recipe, where)
    symbols = own.elements | set(recipe.recipe.elements if recipe is not None else ())
    elements = sorted(symbols, key=lambda symbol: atomic_numbers[symbol])
    settings["train"]["elements"] = elements
    settings["label"], pseudos = label_settings(config.label, elements, codes["label"], own.table)
    settings["label"]["options"] = settings["stages"]["label"]["options"]
    nodes = own.nodes(settings["label"], where)
    if "committee" in nodes.get("start", {}):
        _follow(nodes["start"]["committee"], config, settings["train"], where)
    builder: Any = CampaignWorkChain.get_builder()
    builder.settings = orm.Dict(plain({**settings, "campaign": dataclasses.asdict(config)}, where))
    builder.seed = orm.Int(config.seed)
    builder.codes = codes
    files = {} if recipe is None or not recipe.files else {"recipe_files": dict(recipe.files)}
    builder._update({**nodes, **files, **({"pseudos": pseudos} if pseudos else {})})
    return builder


def _with_recipe(
    config: CampaignConfig, settings: dict[str, Any], recipe: CampaignRecipe, where: str
) -> CampaignConfig:
    """The campaign with its recipe as jobs get it, in `settings` too; SettingsError if its counts do not fit."""
    generate = config.generate
    recipe.check_counts(generate.seed_set or generate.starts, generate.starts if config.stop.iterations else 0, where)
    endless = recipe.recipe.length is None
    settings["generate"] |= {"recipe": recipe.document, "counted": recipe.recipe.counted if endless else 0}
    if recipe.left_out:
        settings["left_out"] = list(recipe.left_out)
    return dataclasses.replace(config, generate=dataclasses.replace(generate, recipe=recipe.document))


def _follow(committee: orm.Data, config: CampaignConfig, train: dict[str, Any], where: str) -> None:
    """Train what is fine-tuned as what it is; SettingsError if the file asks for something else."""
    for key in ("architecture", "preset"):
        has = committee.base.attributes.get(key)
        if config.train.get(key, has) != has:
            raise SettingsError(
                f"{where}: train: {key} {config.train[key]!r}, but the committee to start from is a {has!r}; "
                f"leave {key} out, or start without the committee"
            )
        train[key] = has


def check_options(options: dict[str, Any], config: CampaignConfig, stage: str, code: Any, where: str) -> None:
    """Raise SettingsError for scheduler options that AiiDA, or the scheduler of the code's computer, would refuse."""
    name = LABEL_CALCULATIONS[config.label.labeller]
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
