"""Datasets: content identity, one protocol, no relatives across the split."""

import numpy as np
import pytest

from aiida_argonaut.mlip.dataset import Dataset, DatasetError, lineages, merge
from aiida_argonaut.mlip.frames import Configuration, LabelledFrame, Origin, read_frames, write_frames


def frame(seed, parent="", protocol="p1", numbers=(1, 8)):
    rng = np.random.default_rng(seed)
    n = len(numbers)
    configuration = Configuration(
        np.array(numbers), rng.random((n, 3)) * 4, np.eye(3) * 4, origin=Origin("test", str(seed), parent)
    )
    stress = rng.normal(size=(3, 3))
    return LabelledFrame(configuration, rng.normal(), rng.normal(size=(n, 3)), stress + stress.T, protocol)


@pytest.fixture
def family():
    """Ten lineages of three: founder, child, grandchild."""
    frames = []
    for seed in range(0, 30, 3):
        founder = frame(seed)
        child = frame(seed + 1, founder.configuration.configuration_id)
        frames += [founder, child, frame(seed + 2, child.configuration.configuration_id)]
    return frames


def test_hash_is_free_of_order_and_sees_every_label(family):
    one = Dataset(tuple(family), {"name": "fast"})
    assert one.content_hash == Dataset(tuple(reversed(family)), {}).content_hash
    changed = LabelledFrame(family[0].configuration, family[0].energy + 1e-6, family[0].forces, family[0].stress, "p1")
    assert one.content_hash != Dataset((changed, *family[1:])).content_hash


def test_round_trip_and_tampering(family, tmp_path):
    dataset = Dataset(tuple(family), {"name": "fast", "cutoff": {"wave": 40}})
    dataset.save(tmp_path / "data")
    back = Dataset.load(tmp_path / "data")
    assert back.content_hash == dataset.content_hash
    assert back.protocol == dataset.protocol
    assert back.elements == (1, 8)
    assert back.n_atoms == 60
    frames = tmp_path / "data" / "frames.extxyz"
    assert Dataset.load(frames).content_hash == dataset.content_hash
    write_frames(frames, family[1:])
    with pytest.raises(DatasetError, match="was changed after it was written"):
        Dataset.load(tmp_path / "data")
    with pytest.raises(DatasetError, match="not a dataset"):
        Dataset.load(tmp_path)


def test_empty_dataset_round_trip(tmp_path):
    Dataset(()).save(tmp_path / "none")
    assert len(Dataset.load(tmp_path / "none")) == 0


def test_merge_drops_exact_duplicates_only(family):
    one, two = Dataset(tuple(family[:20]), {"name": "fast"}), Dataset(tuple(family[10:]))
    both = merge([one, two, Dataset(())])
    assert len(both) == 30
    assert both.protocol == {"name": "fast"}
    assert both.content_hash == Dataset(tuple(family)).content_hash
    with pytest.raises(DatasetError, match="occurs twice"):
        Dataset((family[0], family[0]))


def test_merge_of_protocols_shows_the_keys_that_differ():
    one = Dataset((frame(1),), {"cutoff": {"wave": 40, "density": 320}, "spin": "none"})
    two = Dataset((frame(2, protocol="p2"),), {"cutoff": {"wave": 50, "density": 320}, "spin": "none"})
    with pytest.raises(DatasetError, match=r"cutoff\.wave: 40 and 50") as caught:
        merge([one, two])
    assert "density" not in str(caught.value)
    with pytest.raises(DatasetError, match="hashes p1 and p2"):
        merge([Dataset((frame(1),)), Dataset((frame(2, protocol="p2"),))])
    with pytest.raises(DatasetError, match="2 protocols do not mix"):
        Dataset((frame(1), frame(2, protocol="p2")))


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(5))
def test_split_parts_no_relatives(family, fraction, seed):
    dataset = Dataset(tuple(family), {"name": "fast"})
    train, validation = dataset.split(fraction, seed)
    assert len(train) + len(validation) == 30
    assert len(train) % 3 == len(validation) % 3 == 0
    ids = [{each.configuration.configuration_id for each in side.frames} for side in (train, validation)]
    for side, other in ((train, ids[1]), (validation, ids[0])):
        assert not {each.configuration.origin.parent for each in side.frames} & other
        assert len(side) > 0
    assert abs(len(validation) - 30 * fraction) <= 3


def test_split_is_free_of_order_and_follows_the_seed(family):
    def held_out(frames, seed):
        return {each.label_id for each in Dataset(tuple(frames)).split(0.3, seed)[1].frames}

    assert held_out(family, 1) == held_out(family[::-1], 1)
    assert len({frozenset(held_out(family, seed)) for seed in range(8)}) > 1


def test_siblings_of_an_absent_parent_are_relatives():
    frames = [frame(1, "cabsent"), frame(2, "cabsent"), frame(3)]
    assert sorted(len(group) for group in lineages(frames)) == [1, 2]


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.9])
def test_one_lineage_is_split_by_frames(fraction):
    start = frame(0)
    series = [start, *(frame(seed, start.configuration.configuration_id) for seed in range(1, 20))]
    dataset = Dataset(tuple(series))
    assert dataset.one_lineage
    assert not Dataset((*series, frame(20))).one_lineage
    train, validation = dataset.split(fraction, 3)
    assert len(validation) == max(1, round(20 * fraction))
    assert len(train) + len(validation) == 20
    again = Dataset(tuple(series[::-1])).split(fraction, 3)[1]
    assert again.content_hash == validation.content_hash
    assert dataset.split(fraction, 4)[1].content_hash != validation.content_hash


def test_split_corners():
    single = Dataset((frame(1),))
    assert [len(side) for side in single.split(0.5, 0)] == [1, 0]
    assert [len(side) for side in Dataset((frame(1), frame(2))).split(0.01, 0)] == [1, 1]
    assert [len(side) for side in Dataset((frame(1), frame(2))).split(0.0, 0)] == [2, 0]
    with pytest.raises(DatasetError, match=r"validation_fraction 1\.0"):
        single.split(1.0, 0)


def test_a_frame_without_a_protocol_keeps_its_energy_in_a_file(tmp_path):
    bare = [frame(seed, protocol="") for seed in range(3)]
    write_frames(tmp_path / "bare.extxyz", bare)
    assert [each.content_hash for each in read_frames(tmp_path / "bare.extxyz")] == [f.content_hash for f in bare]
