"""train, merge and evaluate as a person types them."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from aiida_argonaut.mlip.cli.evaluate import evaluate
from aiida_argonaut.mlip.cli.explore import explore
from aiida_argonaut.mlip.cli.merge import merge
from aiida_argonaut.mlip.cli.train import Duration, _Live, train
from aiida_argonaut.mlip.frames import Configuration, LabelledFrame, write_frames
from aiida_argonaut.mlip.graph import DeviceError
from aiida_argonaut.mlip.predictions import read_predicted
from aiida_argonaut.mlip.settings import SettingsError


@pytest.fixture
def data(tmp_path):
    random = np.random.default_rng(0)
    frames = []
    for _ in range(6):
        configuration = Configuration([1, 8, 1], random.random((3, 3)) * 3, np.eye(3) * 4)
        frames.append(LabelledFrame(configuration, -20 + random.random(), random.normal(size=(3, 3)), None, "p"))
    write_frames(tmp_path / "labels.extxyz", frames)
    (tmp_path / "quick.yaml").write_text("steps: 3\nrecords: 2\n")
    return tmp_path


def run(command, *arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_training_that_was_paused_goes_on_as_if_it_had_not_been(data):
    (data / "long.yaml").write_text("steps: 60\nrecords: 6\n")
    common = ["--seed", "3", "--config", str(data / "long.yaml")]
    paused = CliRunner().invoke(
        train, [str(data / "labels.extxyz"), "-o", str(data / "p"), *common, "--stop-after", "0.2s"]
    )
    assert paused.exit_code == 1
    assert "not done, the member with seed 3 is at" in paused.output
    assert json.loads((data / "p" / "paused.json").read_text())["progress"] < 1
    run(train, data / "labels.extxyz", "-o", data / "p", *common)
    run(train, data / "labels.extxyz", "-o", data / "whole", *common)
    assert (data / "p" / "model.safetensors").read_bytes() == (data / "whole" / "model.safetensors").read_bytes()
    assert not (data / "p" / "paused.json").exists()


def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(data):
    (data / "long.yaml").write_text("steps: 40\nrecords: 4\ncheckpoint_seconds: 0.0\n")
    common = ["--seed", "3", "--members", "2", "--config", str(data / "long.yaml")]
    command = [Path(sys.executable).with_name("argonaut"), "train", data / "labels.extxyz", "-o", data / "k", *common]
    running = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    first = data / "k" / "checkpoints" / "member-3.safetensors"
    while not first.exists():
        assert running.poll() is None
        time.sleep(0.01)
    running.kill()
    running.wait()
    assert not (data / "k" / "model.safetensors").exists()
    run(train, data / "labels.extxyz", "-o", data / "k", *common)
    run(train, data / "labels.extxyz", "-o", data / "whole", *common)
    assert (data / "k" / "model.safetensors").read_bytes() == (data / "whole" / "model.safetensors").read_bytes()


def test_frames_that_cannot_be_trained_with_are_named_or_left_out(data):
    text = (data / "labels.extxyz").read_text()
    (data / "bad.extxyz").write_text(re.sub(r"energy=\S+", "energy=nan", text, count=2))
    refused = CliRunner().invoke(train, [str(data / "bad.extxyz"), "-o", str(data / "b")])
    assert "bad.extxyz, frame 0" in str(refused.exception)
    told = run(train, data / "bad.extxyz", "-o", data / "b", "--config", data / "quick.yaml", "--skip-bad")
    assert "left out: " in told
    assert "5 frames" in told


def test_an_architecture_of_ones_own_trains_and_is_evaluated(data, monkeypatch):
    monkeypatch.chdir(data)
    monkeypatch.syspath_prepend(data)
    (data / "own_architecture.py").write_text(
        "from dataclasses import replace\n"
        "from aiida_argonaut.mlip.potential import get_architecture, register\n"
        "register(replace(get_architecture('teanet'), name='own'))\n"
    )
    own = ["--import", "own_architecture"]
    told = run(train, "labels.extxyz", "-o", "m", "--config", "quick.yaml", "--architecture", "own", *own)
    assert "own/campaign" in told
    assert "meV/atom" in run(evaluate, "m", "labels.extxyz", *own)
    missing = CliRunner().invoke(train, ["labels.extxyz", "-o", "n", "--import", "no_such_module"])
    assert missing.exit_code == 2
    assert "no_such_module" in missing.output


def test_train_merge_evaluate(data):
    common = ("--config", data / "quick.yaml")
    run(train, data / "labels.extxyz", "-o", data / "m1", "--seed", 1, *common)
    run(train, data / "labels.extxyz", "-o", data / "m2", "--seed", 2, *common, "--no-picture")
    assert not (data / "m2" / "learning_curve.png").exists()
    assert sorted(path.name for path in (data / "m1").iterdir()) == [
        "card.json",
        "config.json",
        "learning_curve.png",
        "metrics.jsonl",
        "model.safetensors",
    ]
    run(merge, data / "m1", data / "m2", "-o", data / "both")
    output = run(evaluate, data / "both", data / "labels.extxyz", "--json", "-o", data / "result")
    found = json.loads(output)
    assert found["n_frames"] == 6
    assert found["deviation"]["quantiles_ev_per_angstrom"]["1.0"] > 0
    assert found == json.loads((data / "result" / "metrics.json").read_text())
    assert len(read_predicted(data / "result" / "predictions.extxyz")) == 6
    assert "force deviation" in run(evaluate, data / "both", data / "labels.extxyz")
    card = json.loads((data / "both" / "card.json").read_text())
    assert [member["seed"] for member in card["members"]] == [1, 2]


def test_a_committee_of_two_architectures_is_trained_merged_used_and_fine_tuned(data):
    labels, quick = data / "labels.extxyz", ("--config", data / "quick.yaml")
    for name in ("teanet", "leignn"):
        run(train, labels, "-o", data / name, "--architecture", name, *quick)
    assert "members of 2 model folders" in run(merge, data / "teanet", data / "leignn", "-o", data / "both")
    found = json.loads(run(evaluate, data / "both", labels, "--json"))
    assert found["deviation"]["quantiles_ev_per_angstrom"]["1.0"] > 0
    (data / "short.yaml").write_text("steps: 3\nmin_steps: 1\nstop_deviation: 1000.0\n")
    run(explore, data / "both", labels, "-o", data / "explored", "--config", data / "short.yaml")
    for k, name in enumerate(("teanet", "leignn")):
        start = ("--initial", data / "both", "--initial-member", k)
        told = run(train, labels, "-o", data / f"tuned{k}", *start, *quick)
        assert f"1 member of {name}/campaign" in told
    run(merge, data / "tuned0", data / "tuned1", "-o", data / "tuned")
    networks = json.loads((data / "tuned" / "config.json").read_text())["networks"]
    assert [(network["architecture"], network["members"]) for network in networks] == [("teanet", [0]), ("leignn", [1])]
    card = json.loads((data / "tuned" / "card.json").read_text())
    assert [(each["architecture"], each["initial"]["member"]) for each in card["members"]] == [
        ("teanet", 0),
        ("leignn", 1),
    ]


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:x", ""])
def test_a_device_there_is_not_is_refused_by_every_command(device, data):
    labels = data / "labels.extxyz"
    run(train, labels, "-o", data / "m", "--config", data / "quick.yaml", "--device", "auto")
    for command, arguments in (
        (train, (labels, "-o", data / "n")),
        (evaluate, (data / "m", labels)),
        (explore, (data / "m", labels, "-o", data / "explored")),
    ):
        with pytest.raises(DeviceError, match=f"device '{device}'"):
            run(command, *arguments, "--device", device)


def test_unknown_setting_is_refused(data):
    (data / "bad.yaml").write_text("learning_rte: 0.1\n")
    with pytest.raises(SettingsError, match="learning_rate"):
        run(train, data / "labels.extxyz", "-o", data / "m", "--config", data / "bad.yaml")


def test_reference_energies_file(data):
    (data / "free.json").write_text('{"H": -13.0, "O": -5.0}')
    run(
        train, data / "labels.extxyz", "-o", data / "m", "--config", data / "quick.yaml",
        "--reference-energies", data / "free.json", "--members", 2,
    )  # fmt: skip
    config = json.loads((data / "m" / "config.json").read_text())
    assert config["baseline"]["reference_energies"] == {"H": -13.0, "O": -5.0}
    assert config["n_members"] == 2


@pytest.mark.parametrize(("text", "seconds"), [("90", 90.0), ("90s", 90.0), ("1.5m", 90.0), ("2h", 7200.0)])
def test_durations(text, seconds):
    assert Duration().convert(text, None, None) == seconds


def test_the_time_left_does_not_count_what_came_before_the_first_validation(tmp_path, monkeypatch):
    live, told = _Live(tmp_path, 1, 1), []
    monkeypatch.setattr(live.progress, "update", lambda done, text: told.append(text))
    for seconds, done in ((30.0, 0.02), (42.0, 0.04), (618.0, 1.0)):
        line = {"step": 100, "seconds": seconds, "validation_force_mae_mev_per_angstrom": 5.0}
        live.report(1, done, line)
    assert [text.rpartition(", ")[2] for text in told] == ["24:30 left for it", "9:36 left for it", "0:00 left for it"]
