"""A checkpoint comes back as it was, or is refused in one line that says what to do."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from aiida_argonaut.mlip.checkpoint import CheckpointError, TrainingState


@pytest.fixture
def saved(tmp_path):
    state = TrainingState.start(torch.randn(50, generator=torch.Generator().manual_seed(0)))
    state.step, state.metrics = 7, [{"step": 7, "validation_loss": 0.5}]
    state.save(tmp_path / "c.safetensors", "mark")
    return tmp_path / "c.safetensors"


def test_round_trip(saved):
    state = TrainingState.load(saved, "mark", "cpu")
    assert (state.step, state.metrics[0]["validation_loss"], len(state.best)) == (7, 0.5, 50)
    assert [path.name for path in saved.parent.iterdir()] == ["c.safetensors"]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def empty(path):
    path.write_bytes(b"")


def noise(path):
    path.write_bytes(b"no tensors at all, but some text of more than eight bytes")


def bare(path):
    save_file({"weights": np.zeros(3)}, path)


def other_tensors(path):
    save_file({"weights": np.zeros(3)}, path, {"fingerprint": "mark", "numbers": "{}"})


def torn_numbers(path):
    names = ("weights", "average", "best", "first_moment", "second_moment")
    save_file({name: np.zeros(3) for name in names}, path, {"fingerprint": "mark", "numbers": '{"step": '})


def folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [truncate, empty, noise, bare, other_tensors, torn_numbers, folder])
def test_what_is_no_whole_checkpoint_is_refused_in_one_line(saved, damage):
    damage(saved)
    with pytest.raises(CheckpointError, match=r"c\.safetensors: no checkpoint, or a damaged .*; delete it") as caught:
        TrainingState.load(saved, "mark", "cpu")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_training_is_refused(saved):
    with pytest.raises(CheckpointError, match="other data, settings or seed"):
        TrainingState.load(saved, "another mark", "cpu")
