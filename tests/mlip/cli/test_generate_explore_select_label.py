"""The commands by hand: generate, label-ase, explore, select, through files alone."""

import json

import pytest
import torch
from click.testing import CliRunner

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.cli.explore import explore
from aiida_argonaut.mlip.cli.generate import generate
from aiida_argonaut.mlip.cli.label_ase import label_ase
from aiida_argonaut.mlip.cli.select import select
from aiida_argonaut.mlip.committee import Committee
from aiida_argonaut.mlip.frames import read_atoms, read_configurations, read_frames
from aiida_argonaut.mlip.potential import get_architecture
from aiida_argonaut.mlip.predictions import read_predicted

LJ = "ase.calculators.lj:LennardJones"


def run(command, *arguments):
    """Result of a command; an exception other than an exit is raised."""
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with two untrained members that know H to Ar; the repulsion keeps the atoms apart."""
    folder = tmp_path_factory.mktemp("model")
    architecture = get_architecture("teanet")
    config = architecture.preset("campaign")
    members = tuple(architecture.init(config, torch.Generator().manual_seed(k)) for k in range(2))
    baseline = Baseline(tuple((z, 0.0) for z in range(1, 19)))
    Committee(architecture, "campaign", config, baseline, members).save(folder)
    return folder


@pytest.fixture
def starts(tmp_path):
    (tmp_path / "recipe.yaml").write_text("source: packing\natoms: [2, 4]\n")
    result = run(generate, tmp_path / "recipe.yaml", "-n", 8, "--seed", 7, "-o", tmp_path / "starts.extxyz")
    assert result.exit_code == 0
    return tmp_path / "starts.extxyz"


def test_generate_in_parts_is_generate_at_once(starts, tmp_path):
    run(generate, tmp_path / "recipe.yaml", "-n", 3, "--seed", 7, "--start", 5, "-o", tmp_path / "part.extxyz")
    whole, part = read_configurations(starts), read_configurations(tmp_path / "part.extxyz")
    assert [c.configuration_id for c in part] == [c.configuration_id for c in whole[5:]]
    assert {"recipe", "packing_attempts", "configuration_id"} <= read_atoms(starts)[0].info.keys()
    account = json.loads((tmp_path / "part.losses.json").read_text())
    assert (account["asked"], account["made"], account["lost"]) == (3, 3, [])


def test_generate_names_what_it_lost(tmp_path):
    (tmp_path / "hard.yaml").write_text(
        "source: packing\nelements: [Al]\natoms: [1, 1]\nspecies: [1, 1]\npacking_fraction: [0.5, 0.5]\n"
        "minimum_distance_ratio: [0.9, 1.0]\nmaximum_attempts: 1\n"
    )
    result = run(generate, tmp_path / "hard.yaml", "-n", 40, "-o", tmp_path / "hard.extxyz")
    assert result.exit_code == 1
    account = json.loads((tmp_path / "hard.losses.json").read_text())
    lost = [loss["index"] for loss in account["lost"]]
    assert 10 < len(lost) < 40
    assert account["made"] == 40 - len(lost) == len(read_atoms(tmp_path / "hard.extxyz"))
    assert f"lost: index {lost[0]}: 1 atoms not packed" in result.output
    assert f"lost: {len(lost) - 10} more" in result.output


def test_explore_then_select(starts, model, tmp_path):
    (tmp_path / "explore.yaml").write_text("steps: 12\nmin_steps: 12\nsample_interval: 4\ntemperature_K: 300\n")
    arguments = (model, starts, "--config", tmp_path / "explore.yaml", "--seed", 3, "--device", "cpu")
    result = run(explore, *arguments, "-o", tmp_path / "explored")
    assert result.exit_code == 0
    account = json.loads((tmp_path / "explored" / "trajectories.json").read_text())
    frames = read_predicted(tmp_path / "explored" / "frames.extxyz")
    assert len(account["trajectories"]) == sum(account["reasons"].values()) == 8
    assert account["stop_deviation"] > 0
    assert [frame.info["step"] for frame in frames] == [s for t in account["trajectories"] for s in t["frames"]]
    run(explore, *arguments, "-o", tmp_path / "again")
    for name in ("trajectories.json", "frames.extxyz"):
        assert (tmp_path / "explored" / name).read_text() == (tmp_path / "again" / name).read_text()

    pool = tmp_path / "explored" / "frames.extxyz"
    result = run(select, pool, "-n", 5, "-o", tmp_path / "selected", "--seed", 1)
    assert result.exit_code == 0
    document = json.loads((tmp_path / "selected" / "selection.json").read_text())
    assert sum(document["counts"].values()) == document["pool"] == len(frames)
    candidates = read_predicted(tmp_path / "selected" / "candidates.extxyz")
    assert document["reached"] == len(candidates) == 5
    assert {frame.info["arm"] for frame in candidates} == {"deviation", "random"}


def test_select_without_stored_predictions(starts, model, tmp_path):
    assert run(select, starts, "--model", model, "-n", 4, "-o", tmp_path / "selected").exit_code == 0
    with pytest.raises(ValueError, match="no stored prediction"):
        run(select, starts, "-n", 4, "-o", tmp_path / "selected")


def test_select_refuses_what_is_labelled(starts, model, tmp_path):
    run(label_ase, starts, "-o", tmp_path / "labelled", "--calculator", LJ)
    labels = tmp_path / "labelled" / "labels.extxyz"
    result = run(select, starts, "--model", model, "--dataset", labels, "-n", 4, "-o", tmp_path / "none")
    assert result.exit_code == 1
    assert "no frame to select" in result.output
    document = json.loads((tmp_path / "none" / "selection.json").read_text())
    assert document["counts"]["duplicate"] == 8


def test_label_ase(starts, tmp_path):
    (tmp_path / "lj.yaml").write_text("sigma: 0.8\nepsilon: 0.1\n")
    result = run(label_ase, starts, "-o", tmp_path / "out", "--calculator", LJ, "--parameters", tmp_path / "lj.yaml")
    assert result.exit_code == 0
    frames = read_frames(tmp_path / "out" / "labels.extxyz")
    document = json.loads((tmp_path / "out" / "losses.json").read_text())
    assert (document["submitted"], document["ok"], document["lost"]) == (8, 8, [])
    assert {frame.protocol_hash for frame in frames} == {document["protocol_hash"]}


def test_label_ase_with_a_loss(starts, tmp_path):
    result = run(label_ase, starts, "-o", tmp_path / "out", "--calculator", "ase.calculators.emt:EMT")
    assert result.exit_code == 1
    document = json.loads((tmp_path / "out" / "losses.json").read_text())
    assert document["ok"] + len(document["lost"]) == 8
    assert {loss["reason"] for loss in document["lost"]} == {"calculator_failed"}
