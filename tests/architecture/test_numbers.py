"""Numbers in the docs are those of the results in benchmarks/, and elements.yaml claims no more than was measured."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from aiida_argonaut.dft_inputs.elements import STRINGENCIES, load_elements
from aiida_argonaut.dft_inputs.pseudos.recipes import family_label
from aiida_argonaut.mlip.generate.recipe import load_recipe

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = (ROOT / "docs" / "dft.md").read_text()


@pytest.fixture
def benchmark_named(monkeypatch: pytest.MonkeyPatch):
    """Import a benchmark as it is when it runs: with its own folder on the path."""

    def load(name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module(name)

    return load


def test_the_table_of_cutoffs_is_what_was_measured(benchmark_named) -> None:
    module = benchmark_named("dft_cutoffs")
    assert [line for line in module.table(module.load()) if line not in DOCUMENT] == []


@pytest.mark.parametrize("name", ["label_derivatives", "molecules", "reference_atoms"])
def test_the_tables_of_labels_are_what_was_measured(name: str, benchmark_named) -> None:
    found = json.loads((RESULTS / f"{name}.json").read_text())
    assert found["family"] == family_label()
    document = (ROOT / "docs" / "labels.md").read_text()
    assert [line for line in benchmark_named(name).lines(found) if line not in document] == []


def test_the_table_of_accuracies_is_what_was_measured(benchmark_named) -> None:
    module = benchmark_named("potentials")
    assert [
        line for line in module.table(module.load()) if line not in (ROOT / "docs" / "training.md").read_text()
    ] == []


def test_the_account_of_own_labels_adds_up_and_is_told(benchmark_named) -> None:
    module = benchmark_named("own_labels")
    accounts = module.accounts()
    for account in accounts:
        assert account["submitted"] == account["ok"] + len(account["rescued"]) + len(account["lost"])
        assert [sum(each) for each in zip(*account["sources"].values(), strict=True)] == [
            account["submitted"], account["ok"], len(account["rescued"]), len(account["lost"])
        ]  # fmt: skip
    document = (ROOT / "docs" / "labels.md").read_text()
    assert [line for line in module.table(accounts) if line not in document] == []


def test_the_figures_of_finished_labels_are_what_was_measured(benchmark_named) -> None:
    found = json.loads((RESULTS / "label_figures.json").read_text())
    assert [line for line in benchmark_named("label_figures").table(found) if line not in DOCUMENT] == []


def test_the_gain_of_the_ladder_is_what_was_measured(benchmark_named) -> None:
    rows = json.loads((RESULTS / "rescue_gain.json").read_text())
    assert [line for line in benchmark_named("rescue_gain").table(rows) if line not in DOCUMENT] == []


def test_the_overhead_of_a_label_is_what_was_measured(benchmark_named) -> None:
    found = json.loads((RESULTS / "label_overhead.json").read_text())
    document = (ROOT / "docs" / "prices.md").read_text()
    assert [line for line in benchmark_named("label_overhead").table(found) if line not in document] == []


def test_the_kill_table_is_what_was_measured(benchmark_named) -> None:
    module = benchmark_named("kill_table")
    rows = json.loads((RESULTS / "kill_table.json").read_text())["trials"]
    assert len(rows) >= 10
    assert [line for line in module.lines(rows) if line not in (ROOT / "docs" / "faults.md").read_text()] == []
    assert all(row["labels_accounted_for"] and row["same_content"] for row in rows)


def test_the_cutoffs_of_every_element_were_measured_with_its_pseudopotential(benchmark_named) -> None:
    module = benchmark_named("dft_cutoffs")
    results = module.load()
    kept = json.loads(module.RESULTS.read_text())["recipes"]
    assert kept == results["recipes"], "recipes have changed: measure again (benchmarks/dft_cutoffs.py)"
    assert set(results["elements"]) == set(load_elements())
    assert all(run["converged"] for runs in results["elements"].values() for run in runs.values())


@pytest.mark.parametrize("stringency", STRINGENCIES)
def test_elements_yaml_keeps_what_its_header_says(stringency: str, benchmark_named) -> None:
    module = benchmark_named("dft_cutoffs")
    header = (ROOT / "dft_inputs" / "elements.yaml").read_text()
    claim = re.search(rf"^#\s+{stringency}\s+([\d.]+) meV/Å and ([\d.]+) GPa", header, re.MULTILINE)
    assert claim is not None
    for element, runs in module.load()["elements"].items():
        force, pressure = module.errors(runs, module.own_cutoffs(element)[stringency])
        assert force <= float(claim[1]), element
        assert abs(pressure) <= float(claim[2]), element


def test_the_tables_of_random_cells_are_what_was_measured(benchmark_named) -> None:
    module = benchmark_named("dft_random_cells")
    commands = re.findall(
        r"python benchmarks/dft_random_cells.py (\S+) -n (\d+) --seed (\d+) --spacings (\S+)", DOCUMENT
    )
    assert commands
    for recipe, number, seed, spacings in commands:
        path = RESULTS / f"dft_random_cells-{Path(recipe).stem}-{seed}-fast.json"
        found = json.loads(path.read_text())
        assert found["family"] == family_label()
        lines = module.table(found["cells"], spacings.split(","), int(number))
        assert [line for line in lines if line not in DOCUMENT] == []


def test_the_table_of_sources_is_what_was_measured(benchmark_named) -> None:
    module = benchmark_named("source_labels")
    document = (ROOT / "docs" / "configurations.md").read_text()
    commands = re.findall(r"python benchmarks/source_labels.py (\S+) -n (\d+) --seed (\d+)", document)
    assert commands
    for recipe, number, seed in commands:
        found = json.loads((RESULTS / f"source_labels-{Path(recipe).stem}-{seed}-fast.json").read_text())
        loaded = load_recipe(ROOT / recipe)
        assert (found["family"], found["recipe_hash"]) == (family_label(), loaded.content_hash)
        wanted = list(module.first_of_each_source(loaded, int(seed), int(number)))
        assert {str(index): made.configuration.configuration_id for _, index, made in wanted} == {
            index: run["configuration_id"] for index, run in found["labels"].items()
        }, "the recipe makes other configurations now"
        assert [line for line in module.table(found["labels"]) if line not in document] == []


def test_the_table_of_atoms_is_what_was_measured() -> None:
    rows = [line.split() for line in (RESULTS / "pseudos_check.txt").read_text().splitlines()[1:]]
    assert rows
    told = [f"| {element} | {header} | {pw} | {float(off):+.1f} |" for element, header, pw, off in rows]
    assert [line for line in told if line not in DOCUMENT] == []
