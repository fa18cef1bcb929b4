"""argonaut train --initial as a person types it."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from aiida_argonaut.mlip.checkpoint import CheckpointError
from aiida_argonaut.mlip.cli.merge import merge
from aiida_argonaut.mlip.cli.train import train
from aiida_argonaut.mlip.frames import Configuration, LabelledFrame, write_frames
from aiida_argonaut.mlip.train_settings import TrainingError


@pytest.fixture
def folder(tmp_path):
    """Labels of water and a model of two members that was trained on them (model)."""
    random = np.random.default_rng(0)
    frames = []
    for _ in range(6):
        configuration = Configuration([1, 8, 1], random.random((3, 3)) * 3, np.eye(3) * 4)
        frames.append(LabelledFrame(configuration, -20 + random.random(), random.normal(size=(3, 3)), None, "p"))
    write_frames(tmp_path / "labels.extxyz", frames)
    (tmp_path / "quick.yaml").write_text("steps: 3\nrecords: 2\n")
    assert run(tmp_path, "model", "--members", 2, "--elements", "Ne").exit_code == 0
    return tmp_path


def run(folder, output, *options):
    arguments = [folder / "labels.extxyz", "-o", folder / output, "--config", folder / "quick.yaml", *options]
    return CliRunner().invoke(train, [str(argument) for argument in arguments], catch_exceptions=False)


def test_members_tuned_one_by_one_are_the_committee_and_say_where_they_began(folder):
    assert "from the weights of" in run(folder, "both", "--initial", folder / "model", "--members", 2).output
    for k in range(2):
        done = run(folder, f"m{k}", "--initial", folder / "model", "--initial-member", k, "--seed", k)
        assert done.exit_code == 0
    arguments = [folder / "m0", folder / "m1", "-o", folder / "merged"]
    CliRunner().invoke(merge, [str(each) for each in arguments], catch_exceptions=False)
    weights = [(folder / name / "model.safetensors").read_bytes() for name in ("both", "merged")]
    assert weights[0] == weights[1]
    config, first = (json.loads((folder / name / "config.json").read_text()) for name in ("merged", "model"))
    assert config["elements"] == first["elements"] == [1, 8, 10]
    card = json.loads((folder / "merged" / "card.json").read_text())
    assert [member["initial"]["member"] for member in card["members"]] == [0, 1]


def test_what_does_not_fit_is_refused(folder):
    with pytest.raises(TrainingError, match="preset 'large': the initial model has 'campaign'"):
        run(folder, "tuned", "--initial", folder / "model", "--preset", "large")
    assert "--initial-member needs --initial" in run(folder, "tuned", "--initial-member", 1).output
    refused = run(folder, "model", "--initial", folder / "model")
    assert refused.exit_code == 2
    assert "is the output folder too" in refused.output


def test_a_torn_checkpoint_is_named(folder):
    checkpoint = folder / "torn" / "checkpoints" / "member-0.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes((folder / "model" / "model.safetensors").read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"member-0\.safetensors: .* delete it"):
        run(folder, "torn")
    checkpoint.unlink()
    assert run(folder, "torn").exit_code == 0
