"""Files that a recipe names: read at launch, from folders and groups, stored, and used by the job that generates."""

import sys
from pathlib import Path

import ase.build
import ase.io
import pytest

from aiida_argonaut.mlip.generate.recipe import generate
from aiida_argonaut.mlip.settings import SettingsError

pytestmark = pytest.mark.timeout(300)
COMMAND = f'#!/bin/bash\nexec "{Path(sys.executable).parent / "argonaut"}" "$@"\n'


@pytest.fixture
def group(profile):
    """Two structures under one label."""
    from aiida import orm

    made = orm.Group(label="mine").store()
    nodes = [orm.StructureData(ase=ase.build.bulk(symbol)).store() for symbol in ("Si", "Al")]
    made.add_nodes(nodes)
    yield "group:mine"
    orm.Group.collection.delete(made.pk)


@pytest.fixture
def mapping(group, tmp_path):
    ase.io.write(tmp_path / "water.xyz", ase.build.molecule("H2O"))
    own = {"source": "user", "files": [group, str(tmp_path / "water.xyz")], "copies": 1}
    return {"sources": [{"source": "packing", "elements": ["H", "C"], "weight": 1}, own]}


def test_groups_and_files_become_one_node_per_source(mapping):
    from aiida_argonaut.workflows.recipe_files import read_recipe, stored_recipe

    found = read_recipe(mapping, "recipe")
    assert found.document["sources"][1]["files"] == ["user_1/frames.extxyz"]
    assert [c.formula for c in found.files["user_1"].configurations()] == ["Si2", "Al", "H2O"]
    assert found.recipe.elements == ["H", "C", "O", "Al", "Si"]
    assert found.recipe.counted == 6
    stored = stored_recipe(found.document, "recipe", found.files)
    assert stored.recipe.content_hash == found.recipe.content_hash
    for each in (found, stored):
        assert generate(each.recipe, 2, 2).figures["given"] == "water.xyz#0"
    for index in range(8):
        one, other = (generate(each.recipe, 2, index).configuration for each in (found, stored))
        assert one.configuration_id == other.configuration_id
    with pytest.raises(SettingsError, match="not among the files that the campaign has stored"):
        stored_recipe(found.document, "recipe", {})


def test_the_job_reads_what_was_stored(mapping, scripted_code):
    from aiida import orm
    from aiida.engine import run_get_node
    from aiida.plugins import CalculationFactory

    from aiida_argonaut.workflows.recipe_files import read_recipe

    found = read_recipe(mapping, "recipe")
    settings = {"recipe": found.document, "count": 8, "seed": 2, "start": 0, "workers": 1}
    inputs = {"settings": orm.Dict(settings), "files": found.files, "code": scripted_code(COMMAND)}
    node = run_get_node(CalculationFactory("argonaut.generate"), **inputs)[1]
    assert node.is_finished_ok, node.exit_message
    made = node.outputs.configurations.configurations()
    expected = [generate(found.recipe, 2, index).configuration for index in range(8)]
    assert [c.configuration_id for c in made] == [c.configuration_id for c in expected]
    assert [c.origin.source for c in made] == ["user"] * 6 + ["packing"] * 2


def test_what_is_left_out_on_request_is_said(mapping, tmp_path):
    from aiida_argonaut.workflows.recipe_files import read_recipe

    (tmp_path / "broken.cif").write_text("data_")
    own = mapping["sources"][1]
    own |= {"files": [*own["files"], str(tmp_path / "broken.cif")], "skip_unusable": True}
    found = read_recipe(mapping, "recipe")
    assert found.recipe.counted == 6
    assert len(found.left_out) == 1
    assert "broken.cif: cannot be read as a structure" in found.left_out[0]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["group:nobody"], "group:nobody: no group 'nobody' in this profile"),
        (["group:hollow"], "group:hollow: the group is empty"),
        (["group:numbers"], r"group:numbers: node \d+ is a Int, which holds no structures"),
    ],
)
def test_groups_that_are_of_no_use(profile, files, message):
    from aiida import orm

    from aiida_argonaut.workflows.recipe_files import read_recipe

    orm.Group.collection.get_or_create("hollow")
    numbers, _ = orm.Group.collection.get_or_create("numbers")
    numbers.add_nodes([orm.Int(1).store()])
    with pytest.raises(SettingsError, match=message):
        read_recipe({"source": "user", "files": files}, "recipe")


@pytest.mark.parametrize(
    ("first", "later", "message"),
    [
        (5, 9, "the recipe's counts make 6 configurations, but the first iteration asks for 5"),
        (6, 9, None),
    ],
)
def test_the_first_iteration_holds_all_that_comes_once(mapping, first, later, message):
    from aiida_argonaut.workflows.recipe_files import read_recipe

    found = read_recipe(mapping, "recipe")
    if message is None:
        found.check_counts(first, later, "campaign.yaml")
    else:
        with pytest.raises(SettingsError, match=message):
            found.check_counts(first, later, "campaign.yaml")


def test_counts_alone_must_be_enough(mapping):
    from aiida_argonaut.workflows.recipe_files import read_recipe

    found = read_recipe(mapping["sources"][1], "recipe")
    found.check_counts(6, 6, "campaign.yaml")
    with pytest.raises(SettingsError, match="7 configurations are asked for, but the recipe has counts only"):
        found.check_counts(6, 7, "campaign.yaml")
