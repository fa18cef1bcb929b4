"""Selection without DFT, by hand: predict a pool without a step of dynamics, select, look the labels up in a table."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.cli.explore import explore
from aiida_argonaut.mlip.cli.label_table import label_table
from aiida_argonaut.mlip.cli.select import select
from aiida_argonaut.mlip.committee import Committee
from aiida_argonaut.mlip.dataset import import_frames
from aiida_argonaut.mlip.frames import (
    Configuration,
    LabelledFrame,
    Origin,
    read_configurations,
    read_frames,
    write_configurations,
    write_frames,
)
from aiida_argonaut.mlip.potential import get_architecture
from aiida_argonaut.mlip.predictions import read_predicted


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def folder(tmp_path):
    """A labelled pool of eight configurations (labels.extxyz, pool.extxyz) and an untrained committee (model)."""
    random = np.random.default_rng(0)
    frames = []
    for k in range(8):
        grid = 2.2 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]]) + 0.1 * random.normal(size=(4, 3))
        configuration = Configuration([18, 10, 18, 2], grid, 5.5 * np.eye(3), origin=Origin("pool", str(k)))
        frames.append(LabelledFrame(configuration, float(k), random.normal(size=(4, 3)), None, "pown"))
    write_frames(tmp_path / "labels.extxyz", frames)
    write_configurations(tmp_path / "pool.extxyz", [frame.configuration for frame in frames])
    architecture = get_architecture("teanet")
    config = architecture.preset("campaign")
    members = tuple(architecture.init(config, torch.Generator().manual_seed(k)) for k in range(2))
    baseline = Baseline(tuple((z, 0.0) for z in range(1, 19)))
    Committee(architecture, "campaign", config, baseline, members).save(tmp_path / "model")
    (tmp_path / "still.yaml").write_text("steps: 0\n")
    return tmp_path


@pytest.mark.parametrize("settings", ["steps: 0\n", "steps: 0\nmin_steps: 0\n", "steps: 0\nstop_deviation: 1.0e-9\n"])
def test_exploration_without_a_step_predicts_every_start_once(folder, settings):
    (folder / "still.yaml").write_text(settings)
    result = run(explore, folder / "model", folder / "pool.extxyz", "--config", folder / "still.yaml",
                 "-o", folder / "explored", "--device", "cpu")  # fmt: skip
    assert result.exit_code == 0
    pool, frames = read_configurations(folder / "pool.extxyz"), read_predicted(folder / "explored" / "frames.extxyz")
    assert [f.configuration.configuration_id for f in frames] == [c.configuration_id for c in pool]
    assert [f.configuration.origin for f in frames] == [c.origin for c in pool]
    predictions = Committee.load(folder / "model").predict(pool)
    for frame, prediction in zip(frames, predictions, strict=True):
        assert frame.prediction.energy == pytest.approx(prediction.energy, abs=1e-4)
        assert frame.prediction.force_deviation == pytest.approx(prediction.force_deviation, abs=1e-4)


def test_an_unphysical_start_gives_a_reason_and_no_frame(folder):
    close = Configuration([18, 18], [[0, 0, 0], [0.5, 0, 0]], 6 * np.eye(3))
    write_configurations(folder / "pool.extxyz", [*read_configurations(folder / "pool.extxyz"), close])
    run(explore, folder / "model", folder / "pool.extxyz", "--config", folder / "still.yaml", "-o", folder / "explored")
    account = json.loads((folder / "explored" / "trajectories.json").read_text())
    assert account["n_frames"] == 8
    assert account["reasons"]["unphysical_distance"] == 1


def test_a_selection_from_a_pool_gets_its_labels_from_the_table(folder):
    run(explore, folder / "model", folder / "pool.extxyz", "--config", folder / "still.yaml", "-o", folder / "explored")
    assert run(select, folder / "explored" / "frames.extxyz", "-n", 3, "-o", folder / "chosen").exit_code == 0
    chosen = folder / "chosen" / "candidates.extxyz"
    result = run(label_table, chosen, folder / "labels.extxyz", "-o", folder / "out")
    assert result.exit_code == 0
    known = {f.configuration.configuration_id: f.energy for f in read_frames(folder / "labels.extxyz")}
    labels = read_frames(folder / "out" / "labels.extxyz")
    assert [f.configuration.configuration_id for f in labels] == [
        c.configuration_id for c in read_configurations(chosen)
    ]
    assert all(frame.energy == known[frame.configuration.configuration_id] for frame in labels)
    document = json.loads((folder / "out" / "losses.json").read_text())
    assert (document["submitted"], document["ok"], document["protocol_hash"]) == (3, 3, "pown")


def test_what_a_table_folder_lacks_is_lost_by_name(folder):
    import_frames(folder / "labels.extxyz").save(folder / "table")
    stranger = Configuration([2], [[0, 0, 0]], 5 * np.eye(3))
    write_configurations(folder / "ask.extxyz", [stranger, *read_configurations(folder / "pool.extxyz")])
    result = run(label_table, folder / "ask.extxyz", folder / "table", "-o", folder / "out")
    assert result.exit_code == 1
    assert f"lost {stranger.configuration_id} He: not_in_table" in result.output
    document = json.loads((folder / "out" / "losses.json").read_text())
    assert (document["submitted"], document["ok"], document["rescued"], len(document["lost"])) == (9, 8, [], 1)
    assert document["elements"]["He"] == [9, 8, 0, 1]  # the others have some too
    for column, total in enumerate((9, 8, 0, 1)):
        assert sum(row[column] for row in document["sources"].values()) == total
    run(label_table, folder / "ask.extxyz", folder / "table", "-o", folder / "again")
    assert (folder / "again" / "losses.json").read_text() == (folder / "out" / "losses.json").read_text()


def test_with_nothing_found_there_is_an_account_and_no_labels(folder):
    write_configurations(folder / "ask.extxyz", [Configuration([2], [[0, 0, 0]], 5 * np.eye(3))])
    assert run(label_table, folder / "ask.extxyz", folder / "labels.extxyz", "-o", folder / "out").exit_code == 1
    assert [path.name for path in (folder / "out").iterdir()] == ["losses.json"]
