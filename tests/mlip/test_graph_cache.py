"""The cache holds what samples in memory hold, is built once, and is built again where it is damaged."""

import functools

import numpy as np
import pytest
import torch

from aiida_argonaut.mlip import graph_cache
from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.frames import Configuration, FrameError, LabelledFrame, read_frames, write_frames
from aiida_argonaut.mlip.graph_cache import CacheError, cached, content_of_files, open_folder, open_or_build
from aiida_argonaut.mlip.sample import Sizes
from aiida_argonaut.mlip.samples import ARRAYS, Samples

BASELINE = Baseline(((1, -13.0), (3, -190.0), (18, -560.0)))


def labelled(seed, far=0.0):
    random = np.random.default_rng(seed)
    n, periodic = int(random.integers(1, 7)), bool(seed % 2)
    positions = 4 * random.random((n, 3)) + far
    configuration = Configuration(random.choice([1, 3, 18], n), positions, 4 * np.eye(3), (periodic,) * 3)
    stress = random.normal(size=(3, 3)) if seed % 3 else None
    return LabelledFrame(configuration, float(random.normal()), random.normal(size=(n, 3)), stress, "p")


@pytest.fixture
def frames(monkeypatch):
    monkeypatch.setattr(graph_cache, "SHARD", 7)
    split = [labelled(seed) for seed in range(20)]
    shift = np.zeros((2, 3))
    shift[1, 0] = 4.0 * 400  # an image that one byte does not hold, in the last shard only
    far = LabelledFrame(Configuration(np.array([1, 1]), shift + 0.5, 4 * np.eye(3)), 0.0, shift, None, "p")
    return [*split, far]


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in (*ARRAYS, "energy"))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_cache_is_the_samples(frames, tmp_path, workers):
    said = []
    samples = cached(frames, 3.0, tmp_path, BASELINE, workers, said.append)
    expected = Samples.prepare(frames, BASELINE, 3.0)
    assert same(samples, expected)
    assert samples.image.dtype == np.int16
    assert not samples.positions.flags.owndata
    sizes = Sizes(int(samples.atoms[5]) + 1, int(samples.bonds[5]), 2)
    batch, padded = samples.batch([20, 3, 3]), samples.padded([5], sizes, torch.float64)
    assert torch.equal(batch.graph.vectors, expected.batch([20, 3, 3]).graph.vectors)
    assert torch.equal(padded.forces, expected.padded([5], sizes, torch.float64).forces)
    again = cached(frames, 3.0, tmp_path, BASELINE, 1, said.append)
    assert same(again, expected)
    assert len(said) == 1
    assert "3 shards" in said[0]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_another_order_label_or_cutoff_is_another_cache(frames, tmp_path):
    for count, (some, cutoff) in enumerate([(frames, 3.0), (frames[::-1], 3.0), (frames[1:], 3.0), (frames, 3.1)]):
        samples = cached(some, cutoff, tmp_path, BASELINE, report=lambda line: None)
        assert same(samples, Samples.prepare(some, BASELINE, cutoff))
        assert len(list(tmp_path.iterdir())) == count + 1


@pytest.mark.parametrize("damage", ["header.json", "stress.npy", "i.npy", "label.npy", "nothing"])
def test_what_is_damaged_is_built_again(frames, tmp_path, damage):
    cached(frames, 3.0, tmp_path, report=lambda line: None)
    (folder,) = tmp_path.iterdir()
    if damage == "label.npy":  # one bit, same size
        content = bytearray((folder / damage).read_bytes())
        content[-5] ^= 1
        (folder / damage).write_bytes(content)
    elif damage != "nothing":
        (folder / damage).write_bytes((folder / damage).read_bytes()[:-3])
    said = []
    assert same(cached(frames, 3.0, tmp_path, BASELINE, 1, said.append), Samples.prepare(frames, BASELINE, 3.0))
    assert [line.count("building it again") for line in said] == ([] if damage == "nothing" else [1])
    assert len(list(tmp_path.iterdir())) == 1


def test_a_flipped_bond_is_found_by_a_thorough_look(frames, tmp_path):
    cached(frames, 3.0, tmp_path, report=lambda line: None)
    (folder,) = tmp_path.iterdir()
    content = bytearray((folder / "positions.npy").read_bytes())
    content[-5] ^= 1
    (folder / "positions.npy").write_bytes(content)
    open_folder(folder)
    with pytest.raises(CacheError, match=r"positions\.npy was changed after it was written"):
        open_folder(folder, thorough=True)


def test_the_process_that_is_second_takes_what_is_there(frames, tmp_path, monkeypatch):
    join = graph_cache._join

    def slow(*arguments):
        monkeypatch.setattr(graph_cache, "_join", join)
        cached(frames, 3.0, tmp_path, BASELINE, report=lambda line: None)  # another process, in the meantime
        join(*arguments)

    monkeypatch.setattr(graph_cache, "_join", slow)
    samples = cached(frames, 3.0, tmp_path, BASELINE, report=lambda line: None)
    assert same(samples, Samples.prepare(frames, BASELINE, 3.0))
    assert len(list(tmp_path.iterdir())) == 1


def test_shards_are_read_where_they_are_worked_on(frames, tmp_path):
    paths = [tmp_path / f"{n}.extxyz" for n in range(3)]
    for n, path in enumerate(paths):
        write_frames(path, frames[7 * n : 7 * n + 7])
    shards = [functools.partial(read_frames, path) for path in paths]
    content = content_of_files(paths)
    samples = open_or_build(content, shards, 3.0, tmp_path / "cache", BASELINE, 1, lambda line: None)
    assert same(samples, Samples.prepare([f for path in paths for f in read_frames(path)], BASELINE, 3.0))
    assert content_of_files(paths[::-1]) != content


def test_nothing_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(FrameError, match="no frames"):
        cached([], 3.0, tmp_path, report=lambda line: None)
    assert list(tmp_path.iterdir()) == []
