"""A campaign file is checked as a whole before anything is submitted, and every refusal is one helpful line."""

import re

import pytest
import yaml
from click.testing import CliRunner

from aiida_argonaut.cli import argonaut
from aiida_argonaut.mlip.generate.recipe import recipe_from_mapping
from aiida_argonaut.mlip.settings import SettingsError
from aiida_argonaut.workflows.config import load_config, stage_settings

RECIPE = {"source": "packing", "elements": ["Be", "H", "He"], "atoms": [2, 3]}

HOSTILE = {
    "unknown key at the top": ({"traim": {}}, "did you mean 'train'"),
    "unknown key in generate": ({"generate": {"recipe": RECIPE, "seedset": 3}}, "did you mean 'seed_set'"),
    "unknown key in the recipe": ({"generate": {"recipe": {**RECIPE, "atom": [1, 2]}}}, "did you mean 'atoms'"),
    "unknown key in label": ({"label": {"max_job": 2}}, "did you mean 'max_jobs'"),
    "unknown key of the committee": ({"train": {"member": 4}}, "did you mean 'members'"),
    "unknown key of training": ({"train": {"learning_rat": 0.1}}, "did you mean 'learning_rate'"),
    "unknown key of exploration": ({"explore": {"temperatureK": 300}}, "did you mean 'temperature_K'"),
    "unknown key of selection": ({"select": {"random_fracton": 0.1}}, "did you mean 'random_fraction'"),
    "unknown key in stop": ({"stop": {"iteration": 3}}, "did you mean 'iterations'"),
    "unknown stage": ({"stages": {"labels": {}}}, "did you mean 'label'"),
    "unknown key of a stage": ({"stages": {"label": {"option": {}}}}, "did you mean 'options'"),
    "unknown source": ({"generate": {"recipe": {"source": "pakking"}}}, "expected one of packing"),
    "unknown architecture": ({"train": {"architecture": "teanett"}}, "teanet"),
    "unknown architecture in a list": ({"train": {"architecture": ["leignn", "teanett"]}}, "teanet"),
    "no architecture": ({"train": {"architecture": []}}, "expected 1 to 4, as many as members"),
    "architectures that do not mix": (
        {"train": {"architecture": ["teanet", "leignn"], "preset": "published"}},
        "some have direct forces and no stress",
    ),
    "unknown preset": ({"train": {"preset": "campain"}}, "campaign"),
    "unknown protocol": ({"label": {"protocol": "quick"}}, "expected one of fast, balanced, stringent"),
    "unknown protocol value": ({"label": {"overrides": {"degaus": 0.1}}}, "degauss"),
    "bad protocol value": ({"label": {"overrides": {"degauss": -0.1}}}, "number above 0"),
    "unknown labeller": ({"label": {"labeller": "vasp"}}, "expected one of quantumespresso, ase, table"),
    "no recipe": ({"generate": {}}, "either recipe or pool must be given"),
    "recipe is a number": (
        {"generate": {"recipe": 3}},
        "expected text or a mapping of keys to values",
    ),
    "recipe does not exist": ({"generate": {"recipe": "nowhere.yaml"}}, "nowhere.yaml"),
    "recipe is the folder": ({"generate": {"recipe": "."}}, "cannot be read"),
    "empty recipe file": ({"generate": {"recipe": "empty.yaml"}}, "no 'source:'"),
    "element beyond argon": ({"generate": {"recipe": {**RECIPE, "elements": ["Fe"]}}}, "Fe"),
    "no elements": ({"generate": {"recipe": {**RECIPE, "elements": []}}}, "element"),
    "text for a number": ({"generate": {"recipe": RECIPE, "seed_set": "many"}}, "expected a whole number"),
    "half a configuration": ({"generate": {"recipe": RECIPE, "seed_set": 2.5}}, "expected a whole number"),
    "true for a number": ({"seed": True}, "expected a whole number"),
    "no seed set": ({"generate": {"recipe": RECIPE, "seed_set": 0}}, "needs a seed set"),
    "negative starts": ({"generate": {"recipe": RECIPE, "starts": -1}}, "starts -1"),
    "negative seed": ({"seed": -1}, "expected 0 or more"),
    "negative iterations": ({"stop": {"iterations": -1}}, "iterations -1"),
    "negative target": ({"stop": {"force_rmse": -0.1}}, "force_rmse -0.1"),
    "negative starts from the dataset": ({"explore": {"dataset_starts": -2}}, "dataset_starts -2"),
    "recipe and pool": ({"generate": {"recipe": RECIPE, "pool": "x.extxyz"}}, "not both"),
    "pool does not exist": ({"generate": {"pool": "x.extxyz"}}, "x.extxyz: no such file"),
    "pool is a folder": ({"generate": {"pool": "."}}, "expected a file, or a folder that"),
    "table without a file": ({"label": {"labeller": "table"}}, "table must be given"),
    "table for pw.x": ({"label": {"table": "x.extxyz"}}, "means nothing to the labeller 'quantumespresso'"),
    "own data do not exist": ({"start": {"data": "x.extxyz"}}, "no such file or folder"),
    "protocol of no data": ({"start": {"protocol": "same"}}, "there are no data"),
    "protocol without words": ({"start": {"data": "empty.yaml", "protocol": {}}}, "expected `same`"),
    "committee does not exist": ({"start": {"committee": "nowhere"}}, "no such file or folder"),
    "unknown key in start": ({"start": {"dataset": "x"}}, "did you mean 'data'"),
    "unknown budget": ({"budget": {"label": 3}}, "did you mean 'labels'"),
    "no labels allowed": ({"budget": {"labels": 0}}, "labels 0: expected a number above 0"),
    "negative hours": ({"budget": {"core_hours": -2}}, "core_hours -2.0: expected a number above 0"),
    "hours as text": ({"budget": {"wall_hours": "12h"}}, "expected a number"),
    "per cent for a share": ({"budget": {"lost_share": 30}}, "lost_share 30.0: expected a share"),
    "no jobs": ({"label": {"max_jobs": 0}}, "expected a whole number of 1 or more"),
    "shard too large": ({"label": {"shard_size": 101}}, "at most 100"),
    "a committee of one": ({"train": {"members": 1}}, "at least 2"),
    "nothing to select": ({"select": {"count": 0}}, "expected a whole number of 1 or more"),
    "infinite temperature": ({"explore": {"temperature_K": float("inf")}}, "inf"),
    "learning rate not a number": ({"train": {"learning_rate": float("nan")}}, "nan"),
    "list for a mapping": ({"label": [1, 2]}, "expected a mapping"),
    "text for a mapping": ({"train": "teanet"}, "expected a mapping"),
    "options not a mapping": ({"stages": {"label": {"options": "long queue"}}}, "expected a mapping"),
}

RAW = {
    "empty": (b"", "generate must be given"),
    "binary": (b"\x80\x81\x00\xff", "cannot be read"),
    "a list": (b"- 1\n- 2\n", "expected 'key: value' lines"),
    "broken YAML": (b"generate: [1, 2\n", "not valid YAML"),
    "unsafe tag": (b"generate: !!python/object/apply:os.system ['touch owned']\n", "not valid YAML"),
    "tab indentation": (b"generate:\n\trecipe: x\n", "not valid YAML"),
}


@pytest.fixture
def write(tmp_path):
    """Write a campaign with a working recipe, some of its sections replaced."""
    (tmp_path / "empty.yaml").write_text("")

    def written(**sections):
        path = tmp_path / "campaign.yaml"
        path.write_text(yaml.safe_dump({"generate": {"recipe": RECIPE}, **sections}))
        return path

    return written


def checked(path):
    """All that is checked without a profile."""
    return stage_settings(load_config(path), str(path))


def test_a_recipe_is_enough(write):
    config = load_config(write())
    assert (config.seed, config.label.labeller, config.stop.iterations) == (1, "quantumespresso", 5)
    settings = stage_settings(config)
    assert settings["train"]["members"] == 4
    assert settings["train"]["config"]["learning_rate"] > 0
    assert {"torch", "numpy", "aiida-argonaut", "numba", "ase", "pymatgen"} == set(settings["numerics"])
    assert all(stage["options"]["resources"] for stage in settings["stages"].values())


def test_elements_come_in_order_of_their_number(write):
    assert recipe_from_mapping(load_config(write()).generate.recipe).elements == ["H", "He", "Be"]
    everything = recipe_from_mapping({"source": "packing"}).elements
    assert everything[0] == "H"
    assert everything[-1] == "Ar"
    assert len(everything) == 18


def test_the_recipe_file_stands_beside_the_campaign_file(tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.yaml").write_text(yaml.safe_dump(RECIPE))
    (tmp_path / "campaign.yaml").write_text("generate: {recipe: recipes/mine.yaml}\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert load_config("../campaign.yaml").generate.recipe == RECIPE


def test_numbers_as_people_write_them(write, tmp_path):
    settings = checked(write(train={"learning_rate": 1, "steps": 10}, stop={"force_rmse": 1}))
    assert settings["train"]["config"]["learning_rate"] == 1.0
    assert settings["stop"]["force_rmse"] == 1.0
    path = tmp_path / "campaign.yaml"
    path.write_text(path.read_text() + "explore: {temperature_K: [3e2, 1e3]}\n")
    assert checked(path)["explore"]["config"]["temperature_K"] == [300.0, 1000.0]


def test_options_of_a_stage_are_added_to_the_defaults(write):
    settings = checked(write(stages={"train": {"options": {"queue_name": "gpu"}}}))
    options = settings["stages"]["train"]["options"]
    assert options["queue_name"] == "gpu"
    assert options["max_wallclock_seconds"] == 3600
    assert "queue_name" not in settings["stages"]["explore"]["options"]


@pytest.mark.parametrize("case", HOSTILE)
def test_a_bad_value_is_one_line_that_helps(case, write):
    sections, expected = HOSTILE[case]
    with pytest.raises(ValueError, match=re.escape(expected)) as caught:
        checked(write(**sections))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("case", RAW)
def test_a_bad_file_is_one_line_that_helps(case, tmp_path):
    content, expected = RAW[case]
    path = tmp_path / "campaign.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=re.escape(expected)):
        checked(path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("case", [*HOSTILE, *RAW])
def test_the_command_refuses_it_without_a_traceback(case, write, tmp_path):
    path = tmp_path / "campaign.yaml"
    if case in RAW:
        path.write_bytes(RAW[case][0])
    else:
        write(**HOSTILE[case][0])
    result = CliRunner().invoke(argonaut, ["launch", str(path)])
    assert result.exit_code == 2
    assert result.stderr.startswith("argonaut: ")
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.output
    assert (HOSTILE | RAW)[case][1] in result.stderr


def test_a_file_that_is_not_there():
    result = CliRunner().invoke(argonaut, ["launch", "nowhere.yaml"])
    assert result.exit_code == 2
    assert "nowhere.yaml" in result.stderr


def test_a_folder_is_no_campaign(tmp_path):
    result = CliRunner().invoke(argonaut, ["launch", str(tmp_path)])
    assert result.exit_code == 2
    assert "is a directory" in result.stderr


def test_an_unknown_command_names_the_nearest():
    result = CliRunner().invoke(argonaut, ["lanch"])
    assert result.exit_code == 2
    assert "'launch'" in result.output
