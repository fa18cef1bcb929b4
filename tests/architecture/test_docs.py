"""Tables of the documentation against the code: exit codes, reasons of losses, keys of a campaign file."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiida.engine import CalcJob
from aiida.plugins.entry_point import get_entry_points

from aiida_argonaut.cli import STAGES
from aiida_argonaut.dft_inputs import label_sanity
from aiida_argonaut.dft_inputs.elements import STRINGENCIES
from aiida_argonaut.dft_inputs.protocol import Protocol, load_protocol
from aiida_argonaut.mlip import labelling, table
from aiida_argonaut.mlip.duplicates.deduplicate import DuplicateSettings
from aiida_argonaut.mlip.exploration_settings import ExplorationSettings
from aiida_argonaut.mlip.generate.perturb import PerturbSettings
from aiida_argonaut.mlip.generate.recipe import SOURCES
from aiida_argonaut.mlip.select import SelectionSettings
from aiida_argonaut.mlip.train_settings import TrainSettings
from aiida_argonaut.provenance_db.queries import NOT_SUBMITTED
from aiida_argonaut.workflows import config_keys as config
from aiida_argonaut.workflows import pw_results
from aiida_argonaut.workflows.config import load_config, stage_settings

OURS = "aiida_argonaut"
DOCS = Path(__file__).parents[2] / "docs"
SECTIONS = {
    "Top level": [config.CampaignConfig],
    "generate": [config.GenerateConfig],
    "label": [config.LabelConfig],
    "train": [config.TrainConfig, TrainSettings],
    "explore": [config.ExploreConfig, ExplorationSettings],
    "select": [config.SelectConfig, SelectionSettings],
    "start": [config.StartConfig],
    "stop": [config.StopConfig],
    "budget": [config.BudgetConfig],
    "stages": [config.StageConfig],
}
"""Section of docs/campaign.md -> the dataclasses whose keys it explains."""
OTHERS = {"Perturbations: `perturb`": PerturbSettings, "Duplicates": DuplicateSettings}
"""The same of docs/configurations.md, beside its sources."""


def tables(name: str) -> dict[str, list[list[str]]]:
    """Heading -> rows of cells of all tables below it, without their heads."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in (DOCS / name).read_text().splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|") and not line.startswith("|---"):
            found.setdefault(heading, []).append([cell.strip() for cell in line.strip("|").split(" | ")])
    return {
        heading: [row for row in rows if row[0] not in ("code", "key", "reason")] for heading, rows in found.items()
    }


def declared_exit_codes() -> dict[str, set[tuple[int, str]]]:
    """Process class -> its exit codes beyond those of AiiDA and its plugins."""
    declared = {}
    for group in ("aiida.workflows", "aiida.calculations"):
        for point in get_entry_points(group):
            process = point.load() if point.name.startswith("argonaut.") else None
            if inspect.isclass(process):
                inherited = codes(next(each for each in process.__mro__ if each.__module__.split(".")[0] != OURS))
                declared[process.__name__] = codes(process) - inherited
    return {name: its for name, its in declared.items() if its}


def codes(process: Any) -> set[tuple[int, str]]:
    return {(code.status, label) for label, code in process.spec().exit_codes.items()}


def test_the_exit_codes_are_documented() -> None:
    documented: dict[str, set[tuple[int, str]]] = {}
    for heading, rows in tables("exit_codes.md").items():
        for name in heading.split(", "):
            if name.endswith(("WorkChain", "Calculation")):
                documented.setdefault(name, set()).update((int(row[0]), row[1]) for row in rows)
    assert documented == declared_exit_codes()


def test_the_exit_codes_of_aiida_are_documented() -> None:
    documented = {(int(row[0]), row[1]) for row in tables("exit_codes.md")["AiiDA's own"]}
    assert documented == codes(CalcJob)


def test_no_exit_code_says_less_than_a_sentence() -> None:
    rows = [row for name, rows in tables("exit_codes.md").items() if name != "Commands" for row in rows]
    assert all(len(row) in (3, 4) and len(row[-2]) > 10 and row[-1] for row in rows)


def test_the_reasons_of_losses_are_documented() -> None:
    documented = {row[0].strip("`") for row in tables("exit_codes.md")["Reasons of lost labels"]}
    tree = ast.parse(inspect.getsource(pw_results))
    raised = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "LabelLost"
        and isinstance(node.args[0], ast.Constant)
    }  # fmt: skip
    reasons = raised | set(pw_results.REASONS.values()) | set(pw_results.REFUSALS) | set(labelling.LOSSES)
    reasons |= {NOT_SUBMITTED, *table.LOSSES, *label_sanity.REASONS}
    assert documented == reasons | {"pw_exit_<status>"}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_a_campaign_file_is_explained_with_its_default(section: str) -> None:
    rows = tables("campaign.md")[section]
    documented = [(row[0].strip("`"), default_of(row[1])) for row in rows]
    declared = [(f.name, default_in(f)) for cls in SECTIONS[section] for f in dataclasses.fields(cls)]
    assert sorted(documented, key=str) == sorted(declared, key=str)
    assert all(len(row) == 3 and len(row[2]) > 2 for row in rows)


@pytest.mark.parametrize("name", [*SOURCES, *OTHERS])
def test_every_key_of_a_recipe_is_explained_with_its_default(name: str) -> None:
    found = tables("configurations.md")
    heading = name if name in OTHERS else next(h for h in found if h.endswith(f"`source: {name}`"))
    declared = dataclasses.fields(OTHERS.get(name) or SOURCES[name].settings)
    documented = [(row[0].strip("`"), default_of(row[1])) for row in found[heading]]
    assert documented == [(field.name, default_in(field)) for field in declared]
    assert all(len(row) == 3 and len(row[2]) > 2 for row in found[heading])


def test_every_value_of_a_protocol_is_explained_as_it_is_shipped() -> None:
    rows = tables("campaign.md")["Protocols of pw.x: `overrides`"]
    assert {row[0].strip("`") for row in rows} == {f.name for f in dataclasses.fields(Protocol)} - {"name"}
    for row in rows:
        shipped = [getattr(load_protocol(name), row[0].strip("`")) for name in STRINGENCIES]
        assert [default_of(cell) for cell in row[1:4]] == shipped


def test_the_example_in_the_docs_is_a_valid_campaign(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "campaign.md").read_text(), re.DOTALL)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "packing.yaml").write_text("source: packing\n")
    (tmp_path / "campaign.yaml").write_text(example)
    stage_settings(load_config(tmp_path / "campaign.yaml"))


def default_of(cell: str) -> Any:
    value = yaml.safe_load(cell)
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def default_in(declared: dataclasses.Field[Any]) -> Any:
    if declared.default is not dataclasses.MISSING:
        return list(declared.default) if isinstance(declared.default, tuple) else declared.default
    return "required" if declared.default_factory is dataclasses.MISSING else {}


def test_every_command_that_a_text_names_exists() -> None:
    root = DOCS.parent
    pattern = re.compile(r"(?:`|^\s*|bin/)argonaut ([a-z][a-z-]*)", re.MULTILINE)
    texts = [root / "README.md", root / "CONTRIBUTING.md", *DOCS.glob("*.md")]
    named = {command for path in texts for command in pattern.findall(path.read_text())}
    assert len(named) > 8
    assert named <= {name for commands in STAGES.values() for name in commands}


def test_every_file_that_a_text_names_exists() -> None:
    root = DOCS.parent
    pattern = re.compile(r"`((?:mlip|dft_inputs|workflows|provenance_db|docs|tests|benchmarks|examples)/[\w./-]+)`")
    texts = [root / "README.md", root / "CONTRIBUTING.md", root / "CHANGELOG.md", *DOCS.glob("*.md")]
    named = {path for text in texts for path in pattern.findall(text.read_text())}
    assert len(named) > 10
    assert [path for path in sorted(named) if not (root / path).exists()] == []
