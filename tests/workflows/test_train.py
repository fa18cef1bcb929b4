"""One member that fails does not lose the others; fewer than two survivors is an error that says so.

The training command is a script that leaves a ready-made model, or fails, as the member's seed says.
"""

import json

import numpy as np
import pytest

pytestmark = pytest.mark.timeout(300)

COMMAND = """#!/bin/bash
# a member with seed 13 always fails, one with seed 17 only the first time
seed=$(echo "$*" | sed 's/.*--seed \\([0-9]*\\).*/\\1/')
if [ "$seed" = 19 ] && [ "$(cat output/checkpoints/done 2>/dev/null | wc -l)" -lt 2 ]; then
    # one with seed 19 needs three times its wall time
    mkdir -p output/checkpoints && echo more >> output/checkpoints/done
    printf '{"seed": 19, "progress": 0.%s}' "$(wc -l < output/checkpoints/done)" > output/paused.json; exit 1
fi
if [ "$seed" = 23 ]; then  # and one with seed 23 never gets further
    mkdir -p output/checkpoints; echo '{"seed": 23, "progress": 0.1}' > output/paused.json; exit 1
fi
if [ "$seed" = 13 ] || { [ "$seed" = 17 ] && [ ! -e FOLDER/tried ]; }; then
    touch FOLDER/tried; echo "TrainingError: the loss of seed $seed is not finite" >&2; exit 1
fi
mkdir -p output && cp FOLDER/model/* output/
"""


@pytest.fixture
def train(profile, scripted_code, tmp_path, configurations):
    """Train a committee of members with these seeds; returns the finished work chain."""
    from aiida import orm
    from aiida.engine import run_get_node
    from safetensors.numpy import save_file

    from aiida_argonaut.mlip.dataset import Dataset
    from aiida_argonaut.mlip.frames import LabelledFrame
    from aiida_argonaut.workflows.config import default_options
    from aiida_argonaut.workflows.data import DatasetData
    from aiida_argonaut.workflows.train import TrainWorkChain

    model = tmp_path / "model"
    model.mkdir()
    save_file({"member.0/weight": np.ones(3, dtype=np.float32)}, model / "model.safetensors")
    config = {
        "format": 1, "architecture": "teanet", "preset": "campaign", "config": {}, "cutoff": 5.0, "elements": [1, 3],
        "n_members": 1, "baseline": {"scale": 1.0},
    }  # fmt: skip
    for name, document in (("config.json", config), ("card.json", {}), ("metrics.jsonl", {"step": 1})):
        (model / name).write_text(json.dumps(document) + "\n")
    code = scripted_code(COMMAND.replace("FOLDER", str(tmp_path)))
    frames = [LabelledFrame(c, -1.0, np.zeros((2, 3)), None, "p") for c in configurations]
    (tmp_path / "data").mkdir()
    dataset = DatasetData.from_dataset(Dataset.from_frames(frames), tmp_path / "data").store()
    settings = {"train": {"max_jobs": 2}, "stages": {"train": {"options": default_options()}}}

    def trained(*seeds):
        member = {"architecture": "teanet", "preset": "campaign", "members": 1, "elements": ["H", "Li"], "config": {}}
        members = {f"member_{k:02d}": orm.Dict({**member, "seed": seed}) for k, seed in enumerate(seeds)}
        return run_get_node(TrainWorkChain, code=code, dataset=dataset, settings=orm.Dict(settings), members=members)[1]

    return trained


def test_one_lost_member_does_not_lose_the_others(train):
    node = train(1, 13, 2)
    assert node.is_finished_ok
    assert node.outputs.committee.n_members == 2
    labels = sorted(link.link_label for link in node.base.links.get_outgoing().all() if link.node in node.called)
    assert labels == ["CALL", "member_00", "member_01", "member_01_attempt_2", "member_02"]


def test_a_member_gets_a_second_chance(train):
    node = train(1, 17)
    assert node.is_finished_ok
    assert node.outputs.committee.n_members == 2
    spoiled = node.base.links.get_outgoing().get_node_by_label("member_01")
    assert spoiled.exit_status == 300
    assert not spoiled.base.caching.is_valid_cache


def test_a_member_goes_on_from_its_checkpoint_when_the_wall_time_was_over(train):
    node = train(1, 19)
    assert node.is_finished_ok
    assert node.outputs.committee.n_members == 2
    jobs = node.base.links.get_outgoing()
    attempts = [jobs.get_node_by_label(f"member_01{suffix}") for suffix in ("", "_attempt_2", "_attempt_3")]
    assert [job.exit_status for job in attempts] == [410, 410, 0]
    assert "10.0 %" in attempts[0].exit_message
    assert [job.inputs.unfinished.uuid for job in attempts[1:]] == [
        job.outputs.remote_folder.uuid for job in attempts[:2]
    ]
    assert "--stop-after 3240s" in attempts[0].base.repository.get_object_content("_aiidasubmit.sh").replace("'", "")


def test_a_member_that_gets_no_further_is_given_up(train):
    node = train(1, 2, 23)
    assert node.is_finished_ok
    assert node.outputs.committee.n_members == 2
    labels = sorted(link.link_label for link in node.base.links.get_outgoing().all() if link.node in node.called)
    assert [label for label in labels if "member_02" in label] == ["member_02", "member_02_attempt_2"]


def test_fewer_than_two_survivors_is_an_error_that_says_so(train):
    node = train(1, 13)
    assert node.exit_status == 431
    assert "1 of 2 members survived training" in node.exit_message
    assert "a committee needs at least two" in node.exit_message
    assert "the loss of seed 13 is not finite" in node.exit_message
    assert "committee" not in node.outputs
