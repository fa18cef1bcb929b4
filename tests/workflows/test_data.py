"""Nodes are files that come back unchanged; a node that is not what it says cannot be stored."""

import numpy as np
import pytest

from aiida_argonaut.mlip.dataset import Dataset
from aiida_argonaut.mlip.frames import LabelledFrame
from aiida_argonaut.mlip.predictions import PredictedFrame, Prediction, write_predicted


@pytest.fixture
def dataset(configurations):
    frames = [
        LabelledFrame(c, -1.5 - k, np.full((2, 3), 0.1 * k), 0.01 * np.eye(3), "p" + "1" * 31)
        for k, c in enumerate(configurations)
    ]
    return Dataset.from_frames(frames, {"code": "pw.x 6.7"})


@pytest.fixture
def predicted(configurations):
    frames = []
    for k, configuration in enumerate(configurations):
        prediction = Prediction(-k, 0.1, np.full((2, 3), float(k)), 0.5 * np.eye(3), np.array([0.1, 0.2]) + k)
        frames.append(PredictedFrame(configuration, prediction, {"trajectory": k, "step": 10}))
    return frames


def test_a_dataset_comes_back_unchanged(profile, dataset, tmp_path):
    from aiida_argonaut.workflows.data import DatasetData

    node = DatasetData.from_dataset(dataset, tmp_path).store()
    assert node.content_hash == dataset.content_hash == node.dataset().content_hash
    assert node.n_frames == 4
    assert node.dataset().protocol == {"code": "pw.x 6.7"}
    exported = node.export_to(tmp_path / "exported")
    assert Dataset.load(exported).content_hash == dataset.content_hash
    for name in ("frames.extxyz", "dataset.json"):
        assert (exported / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_dataset_whose_numbers_were_changed_is_refused(profile, dataset, tmp_path):
    from aiida_argonaut.workflows.data import DatasetData

    dataset.save(tmp_path)
    path = tmp_path / "frames.extxyz"
    path.write_text(path.read_text().replace("-1.5", "-9.5"))
    node = DatasetData.from_folder(tmp_path)
    with pytest.raises(ValueError, match="hash"):
        node.dataset()


def test_configurations_come_back_with_their_predictions(profile, predicted, tmp_path):
    from aiida_argonaut.workflows.data import ConfigurationsData

    write_predicted(tmp_path / "candidates.extxyz", predicted)
    node = ConfigurationsData.from_file(tmp_path / "candidates.extxyz").store()
    assert node.n_frames == 4
    assert node.base.attributes.get("sources") == {"packing": 4}
    assert [c.configuration_id for c in node.configurations()] == [f.configuration.configuration_id for f in predicted]
    part = node.part(1, 3)
    assert part.n_frames == 2
    for mine, original in zip(part.predicted_frames(), predicted[1:3], strict=True):
        assert mine.configuration.configuration_id == original.configuration.configuration_id
        np.testing.assert_allclose(mine.prediction.forces, original.prediction.forces)
        np.testing.assert_allclose(mine.prediction.force_deviation, original.prediction.force_deviation)
        assert mine.info == original.info


def test_shards_cover_everything_once(profile, predicted, tmp_path):
    from aiida import orm

    from aiida_argonaut.workflows.data import ConfigurationsData
    from aiida_argonaut.workflows.functions import split_configurations

    write_predicted(tmp_path / "frames.extxyz", predicted)
    node = ConfigurationsData.from_file(tmp_path / "frames.extxyz").store()
    shards = split_configurations(node, orm.Dict({"shard_size": 3}))
    assert [shards[name].n_frames for name in sorted(shards)] == [3, 1]
    ids = [f.configuration.configuration_id for name in sorted(shards) for f in shards[name].predicted_frames()]
    assert ids == [frame.configuration.configuration_id for frame in predicted]
    assert all(shard.creator.process_label == "split_configurations" for shard in shards.values())


@pytest.mark.parametrize("kind", ["ConfigurationsData", "DatasetData", "CommitteeData"])
def test_an_empty_node_cannot_be_stored(kind, profile):
    from aiida.common.exceptions import ValidationError

    from aiida_argonaut.workflows import data

    with pytest.raises(ValidationError, match="lacks"):
        getattr(data, kind)().store()


def test_merging_datasets_is_on_record_and_order_does_not_matter(profile, dataset, tmp_path):
    from aiida_argonaut.workflows.data import DatasetData
    from aiida_argonaut.workflows.functions import merge_datasets

    halves = [dataset.frames[:2], dataset.frames[1:]]
    nodes = []
    for number, frames in enumerate(halves):
        folder = tmp_path / str(number)
        folder.mkdir()
        nodes.append(DatasetData.from_dataset(Dataset.from_frames(frames, dataset.protocol), folder).store())
    one = merge_datasets(known=nodes[0], fresh=nodes[1])
    other = merge_datasets(known=nodes[1], fresh=nodes[0])
    assert one.content_hash == other.content_hash == dataset.content_hash
    assert one.n_frames == 4
    assert one.creator.process_label == "merge_datasets"


def test_losses_of_shards_add_up(profile):
    from aiida import orm

    from aiida_argonaut.workflows.functions import merge_losses

    loss = {"configuration_id": "c1", "reason": "scf_not_converged"}
    merged = merge_losses(
        shard_000=orm.Dict({"submitted": 3, "ok": 2, "lost": [loss]}),
        shard_001=orm.Dict({"submitted": 2, "ok": 2, "lost": []}),
    ).get_dict()
    assert merged == {"submitted": 5, "ok": 4, "rescued": [], "lost": [loss]}


def test_rescued_labels_of_shards_are_merged_with_all_that_is_known_of_them(profile):
    from aiida import orm

    from aiida_argonaut.workflows.functions import merge_losses

    rescued = {"configuration_id": "c2", "formula": "HLi", "source": "dimers", "rung": "local-TF"}
    merged = merge_losses(
        shard_000=orm.Dict({"submitted": 3, "ok": 2, "rescued": [rescued], "lost": [],
                            "sources": {"dimers": [3, 2, 1, 0]}, "elements": {"H": [3, 2, 1, 0], "Li": [1, 0, 1, 0]}}),
        shard_001=orm.Dict({"submitted": 1, "ok": 1, "rescued": [], "lost": [],
                            "sources": {"packing": [1, 1, 0, 0]}, "elements": {"H": [1, 1, 0, 0]}}),
    ).get_dict()  # fmt: skip
    assert merged["submitted"] == merged["ok"] + len(merged["rescued"]) + len(merged["lost"]) == 4
    assert merged["sources"] == {"dimers": [3, 2, 1, 0], "packing": [1, 1, 0, 0]}
    assert merged["elements"] == {"H": [4, 3, 1, 0], "Li": [1, 0, 1, 0]}


def test_an_unreadable_file_is_named_as_the_user_knows_it(profile, tmp_path):
    from aiida_argonaut.mlip.frames import FrameError
    from aiida_argonaut.workflows.data import ConfigurationsData

    empty = tmp_path / "frames.extxyz"
    empty.write_text("")
    with pytest.raises(FrameError, match=r"^frames\.extxyz: holds no frames$"):
        ConfigurationsData.from_file(empty)
